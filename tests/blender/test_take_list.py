"""The list of takes: custom names and notes, deleting with files, and listing takes found on disk."""

import bpy
import pytest
import shots
from test_panels import draw
from test_takes import record_of, take

from blender_addon.scene import compat
from blender_addon.shot import takes
from blender_addon.ui import panels
from blender_addon.work import session


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def test_a_take_can_be_renamed_and_keeps_a_note_and_a_star(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    assert {"title", "note"} <= set(draw(panels.draw_takes).shown)
    entry = scene.ex4d.takes[0]
    entry.title, entry.note, entry.favourite = "Hero", "The hand is good", True
    blend = tmp_path / "project" / "a.blend"
    blend.parent.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    fresh = bpy.context.scene
    entry = fresh.ex4d.takes[0]
    assert (entry.title, entry.note, entry.favourite) == ("Hero", "The hand is good", True)
    assert takes.strip_of(fresh, 1) is not None
    take(fresh, tmp_path / "two")
    assert [each.title for each in fresh.ex4d.takes] == ["Hero", "Take 002 (Preview)"]


def test_a_take_is_deleted_with_strip_and_files_and_no_other_is(scene, shot, tmp_path):
    for name in ("one", "two"):
        take(scene, tmp_path / name)
    take(scene, tmp_path / "view", preview=True)
    folder = takes.take_folder(scene, 1)
    bpy.ops.ex4d.take_delete(number=1)
    assert session.current().state.message == f"Take 001 (Preview) was deleted. Its files in {folder} are gone too."
    assert not folder.exists()
    assert takes.strip_of(scene, 1) is None
    assert [entry.title for entry in scene.ex4d.takes] == ["Take 002 (Preview)", "Path Preview 001"]
    assert takes.take_folder(scene, 2).is_dir()
    assert takes.take_folder(scene, 1, view=True).is_dir()
    assert takes.strip_of(scene, 1, view=True) is not None


def test_takes_that_are_on_the_disk_come_back_with_what_is_known_of_them(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    take(scene, tmp_path / "view", preview=True)
    record_of(scene, takes.take_folder(scene, 1), "painter", seed=7)
    compat.remove_strip(scene, takes.strip_of(scene, 1))
    for _each in range(2):
        bpy.ops.ex4d.take_remove()
    assert "List from Disk" in draw(panels.draw_takes).buttons
    bpy.ops.ex4d.takes_list()
    assert session.current().state.message == "2 takes came back into the list."
    made, view = scene.ex4d.takes
    assert (made.number, made.view, made.title, made.generator) == (1, False, "Take 001", "painter")
    assert made.made == "painter, seed 7"
    assert (view.number, view.view, view.title) == (1, True, "Path Preview 001")
    assert compat.strip_range(takes.strip_of(scene, 1)) == (1, 14)
    assert len(compat.strips(scene)) == 2, "the strip of the view was there"
    bpy.ops.ex4d.takes_list()
    assert len(scene.ex4d.takes) == 2
    assert session.current().state.message == "No take is missing from the list."
    bpy.ops.ex4d.take_restore_camera(number=1)


def test_a_strip_inside_a_meta_strip_is_deleted_too(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    top = compat.strips(scene)
    meta = top.new_meta(name="Meta", channel=5, frame_start=1)
    takes.strip_of(scene, 1).move_to_meta(meta)
    assert len(compat.strips(scene)) == 1
    bpy.ops.ex4d.take_delete(number=1)
    assert [strip.name for strip in compat.all_strips(scene)] == ["Meta"]


def test_a_view_that_comes_back_shows_the_holes_as_before(scene, shot, tmp_path):
    take(scene, tmp_path / "view", preview=True)
    compat.remove_strip(scene, takes.strip_of(scene, 1, view=True))
    bpy.ops.ex4d.take_remove()
    bpy.ops.ex4d.takes_list()
    assert bpy.path.basename(takes.strip_of(scene, 1, view=True).filepath) == "view.mp4"
