"""Opening the clip again: other depth, lens or motion comes, and nothing of the artist's is lost."""

import json
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots
from test_mesh import evaluated_vertices
from test_takes import take

from blender_addon import asking, axes, camera, checks, compat, files, objects, source, takes
from ex4d.depth import DepthVideo, plane
from ex4d.mesh import DWMesh


def with_lens(depth: DepthVideo, zoom: float) -> DepthVideo:
    k = depth.intrinsics.copy()
    k[:, [0, 1], [0, 1]] *= zoom
    return replace(depth, intrinsics=k)


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def keys_of(thing):
    return {(c.data_path, c.array_index): [tuple(p.co) for p in c.keyframe_points] for c in compat.fcurves(thing)}


def test_camera_takes_and_strips_stay_when_the_clip_is_opened_again(scene, shot, tmp_path):
    bpy.ops.ex4d.camera_preset(preset="60")
    take(scene, tmp_path / "one")
    facts = scene.ex4d
    chosen, keys, name, folder = facts.camera, keys_of(facts.camera), facts.shot, facts.folder
    scene.frame_start, scene.render.fps = 3, 30  # what the artist has changed
    views = [a.spaces.active for s in bpy.data.screens for a in s.areas if a.type == "VIEW_3D"]
    assert {view.shading.type for view in views} == {"MATERIAL"}
    views[0].shading.type = "SOLID"
    root = objects.find(scene, objects.ROOT)
    root.location, root.scale = (1, 2, 3), (2, 2, 2)
    other = replace(shot, depth=shot.depth * 1.1)
    told = shots.open_again(tmp_path, other)
    assert "camera and takes are as they were" in told
    assert "times as far" not in told
    assert facts.camera == chosen
    assert keys_of(chosen) == keys
    assert (facts.shot, facts.folder, facts.start) == (name, folder, 1)
    assert (scene.frame_start, scene.render.fps, views[0].shading.type) == (3, 30, "SOLID")
    assert (objects.find(scene, objects.ROOT), tuple(root.location), tuple(root.scale)) == (root, (1, 2, 3), (2, 2, 2))
    assert [entry.title for entry in facts.takes] == ["Take 001 (preview)"]
    assert takes.strip_of(scene, 1) is not None
    assert takes.take_folder(scene, 1).is_dir()
    assert [o.name for o in scene.objects if o.get("ex4d_role") == "mesh"] == ["EX-4D Mesh"]
    mesh = DWMesh.from_depth(other)
    for t in (0, shots.FRAMES - 1):
        assert np.array_equal(evaluated_vertices(scene, 1 + t), axes.points_to_blender(mesh.vertices(t)))
    assert Path(bpy.path.abspath(facts.image.filepath)) == folder / "again" / "again_001" / "source.mp4"
    take(scene, tmp_path / "two")
    assert [entry.number for entry in facts.takes] == [1, 2]


def test_inputs_of_earlier_takes_are_still_known_after_opening_again(scene, shot, tmp_path):
    scene.ex4d.inputs = json.dumps({"0": "zero"})
    shots.open_again(tmp_path, shot)
    assert json.loads(scene.ex4d.inputs) == {"0": "zero", "1": "one"}
    assert json.loads(scene.ex4d.source) == {"again": 1}


def test_a_camera_with_the_sources_lens_follows_it_and_any_other_lens_stays(scene, shot, tmp_path):
    chosen = scene.ex4d.camera
    shots.open_again(tmp_path, with_lens(shot, 1.5))
    assert not camera.off_source(scene)
    assert np.array_equal(camera.sample(scene).intrinsics[0], scene.ex4d.intrinsics)
    chosen.data.lens = 18
    shots.open_again(tmp_path, shot)
    assert chosen.data.lens == 18


def test_a_material_that_the_artist_has_changed_stays_and_shows_the_new_footage(scene, shot, tmp_path):
    mesh = objects.find(scene, objects.MESH)
    (material,) = mesh.data.materials
    material.name = "Mine"
    mesh.modifiers.new("Mine", "SUBSURF").show_viewport = False
    shots.open_again(tmp_path, shot)
    assert objects.find(scene, objects.MESH) == mesh
    assert [m.name for m in mesh.data.materials] == ["Mine"]
    assert [m.type for m in mesh.modifiers] == ["MESH_CACHE", "SUBSURF"]
    images = {n.image.filepath for n in material.node_tree.nodes if n.type == "TEX_IMAGE"}
    assert {files.absolute(i).parent.name for i in images} == {"again_001"}
    assert {files.absolute(i).name for i in images} == {"source.mp4", "reliable.mp4"}


def test_undo_brings_the_earlier_mesh_back_with_its_files(scene, shot, tmp_path):
    bpy.ops.ed.undo_push(message="before")
    shots.open_again(tmp_path, replace(shot, depth=shot.depth * 2))
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    fresh = bpy.context.scene
    assert fresh.ex4d.image.filepath.endswith(f"{fresh.ex4d.shot}/source.mp4")
    mesh = DWMesh.from_depth(shot)
    assert np.array_equal(evaluated_vertices(fresh, 1), axes.points_to_blender(mesh.vertices(0)))


def test_other_distances_are_told_because_the_same_move_looks_different_then(scene, shot, tmp_path):
    told = shots.open_again(tmp_path, replace(shot, depth=shot.depth * 3))
    assert "What is nearest stands 2.9 times as far as before" in told


def test_opening_again_that_is_given_up_changes_nothing(scene, shot, tmp_path):
    facts, before = scene.ex4d, scene.ex4d.image.filepath
    request = source.OpenRequest(scene.name, facts.shot, facts.opened, "", "", {})
    work = source.bring_in(request, shots.deliver(tmp_path / "job", replace(shot, depth=shot.depth * 2)))
    for _ in range(20):
        next(work)
    work.close()
    assert facts.image.filepath == before
    assert not list((facts.folder / files.AGAIN).iterdir())
    assert np.array_equal(evaluated_vertices(scene, 1), axes.points_to_blender(DWMesh.from_depth(shot).vertices(0)))


def test_what_was_opened_again_is_saved_and_loaded_like_the_rest(scene, shot, tmp_path):
    other = replace(shot, depth=shot.depth * 1.1)
    shots.open_again(tmp_path, other, shots.walk())
    take(scene, tmp_path / "one")
    blend = tmp_path / "project" / "shot.blend"
    blend.parent.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    fresh = bpy.context.scene
    facts = fresh.ex4d
    assert facts.folder == blend.parent / "ex4d" / facts.shot
    assert facts.image.filepath.startswith("//")
    assert facts.poses.tolist() == shots.walk().tolist()
    vertices = axes.points_to_blender(DWMesh.from_depth(other, shots.walk()).vertices(5))
    assert np.array_equal(evaluated_vertices(fresh, 6), vertices)
    assert takes.take_folder(fresh, 1).is_dir()


def test_a_file_saved_for_the_first_time_while_the_clip_is_opened_again_has_all_of_it(scene, shot, tmp_path):
    other = replace(shot, depth=shot.depth * 1.1)
    facts = scene.ex4d
    request = source.OpenRequest(scene.name, facts.shot, facts.opened, "", "", {}, source="{}")
    work = source.bring_in(request, shots.deliver(tmp_path / "job", other))
    for _ in range(20):
        next(work)
    blend = tmp_path / "project" / "shot.blend"
    blend.parent.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    for _step in work:
        pass
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    fresh = bpy.context.scene
    cache = Path(bpy.path.abspath(objects.find(fresh, objects.MESH).modifiers[0].filepath))
    assert cache == blend.parent / "ex4d" / fresh.ex4d.shot / "again" / "again_001" / "mesh.pc2"
    assert np.array_equal(evaluated_vertices(fresh, 1), axes.points_to_blender(DWMesh.from_depth(other).vertices(0)))


def test_changed_settings_are_told_until_the_clip_is_opened_with_them(scene, shot, tmp_path):
    def told():
        return [advice.text for advice in checks.depth_trouble(scene)]

    assert not told()
    scene.ex4d.field_of_view = 40
    assert told() == ["The settings have changed since: press Open Again."]
    shots.open_again(tmp_path, shot)
    assert not told()


def test_a_guess_is_called_one_in_panel_and_notes(scene, shot, tmp_path):
    guess = replace(shot, provider=plane.NAME, notes=(plane.NOTE,))
    shots.open_again(tmp_path, guess, licence="Apache-2.0")
    assert plane.NOTE in [advice.text for advice in checks.depth_trouble(scene)]
    assert scene.ex4d.notes == plane.NOTE


def test_settings_of_one_clip_are_not_used_for_another(scene, tmp_path):
    facts = scene.ex4d
    facts.estimator, facts.field_of_view, facts.depth_unit, facts.motion = "plane", 40, "cm", "CAMERA"
    facts.tracked_camera = bpy.data.objects.new("tracked", bpy.data.cameras.new("tracked"))
    with pytest.raises(source.InputError, match="There is no clip"):
        asking.request_open(scene, tmp_path / "other.mp4", "", 0, 49, None)
    assert (facts.estimator, facts.field_of_view, facts.depth_unit) == ("plane", 0, "as_it_is")
    assert (facts.motion, facts.tracked_camera) == ("STILL", None)
    assert (facts.clip_path, facts.opened) == (str(tmp_path / "other.mp4"), str(tmp_path / "small.mp4"))
