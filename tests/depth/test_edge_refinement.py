"""The network that refines depth edges: edges move to those of the picture, and everything else stays."""

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra depth")

from ex4d.depth import refinement
from ex4d.geometry.depth_video import DepthVideo
from ex4d.synthetic import depth_errors, scenes
from ex4d.synthetic.depth_errors import DepthErrors

pytestmark = pytest.mark.depth


@pytest.fixture(scope="module")
def network():
    return refinement.network("cpu")


@pytest.fixture(scope="module")
def square():
    """A picture (96,256,3) of a grainy orange square on a grainy blue wall, its true depth, and blurred depth."""
    random = np.random.default_rng(4)
    near = np.zeros((96, 256), bool)
    near[28:68, 100:140] = True
    picture = np.where(near[..., None], (220, 130, 40), (60, 90, 160)) + random.normal(0, 6, (96, 256, 3))
    true = np.where(near, 2.0, 6.0).astype(np.float32)
    soft = depth_errors.wrong(true[None], DepthErrors(jitter=0, shape=0, edge=4), 0)[0]
    return picture.astype(np.uint8), true, soft


def wrong_pixels(depth, true, by=0.05):
    return int((np.abs(np.log(depth / true)) > by).sum())


def test_a_soft_edge_becomes_one_where_the_picture_has_it(network, square):
    picture, true, soft = square
    assert wrong_pixels(soft, true) > 800
    made = refinement.refine(soft, picture, network)
    assert made.dtype == np.float32
    assert wrong_pixels(made, true) < 120


def test_the_picture_decides_where_the_edge_is(network, square):
    picture, true, soft = square
    without = refinement.refine(soft, np.full_like(picture, 128), network)
    assert wrong_pixels(refinement.refine(soft, picture, network), true) < wrong_pixels(without, true)


def test_away_from_edges_depth_keeps_its_very_bits(network, square):
    picture, _true, soft = square
    made = refinement.refine(soft, picture, network)
    far = np.s_[:, 190:]
    np.testing.assert_array_equal(made[far], soft[far])
    rows, columns = np.mgrid[0:96, 0:256].astype(np.float32)
    floor = 1 / (1 + 0.0004 * rows + 0.0001 * columns)
    np.testing.assert_array_equal(refinement.refine(floor, picture, network), floor)


@pytest.mark.parametrize("size", [(16, 16), (17, 33), (90, 161)])
def test_pictures_of_any_size_can_be_refined(network, size):
    random = np.random.default_rng(0)
    depth = cv2.GaussianBlur(random.uniform(1, 5, size).astype(np.float32), (0, 0), 2)
    made = refinement.refine(depth, random.integers(0, 256, (*size, 3), np.uint8), network)
    assert made.shape == size
    assert np.isfinite(made).all()
    assert made.min() > 0


def test_a_note_says_how_much_moved_and_it_is_not_done_twice(square):
    picture, _true, soft = square
    frames, depth = np.stack([picture, picture]), np.stack([soft, soft])
    video = DepthVideo(depth, np.diag([200.0, 200, 1]), "some", ("Mine.",))
    steps = []
    made = refinement.refined(video, frames, lambda stage, step, of: steps.append((stage, step, of)), "cpu")
    share = np.mean(np.abs(made.depth - depth) > 0.02 * depth)
    assert made.notes == (
        "Mine.",
        f"The depth's edges were refined by the network; {share:.1%} of its pixels moved.",
    )
    assert steps == [("Refining edges of the depth", 1, 2), ("Refining edges of the depth", 2, 2)]
    assert refinement.refined(made, frames) is made


def test_in_a_scene_that_it_never_saw_a_third_of_the_wrong_pixels_are_mended():
    example = scenes.make("still", 2, 256, 144)
    true = example.source.depth
    soft = depth_errors.wrong(true, DepthErrors(jitter=0, shape=0, edge=4), 0)
    made = refinement.refined(DepthVideo(soft, np.diag([200.0, 200, 1]), "some"), example.clip.frames)
    assert wrong_pixels(made.depth, true, 0.1) < 0.7 * wrong_pixels(soft, true, 0.1)


def test_sharp_depth_and_guesses_stay(square):
    picture, true, soft = square
    lens = np.broadcast_to(np.array([[200.0, 0, 128], [0, 200, 48], [0, 0, 1]]), (1, 3, 3))
    sharp = DepthVideo(true[None], lens, "file")
    assert refinement.refined(sharp, picture[None]) is sharp
    guess = DepthVideo(soft[None], lens, "plane", is_guess=True)
    assert refinement.refined(guess, picture[None]) is guess
