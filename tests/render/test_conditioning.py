import numpy as np
import pytest

from ex4d.errors import Cancelled, InputError
from ex4d.geometry import presets
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.render.conditioning import render, render_stereo
from ex4d.render.engines import engine
from ex4d.render.scene import Scene


def orbit(depth, name="60", frames=None, **options):
    radius = presets.pivot_distance(depth.depth[0])
    height, width = depth.depth.shape[1:]
    frames = frames or len(depth.depth)
    return presets.preset(name, radius, depth.intrinsics[0], width, height, frames, **options)


def test_a_camera_on_the_source_view_gives_the_source_frame_and_a_full_mask(moving_box):
    clip, depth = moving_box
    still = orbit(depth, "zoom_in", amount=0.0)
    conditioning = render(Scene(DWMesh.from_depth(depth), clip.frames, still))
    assert (conditioning.colour == clip.frames).all()
    assert (conditioning.mask == 255).all()
    assert (conditioning.coverage.real == 1).all()
    assert conditioning.notes == ()


def test_an_orbit_sees_less_and_less_and_is_black_where_nothing_is_real(moving_box):
    clip, depth = moving_box
    conditioning = render(Scene(DWMesh.from_depth(depth), clip.frames, orbit(depth)))
    assert set(np.unique(conditioning.mask)) <= {0, 255}
    assert (conditioning.colour[conditioning.mask == 0] == 0).all()
    assert (np.diff(conditioning.coverage.real) < 0).all()
    assert np.allclose(conditioning.coverage.real, (conditioning.mask == 255).mean(axis=(1, 2)))


def test_colour_next_to_a_hole_is_not_darkened_except_as_released(moving_box):
    clip, depth = moving_box
    frames = np.full_like(clip.frames, 200)
    path = orbit(depth, "30")
    ours = render(Scene(DWMesh.from_depth(depth), frames, path))
    assert (ours.colour[ours.mask == 255] == 200).all()
    released = render(Scene(DWMesh.from_depth(depth, release_compat=True), frames, path, release_compat=True))
    assert (released.colour[1:][released.mask[1:] == 255] < 190).any()


def test_a_moving_source_camera_leaves_a_standing_thing_where_it_is(moving_box):
    """The same plane seen by a source camera that moves sideways must look the same from one fixed camera."""
    clip, depth = moving_box
    flat = type(depth)(np.full_like(depth.depth, 5.0), depth.intrinsics, "plane")
    poses = np.broadcast_to(np.eye(4), (len(flat.depth), 4, 4)).copy()
    poses[:, 0, 3] = np.linspace(0, 0.4, len(poses))
    rows, cols = np.mgrid[: clip.frames.shape[1], : clip.frames.shape[2]]
    frames = np.empty_like(clip.frames)
    for t, pose in enumerate(poses):
        x = (cols + 0.5 - 32) / 60 * 5 + pose[0, 3]
        frames[t] = np.stack([128 + 60 * np.sin(3 * x), 128 + 60 * np.cos(2 * x), rows * 4], axis=-1)
    fixed = CameraPath(np.broadcast_to(poses[4], poses.shape), depth.intrinsics, 64, 48)
    conditioning = render(Scene(DWMesh.from_depth(flat, poses), frames, fixed))
    both = (conditioning.mask[0] == 255) & (conditioning.mask[8] == 255)
    assert both.mean() > 0.7
    difference = np.abs(conditioning.colour[0].astype(int) - conditioning.colour[8])[both]
    assert difference.mean() < 1.0


def test_a_path_that_starts_elsewhere_is_noted(moving_box):
    clip, depth = moving_box
    path = orbit(depth)
    turned = CameraPath(path.camera_to_world[::-1], path.intrinsics, path.width, path.height)
    notes = render(Scene(DWMesh.from_depth(depth), clip.frames, turned)).notes
    assert any("does not start at the source view" in note for note in notes)


def test_a_camera_behind_the_wall_is_noted_and_still_rendered(moving_box):
    clip, depth = moving_box
    path = orbit(depth, "zoom_in", amount=0.9)
    poses = path.camera_to_world.copy()
    poses[5:, :3, 3] = (0, 0, 7)
    conditioning = render(
        Scene(DWMesh.from_depth(depth), clip.frames, CameraPath(poses, path.intrinsics, path.width, path.height))
    )
    assert any(
        "inside or behind" in note and "the first being frame 5 (from 0), where" in note for note in conditioning.notes
    )
    assert conditioning.colour.shape == clip.frames.shape


@pytest.mark.parametrize("size", [(100, 20), (33, 71)])
def test_the_picture_may_have_another_size_than_the_clip(moving_box, size):
    clip, depth = moving_box
    path = orbit(depth)
    resized = CameraPath(path.camera_to_world, path.intrinsics, *size)
    conditioning = render(Scene(DWMesh.from_depth(depth), clip.frames, resized))
    assert conditioning.colour.shape == (len(clip.frames), size[1], size[0], 3)


def test_frames_that_do_not_belong_to_the_mesh_are_refused(moving_box):
    clip, depth = moving_box
    with pytest.raises(InputError, match="belong together"):
        render(Scene(DWMesh.from_depth(depth), clip.frames[:, ::2], orbit(depth)))


def test_a_path_of_another_length_is_refused(moving_box):
    clip, depth = moving_box
    with pytest.raises(InputError, match="path has 5 frames but the clip has 9"):
        render(Scene(DWMesh.from_depth(depth), clip.frames, orbit(depth, frames=5)))


def test_more_pictures_than_memory_are_refused_before_they_are_made(moving_box):
    clip, depth = moving_box
    path = orbit(depth)
    with pytest.raises(InputError, match="memory"):
        render(
            Scene(
                DWMesh.from_depth(depth),
                clip.frames,
                CameraPath(path.camera_to_world, path.intrinsics, 16384, 16384),
            )
        )


def test_progress_counts_every_frame_and_cancel_stops_between_two(moving_box):
    clip, depth = moving_box
    steps = []

    def progress(stage, step, total):
        steps.append((step, total))
        if step == 4:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        render(Scene(DWMesh.from_depth(depth), clip.frames, orbit(depth)), progress=progress)
    assert steps == [(1, 9), (2, 9), (3, 9), (4, 9)]


def test_two_eyes_stand_side_by_side_and_see_near_things_shifted_against_each_other(moving_box):
    clip, depth = moving_box
    scene = Scene(DWMesh.from_depth(depth), clip.frames, orbit(depth, "zoom_in", amount=0.0))
    both = render_stereo(scene, eye_distance=0.4)
    assert both.colour.shape == (9, 48, 128, 3)
    assert both.mask.shape == (9, 48, 128)
    left, right = both.colour[:, :, :64], both.colour[:, :, 64:]
    yellow = [(np.abs(eye[0].astype(int) - (250, 220, 40)).max(-1) < 20).nonzero()[1].mean() for eye in (left, right)]
    # 60 px focal length * 0.4 / 4 units of distance: the box is 6 px farther right in the left eye.
    assert yellow[0] - yellow[1] == pytest.approx(6, abs=0.5)


@pytest.mark.parametrize("distance", [0.0, -1.0, float("nan")])
def test_a_distance_of_the_eyes_that_makes_no_sense_is_refused(moving_box, distance):
    clip, depth = moving_box
    with pytest.raises(InputError, match="eye distance"):
        render_stereo(Scene(DWMesh.from_depth(depth), clip.frames, orbit(depth)), distance)


def test_the_user_is_told_when_the_slow_engine_draws(moving_box):
    clip, depth = moving_box
    scene = Scene(DWMesh.from_depth(depth), clip.frames, orbit(depth))
    assert any("numba" in note for note in render(scene, engine("numpy")).notes)
    assert not any("numba" in note for note in render(scene, engine("numba")).notes)
