"""Viewport detail of the mesh: light at first, changed on the open shot, playing without the add-on."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots
from test_from_0_1 import SAVED
from test_mesh import evaluated_vertices, rendered, tinted
from test_panels import draw

from blender_addon.scene import axes, footage, mesh_object, objects
from blender_addon.shot import detail, disk
from blender_addon.ui.source_panels import draw_frames
from blender_addon.work import session
from blender_addon.work.requests import OpenRequest
from ex4d.geometry.depth_video import load_depth_npz
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.packed_depth import relative_error

WIDTH, HEIGHT, FRAMES = 512, 288, 3


@pytest.fixture
def shot(tmp_path, addon):
    """A shot so large that the mesh has only every second row and column."""
    return shots.open_small(tmp_path, depth=shots.small_depth(FRAMES, WIDTH, HEIGHT))


def whole(depth, t, poses=None):
    """Vertices (H,W,3) of the full mesh, in Blender axes."""
    mesh = DWMesh.from_depth(depth, poses)
    return axes.points_to_blender(mesh.vertices(t)).reshape(mesh.height, mesh.width, 3)


def stands(scene, depth, step, poses=None):
    """Assert that all frames show every `step`-th row and column of the full mesh."""
    height, width = depth.depth.shape[1:]
    rows = np.unique([0, *range(1, height - 1, step), height - 2, height - 1])
    columns = np.unique([0, *range(1, width - 1, step), width - 2, width - 1])
    for t in range(len(depth.depth)):
        expected = whole(depth, t, poses)[np.ix_(rows, columns)].reshape(-1, 3)
        found = evaluated_vertices(scene, scene.ex4d.start + t)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert scene.ex4d.mesh_step == step


def set_detail(scene, choice):
    scene.ex4d.detail = choice
    assert bpy.ops.ex4d.set_detail() == {"FINISHED"}


@pytest.mark.parametrize("moves", [False, True])
def test_a_shot_stands_light_and_every_vertex_is_where_the_whole_mesh_has_it(scene, tmp_path, moves):
    depth, poses = shots.small_depth(FRAMES, WIDTH, HEIGHT), shots.walk(FRAMES) if moves else None
    shots.open_small(tmp_path, depth=depth, poses=poses)
    stands(scene, depth, 2, poses)
    assert scene.ex4d.radius == pytest.approx(depth.depth[0, 1:-1, 1:-1].min() + 0.15)


def test_the_longer_side_has_about_256_points_whatever_the_working_size():
    for width, height, step in ((96, 64, 1), (512, 288, 2), (1024, 576, 4), (576, 1024, 4), (1920, 1072, 8)):
        assert mesh_object.step_of("LIGHT", width, height) == step
        assert mesh_object.step_of("MEDIUM", width, height) == max(1, round(step / 2))
        assert mesh_object.step_of("FULL", width, height) == 1


def test_the_detail_is_changed_on_the_open_shot_and_back_without_its_server(scene, shot, monkeypatch):
    monkeypatch.setattr(session.Session, "connect", None)
    chosen, root = scene.ex4d.camera, objects.find(scene, objects.ROOT)
    root.scale = (2, 2, 2)
    (material,) = objects.find(scene, objects.MESH).data.materials
    for choice, step in (("FULL", 1), ("LIGHT", 2)):
        set_detail(scene, choice)
        stands(scene, shot, step)
        words = "Full: 512 x 288" if step == 1 else "1/2: 258 x 146"
        told = f"The viewport mesh has changed. It is {words} points; takes always use all of the depth."
        assert session.current().state.message == told
    assert (scene.ex4d.camera, tuple(root.scale)) == (chosen, (2, 2, 2))
    assert [*objects.find(scene, objects.MESH).data.materials] == [material]
    assert len([mesh for mesh in bpy.data.meshes if mesh.name.startswith("EX-4D")]) == 1
    assert sorted(file.name for file in scene.ex4d.folder.glob("*.pc2")) == ["mesh.pc2", "mesh_2.pc2"]


def test_undo_brings_the_earlier_detail_back_with_its_cache(scene, shot):
    bpy.ops.ed.undo_push(message="before")
    set_detail(scene, "FULL")
    bpy.ops.ed.undo()
    stands(bpy.context.scene, shot, 2)
    bpy.ops.ed.redo()
    stands(bpy.context.scene, shot, 1)


def test_the_panel_says_which_detail_stands_and_what_another_one_costs(scene, shot):
    drawn = draw(draw_frames)
    assert "1/2: 258 x 146 points" in drawn.labels
    assert {"detail", "default_value"} <= set(drawn.shown)  # including the strength of the tint
    assert not [text for text in drawn.buttons if text.startswith("Show ")]
    scene.ex4d.detail = "FULL"
    (button,) = [text for text in draw(draw_frames).buttons if text.startswith("Show ")]
    size = mesh_object.PC2_HEADER.size + 12 * WIDTH * HEIGHT * FRAMES
    assert button == f"Show All ({size / 1e6:.0f} MB)" == f"Show All ({detail.cache_size(scene.ex4d, 1)})"
    bpy.ops.ex4d.set_detail()
    assert (scene.ex4d.folder / "mesh.pc2").stat().st_size == size
    assert "Full: 512 x 288 points" in draw(draw_frames).labels


def test_clean_removes_the_cache_of_another_detail(scene, shot):
    set_detail(scene, "FULL")
    assert [file.name for file in disk.look(scene).unused] == ["mesh_2.pc2"]
    disk.clean(scene)
    stands(scene, shot, 1)


def test_opening_again_keeps_the_detail_that_was_chosen(scene, shot, tmp_path):
    scene.ex4d.detail = "FULL"
    nearer = replace(shot, depth=shot.depth / 2)
    shots.open_again(tmp_path, nearer)
    stands(scene, nearer, 1)


def test_depth_that_is_gone_is_told_and_the_mesh_stays(scene, shot):
    (scene.ex4d.folder / "depth.npz").unlink()
    scene.ex4d.detail = "FULL"
    with pytest.raises(RuntimeError, match="There is no depth file"):
        bpy.ops.ex4d.set_detail()
    stands(scene, shot, 2)
    assert not list(scene.ex4d.folder.glob("*.part"))


def test_a_mesh_that_was_deleted_is_told(scene, shot):
    bpy.data.objects.remove(objects.find(scene, objects.MESH))
    scene.ex4d.detail = "FULL"
    with pytest.raises(RuntimeError, match="press Undo until it is back, or press Open Again"):
        bpy.ops.ex4d.set_detail()


PLAY = """
import sys
import bpy
import numpy as np
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
assert not hasattr(bpy.types.Scene, "ex4d")
scene, found = bpy.context.scene, []
for frame in map(int, sys.argv[3:]):
    scene.frame_set(frame)
    mesh = scene.objects["EX-4D Mesh"].evaluated_get(bpy.context.evaluated_depsgraph_get()).to_mesh()
    points = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", points)
    found.append(points.reshape(-1, 3))
np.save(sys.argv[2], found)
"""


def test_a_saved_shot_plays_in_a_blender_without_the_add_on(scene, shot, tmp_path):
    blend = tmp_path / "project" / "shot.blend"
    blend.parent.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    expected = [evaluated_vertices(bpy.context.scene, frame) for frame in (1, 3)]
    moved = shutil.copytree(blend.parent, tmp_path / "elsewhere")
    shutil.rmtree(blend.parent)
    command = [sys.executable, "-c", PLAY, str(moved / "shot.blend"), str(tmp_path / "found.npy"), "1", "3"]
    subprocess.run(command, check=True, timeout=120)
    assert np.array_equal(np.load(tmp_path / "found.npy"), expected)
    assert not np.array_equal(*expected)


def test_packed_depth_stands_within_its_error(scene, shot, tmp_path):
    request = OpenRequest(scene.name, scene.ex4d.shot, scene.ex4d.opened, "", "", {}, "[]")
    shots.bring_in(request, shots.deliver(tmp_path / "again", shot, packed=True))
    folder = scene.ex4d.folder / "again" / "again_001"
    assert not np.array_equal(load_depth_npz(folder / "depth.npz").depth, shot.depth)
    set_detail(scene, "FULL")
    found, exact = evaluated_vertices(scene, 2), whole(shot, 1).reshape(-1, 3)
    np.testing.assert_allclose(found, exact, rtol=1.01 * relative_error(), atol=1e-6)


# -- the material


def small_step(monkeypatch, step):
    """Make small shots use every `step`-th row and column."""
    monkeypatch.setitem(mesh_object.ACROSS, "LIGHT", shots.WIDTH / step)


def invented(scene, frame, folder):
    picture = rendered(scene, frame, folder)
    return tinted(picture) | (picture[..., 3] < 0.5)


@pytest.mark.parametrize("step", [2, 3])
def test_a_light_mesh_is_tinted_where_the_whole_one_is_and_does_not_smear(scene, tmp_path, monkeypatch, step):
    small_step(monkeypatch, step)
    shots.open_small(tmp_path)
    for other in [o for o in bpy.data.objects if "ex4d_role" not in o]:
        bpy.data.objects.remove(other)
    bpy.ops.ex4d.camera_preset(preset="60")
    light = invented(scene, scene.ex4d.last, tmp_path)
    set_detail(scene, "FULL")
    full = invented(scene, scene.ex4d.last, tmp_path)
    assert 0.05 < full.mean() < 0.9
    assert (light & full).sum() / full.sum() > 0.9
    assert (light & full).sum() / (light | full).sum() > 0.85


def test_from_the_source_view_a_light_mesh_has_no_tint(scene, tmp_path, monkeypatch):
    small_step(monkeypatch, 3)
    shots.open_small(tmp_path)
    scene.ex4d.camera = objects.find(scene, objects.SOURCE_CAMERA)
    assert tinted(rendered(scene, 6, tmp_path)[1:-1, 1:-1]).mean() == 0


def test_the_tint_can_be_made_weaker_and_switched_off(scene, tmp_path):
    shots.open_small(tmp_path)
    scene.ex4d.camera.location.x += 1.5
    found = []
    for value in (1.0, 0.5, 0.0):
        found.append(rendered(scene, 3, tmp_path, value)[..., :3] * 255)
    magenta = np.abs(found[0] - [255, 0, 255]).max(axis=-1) < 8
    assert magenta.mean() > 0.01
    assert not (np.abs(found[2] - [255, 0, 255]).max(axis=-1) < 64).any()
    between = np.abs(found[1][magenta] - [255, 0, 255]).max(axis=-1)
    assert between.min() > 8
    assert np.median(np.abs(found[0] - found[2])[~magenta]) == 0


def as_an_earlier_version_left_it(scene, folder):
    """Give the shot's material the nodes of 0.1, with the movie that Solid view used to show."""
    (material,) = objects.find(scene, objects.MESH).data.materials
    tree = material.node_tree
    images = {Path(n.image.filepath).name: n.image for n in tree.nodes if n.type == "TEX_IMAGE"}
    shutil.copy(folder / "source.mp4", folder / "solid.mp4")
    tree.nodes.clear()
    made = {}
    for name in ("source.mp4", "reliable.mp4"):
        made[name] = tree.nodes.new("ShaderNodeTexImage")
        made[name].image = images[name]
    for kind in ("Emission", "Emission", "Math", "MixShader", "OutputMaterial"):
        made[kind] = tree.nodes.new(f"ShaderNode{kind}")
    solid = tree.nodes.new("ShaderNodeTexImage")
    solid.image = bpy.data.images.load(str(folder / "solid.mp4"))
    tree.nodes.active = solid
    return material


def test_a_shot_of_an_earlier_version_stands_light_once_it_is_opened_again(scene, tmp_path):
    depth = shots.small_depth(FRAMES, WIDTH, HEIGHT)
    scene.ex4d.detail = "FULL"
    shots.open_small(tmp_path, depth=depth)
    material = as_an_earlier_version_left_it(scene, scene.ex4d.folder)
    scene.ex4d.property_unset("detail")
    scene.ex4d.property_unset("mesh_step")
    stands(scene, depth, 1)
    assert "Full: 512 x 288 points" in draw(draw_frames).labels
    shots.open_again(tmp_path, depth)
    stands(scene, depth, 2)
    assert material.node_tree.nodes.active.image.filepath.endswith("source.mp4")
    assert footage.tint_strength(material) is not None
    assert "solid.mp4" not in bpy.data.images
    assert scene.ex4d.image == material.node_tree.nodes.active.image


def test_a_material_that_was_changed_keeps_its_nodes_and_loses_only_the_tinted_movie(scene, tmp_path):
    depth = shots.open_small(tmp_path)
    material = as_an_earlier_version_left_it(scene, scene.ex4d.folder)
    material.node_tree.nodes.new("ShaderNodeBsdfDiffuse")
    shots.open_again(tmp_path, depth)
    kinds = sorted(node.bl_idname for node in material.node_tree.nodes)
    assert kinds.count("ShaderNodeTexImage") == 2
    assert "ShaderNodeBsdfDiffuse" in kinds
    assert footage.tint_strength(material) is None
    assert "default_value" not in draw(draw_frames).shown


def test_footage_fast_shows_the_footage_of_an_earlier_version_without_the_tint(scene, tmp_path):
    shots.open_small(tmp_path)
    material = as_an_earlier_version_left_it(scene, scene.ex4d.folder)
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    with bpy.context.temp_override(window=window, area=area):
        bpy.ops.ex4d.show_footage(shading="SOLID")
    assert material.node_tree.nodes.active.image.filepath.endswith("source.mp4")


@pytest.mark.parametrize("name", ["saved_by_4_2.blend", "saved_by_5_0.blend"])
def test_the_shots_of_0_1_play_in_full_and_become_light_with_one_button(tmp_path, addon, monkeypatch, name):
    if name == "saved_by_5_0.blend" and bpy.app.version < (4, 5, 0):
        pytest.skip("4.2 cannot read what 5.0 saved")
    folder = shutil.copytree(SAVED, tmp_path / "project")
    bpy.ops.wm.open_mainfile(filepath=str(folder / name))
    scene = bpy.context.scene
    depth, poses = load_depth_npz(scene.ex4d.folder / "depth.npz"), scene.ex4d.poses
    stands(scene, depth, 1, poses)
    monkeypatch.setitem(mesh_object.ACROSS, "LIGHT", scene.ex4d.width / 3)
    bpy.ops.ex4d.set_detail()
    stands(scene, depth, 3, poses)
    (material,) = objects.find(scene, objects.MESH).data.materials
    assert footage.tint_strength(material) is not None
