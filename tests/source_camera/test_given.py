"""A camera from another program stays; the clip shows its unit, what moves, and the errors of the depth."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ex4d.source_camera import depth_and_movers, kept
from ex4d.source_camera.find import find
from ex4d.source_camera.found import GIVEN, Wish
from ex4d.source_camera.given import compared
from ex4d.source_camera.steadying import steadied
from ex4d.synthetic import depth_errors, scenes

FRAMES, SIZE = 25, (320, 180)


@pytest.fixture(scope="module")
def flight():
    return scenes.make("drone", FRAMES, *SIZE)


@pytest.fixture(scope="module")
def wrong(flight):
    """The depth as a model would estimate it, which halves its scale, too."""
    return replace(flight.depth, depth=depth_errors.wrong(flight.depth.depth, depth_errors.usual(0), 0))


def look(example, depth, poses, **wish):
    poses = np.linalg.inv(poses[0]) @ poses
    return compared(example.clip.frames, depth.depth, poses, Wish("auto", depth.intrinsics, True, **wish))


def scaled(example, factor):
    poses = example.source.cameras.camera_to_world.copy()
    poses[:, :3, 3] *= factor
    return poses


@pytest.fixture(scope="module")
def in_inches(flight, wrong):
    return look(flight, wrong, scaled(flight, 39.37))


def error(depth, example):
    """How far a depth is off, apart from its scale: 1.48 times the median of the absolute logarithm."""
    off = np.log(depth / example.source.depth)
    return 1.48 * np.median(np.abs(off - np.median(off)))


def test_the_camera_itself_stays_as_it_is(flight, in_inches):
    poses = scaled(flight, 39.37)
    assert in_inches.method == GIVEN
    assert np.array_equal(in_inches.camera_to_world, np.linalg.inv(poses[0]) @ poses)


def test_bent_and_pumping_depth_is_put_right(flight, wrong, in_inches):
    before, after = error(wrong.depth, flight), error(steadied(wrong, in_inches.steady).depth, flight)
    assert before > 0.1
    assert after < 0.5 * before


def test_true_depth_stays_as_it_is(flight):
    assert not look(flight, flight.depth, scaled(flight, 1.0)).steady


def test_its_points_are_on_the_surfaces_of_the_scene_in_the_unit_of_the_file(flight, in_inches):
    points, true = in_inches.points, flight.source.cameras
    assert len(points) > 200
    x, y, z = points.T / 39.37
    k = true.intrinsics[0]
    column, row = (k[0, 0] * x / z + k[0, 2]).astype(int), (k[1, 1] * y / z + k[1, 2]).astype(int)
    inside = (z > 0) & (column >= 0) & (column < SIZE[0]) & (row >= 0) & (row < SIZE[1])
    off = np.abs(np.log(z[inside] / flight.source.depth[0][row[inside], column[inside]]))
    assert np.median(off) < 0.02


def test_what_moves_is_found_whatever_the_unit(flight, in_inches):
    moving = np.stack(
        [cv2.resize(one.astype(np.uint8), SIZE, interpolation=cv2.INTER_NEAREST) for one in in_inches.moving]
    )
    there = flight.source.moving
    assert moving[there].mean() > 0.7
    assert moving[~there].mean() < 0.08


def test_a_mask_of_what_moves_is_kept(flight, wrong):
    given = flight.source.moving
    found = look(flight, wrong, scaled(flight, 1.0), moving=given)
    assert found.moving is given
    assert found.steady


def test_a_guessed_depth_is_not_fitted_to_anything(flight, wrong):
    found = look(flight, wrong, scaled(flight, 1.0), depth_is_guess=True)
    assert not found.steady
    assert found.moving is not None


@pytest.mark.parametrize(
    ("poses", "why"),
    [
        (lambda poses: poses[::-1], "within 2 px of where it puts them. Check that it belongs to these frames"),
        (lambda poses: np.tile(np.eye(4), (FRAMES, 1, 1)), "it stands still, and the clip's own does not"),
    ],
    ids=["in reverse", "still"],
)
def test_a_camera_of_something_else_is_used_but_told_and_changes_nothing(flight, wrong, poses, why):
    made = poses(scaled(flight, 1.0))
    found = look(flight, wrong, made)
    assert np.array_equal(found.camera_to_world, np.linalg.inv(made[0]) @ made)
    assert found.moving is None
    assert found.points is None
    assert not found.steady
    (note,) = found.choice_notes
    assert "The camera given does not fit the clip, so its unit, what moves and the depth were left alone" in note
    assert why in note


def test_a_camera_that_only_turns_shows_what_moves_but_no_points():
    turning = scenes.make("tripod", FRAMES, *SIZE)
    wrong = replace(turning.depth, depth=depth_errors.wrong(turning.depth.depth, depth_errors.usual(0), 0))
    found = look(turning, wrong, turning.source.cameras.camera_to_world)
    assert not len(found.points)
    assert found.steady.frames is not None
    assert found.steady.field is not None
    moving = np.stack([cv2.resize(one.astype(np.uint8), SIZE) for one in found.moving]) > 0
    assert moving[turning.source.moving].mean() > 0.4


def test_a_few_frames_or_a_cut_tell_nothing_and_the_note_says_so(flight):
    short = compared(
        flight.clip.frames[:4], flight.depth.depth[:4], scaled(flight, 1.0)[:4],
        Wish("auto", flight.depth.intrinsics[:4], True),
    )  # fmt: skip
    assert short.moving is None
    assert short.choice_notes == (
        "The camera given could not be compared with the clip, because 4 frames are too few to follow points.",
    )
    cut = scenes.make("cut", None, *SIZE)
    assert cut.cuts
    found = look(cut, cut.depth, cut.source.cameras.camera_to_world)
    assert f"the clip is cut at frame {cut.cuts[0]}" in found.choice_notes[0]


def test_studies_of_other_cameras_and_searches_are_cached_apart(flight):
    frames, depth, wish = flight.clip.frames, flight.depth.depth, Wish("auto", flight.depth.intrinsics, True)
    poses = scaled(flight, 1.0)
    keys = {kept.key(frames, depth, wish, camera) for camera in (None, poses, poses[::-1])}
    assert len(keys) == 3
    assert kept.key(frames, depth, wish, poses) in keys


@pytest.mark.parametrize("name", ["street", "drone"])
@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_a_lens_that_is_wrong_is_noticed_and_the_right_one_named(name, factor):
    made = scenes.make(name, FRAMES, *SIZE)
    poses, lens = made.source.cameras.camera_to_world, made.depth.intrinsics.copy()
    right = np.degrees(2 * np.arctan(SIZE[0] / 2 / lens[0, 0, 0]))
    lens[:, [0, 1], [0, 1]] *= factor
    found = compared(made.clip.frames, made.depth.depth, np.linalg.inv(poses[0]) @ poses, Wish("auto", lens, True))
    assert not found.steady
    (note,) = found.choice_notes
    assert "better with another lens" in note
    assert float(note.split("about ")[1].split(" degrees")[0]) == pytest.approx(right, abs=8)


def test_a_still_camera_for_a_clip_from_a_tripod_fits_and_shows_what_moves():
    still = scenes.make("still", FRAMES, *SIZE)
    found = look(still, still.depth, np.tile(np.eye(4), (FRAMES, 1, 1)))
    assert found.choice_notes == ("The camera given fits the clip: both stand still.",)
    assert len(found.points) == 0
    moving = np.stack([cv2.resize(one.astype(np.uint8), SIZE) for one in found.moving]) > 0
    assert moving[still.source.moving].mean() > 0.7


def test_depth_that_means_something_else_is_left_alone_and_told():
    walk = scenes.make("street", FRAMES, *SIZE)
    disparity = replace(walk.depth, depth=(10 / walk.depth.depth).astype(np.float32))
    found = look(walk, disparity, scaled(walk, 1.0))
    assert not found.steady
    assert found.moving is None
    assert "Check what the numbers in the depth file mean" in found.choice_notes[0]


def test_without_points_nothing_is_known_and_nothing_fails(flight, wrong):
    black = replace(flight, source=replace(flight.source, frames=np.zeros_like(flight.source.frames)))
    found = look(black, wrong, scaled(flight, 1.0))
    assert "too little texture" in found.choice_notes[0]
    everything = np.ones_like(flight.source.moving)
    found = look(flight, wrong, scaled(flight, 1.0), moving=everything)
    assert "outside the mask" in found.choice_notes[0]
    assert found.moving is everything
    nearly = everything.copy()
    nearly[:, 80:100, 100:120] = False
    assert (
        "too few points can be followed outside the mask"
        in look(flight, wrong, scaled(flight, 1.0), moving=nearly).choice_notes[0]
    )


def test_a_search_with_a_mask_of_everything_finds_nothing_and_does_not_fail(flight):
    wish = Wish("auto", flight.depth.intrinsics, True, moving=np.ones_like(flight.source.moving))
    found = find(flight.clip.frames, flight.depth.depth, replace(wish, method="depth"))
    assert found.camera_to_world is None
    assert "too little texture" in found.choice_notes[0]


def test_what_moves_is_found_once_more_if_depth_was_straightened(flight, wrong, monkeypatch):
    true = depth_and_movers.moving_mask
    monkeypatch.setattr(depth_and_movers, "moving_mask", lambda *given: (once.append(given[1]), true(*given))[1])
    once = []
    made = look(flight, wrong, scaled(flight, 39.37))
    look(flight, flight.depth, scaled(flight, 39.37))
    assert len(once) == 1
    assert error(once[0], flight) < 0.5 * error(wrong.depth, flight)
    assert error(steadied(wrong, made.steady).depth, flight) < 0.7 * error(once[0], flight), (
        "then the pictures refine it"
    )
