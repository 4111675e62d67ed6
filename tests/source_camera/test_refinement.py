"""Refined tracks, which of them decide, and what they reveal about lens and shutter."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from test_estimators import CENTRE, COUNT, FOCAL, SIZE, lens, sightings, turned, walk

from ex4d.progress import silent
from ex4d.source_camera import estimators, from_depth, selection, shutter, solver
from ex4d.source_camera.candidate import against_depth, depth_scale
from ex4d.source_camera.distortion import at_corner, undistorted
from ex4d.source_camera.error import angles
from ex4d.source_camera.estimators import Task
from ex4d.source_camera.found import AUTO, Wish
from ex4d.source_camera.pictures import Pictures
from ex4d.source_camera.refinement import half_window, refined
from ex4d.source_camera.search import Search
from ex4d.source_camera.structure import triangulated
from ex4d.source_camera.tracks import Tracks, follow

needs_pycolmap = pytest.mark.skipif(not solver.PYCOLMAP.is_there, reason="needs the extra camera")


def turning_texture(count=15, width=320, height=240):
    """Pictures (T,h,w) of a texture that grows, rotates and moves, and the matrices (T,2,3) of that motion."""
    import cv2

    noise = np.random.default_rng(0).standard_normal((height * 2, width * 2)).astype(np.float32)
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.5), None, 20, 235, cv2.NORM_MINMAX)
    pictures, ways = [], []
    for t in range(count):
        way = cv2.getRotationMatrix2D((width, height), 1.2 * t, 1 + 0.02 * t)
        way[:, 2] += (0.37 * t - width / 2, 0.21 * t - height / 2)
        pictures.append(cv2.warpAffine(texture, way, (width, height), flags=cv2.INTER_CUBIC))
        ways.append(way)
    return np.stack(pictures).round().clip(0, 255).astype(np.uint8), np.stack(ways)


def drifting(ways, points=120, drift=0.25, size=(320, 240)):
    """True positions of points, and tracks that drift away from them step by step, as in frame-to-frame tracking."""
    random = np.random.default_rng(1)
    start = random.uniform((60, 50), (size[0] - 60, size[1] - 50), (points, 2))
    there = (start - ways[0][:, 2]) @ np.linalg.inv(ways[0][:, :2]).T
    slid = np.cumsum(random.normal(0, drift, (len(ways), points, 2)), axis=0)
    true = np.stack([there @ way[:, :2].T + way[:, 2] for way in ways])
    count = len(ways)
    track, frame = np.tile(np.arange(points), count), np.repeat(np.arange(count), points)
    inside = ((true + slid > 25) & (true + slid < np.array(size) - 25)).all(axis=2).ravel()
    tracks = Tracks(track, frame, (true + slid).reshape(-1, 2) + 0.5, np.ones(count))
    return true.reshape(-1, 2)[inside] + 0.5, tracks.kept(inside)


def spread(tracks, true):
    """Median over points of how far sightings are from the point's own mean error; a common shift does not count."""
    error = tracks.xy - true
    of = [error[tracks.track == n] for n in np.unique(tracks.track)]
    return float(np.median(np.concatenate([np.hypot(*(one - one.mean(axis=0)).T) for one in of])))


def test_refined_points_no_longer_slide():
    pictures, ways = turning_texture()
    true, tracks = drifting(ways)
    made = refined(pictures, tracks, 1.0)
    place = {(n, t): at for n, t, at in zip(tracks.track, tracks.frame, true, strict=True)}
    kept = np.array([place[n, t] for n, t in zip(made.track, made.frame, strict=True)])
    assert len(made.xy) > 0.95 * len(tracks.xy)
    assert spread(tracks, true) > 0.3
    assert spread(made, kept) < 0.1


def test_a_point_that_something_covers_is_dropped_there_and_kept_elsewhere():
    pictures, ways = turning_texture()
    _, tracks = drifting(ways, drift=0.0)
    column, row = tracks.xy[(tracks.frame == 12) & (tracks.track == 5)][0].astype(int)
    pictures[12, row - 15 : row + 16, column - 15 : column + 16] = np.random.default_rng(2).integers(0, 255, (31, 31))
    made = refined(pictures, tracks, 1.0)
    seen = made.frame[made.track == 5]
    assert 12 not in seen
    assert {7, 10} <= set(seen)


def test_refining_can_be_cancelled():
    class Stop(Exception): ...

    def stop(stage, step, steps, picture=None):
        raise Stop

    pictures, ways = turning_texture(5)
    with pytest.raises(Stop):
        refined(pictures, drifting(ways)[1], 1.0, stop)


def test_points_at_the_edge_of_something_are_left_out_and_those_on_a_slope_stay():
    rows, _ = np.mgrid[:90, :160].astype(np.float32)
    depth = (1 / (0.1 + 0.004 * rows))[None]  # a floor
    depth[:, 20:60, 40:70] = 1.5  # and something in front of it
    track, frame = np.arange(4), np.zeros(4, int)
    xy = np.array([[55.5, 40.5], [71.5, 40.5], [120.5, 60.5], [55.5, 17.5]])
    tracks = Tracks(track, frame, xy, np.ones(1))
    assert from_depth.on_surface(tracks, depth, 1.0, 5).tolist() == [True, False, True, False]


def test_points_whose_window_reaches_over_the_border_are_left_out_where_enough_others_are_left():
    x, y = np.meshgrid(np.arange(4.5, 320, 10), np.arange(4.5, 240, 10))
    xy = np.stack([x.ravel(), y.ravel()], axis=1)
    tracks = Tracks(np.arange(len(xy)), np.zeros(len(xy), int), xy, np.ones(1))
    left = selection.off_border(tracks, (320, 240), 1.0, 1).xy
    half = half_window(1.0)
    assert len(left) == len(np.arange(14.5, 310, 10)) * len(np.arange(14.5, 230, 10))
    assert (left > half).all()
    assert (left < np.array([320, 240]) - half).all()
    few = tracks.kept(tracks.track < 150)
    assert len(selection.off_border(few, (320, 240), 1.0, 1).xy) == 150


def test_more_points_are_followed_where_more_are_asked_for():
    pictures, _ = turning_texture(4)
    few, many = (np.bincount(follow(pictures, most=most).frame) for most in (100, 300))
    assert (few <= 100).all()
    assert (many > 2 * few).all()
    assert (many <= 300).all()


@pytest.mark.parametrize("masked", [False, True])
def test_the_last_solve_of_a_camera_that_moves_gets_more_points_outside_a_given_mask(masked):
    pictures, ways = turning_texture(5)
    count, height, width = pictures.shape
    left = np.zeros(pictures.shape, bool)
    left[:, :, : width // 2] = True
    _, tracks = drifting(ways, drift=0.0)
    frames, depth = np.stack([pictures] * 3, axis=-1), np.full(pictures.shape, 5, np.float32)
    k = np.tile([[300, 0, width / 2], [0, 300, height / 2], [0, 0, 1.0]], (count, 1, 1))
    at = np.full(len(tracks.xy), 5.0)
    given = left if masked else None
    task = Task(Pictures(pictures, 1.0), tracks, at, at > 0, k, False, False, given)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.arange(count)
    before = replace(task.candidate("sfm", poses, k, moves=True, lens_found=True), registered=0.9)
    search = Search(frames, depth, Wish(AUTO, k, False, moving=given), task, silent)
    made, now = search._with_more_points(before), search.task
    assert now.tracks.count > 3 * tracks.count
    assert len(now.depth) == len(now.sure) == len(made.structure.z) == len(now.tracks.xy)
    assert (now.tracks.xy[:, 0].min() < width // 2) != masked
    assert (made.name, made.registered, made.lens_found) == ("sfm", 0.9, True)
    np.testing.assert_array_equal(made.intrinsics, k)


def test_what_moves_along_with_the_camera_is_left_out_by_its_distance():
    poses, random = walk(), np.random.default_rng(3)
    points = random.uniform((-6, -3, 4), (8, 3, 12), (2000, 3))
    along = np.arange(len(points)) % 10 == 0
    track, frame, xy, z = [], [], [], []
    for t, pose in enumerate(poses):
        # Half as fast as the camera in the same direction: the points look as if they were twice as far away.
        world = points + along[:, None] * 0.5 * pose[:3, 3]
        local = (world - pose[:3, 3]) @ pose[:3, :3]
        place = FOCAL * local[:, :2] / local[:, 2:] + CENTRE
        seen = (local[:, 2] > 1) & ((place > 0) & (place < SIZE)).all(axis=1)
        track.append(np.flatnonzero(seen))
        frame.append(np.full(seen.sum(), t))
        xy.append(place[seen])
        z.append(local[seen, 2])
    tracks = Tracks(*(np.concatenate(one) for one in (track, frame, xy)), np.ones(COUNT))
    task = task_of(tracks, np.concatenate(z))
    candidate = task.candidate("depth", poses, lens(), moves=True, lens_found=False)
    assert np.median(candidate.structure.residual[along[tracks.track]]) < 0.5
    scale, _ = depth_scale(candidate, tracks, task.depth)
    off = against_depth(candidate, tracks, task.depth, scale)
    seen = np.unique(tracks.track)
    assert np.median(off[seen][along[seen]]) == pytest.approx(np.log(2), abs=0.1)
    left = np.unique(selection.agreeing(task, candidate).track)
    assert np.isin(seen[~along[seen]], left).mean() > 0.99
    assert np.isin(seen[along[seen]], left).mean() < 0.15


def task_of(tracks, z, lens_known=False, focal=FOCAL):
    pictures = Pictures(np.zeros((COUNT, SIZE[1], SIZE[0]), np.uint8), 1.0)
    return Task(pictures, tracks, z, np.ones(len(z), bool), lens(focal), lens_known, False)


def bent(tracks, distortion):
    """Sightings through a lens with distortion."""
    true = (tracks.xy - CENTRE) / FOCAL
    seen = true * (1 + distortion * (true**2).sum(axis=1, keepdims=True))
    return Tracks(tracks.track, tracks.frame, seen * FOCAL + CENTRE, tracks.survived)


def test_distortion_is_taken_out_of_sightings():
    tracks, _ = sightings(walk(), noise=0.0)
    np.testing.assert_allclose(undistorted(bent(tracks, -0.1), lens(), -0.1).xy, tracks.xy, atol=0.01)
    corner = np.array([SIZE]) / 2 / FOCAL
    assert at_corner(-0.1, lens()[0]) == pytest.approx(-0.1 * float((corner**2).sum()))


@needs_pycolmap
@pytest.mark.parametrize("distortion", [0.0, -0.08])
def test_a_lens_that_distorts_is_found_and_one_that_does_not_is_left_straight(distortion):
    tracks, z = sightings(walk(), noise=0.05)
    task = task_of(bent(tracks, distortion), z, focal=1.05 * FOCAL)
    begun = task.candidate("depth", walk(), lens(1.05 * FOCAL), moves=True, lens_found=True)
    made = estimators.sharpened(task, begun, silent)
    assert made.distortion == (0.0 if distortion == 0 else pytest.approx(distortion, rel=0.1))
    assert made.intrinsics[0, 0, 0] == pytest.approx(FOCAL, rel=0.01)
    assert angles(made.camera_to_world, walk()).max() < 0.15
    assert made.fitting(task.judged) > 0.95


@pytest.mark.parametrize("distortion", [0.0, -0.06])
def test_the_distortion_of_a_camera_that_turns_is_found(distortion):
    poses = turned(degrees=25)
    tracks, z = sightings(poses, noise=0.1)
    task = task_of(bent(tracks, distortion), z, focal=1.1 * FOCAL)
    straight = estimators.rotation(task)
    made = estimators.sharpened(task, straight, silent)
    assert made.distortion == (0.0 if distortion == 0 else pytest.approx(distortion, rel=0.2))
    assert made.intrinsics[0, 0, 0] == pytest.approx(FOCAL, rel=0.01)
    assert angles(made.camera_to_world, poses).max() < 0.15


def by_hand(poses):
    """Poses with some shake, because in an even motion the shutter's effect looks like another camera."""
    shaken = poses.copy()
    angle = np.radians(0.8) * np.random.default_rng(4).standard_normal((len(poses), 1, 1))
    turn = np.array([[0, 0, 1.0], [0, 0, 0], [-1, 0, 0]])
    shaken[:, :3, :3] = poses[:, :3, :3] @ (np.eye(3) + np.sin(angle) * turn + (1 - np.cos(angle)) * turn @ turn)
    return shaken


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_rolling_shutter_shows_in_what_the_camera_leaves_of_the_points_motion(share):
    poses = by_hand(walk())
    tracks, _ = sightings(poses, noise=0.05)
    true = triangulated(tracks, poses, lens())
    xy = tracks.xy.copy()
    for n in np.unique(tracks.track):
        own = np.flatnonzero(tracks.track == n)
        if len(own) > 2:
            xy[own] += share * np.gradient(tracks.xy[own], axis=0) * (tracks.xy[own, 1:] / SIZE[1] - 0.5)
    rolled = Tracks(tracks.track, tracks.frame, xy, tracks.survived)
    structure = triangulated(rolled, poses, lens())
    found = shutter.rolling(rolled, structure, COUNT, SIZE[1])
    assert shutter.rolling(tracks, true, COUNT, SIZE[1]) < shutter.SHOWS
    assert (found > shutter.SHOWS) == (share > 0)
    nothing = np.zeros(len(rolled.xy))
    pictures = Pictures(np.zeros((COUNT, SIZE[1], SIZE[0]), np.uint8), 1.0)
    task = Task(pictures, rolled, nothing, nothing > 0, lens(), True, False)
    candidate = task.candidate("depth", poses, lens(), moves=True, lens_found=False)
    told = Search._recording_notes(SimpleNamespace(task=task), candidate)
    assert told == (
        ["The clip shows a rolling shutter, which makes the camera and its lens less accurate."] if share else []
    )
