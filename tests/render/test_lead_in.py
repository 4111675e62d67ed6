"""The lead-in: cameras from the source view to the start of a path, while the first frame stands still."""

from dataclasses import replace

import numpy as np
import pytest

from ex4d.geometry import presets, transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.render.conditioning import render
from ex4d.render.lead_in import with_lead_in
from ex4d.render.scene import Scene


def orbit(depth, degrees=30.0, name="arc"):
    radius = presets.pivot_distance(depth.depth[0])
    return presets.preset(name, radius, depth.intrinsics, 64, 48, len(depth.depth), degrees)


def backwards(depth, **options):
    """A path that ends at the source view."""
    path = orbit(depth, **options)
    return replace(path, camera_to_world=path.camera_to_world[::-1].copy())


def scene_of(box, path, **more):
    clip, depth = box
    return Scene(DWMesh.from_depth(depth), clip.frames, path, **more)


@pytest.fixture
def shot(moving_box):
    """A shot with moving things known, so that other frames fill."""
    clip, _ = moving_box
    moving = (clip.frames == (250, 220, 40)).all(axis=-1)
    return scene_of(moving_box, backwards(moving_box[1]), persistence="fill", moving=moving)


def test_a_path_that_begins_at_the_source_view_gets_none(moving_box):
    scene = scene_of(moving_box, orbit(moving_box[1]))
    assert with_lead_in(scene, 4) is scene


@pytest.mark.parametrize(
    ("degrees", "stride", "frames"), [(5, 1, 8), (30, 1, 12), (30, 4, 12), (33, 4, 16), (90, 1, 16), (5, 5, 10)]
)
def test_the_farther_it_leads_the_longer_it_is_and_a_multiple_of_the_stride(moving_box, degrees, stride, frames):
    scene = scene_of(moving_box, backwards(moving_box[1], degrees=float(degrees)))
    led = with_lead_in(scene, stride)
    assert led.lead_in == frames
    assert len(led.path) == frames + len(scene.path)
    assert np.array_equal(led.without_lead_in.path.camera_to_world, scene.path.camera_to_world)


def test_it_follows_the_circle_of_an_orbit_from_the_source_camera_on_and_slows_down_at_both_ends(moving_box):
    depth = moving_box[1]
    led = with_lead_in(scene_of(moving_box, backwards(depth, degrees=60.0)), 4)
    poses, pivot = led.path.camera_to_world[: led.lead_in + 1], presets.pivot_distance(depth.depth[0])
    assert np.array_equal(poses[0], np.eye(4))
    eyes = poses[:, :3, 3] - (0, 0, pivot)
    assert np.linalg.norm(eyes, axis=1) == pytest.approx(pivot, rel=1e-9)
    angles = np.degrees(np.arctan2(np.abs(eyes[:, 0]), -eyes[:, 2]))
    assert angles[-1] == pytest.approx(60)
    steps = np.diff(angles)
    assert (steps > 0).all()
    assert steps.max() == pytest.approx(steps[len(steps) // 2], rel=0.05)
    assert max(steps[0], steps[-1]) < 0.25 * steps.max()
    transforms.check(led.path.camera_to_world)


@pytest.mark.parametrize("degrees", [0.0, 1e-5, 0.3, 179.9999999, 180.0])
def test_any_turn_and_shift_is_led_to_from_a_source_camera_that_is_anywhere(moving_box, degrees):
    clip, depth = moving_box
    source = np.repeat(np.eye(4)[None], len(depth.depth), axis=0)
    source[:, :3, :3] = transforms.turned(np.radians([40.0]), 0, 2)[0]
    source[:, :3, 3] = (3, -1, 2)
    change = np.eye(4)
    change[:3, :3] = transforms.turned(np.radians([degrees]), 2, 1)[0] @ transforms.turned(np.radians([0.0]), 0, 2)[0]
    change[:3, 3] = (0.5, 0.25, -1)
    path = CameraPath(source @ change, depth.intrinsics * [[[1.5], [1.5], [1]]], 64, 48)
    led = with_lead_in(Scene(DWMesh.from_depth(depth, source), clip.frames, path), 1)
    poses = transforms.check(led.path.camera_to_world)
    assert np.allclose(poses[0], source[0], atol=1e-12)
    # Evenly rotated and shifted along the way: the last step leads to the path's first camera, and no farther.
    left = np.linalg.norm(poses[: led.lead_in + 1, :3, 3] - path.camera_to_world[0, :3, 3], axis=1)
    assert (np.diff(left) < 1e-9).all()
    assert left[led.lead_in - 1] < 0.1 * left[0]
    focal = led.path.intrinsics[:, 0, 0]
    assert (focal[0], focal[led.lead_in]) == (60, 90)
    assert (np.diff(focal[: led.lead_in + 1]) > 0).all()


def test_time_stands_still_in_it_and_its_first_frame_is_the_clips(shot):
    led = with_lead_in(shot, 4)
    seen = render(led)
    assert np.array_equal(seen.colour[0], shot.pictures[0])
    assert (seen.mask[0] == 255).all()
    # Along the same cameras, a clip that shows the first frame all the time.
    frozen = replace(
        shot,
        mesh=replace(shot.mesh, depth=np.repeat(shot.mesh.depth[:1], len(shot.mesh), axis=0)),
        pictures=np.repeat(shot.pictures[:1], len(shot.mesh), axis=0),
        persistence="off",
    )
    inside = slice(led.lead_in - len(shot.mesh), led.lead_in)
    path = replace(shot.path, camera_to_world=led.path.camera_to_world[inside], intrinsics=led.path.intrinsics[inside])
    still = render(replace(frozen, path=path))
    alone = render(replace(led, persistence="off"))
    assert np.array_equal(alone.colour[inside], still.colour)
    assert np.array_equal(alone.mask[inside], still.mask)
    # Static things that other frames saw count in it too.
    assert (seen.borrowed[inside] > 0).any()


@pytest.mark.parametrize("persistence", ["off", "fill", "all"])
def test_cut_off_it_leaves_the_shot_as_it_is_without(shot, persistence):
    scene = replace(shot, persistence=persistence)
    led = with_lead_in(scene, 4)
    whole, without = render(led), render(scene)
    assert len(whole.colour) == led.lead_in + len(without.colour)
    cut = whole.without_lead_in
    for name in ("colour", "mask") + (() if persistence == "off" else ("borrowed",)):
        assert np.array_equal(getattr(cut, name), getattr(without, name)), name
    for name in ("real", "angle", "level"):
        assert np.array_equal(getattr(cut.coverage, name), getattr(without.coverage, name)), name
    assert cut.lead_in == 0
    # The messages are the same except for the sentence about where the path starts.
    assert cut.notes[1:] == without.notes[1:]
    assert f"a lead-in of {led.lead_in} frames" in cut.notes[0]
    assert "or turn on Lead-In" in without.notes[0]


def test_progress_counts_all_frames_that_are_rendered(shot):
    told, led = [], with_lead_in(shot, 4)
    render(led, progress=lambda stage, step, steps, picture=None: told.append((step, steps)))
    assert told[-1] == (len(led.path), len(led.path))
    assert [step for step, _ in told] == sorted(step for step, _ in told)
