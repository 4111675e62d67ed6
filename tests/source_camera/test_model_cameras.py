"""The use of cameras inferred by a model, which is replaced here by true cameras with errors.

The network is tested in test_da3.py.
"""

from functools import cache

import numpy as np
import pytest

from ex4d.cameras.rotations import from_quaternions
from ex4d.errors import InputError
from ex4d.geometry import intrinsics
from ex4d.source_camera import da3, estimators, pictures, solver
from ex4d.source_camera.da3 import Seen
from ex4d.source_camera.error import absolute, angles
from ex4d.source_camera.find import find
from ex4d.source_camera.found import AUTO, DA3, STILL, Wish
from ex4d.synthetic import depth_errors, scenes

needs_pycolmap = pytest.mark.skipif(not solver.PYCOLMAP.is_there, reason="needs the extra camera")

FRAMES, WIDTH, HEIGHT = 13, 256, 144


@pytest.fixture(autouse=True, scope="module")
def small_pictures():
    """Everything is found in smaller pictures than usual, so that it takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "SIDE", 448)
        yield


@cache
def scene():
    return scenes.make("drone", FRAMES, WIDTH, HEIGHT).source


@cache
def wrong_depth():
    return depth_errors.wrong(scene().depth, depth_errors.usual(0), 0)


def wish(method):
    """A wish with the lens of 54 degrees that is assumed if it is unknown."""
    lens = intrinsics.from_focal(intrinsics.focal_of(54.0, WIDTH), WIDTH, HEIGHT)
    return Wish(method, intrinsics.per_frame(lens, FRAMES), False)


def with_errors(numbers, share=1.0):
    """True cameras of some frames in another world and unit, off by a degree and 2 % of the path, the lens by 6 %.

    `share` scales these errors.
    """
    true, random = scene().cameras, np.random.default_rng(0)
    length = np.linalg.norm(np.diff(true.camera_to_world[:, :3, 3], axis=0), axis=1).sum()
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = from_quaternions(np.array([[0.6, 0.3, -0.5, 0.2]]))[0], (3, -1, 7)
    poses = true.camera_to_world[numbers].copy()
    poses[:, :3, 3] += share * random.normal(0, 0.02 * length / np.sqrt(3), (len(numbers), 3))
    half = np.radians(share * random.normal(0, 1 / np.sqrt(3), (len(numbers), 3))) / 2
    poses[:, :3, :3] = poses[:, :3, :3] @ from_quaternions(np.concatenate([np.ones((len(numbers), 1)), half], axis=1))
    poses[:, :3, 3] *= 0.25
    return Seen(world @ poses, (1 + 0.06 * share) * true.intrinsics[numbers, 0, 0])


@pytest.fixture
def model(monkeypatch):
    """True cameras with errors in place of the model; gives the number of frames in each call."""
    shown = []

    def seen(frames, device, progress):
        numbers = [int(np.abs(scene().frames.astype(int) - one).sum(axis=(1, 2, 3)).argmin()) for one in frames]
        shown.append(numbers)
        return with_errors(numbers)

    monkeypatch.setattr(da3, "missing", lambda: "")
    monkeypatch.setattr(da3, "file_shown", lambda: "")
    monkeypatch.setattr(da3, "torch_device", lambda device: "cpu")
    monkeypatch.setattr(da3, "MOST_ON_CPU", 6)
    monkeypatch.setattr(da3, "seen", seen)
    return shown


def off(made):
    """ATE as a fraction of the path, largest rotation in degrees, and relative error of the focal length."""
    true = scene().cameras
    focal = np.abs(made.lens[:, 0, 0] / true.intrinsics[:, 0, 0] - 1).max()
    path = absolute(made.camera_to_world, true.camera_to_world)
    return path, angles(made.camera_to_world, true.camera_to_world).max(), focal


@pytest.mark.slow
@needs_pycolmap
def test_cameras_seen_in_a_few_frames_begin_a_search_that_mends_them_in_all(model):
    made = find(scene().frames, wrong_depth(), wish(DA3))
    assert model == [[0, 3, 6, 9, 12]]
    assert made.method == DA3
    assert (made.camera_to_world[0] == np.eye(4)).all()
    path, rotation, focal = off(made)
    assert path < 0.005
    assert rotation < 0.5
    assert focal < 0.02
    assert "starting from what Depth Anything 3 sees; " in made.notes[0]
    assert "found with the camera" in made.lens_note


def test_without_pycolmap_they_are_used_as_they_are_and_a_note_says_so(model, monkeypatch):
    monkeypatch.setattr(solver, "PYCOLMAP", solver.Package("no_such_package", "camera"))
    monkeypatch.setattr(da3, "MOST_ON_CPU", FRAMES)
    monkeypatch.setattr(da3, "seen", lambda frames, *_: with_errors(range(len(frames)), share=0.02))
    made = find(scene().frames, wrong_depth(), wish(DA3))
    assert made.method == DA3
    true = scene().cameras.camera_to_world
    assert absolute(made.camera_to_world, true) < 0.002
    assert angles(made.camera_to_world, true).max() < 0.2
    assert "It is only approximate because pycolmap is not installed" in made.notes[1]


@needs_pycolmap
def test_auto_asks_the_model_where_points_and_depth_fail_and_leaves_out_what_is_slower(model, monkeypatch):
    monkeypatch.setattr(estimators, "depth", lambda task, progress: "the points do not agree with the depth")
    monkeypatch.setattr(estimators, "sfm", lambda task, progress: pytest.fail("the camera was found already"))
    made = find(scene().frames, wrong_depth(), wish(AUTO))
    assert made.method == DA3
    assert off(made)[0] < 0.005


@pytest.mark.slow
@needs_pycolmap
def test_auto_does_not_ask_the_model_where_points_and_depth_explain_the_clip(model):
    made = find(scene().frames, wrong_depth(), wish(AUTO))
    assert made.method == "depth"
    assert model == []


def test_without_its_file_auto_goes_on_and_a_wish_for_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path))
    monkeypatch.setattr(da3, "seen", lambda *given: pytest.fail("its file is not there"))
    monkeypatch.setattr(da3, "PACKAGES", ())
    made = find(scene().frames, wrong_depth(), wish(DA3))
    assert (made.method, made.camera_to_world) == (STILL, None)
    (said,) = made.choice_notes
    assert f"by a model: Depth Anything 3 lacks model files in {tmp_path} (Depth Anything 3 base: missing)" in said
    monkeypatch.setattr(estimators, "depth", lambda task, progress: "no")
    monkeypatch.setattr(estimators, "sfm", lambda task, progress: "no")
    assert find(scene().frames, wrong_depth(), wish(AUTO)).method == STILL


def test_a_file_that_cannot_be_read_and_cameras_that_are_none_are_reasons(model, monkeypatch):
    def damaged(frames, device, progress):
        raise InputError("The file is cut off.")

    monkeypatch.setattr(da3, "seen", damaged)
    assert "by a model: The file is cut off)" in find(scene().frames, wrong_depth(), wish(DA3)).choice_notes[0]
    monkeypatch.setattr(
        da3, "seen", lambda frames, *_: Seen(np.full((len(frames), 4, 4), np.nan), np.ones(len(frames)))
    )
    said = find(scene().frames, wrong_depth(), wish(DA3)).choice_notes[0]
    assert "by a model: its cameras are not finite)" in said


def test_a_long_clip_shows_the_model_a_bounded_number_of_frames_with_the_first_and_the_last():
    for count in (5, 24, 25, 61, 250, 1000):
        keys = estimators._keys(count, 24)
        assert (keys[0], keys[-1]) == (0, count - 1)
        assert len(keys) <= 25
