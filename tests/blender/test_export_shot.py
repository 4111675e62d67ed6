"""Camera and mesh as Alembic and USD, read back by Blender's own importers."""

import re
import struct
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots

from blender_addon.scene import interchange, objects

MIDDLE = 6


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    depth = shots.open_small(tmp_path, poses=shots.walk())
    root = objects.find(bpy.context.scene, objects.ROOT)
    root.location, root.rotation_euler, root.scale = (1, 2, 3), (0.1, 0.2, 0.3), (1.5, 1.5, 1.5)
    bpy.ops.ex4d.camera_preset(preset="dolly_zoom", amount=0.5, shake=1.0)
    return depth


def vertices(scene, thing, frame):
    scene.frame_set(frame)
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    found = np.empty((len(evaluated.data.vertices), 3), np.float32)
    evaluated.data.vertices.foreach_get("co", found.ravel())
    matrix = np.array(evaluated.matrix_world)
    return found @ matrix[:3, :3].T + matrix[:3, 3]


def pose(scene, thing, frame):
    """Matrix (4,4) without scale, and the focal length divided by the sensor width."""
    scene.frame_set(frame)
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    matrix = np.array(evaluated.matrix_world)
    matrix[:3, :3] /= np.linalg.norm(matrix[:3, :3], axis=0)
    return matrix, evaluated.data.lens / evaluated.data.sensor_width


def own_lenses(scene):
    return [pose(scene, scene.ex4d.camera, frame)[1] for frame in range(scene.ex4d.start, scene.ex4d.last + 1)]


@pytest.mark.parametrize("kind", ["ALEMBIC", "USD"])
def test_what_is_written_and_read_again_stands_and_moves_the_same(scene, tmp_path, kind):
    facts, mesh = scene.ex4d, objects.find(scene, objects.MESH)
    frames = (facts.start, facts.start + MIDDLE, facts.last)
    wanted = [vertices(scene, mesh, frame) for frame in frames]
    seen = [pose(scene, facts.camera, frame) for frame in frames]
    assert np.abs(wanted[0] - wanted[1]).max() > 0.1
    file = tmp_path / ("shot" + interchange.ENDINGS[kind][0])
    assert bpy.ops.ex4d.export_shot(filepath=str(file)) == {"FINISHED"}
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    scene = bpy.context.scene
    (bpy.ops.wm.alembic_import if kind == "ALEMBIC" else bpy.ops.wm.usd_import)(filepath=str(file))
    (mesh,) = [o for o in scene.objects if o.type == "MESH"]
    (taken,) = [o for o in scene.objects if o.type == "CAMERA"]
    assert (scene.frame_start, scene.frame_end) == (frames[0], frames[-1])
    assert [layer.name for layer in mesh.data.uv_layers] in (["UVMap"], ["st"])
    for frame, there, (matrix, lens) in zip(frames, wanted, seen, strict=True):
        assert np.abs(vertices(scene, mesh, frame) - there).max() < 1e-4
        now, now_lens = pose(scene, taken, frame)
        assert np.abs(now - matrix).max() < 1e-4
        if kind == "USD" and bpy.app.version >= (4, 5, 0):
            assert now_lens == pytest.approx(lens, rel=1e-5)


def test_every_lens_is_in_the_file_though_blenders_readers_may_take_the_first_alone(scene, tmp_path):
    lenses = own_lenses(scene)
    assert lenses[-1] == pytest.approx(lenses[0] / 2)
    for name in ("shot.abc", "shot.usda"):
        bpy.ops.ex4d.export_shot(filepath=str(tmp_path / name))
    content = (tmp_path / "shot.abc").read_bytes()
    assert all(struct.pack("<d", np.float32(lens * 36)) in content for lens in lenses)

    def samples(what):
        text = (tmp_path / "shot.usda").read_text()
        found = re.search(what + r"\.timeSamples = \{(.*?)\}", text, re.DOTALL).group(1)
        return np.array([float(line.split(": ")[1].rstrip(",")) for line in found.split("\n") if ": " in line])

    assert samples("focalLength") / samples("horizontalAperture") == pytest.approx(lenses, rel=1e-5)


@pytest.mark.parametrize("kind", ["ALEMBIC", "USD"])
def test_the_scene_is_as_it_was_and_what_is_hidden_is_written_too(scene, tmp_path, kind):
    mesh, file = objects.find(scene, objects.MESH), tmp_path / "shot.abc"
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    mesh.hide_viewport = mesh.hide_render = True
    scene.frame_start, scene.frame_end = 4, 200
    scene.frame_set(9, subframe=0.5)

    def state():
        layer = bpy.context.view_layer
        return (
            [o.name for o in layer.objects.selected],
            layer.objects.active,
            layer.active_layer_collection.name,
            [c.name for c in bpy.data.collections],
            [c.name for c in mesh.users_collection],
            (mesh.hide_viewport, mesh.hide_render, cube.hide_render),
            (scene.frame_start, scene.frame_end, scene.frame_current, scene.frame_subframe),
        )

    before = state()
    bpy.ops.ex4d.export_shot(filepath=str(file), format=kind)
    assert state() == before
    file = interchange.file_for(file, kind)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=True)
    (bpy.ops.wm.alembic_import if kind == "ALEMBIC" else bpy.ops.wm.usd_import)(filepath=str(file))
    scene = bpy.context.scene
    assert sorted(o.type for o in scene.objects if o.type != "EMPTY") == ["CAMERA", "MESH"]
    assert (scene.frame_start, scene.frame_end) == (1, 13)


def test_the_ending_of_the_name_tells_the_format_and_a_chosen_format_names_the_ending():
    assert interchange.format_of_name(Path("a.USDA")) == "USD"
    assert interchange.file_for(Path("a.b"), "ALEMBIC") == Path("a.b.abc")
    assert interchange.file_for(Path("a.abc"), "USD") == Path("a.usdc")
    assert interchange.file_for(Path("a.usda"), "USD") == Path("a.usda")


def test_what_cannot_be_written_is_said_and_nothing_is_left_behind(scene, tmp_path, monkeypatch):
    before = len(bpy.data.collections)
    with pytest.raises(RuntimeError, match=r"There is no folder .*nowhere: choose another place"):
        bpy.ops.ex4d.export_shot(filepath=str(tmp_path / "nowhere" / "a.abc"))
    monkeypatch.setattr(interchange, "is_built_in", lambda kind: kind == "ALEMBIC")
    with pytest.raises(RuntimeError, match="built without USD: choose Alembic"):
        bpy.ops.ex4d.export_shot(filepath=str(tmp_path / "a.usdc"))
    monkeypatch.setattr(interchange, "is_built_in", lambda kind: False)
    for name in ("a.usdc", "a.abc"):
        with pytest.raises(
            RuntimeError, match=r"without Alembic and USD: use a Blender from blender\.org, whose builds"
        ):
            bpy.ops.ex4d.export_shot(filepath=str(tmp_path / name))
    monkeypatch.undo()
    monkeypatch.setattr(interchange, "expected_bytes", lambda scene: 10**18)
    with pytest.raises(RuntimeError, match=r"needs about 1000000000 GB, but only .* are free"):
        bpy.ops.ex4d.export_shot(filepath=str(tmp_path / "a.abc"))
    assert len(bpy.data.collections) == before
    assert not (tmp_path / "a.abc").exists()


def test_the_size_that_is_told_beforehand_is_about_that_of_the_file(scene, tmp_path):
    bpy.ops.ex4d.export_shot(filepath=str(tmp_path / "a.abc"))
    bpy.ops.ex4d.export_shot(filepath=str(tmp_path / "a.usdc"))
    for name in ("a.abc", "a.usdc"):
        assert 0.5 < (tmp_path / name).stat().st_size / interchange.expected_bytes(scene) < 2, name


@pytest.mark.parametrize("kind", ["ALEMBIC", "USD"])
def test_a_file_that_cannot_be_written_leaves_the_one_that_was_there(scene, tmp_path, kind, monkeypatch):
    file = tmp_path / ("shot" + interchange.ENDINGS[kind][0])
    file.write_text("what was there")
    monkeypatch.setattr(interchange, "_alembic" if kind == "ALEMBIC" else "_usd", lambda *arguments: None)
    with pytest.raises(RuntimeError, match=f"could not write {file.name}"):  # as if an exporter failed and reported it
        bpy.ops.ex4d.export_shot(filepath=str(file))
    assert file.read_text() == "what was there"
    monkeypatch.undo()
    bpy.ops.ex4d.export_shot(filepath=str(file))
    assert file.stat().st_size > 100_000
    assert sorted(path.name for path in tmp_path.glob("*.part*")) == []
