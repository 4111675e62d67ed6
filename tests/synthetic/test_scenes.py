"""Generated scenes: colour, depth, things and cameras are consistent."""

import cv2
import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.synthetic import scenes
from ex4d.synthetic.footage import Example, Footage

WIDTH, HEIGHT = 192, 108


@pytest.fixture(scope="module")
def street() -> Example:
    return scenes.make("street", 9, WIDTH, HEIGHT, noise=0)


def warped(of: Footage, t: int, seen_from: Footage, u: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (H,W,2) of the pixels of frame `t` in frame `u` of other footage, and their depths (H,W)."""
    k, other = of.cameras.intrinsics[t], seen_from.cameras.intrinsics[u]
    column, row = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([(column - k[0, 2]) / k[0, 0], (row - k[1, 2]) / k[1, 1], np.ones_like(row)], -1)
    points = rays * of.depth[t][..., None]
    pose = transforms.inverse(seen_from.cameras.camera_to_world[u]) @ of.cameras.camera_to_world[t]
    points = points @ pose[:3, :3].T + pose[:3, 3]
    at = points[..., :2] / points[..., 2:] * [other[0, 0], other[1, 1]] + other[:2, 2]
    return at.astype(np.float32), points[..., 2].astype(np.float32)


def agreement(of: Footage, t: int, seen_from: Footage, u: int, only_still: bool = True) -> tuple[float, float]:
    """Median difference in levels of the static pixels that both frames see, and their part of the picture."""
    at, depth = warped(of, t, seen_from, u)
    sampled = [cv2.remap(a, *np.moveaxis(at - 0.5, -1, 0), cv2.INTER_LINEAR, borderValue=-1.0).astype(np.float32)
               for a in (seen_from.frames[u].astype(np.float32), seen_from.depth[u])]  # fmt: skip
    both = (np.abs(sampled[1] / depth - 1) < 0.02) & (depth > 0)
    if only_still:
        both &= ~of.moving[t]
    return float(np.median(np.abs(sampled[0] - of.frames[t])[both])), float(both.mean())


def test_static_pixels_keep_their_colour_where_true_depth_and_pose_take_them(street):
    error, part = agreement(street.source, 0, street.source, 8)
    assert error < 4
    assert part > 0.3
    still = Footage(
        street.source.frames,
        street.source.depth,
        street.source.things,
        street.source.moving,
        type(street.source.cameras)(np.tile(np.eye(4), (9, 1, 1)), street.source.cameras.intrinsics, WIDTH, HEIGHT),
    )
    assert agreement(still, 0, still, 8)[0] > 2 * error  # so the poses matter


def test_the_second_view_shows_the_same_world(street):
    for t in (0, 4, 8):  # moving things are at the same places at the same time
        error, part = agreement(street.source, t, street.second, t, only_still=False)
        assert error < 4
        assert part > 0.5
    assert np.allclose(street.second.cameras.camera_to_world[0], street.source.cameras.camera_to_world[0])
    assert not np.allclose(street.second.cameras.camera_to_world[8], street.source.cameras.camera_to_world[8], atol=0.1)


def test_what_is_marked_as_moving_changes_place_and_nothing_else_does(street):
    source = street.source
    for number in np.unique(source.things[0]):
        at, depth = warped(source, 0, source, 8)
        column, row = np.floor(at).astype(int)[source.things[0] == number].T
        there = depth[source.things[0] == number]
        inside = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
        if inside.sum() < 60:
            continue
        same = source.things[8][row[inside], column[inside]] == number
        gap = np.abs(source.depth[8][row[inside], column[inside]][same] / there[inside][same] - 1)
        moves = source.moving[0][source.things[0] == number]
        assert moves.all() or not moves.any()
        if not moves.any():
            assert np.median(gap) < 0.02, number
        else:
            assert same.mean() < 0.97 or np.median(gap) > 0.02, number
    assert 0.04 < source.moving.mean() < 0.4


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = (scenes.make("tripod", 2, 96, 64, seed=seed) for seed in (3, 3, 4))
    for view in ("source", "second"):
        for name in ("frames", "depth", "things", "moving"):
            assert np.array_equal(getattr(getattr(first, view), name), getattr(getattr(again, view), name))
    assert not np.array_equal(first.source.frames, other.source.frames)


@pytest.mark.parametrize("name", scenes.SCENES)
def test_every_scene_has_what_it_promises(name):
    example = scenes.make(name, None if name == "three_frames" else 7, 128, 72)
    source, poses = example.source, example.source.cameras.camera_to_world
    assert len(source) == (3 if name == "three_frames" else 7)
    assert source.depth.dtype == np.float32
    assert np.isfinite(source.depth).all()
    assert source.depth.min() > 0.3
    assert np.allclose(poses[0], np.eye(4))
    assert example.depth.depth is source.depth
    assert len(example.clip.frames) == len(source)
    walks = np.linalg.norm(poses[:, :3, 3], axis=1).max() > 0.2
    turns = np.abs(poses[:, :3, :3] - np.eye(3)).max() > 1e-9
    assert walks == (name not in {"tripod", "still", "zoom"})
    assert turns == (name not in {"still", "zoom"})
    focal = source.cameras.intrinsics[:, 0, 0]
    assert (focal[-1] > 1.5 * focal[0]) == (name == "zoom")
    assert example.cuts == ((3,) if name == "cut" else ())
    share = source.moving.mean()
    assert share > 0.95 if name == "all_moving" else 0.01 < share < 0.45
    texture = np.abs(np.diff(scenes.make(name, 2, 128, 72, noise=0).source.frames.astype(int), axis=2)).mean()
    assert (texture < 2.5) == (name == "blank_room"), texture


def test_motion_blur_and_noise_can_be_told_from_the_clean_picture():
    clean, noisy = (scenes.make("still", 2, 96, 64, noise=noise).source.frames.astype(float) for noise in (0, 4))
    assert 2 < (noisy - clean).std() < 6
    sharp, blurred = (scenes.make("tripod", 9, 192, 108, noise=0).source.frames[t].astype(float) for t in (0, 4))
    rough = [np.abs(np.diff(picture, axis=1)).mean() for picture in (sharp, blurred)]
    assert rough[1] < 0.85 * rough[0]  # the pan is fastest in its middle


def test_an_unknown_scene_is_told_with_those_that_exist():
    with pytest.raises(InputError, match="no scene 'beach': choose one of street, "):
        scenes.make("beach")


def test_a_rolling_shutter_sees_each_row_from_where_the_camera_is_then():
    plain, rolled = (scenes.make("tripod", 9, 192, 108, noise=0, shutter=0, rolling=r).source for r in (0, 0.8))
    a, b = plain.depth[4], rolled.depth[4]
    assert np.array_equal(plain.cameras.camera_to_world, rolled.cameras.camera_to_world)
    assert np.allclose(a[54], b[54], rtol=0.02)
    # Edges in the upper rows are from earlier, those in the lower rows from later: the pan shears the picture.
    shifts = []
    for row in (20, 88):
        one, other = (np.log(d[row - 6 : row + 6]).astype(np.float32) for d in (a, b))
        shifts.append(cv2.phaseCorrelate(one, other, cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F))[0][0])
    assert shifts[0] > 2, shifts
    assert shifts[1] < -2, shifts


def test_a_lens_distorts_as_colmaps_simple_radial_does():
    plain, bent = (scenes.make("still", 1, 192, 108, noise=0, shutter=0, distortion=d).source for d in (0, -0.2))
    k = plain.cameras.intrinsics[0]
    column, row = np.meshgrid(np.arange(192) + 0.5, np.arange(108) + 0.5)
    x, y = (column - k[0, 2]) / k[0, 0], (row - k[1, 2]) / k[1, 1]
    factor = 1 - 0.2 * (x**2 + y**2)
    at = [(a * factor * f + c - 0.5).astype(np.float32) for a, f, c in ((x, k[0, 0], k[0, 2]), (y, k[1, 1], k[1, 2]))]
    straight = cv2.remap(bent.frames[0], *at, cv2.INTER_LINEAR).astype(float)
    error = np.abs(straight - plain.frames[0])
    assert np.median(error) < 4
    assert error.mean() < 0.4 * np.abs(bent.frames[0].astype(float) - plain.frames[0]).mean()
