"""Disk space of a shot, and removing unused files."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import bpy
import pytest
import shots
from test_mesh import evaluated_vertices
from test_panels import Layout, draw
from test_takes import take

from blender_addon.scene import axes
from blender_addon.shot import disk, files, takes
from blender_addon.ui import disk as panel
from blender_addon.ui.disk import question
from blender_addon.words import size
from blender_addon.work import session
from ex4d.geometry.mesh import DWMesh
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, Generate, Source
from ex4d.pipeline.take import TakeRecord, write_record


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def opened_thrice(scene, shot, tmp_path):
    for number in (1, 2):
        shots.open_again(tmp_path / str(number), replace(shot, depth=shot.depth * (1 + number / 10)))
    session.current().disk_use.clear()


def size_of(*paths):
    return sum(path.stat().st_size for path in paths)


def test_the_panel_says_what_the_shot_takes_and_offers_nothing_where_all_is_used(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    folder = scene.ex4d.folder
    found = disk.look(scene)
    assert found.total == size_of(*(path for path in folder.rglob("*") if path.is_file()))
    assert found.takes == size_of(*(path for path in (folder / "takes").rglob("*") if path.is_file()))
    assert found.unused == ()
    assert draw(panel.draw_disk).buttons == []
    assert draw(panel.draw_disk).labels[0].endswith(" MB in all")


def test_the_preferences_say_what_shots_of_unsaved_files_take_and_where_they_are(scene, shot, tmp_path):
    def drawn():
        layout = Layout()
        panel.draw_unsaved(layout)
        return layout

    home = files.user_shots()
    assert scene.ex4d.folder.parent == home
    total = size_of(*(path for path in home.rglob("*") if path.is_file()))
    layout = drawn()
    assert (layout.labels, layout.buttons) == ([f"Shots of unsaved files: {size(total)}"], ["Open Folder"])
    assert layout.pressed["Open Folder"].filepath == str(home)
    shutil.rmtree(home)
    session.current().disk_use.clear()
    assert drawn().labels == []


def test_clean_removes_earlier_openings_and_keeps_takes_and_what_is_shown(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    opened_thrice(scene, shot, tmp_path)
    folder = scene.ex4d.folder
    made = ("source.mp4", "reliable.mp4", "mesh.pc2", "depth.npz")
    gone = [place / name for place in (folder, folder / "again" / "again_001") for name in made]
    assert set(disk.look(scene).unused) == set(gone)
    freed = size_of(*gone)
    assert draw(panel.draw_disk).buttons == [f"Clean ({freed / 1e6:.0f} MB)"]
    bpy.ops.ex4d.clean()
    assert (
        session.current().state.message
        == f"Removed {freed / 1e6:.0f} MB. Earlier openings had left it; all takes are still there."
    )
    assert not any(path.exists() for path in gone)
    assert not (folder / "again" / "again_001").exists()
    assert (takes.take_folder(scene, 1) / "result.mp4").is_file()
    vertices = axes.points_to_blender(DWMesh.from_depth(replace(shot, depth=shot.depth * 1.2)).vertices(5))
    assert evaluated_vertices(scene, 6) == pytest.approx(vertices, rel=1e-5)
    assert draw(panel.draw_disk).buttons == []


def test_depth_that_a_take_was_made_with_stays_for_take_again(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    depth, folder = scene.ex4d.folder / "depth.npz", takes.take_folder(scene, 1)
    blob = blob_of(depth)
    assert Path(json.loads(scene.ex4d.inputs)[blob.sha256]) == depth
    job = Generate(Source((Blob("0" * 64, 1, "clip.mp4"),), (blob,)), blob_of(folder / "camera.npz"))
    write_record(folder / "take.json", TakeRecord(job, "a", "a", False, 0, {}, 96, 64, 13, "24", [1.0], [], {}))
    opened_thrice(scene, shot, tmp_path)
    bpy.ops.ex4d.clean()
    assert depth.is_file()
    assert not depth.with_name("mesh.pc2").exists()
    assert (scene.ex4d.folder / "again" / "again_002" / "depth.npz").is_file(), "new takes are made with it"


def test_it_is_asked_and_a_file_beside_that_may_show_the_same_is_named(scene, shot, tmp_path):
    opened_thrice(scene, shot, tmp_path)
    assert question(scene).startswith("Remove 8 files left by earlier openings (")
    assert "Undo will not bring" in question(scene)
    blend = tmp_path / "project" / "a.blend"
    blend.parent.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    assert ".blend" not in question(scene)
    (blend.parent / "a_v2.blend").touch()
    assert question(scene).endswith("a_v2.blend in the same folder may still use them.")
