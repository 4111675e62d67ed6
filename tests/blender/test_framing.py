"""After Open Clip, a 3D View shows all of the shot from beside the source camera."""

from types import SimpleNamespace

import bpy
import numpy as np
import pytest
import shots

from blender_addon.scene import framing, objects
from ex4d.geometry.depth_video import DepthVideo


@pytest.fixture
def area():
    return framing.view_to_use(0)


def seen_at(area, point):
    """Position of a point in a 3D View, in pixels from its centre, x right, y up."""
    view, lens = area.spaces.active.region_3d, area.spaces.active.lens
    window = next(region for region in area.regions if region.type == "WINDOW")
    eye = np.array(view.view_location) + np.array(view.view_rotation.to_matrix())[:, 2] * view.view_distance
    local = np.array(view.view_rotation.to_matrix()).T @ (np.array(point) - eye)
    assert local[2] < 0, "in front of the eye"
    return local[:2] / -local[2] * lens / 72 * max(window.width, window.height)


def mesh_points(scene):
    mesh = objects.find(scene, objects.MESH)
    shown = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    return [shown.matrix_world @ vertex.co for vertex in shown.data.vertices]


@pytest.mark.parametrize("size", [(96, 64), (48, 96)])
def test_the_shot_is_in_the_middle_of_what_no_sidebar_covers_from_a_little_to_the_right(
    scene, addon, tmp_path, area, size
):
    shots.open_small(tmp_path, depth=shots.small_depth(3, *size))
    view = area.spaces.active.region_3d
    assert view.view_perspective == "PERSP"
    eye = np.array(view.view_rotation.to_matrix())[:, 2]
    assert np.degrees(np.arctan2(eye[0], -eye[1])) == pytest.approx(10, abs=0.1)
    at = np.array([seen_at(area, point) for point in mesh_points(scene)])
    window = next(region for region in area.regions if region.type == "WINDOW")
    (left, low), (right, high) = clear_pixels(area)
    ends = np.quantile(at, [0.02, 0.98], axis=0)
    assert ends[0, 0] > left - 1
    assert ends[1, 0] < right + 1
    assert ends[0, 1] > low - 1
    assert ends[1, 1] < high + 1
    assert max((ends[1] - ends[0]) / [window.width, window.height]) > 0.3, "not a dot far away"
    assert np.abs(ends.mean(0) - [(left + right) / 2, (low + high) / 2]).max() < 0.03 * window.width


def clear_pixels(area):
    """The corners of the clear part, in pixels from the view's centre."""
    window = next(region for region in area.regions if region.type == "WINDOW")
    lens = area.spaces.active.lens
    return framing.clear_part(area, lens) * lens / framing.SENSOR_MM * max(window.width, window.height)


def test_far_walls_are_not_cut_by_the_views_clip_end(scene, addon, tmp_path, area):
    depth = shots.small_depth(3)
    shots.open_small(tmp_path, depth=DepthVideo(depth.depth * 1000, depth.intrinsics, "test"))
    view = area.spaces.active
    assert view.region_3d.view_distance + 8000 < view.clip_end


def test_a_view_through_a_camera_and_views_of_an_unmatched_scene_stay(scene, addon, tmp_path, area):
    view = area.spaces.active.region_3d
    before = view.view_location.copy(), view.view_rotation.copy(), view.view_distance
    shots.open_small(tmp_path, match_scene=False)
    assert (view.view_location, view.view_rotation, view.view_distance) == before
    view.view_perspective = "CAMERA"
    shots.open_small(tmp_path / "two")
    assert view.view_perspective == "CAMERA"
    assert scene.camera == objects.find(scene, objects.CAMERA)


def test_opening_the_clip_again_leaves_the_view_where_the_artist_has_put_it(scene, addon, tmp_path, area):
    depth = shots.open_small(tmp_path)
    view = area.spaces.active.region_3d
    view.view_distance = 77
    shots.open_again(tmp_path, depth)
    assert view.view_distance == 77


def test_the_view_that_was_asked_is_turned_and_else_the_largest(area):
    screen = bpy.context.window_manager.windows[0].screen
    other = next(a for a in screen.areas if a.type == "OUTLINER")
    other.type = "VIEW_3D"
    assert framing.view_to_use(other.as_pointer()) == other
    assert framing.view_to_use(12345) == area
    for each in screen.areas:
        if each.type == "VIEW_3D":
            each.type = "OUTLINER"
    assert framing.view_to_use(12345) is None


def test_sidebars_over_the_view_are_left_out_on_their_side():
    def area(*regions):
        kinds = [SimpleNamespace(type=kind, x=x, width=width) for kind, x, width in regions]
        window = SimpleNamespace(type="WINDOW", x=100, width=1000, height=600)
        return SimpleNamespace(regions=[window, *kinds])

    def sides(*regions):
        return (framing.clear_part(area(*regions), 50.0)[:, 0] * 50 / 72 * 1000).round().tolist()

    assert sides(("UI", 1099, 1)) == [-500, 500]
    assert sides(("TOOLS", 100, 60)) == [-440, 500]
    assert sides(("TOOLS", 100, 60), ("UI", 800, 300)) == [-440, 200]
    assert sides(("UI", 1100, 300)) == [-500, 500], "beside the view, not over it"
    assert sides(("TOOLS", 100, 450), ("UI", 650, 450)) == [-500, 500], "no room is left: better covered than a dot"
    assert framing.clear_part(area(), 36.0)[:, 1].tolist() == [-0.6, 0.6]
