"""Depth that lies beside its picture as a whole is moved back, and any other depth stays where it is."""

import cv2
import numpy as np
import pytest

from ex4d.depth.edges import snapped
from ex4d.depth.registration import displacement, registered
from ex4d.geometry.depth_video import DepthVideo
from ex4d.synthetic import depth_errors, scenes
from ex4d.synthetic.depth_errors import DepthErrors

LENS = np.diag([400.0, 400, 1])
NAMES = ("street", "still", "blank_room")


@pytest.fixture(scope="module")
def shots():
    """Pictures (3,288,512,3), and depth of them as a model would have estimated it, for each of some scenes."""
    made = {}
    for name in NAMES:
        source = scenes.make(name, 3, 512, 288).source
        made[name] = source.frames, depth_errors.wrong(source.depth, DepthErrors(), 0)
    return made


def beside(depth, x, y):
    """Depth (T,H,W) moved to the right and down; what comes in from outside repeats the border."""
    at = np.float32([[1, 0, x], [0, 1, y]])
    return np.stack([cv2.warpAffine(d, at, d.shape[::-1], None, 0, cv2.BORDER_REPLICATE) for d in depth])


@pytest.mark.parametrize("way", [(2, 0), (-2, 0), (3, -1)])
@pytest.mark.parametrize("name", NAMES)
def test_the_displacement_is_found(shots, name, way):
    frames, depth = shots[name]
    assert displacement(beside(depth, *way), frames) == way


@pytest.mark.parametrize("name", NAMES)
def test_depth_in_its_place_stays(shots, name):
    frames, soft = shots[name]
    video = DepthVideo(soft, LENS, "some")
    assert registered(video, frames) is video
    assert displacement(scenes.make(name, 1, 512, 288).source.depth, frames[:1]) == (0, 0)


def test_depth_of_something_else_stays(shots):
    for name, other in (("street", "still"), ("still", "blank_room"), ("blank_room", "street")):
        assert displacement(shots[name][1], shots[other][0]) == (0, 0)


def test_depth_without_steps_and_pictures_without_edges_say_nothing(shots):
    frames, depth = shots["street"]
    rows, columns = np.mgrid[0:288, 0:512].astype(np.float32)
    floor = 1 / (0.02 + 0.0005 * rows + 0.0002 * columns)
    assert displacement(np.stack([floor] * 3), frames) == (0, 0)
    assert displacement(beside(depth, 2, 0), np.full_like(frames, 90)) == (0, 0)
    assert displacement(depth[:, :4, :6], frames[:, :4, :6]) == (0, 0)


def test_it_is_moved_back_to_the_bit_and_a_note_says_how_far(shots):
    frames, depth = shots["street"]
    made = registered(DepthVideo(beside(depth, 3, -1), LENS, "some", ("Mine.",)), frames)
    np.testing.assert_array_equal(made.depth[:, 4:-4, 4:-4], depth[:, 4:-4, 4:-4])
    assert made.notes == (
        "Mine.",
        "The depth lay beside the picture, by this many pixels: 3 to the right and 1 up; it was moved back.",
    )


def test_it_is_done_once_and_not_after_the_edges_were_treated(shots):
    frames, depth = shots["street"]
    video = DepthVideo(beside(depth, -2, 0), LENS, "some")
    made = registered(video, frames)
    again = DepthVideo(beside(made.depth, 2, 0), LENS, "some", made.notes)
    assert registered(again, frames) is again
    treated = snapped(video, frames)
    assert registered(treated, frames) is treated


def test_a_guess_stays(shots):
    frames, depth = shots["street"]
    guess = DepthVideo(beside(depth, 2, 0), LENS, "plane", is_guess=True)
    assert registered(guess, frames) is guess
