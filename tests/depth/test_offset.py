"""Depth that is offset from its picture is moved back, and any other depth stays where it is."""

import cv2
import numpy as np
import pytest

from ex4d.depth.edges import snapped
from ex4d.depth.offset import moved_back, noted, offset
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


@pytest.mark.parametrize("way", [(2, 0), (-2, 0)])
@pytest.mark.parametrize("name", NAMES)
def test_the_offset_is_found(shots, name, way):
    frames, depth = shots[name]
    assert offset(beside(depth, *way), frames) == way


@pytest.mark.parametrize("name", NAMES)
def test_depth_in_its_place_stays(shots, name):
    frames, soft = shots[name]
    video = DepthVideo(soft, LENS, "some")
    assert moved_back(video, frames) is video
    assert offset(scenes.make(name, 1, 512, 288).source.depth, frames[:1]) == (0, 0)


@pytest.mark.parametrize("pixels", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_depth_in_which_near_things_are_too_large_stays(shots, name, pixels):
    frames, depth = shots[name]
    fat = np.stack([cv2.erode(each, np.ones((2 * pixels + 1,) * 2, np.uint8)) for each in depth])
    assert offset(fat, frames) == (0, 0)


def test_offsets_in_wide_pictures_are_found_as_well(shots):
    frames, depth = shots["still"]
    wide = np.stack([cv2.resize(each, (1024, 576)) for each in frames])
    far = np.stack([cv2.resize(each, (1024, 576)) for each in depth])
    assert offset(beside(far, 4, 0), wide) == (4, 0)
    assert offset(far, wide) == (0, 0)


def test_depth_of_something_else_stays(shots):
    for name, other in (("street", "still"), ("still", "blank_room"), ("blank_room", "street")):
        assert offset(shots[name][1], shots[other][0]) == (0, 0)


def test_depth_without_steps_and_pictures_without_edges_say_nothing(shots):
    frames, depth = shots["street"]
    rows, columns = np.mgrid[0:288, 0:512].astype(np.float32)
    floor = 1 / (0.02 + 0.0005 * rows + 0.0002 * columns)
    assert offset(np.stack([floor] * 3), frames) == (0, 0)
    assert offset(beside(depth, 2, 0), np.full_like(frames, 90)) == (0, 0)
    assert offset(depth[:, :4, :6], frames[:, :4, :6]) == (0, 0)


def test_it_is_moved_back_to_the_bit_and_a_note_says_how_far(shots):
    frames, depth = shots["street"]
    made = moved_back(DepthVideo(beside(depth, 2, 0), LENS, "some", ("Mine.",)), frames)
    np.testing.assert_array_equal(made.depth[:, 4:-4, 4:-4], depth[:, 4:-4, 4:-4])
    assert made.notes == (
        "Mine.",
        "The depth was offset from the picture by 2 pixels to the right, and was moved back.",
    )


@pytest.mark.parametrize("way", [(2, 0), (-1, 3), (0, -1), (-3, -2)])
def test_an_offset_that_is_known_is_not_looked_for_and_can_be_read_from_the_note(way):
    depth = np.exp(np.random.default_rng(0).normal(size=(2, 20, 30))).astype(np.float32)
    made = moved_back(DepthVideo(beside(depth, *way), LENS, "some"), np.zeros((2, 20, 30, 3), np.uint8), way)
    np.testing.assert_array_equal(made.depth[:, 4:-4, 4:-4], depth[:, 4:-4, 4:-4])
    assert made.notes[0].startswith("The depth was offset from the picture by ")
    assert noted(("Mine by 3 pixels up.", *made.notes)) == way
    assert made.notes[0].startswith("The depth was offset from the picture by ")
    assert noted(("Mine by 3 pixels up.",)) == (0, 0)


def test_an_offset_that_is_farther_than_can_be_found_is_left_alone(shots):
    for name in NAMES:
        frames, depth = shots[name]
        assert offset(beside(depth, 7, 0), frames) == (0, 0)


def test_it_is_done_once_and_not_after_the_edges_were_treated(shots):
    frames, depth = shots["street"]
    video = DepthVideo(beside(depth, -2, 0), LENS, "some")
    made = moved_back(video, frames)
    again = DepthVideo(beside(made.depth, 2, 0), LENS, "some", made.notes)
    assert moved_back(again, frames) is again
    treated = snapped(video, frames)
    assert moved_back(treated, frames) is treated


def test_a_guess_stays(shots):
    frames, depth = shots["street"]
    guess = DepthVideo(beside(depth, 2, 0), LENS, "plane", is_guess=True)
    assert moved_back(guess, frames) is guess
