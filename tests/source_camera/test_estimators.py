"""The mathematics of the estimators, on generated rather than tracked points."""

import time

import numpy as np
import pytest

from ex4d.cameras.rotations import from_quaternions
from ex4d.errors import Cancelled, InputError
from ex4d.progress import silent
from ex4d.source_camera import from_depth, solver
from ex4d.source_camera.candidate import depth_scale
from ex4d.source_camera.error import absolute, angles
from ex4d.source_camera.estimators import Task, rotation
from ex4d.source_camera.pictures import Pictures
from ex4d.source_camera.rotation import turning
from ex4d.source_camera.structure import triangulated
from ex4d.source_camera.tracks import Tracks

FOCAL, SIZE, COUNT = 400.0, (480, 270), 16
CENTRE = np.array(SIZE) / 2


def lens(focal=FOCAL, count=COUNT):
    k = np.tile(np.eye(3), (count, 1, 1))
    k[:, 0, 0] = k[:, 1, 1] = focal
    k[:, :2, 2] = CENTRE
    return k


def turned(count=COUNT, degrees=20.0):
    """Rotations (T,4,4) to the right, with a tenth of that up and down."""
    way = np.linspace(0, 1, count)
    half = np.radians(degrees * np.stack([0.1 * np.sin(6 * way), way, 0 * way], axis=1)) / 2
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = from_quaternions(np.concatenate([np.ones((count, 1)), np.tan(half)], axis=1))
    return poses


def sightings(poses, focal=FOCAL, noise=0.1, movers=0.0, seed=0):
    """Tracks of 400 points that these cameras see, and the distance of each sighting.

    A fraction of the points, `movers`, moves independently.
    """
    random = np.random.default_rng(seed)
    points = random.uniform((-8, -4, 3), (8, 4, 14), (400, 3))
    speed = np.zeros((400, 3))
    speed[: int(400 * movers)] = (0.15, 0.02, 0.05)
    focal = np.broadcast_to(focal, len(poses))
    track, frame, xy, z = [], [], [], []
    for t, pose in enumerate(poses):
        local = (points + t * speed - pose[:3, 3]) @ pose[:3, :3]
        place = focal[t] * local[:, :2] / local[:, 2:] + CENTRE
        seen = (local[:, 2] > 0.5) & ((place > 0) & (place < SIZE)).all(axis=1)
        track.append(np.flatnonzero(seen))
        frame.append(np.full(seen.sum(), t))
        xy.append(place[seen] + noise * random.standard_normal((seen.sum(), 2)))
        z.append(local[seen, 2])
    tracks = Tracks(np.concatenate(track), np.concatenate(frame), np.concatenate(xy), np.ones(len(poses)))
    return tracks, np.concatenate(z)


def walk():
    poses = turned(degrees=8)
    poses[:, :3, 3] = np.linspace(0, 1, COUNT)[:, None] * (1.5, -0.1, 0.6)
    return poses


def test_a_turning_camera_and_its_lens_are_found_among_things_that_move():
    true = turned()
    found = turning(sightings(true, movers=0.3)[0], COUNT, 1.3 * FOCAL, CENTRE, known=False, zooms=False)
    assert angles(found.camera_to_world, true).max() < 0.05
    assert found.focal[0] == pytest.approx(FOCAL, rel=0.01)
    assert found.focal_sd < 0.01
    assert (found.camera_to_world[:, :3, 3] == 0).all()


def test_a_zoom_is_found_for_every_frame():
    focal = FOCAL * np.linspace(1, 1.6, COUNT)
    found = turning(sightings(turned(degrees=6), focal)[0], COUNT, FOCAL, CENTRE, known=False, zooms=True)
    np.testing.assert_allclose(found.focal / found.focal[0], focal / FOCAL, rtol=0.01)
    assert angles(found.camera_to_world, turned(degrees=6)).max() < 0.1


def test_a_camera_that_hardly_turns_tells_no_lens_and_keeps_the_assumed_one():
    tracks, z = sightings(turned(degrees=0.02), noise=0.3)
    pictures = Pictures(np.zeros((COUNT, SIZE[1], SIZE[0]), np.uint8), 1.0)
    found = rotation(Task(pictures, tracks, z, np.ones(len(z), bool), lens(1.2 * FOCAL), False, False))
    assert not found.lens_found
    assert found.intrinsics[0, 0, 0] == pytest.approx(1.2 * FOCAL)


def test_points_are_where_their_rays_meet():
    tracks, z = sightings(walk(), noise=0.0)
    made = triangulated(tracks, walk(), lens())
    far_enough = (tracks.lengths() > 3)[tracks.track] & (made.angle[tracks.track] > np.radians(1))
    np.testing.assert_allclose(made.z[far_enough], z[far_enough], rtol=1e-3)
    assert made.residual[far_enough].max() < 0.01


def test_cameras_follow_from_points_and_depth_in_its_unit():
    tracks, z = sightings(walk(), noise=0.1, movers=0.15)
    found = from_depth.chain(tracks, z, np.ones(len(z), bool), lens())
    assert np.linalg.norm(found.camera_to_world[:, :3, 3] - walk()[:, :3, 3], axis=1).max() < 0.02
    assert angles(found.camera_to_world, walk()).max() < 0.1


@pytest.mark.skipif(not solver.PYCOLMAP.is_there, reason="needs the extra camera")
def test_bundle_adjustment_mends_cameras_depth_and_lens_that_are_wrong():
    tracks, z = sightings(walk(), noise=0.1, movers=0.0)
    jitter = np.exp(0.05 * np.random.default_rng(1).standard_normal(COUNT))
    wrong = 1.3 * z * jitter[tracks.frame] * (1 + 0.1 * np.sin(tracks.xy[:, 0] / 90))
    begun = from_depth.chain(tracks, wrong, np.ones(len(z), bool), lens(1.25 * FOCAL))
    points = triangulated(tracks, begun.camera_to_world, lens(1.25 * FOCAL)).points
    made = solver.adjusted(
        tracks,
        begun.camera_to_world,
        points,
        np.full(COUNT, 1.25 * FOCAL),
        SIZE,
        refine=True,
        zooms=False,
        distorts=False,
        loss=1.0,
        most=25_000,
        progress=silent,
    )
    before, after = (absolute(poses, walk()) for poses in (begun.camera_to_world, made.camera_to_world))
    assert after < 0.005 < before
    relative = np.linalg.inv(made.camera_to_world[0]) @ made.camera_to_world
    assert angles(relative, walk()).max() < 0.3
    assert made.focal[0] == pytest.approx(FOCAL, rel=0.02)


def test_the_scale_of_every_frames_depth_is_found_from_the_points():
    tracks, z = sightings(walk(), noise=0.05)
    pictures = Pictures(np.zeros((COUNT, SIZE[1], SIZE[0]), np.uint8), 1.0)
    task = Task(pictures, tracks, z, np.ones(len(z), bool), lens(), True, False)
    candidate = task.candidate("depth", walk(), lens(), moves=True, lens_found=False)
    jitter = np.linspace(0.8, 1.3, COUNT)
    scale, spread = depth_scale(candidate, tracks, z * jitter[tracks.frame])
    np.testing.assert_allclose(scale, 1 / jitter, rtol=0.02)
    assert spread < 0.02


@pytest.mark.skipif(not solver.PYCOLMAP.is_there, reason="needs the extra camera")
def test_cancelling_kills_the_process_at_once(monkeypatch, tmp_path):
    hangs = tmp_path / "hangs.py"
    hangs.write_text(
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('Busy|0|1', flush=True)\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr(solver, "SCRIPT", hangs)
    begun, processes = time.monotonic(), []
    popen = solver.subprocess.Popen

    def noted(*words, **more):
        processes.append(popen(*words, **more))
        return processes[-1]

    monkeypatch.setattr(solver.subprocess, "Popen", noted)

    def stop(stage, step, steps, picture=None):
        if stage == "Busy":
            raise Cancelled("Stop.")

    with pytest.raises(Cancelled):
        adjust_something(stop)
    assert processes[0].poll() is not None
    assert time.monotonic() - begun < 60


def adjust_something(progress):
    """Give the solver something to do."""
    tracks, _ = sightings(walk())
    start = tracks, walk(), np.zeros((400, 3)), np.full(COUNT, FOCAL), SIZE
    solver.adjusted(*start, refine=True, zooms=False, distorts=False, loss=1.0, most=25_000, progress=progress)


def test_a_solver_that_crashes_says_why_in_one_sentence(monkeypatch, tmp_path):
    crashes = tmp_path / "crashes.py"
    crashes.write_text("raise SystemExit('out of memory')\n")
    monkeypatch.setattr(solver, "SCRIPT", crashes)
    with pytest.raises(InputError, match="could not solve the camera: out of memory"):
        adjust_something(silent)
