"""After Open Clip a 3D View looks at the shot, all of it, from beside the source camera."""

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
    """Where a 3D View shows a point, in pixels from its middle, x right, y up."""
    view, lens = area.spaces.active.region_3d, area.spaces.active.lens
    window = next(region for region in area.regions if region.type == "WINDOW")
    eye = np.array(view.view_location) + np.array(view.view_rotation.to_matrix())[:, 2] * view.view_distance
    local = np.array(view.view_rotation.to_matrix()).T @ (np.array(point) - eye)
    assert local[2] < 0, "in front of the eye"
    return local[:2] / -local[2] * lens / 72 * max(window.width, window.height)


def corners(scene):
    """The corners of the clip's first frame, as far away as the view turns about."""
    facts = scene.ex4d
    k, r = facts.intrinsics, 1.5 * facts.radius
    for x, y in ((0, 0), (facts.width, 0), (0, facts.height), (facts.width, facts.height)):
        across, down = (x - k[0, 2]) / k[0, 0] * r, (y - k[1, 2]) / k[1, 1] * r
        yield across, r, -down


@pytest.mark.parametrize("size", [(96, 64), (48, 96)])
def test_the_whole_picture_is_in_the_view_from_a_little_to_the_right(scene, addon, tmp_path, area, size):
    shots.open_small(tmp_path, depth=shots.small_depth(3, *size))
    view, window = area.spaces.active.region_3d, next(r for r in area.regions if r.type == "WINDOW")
    pivot = np.array([0, 1.5 * scene.ex4d.radius, 0])
    assert np.array(view.view_location) == pytest.approx(pivot, abs=1e-5)
    assert view.view_perspective == "PERSP"
    eye = np.array(view.view_rotation.to_matrix())[:, 2]
    assert np.degrees(np.arctan2(eye[0], -eye[1])) == pytest.approx(10, abs=0.1)
    assert view.view_distance >= 1.5 * scene.ex4d.radius * 0.99
    for corner in corners(scene):
        x, y = seen_at(area, corner)
        assert abs(x) < window.width / 2
        assert abs(y) < window.height / 2
        assert max(abs(x) / window.width, abs(y) / window.height) > 0.1, "not a dot far away"


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


def test_a_sidebar_over_the_view_takes_room_on_both_sides_but_never_more_than_half():
    def area(*regions):
        kinds = [SimpleNamespace(type=kind, x=x, width=width) for kind, x, width in regions]
        return SimpleNamespace(regions=[SimpleNamespace(type="WINDOW", x=100, width=1000), *kinds])

    assert framing.clear_width(area(("UI", 1099, 1))) == 1000
    assert framing.clear_width(area(("TOOLS", 100, 60))) == 880
    assert framing.clear_width(area(("TOOLS", 100, 60), ("UI", 800, 300))) == 500
    assert framing.clear_width(area(("UI", 900, 200))) == 600
    assert framing.clear_width(area(("UI", 1100, 300))) == 1000, "beside the view, not over it"
