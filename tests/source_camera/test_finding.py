"""Cameras found from generated footage with a known camera, with depth that has the errors of models."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from ex4d.geometry import intrinsics
from ex4d.source_camera import gates, kept, pictures, solver
from ex4d.source_camera.candidate import Candidate
from ex4d.source_camera.error import absolute, angles
from ex4d.source_camera.find import find
from ex4d.source_camera.found import AUTO, DEPTH, ROTATION, SFM, STILL, Found, Steadying, Wish
from ex4d.source_camera.judge import Evidence, Judge, far_pairs
from ex4d.source_camera.structure import Structure
from ex4d.synthetic import depth_errors, scenes

needs_pycolmap = pytest.mark.skipif(not solver.PYCOLMAP.is_there, reason="needs the extra camera")

WIDTH, HEIGHT = 256, 144


@pytest.fixture(autouse=True, scope="module")
def small_pictures():
    """Everything is found in smaller pictures than usual, so that it takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "SIDE", 448)
        yield


@cache
def scene(name, frames=13):
    return scenes.make(name, frames, WIDTH, HEIGHT)


@cache
def wrong_depth(name, frames=13):
    return depth_errors.wrong(scene(name, frames).source.depth, depth_errors.usual(0), 0)


def assumed(count):
    """The lens of 54 degrees that is assumed if it is unknown."""
    return intrinsics.per_frame(intrinsics.from_focal(intrinsics.focal_of(54.0, WIDTH), WIDTH, HEIGHT), count)


@cache
def found(name, method=AUTO, zooms=False, frames=13):
    source = scene(name, frames).source
    return find(source.frames, wrong_depth(name, frames), Wish(method, assumed(len(source)), False, zooms=zooms))


def test_a_still_camera_stays_still_though_people_fill_a_third_of_the_picture():
    made = found("still")
    assert (made.method, made.camera_to_world, made.lens) == (STILL, None, None)
    assert made.choice_notes == ("The clip's own camera stands still.",)
    assert made.notes == ()


def test_what_moves_is_found_with_a_still_camera():
    made, truth = found("still").moving, scene("still").source.moving
    large = made  # the working picture is small enough to be used as it is
    middle = slice(4, -4)  # slowly turning things are not seen to move from frame to frame
    assert (large & truth)[middle].sum() > 0.5 * truth[middle].sum()
    assert (large & ~truth)[middle].mean() < 0.12


def test_with_a_still_camera_the_depth_is_steadied_without_what_a_mask_says_and_a_guess_is_not():
    source = scene("still").source
    wish = Wish(AUTO, source.cameras.intrinsics, True)
    pumping = wrong_depth("still")
    assert find(source.frames, pumping, wish).steady
    assert not find(source.frames, pumping, replace(wish, depth_is_guess=True)).steady
    moving = np.zeros(pumping.shape, bool)
    moving[:, :, :200] = True
    partly = np.where(moving, pumping, source.depth)
    assert find(source.frames, partly, replace(wish, moving=~moving)).steady
    assert not find(source.frames, partly, replace(wish, moving=moving)).steady


def test_a_pan_on_a_tripod_turns_and_does_not_move():
    made, true = found("tripod"), scene("tripod").source.cameras
    assert made.method == ROTATION
    assert (made.camera_to_world[:, :3, 3] == 0).all()
    assert angles(made.camera_to_world, true.camera_to_world).max() < 0.5
    np.testing.assert_allclose(made.lens[:, 0, 0], true.intrinsics[:, 0, 0], rtol=0.005)
    assert "field of view of" in made.lens_note


@needs_pycolmap
def test_a_camera_that_flies_is_found_with_its_lens_and_points():
    made, true = found("drone"), scene("drone").source.cameras
    assert made.method in ("depth", "sfm")
    assert absolute(made.camera_to_world, true.camera_to_world) < 0.01
    assert angles(made.camera_to_world, true.camera_to_world).max() < 1.0
    np.testing.assert_allclose(made.lens[:, 0, 0], true.intrinsics[:, 0, 0], rtol=0.06)
    assert len(made.points) > 100
    assert (made.camera_to_world[0] == np.eye(4)).all()
    assert "far frames differ by" in made.notes[0]


@needs_pycolmap
def test_a_walk_through_a_street_is_found_with_a_lens_that_is_half_a_percent_off_at_most():
    made, true = found("street", DEPTH), scene("street").source.cameras
    assert absolute(made.camera_to_world, true.camera_to_world) < 0.002
    assert angles(made.camera_to_world, true.camera_to_world).max() < 0.15
    np.testing.assert_allclose(made.lens[:, 0, 0], true.intrinsics[:, 0, 0], rtol=0.005)


@needs_pycolmap
def test_structure_from_motion_finds_it_without_any_depth():
    source = scene("drone").source
    nothing = np.full(source.depth.shape, 3.0, np.float32)
    wish = Wish(SFM, source.cameras.intrinsics, True, depth_is_guess=True)
    made = find(source.frames, nothing, wish)
    assert made.method == SFM
    assert absolute(made.camera_to_world, source.cameras.camera_to_world) < 0.01
    assert angles(made.camera_to_world, source.cameras.camera_to_world).max() < 1.0


def test_a_zoom_is_told_and_followed_when_it_is_asked_for():
    told = found("zoom")
    assert told.camera_to_world is None
    assert "its lens zooms during the shot: turn on Lens Zooms" in told.choice_notes[0]
    made, true = found("zoom", zooms=True), scene("zoom").source.cameras
    assert made.method == ROTATION
    ratio = made.lens[:, 0, 0] / made.lens[0, 0, 0]
    np.testing.assert_allclose(ratio, true.intrinsics[:, 0, 0] / true.intrinsics[0, 0, 0], rtol=0.02)
    assert angles(made.camera_to_world, true.camera_to_world).max() < 0.3


def test_a_camera_that_stands_is_told_so_where_its_zoom_is_known():
    source = scene("zoom").source
    wish = Wish(ROTATION, source.cameras.intrinsics, True, zooms=True)
    made = find(source.frames, wrong_depth("zoom"), wish)
    assert (made.method, made.camera_to_world) == (STILL, None)
    assert made.choice_notes == ("The clip's own camera stands still.",)
    assert made.steady
    assert not find(source.frames, source.depth, wish).steady


def test_points_that_hardly_fit_once_what_moves_is_left_out_are_a_reason_not_to_trust_a_camera():
    structure = Structure(np.zeros((4, 3)), np.ones(4), np.zeros((4, 2)), np.ones(4))
    camera = Candidate("sfm", np.tile(np.eye(4), (2, 1, 1)), assumed(2), True, structure)
    stands = gates.Figures(1.0, 0.2, 5.0, 0.0, 0.3, 1.0, np.nan, Evidence(20.0, 0.5))
    moves = gates.Figures(1.0, 0.7, 1.0, 2.0, 0.3, 1.0, 0.05, Evidence(7.0, 0.5))
    assert gates.failures(camera, moves, stands, depth_is_guess=False, masked=False) == []
    (why,) = gates.failures(camera, moves, stands, depth_is_guess=False, masked=True)
    assert why == "only 70% of the points fit once what moves is left out"


def test_a_cut_is_told_with_its_frame():
    made = found("cut", frames=16)
    assert made.camera_to_world is None
    assert "The clip is cut at frame 8 (from 0)" in made.choice_notes[0]


def test_three_frames_are_too_few():
    made = found("three_frames", frames=3)
    assert made.camera_to_world is None
    assert made.choice_notes[0].startswith("The camera was not found (3 frames are too few")


def test_bare_walls_give_a_sentence_and_no_camera():
    made = found("blank_room")
    assert made.camera_to_world is None
    assert "was not found" in made.choice_notes[0]
    assert "give the camera as a file" in made.choice_notes[0]


def test_a_single_picture_has_nothing_to_tell():
    source = scene("still").source
    made = find(source.frames[:1], source.depth[:1], Wish(AUTO, assumed(1), False))
    assert (made.method, made.choice_notes) == (STILL, ())


def test_without_pycolmap_a_moving_camera_is_rough_and_says_so(monkeypatch):
    monkeypatch.setattr(solver, "PYCOLMAP", solver.Package("no_such_package", "camera"))
    source = scene("drone").source
    made = find(source.frames, source.depth, Wish(AUTO, source.cameras.intrinsics, True))
    assert made.method == "depth"
    assert absolute(made.camera_to_world, source.cameras.camera_to_world) < 0.02
    assert "It is only approximate because pycolmap is not installed" in made.notes[1]


def test_a_given_mask_is_left_out_and_comes_back_as_it_was():
    source = scene("tripod").source
    wish = Wish(ROTATION, source.cameras.intrinsics, True, moving=source.moving)
    made = find(source.frames, wrong_depth("tripod"), wish)
    assert (made.moving == source.moving).all()
    assert angles(made.camera_to_world, source.cameras.camera_to_world).max() < 0.2


@pytest.mark.parametrize("name", ["blank_room", "cut", "three_frames"])
def test_a_given_mask_comes_back_where_no_camera_was_found_too(name):
    source = scene(name, 3 if name == "three_frames" else 13).source
    wish = Wish(AUTO, source.cameras.intrinsics, True, moving=source.moving)
    made = find(source.frames, source.depth, wish)
    assert "counts as still" in made.choice_notes[0]
    assert made.moving is not None
    assert (made.moving == source.moving).all()


def test_the_judge_prefers_the_true_camera_also_by_wrong_depth():
    source = scene("drone").source
    cameras, depth = source.cameras, wrong_depth("drone")
    judge = Judge(source.frames, depth)
    scale = np.median(source.depth / depth, axis=(1, 2))
    drifting = cameras.camera_to_world.copy()
    for t, pose in enumerate(drifting):
        angle = np.radians(4 * t / len(drifting))
        pose[:3, :3] = pose[:3, :3] @ [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    levels = [
        judge.evidence(poses, cameras.intrinsics, scale).levels
        for poses in (cameras.camera_to_world, drifting, np.tile(np.eye(4), (len(drifting), 1, 1)))
    ]
    assert levels[0] < 0.85 * min(levels[1:])


def test_far_pairs_go_there_and_back_and_exist_for_short_clips():
    assert (0, 8) in far_pairs(49)
    assert (8, 0) in far_pairs(49)
    assert far_pairs(3) == [(0, 2), (2, 0)]
    assert far_pairs(1) == []


def test_pictures_too_small_to_tell_anything_say_so():
    frames = np.zeros((9, 64, 96, 3), np.uint8)
    said = find(frames, np.ones((9, 64, 96), np.float32), Wish(AUTO, assumed(9), False, False, False, None))
    assert said.camera_to_world is None
    assert "frames of 96x64 px are too small" in " ".join(said.choice_notes)


def test_a_kept_camera_whose_steadying_is_damaged_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path))
    steady = Steadying(np.tile([1.1, 0.0], (9, 1)), np.full((9, 5, 8), 0.1))
    made = Found(STILL, moving=np.zeros((9, 4, 6), bool), steady=steady)
    kept.kept("name", lambda: made)
    (path,) = tmp_path.rglob("name.npz")
    whole = dict(np.load(path))

    def found_again(**changed):
        """Whether a file with other content is not used."""
        np.savez(path, **{**whole, **changed})
        again = []
        found = kept.kept("name", lambda: again.append(1) or made)
        np.testing.assert_array_equal(found.steady.field, steady.field)
        np.testing.assert_array_equal(found.steady.frames, steady.frames)
        return bool(again)

    assert not found_again()
    for damaged in (np.full((9, 5, 8), np.nan), np.zeros((3, 5, 8)), np.full((9, 5, 8), 50.0), np.zeros((9, 5, 1000))):
        assert found_again(steady_field=damaged)
    assert found_again(steady_frames=np.ones((9, 3)))
    assert found_again(steady_frames=-np.ones((9, 2)))
