"""Saving a file to another folder: its shots are brought along, and each file keeps its own."""

import shutil
from pathlib import Path

import bpy
import pytest
import shots
from test_takes import all_paths_are_right, take

from blender_addon.scene import compat, objects
from blender_addon.shot import saving, takes
from blender_addon.work import session
from ex4d.media.movie import write_movie


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def save(path: Path, **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(path), **more)
    return path


def load(path: Path) -> bpy.types.Scene:
    bpy.ops.wm.open_mainfile(filepath=str(path))
    session.current().tick()
    return bpy.context.scene


def paths(scene):
    cache = objects.find(scene, objects.MESH).modifiers[0].filepath
    return [cache, scene.ex4d.image.filepath, *(strip.filepath for strip in compat.strips(scene))]


@pytest.fixture
def two(scene, shot, tmp_path):
    """A file with a take, saved to one folder and then to another."""
    one = save(tmp_path / "one" / "a.blend")
    take(scene, tmp_path / "job_one")
    bpy.ops.wm.save_mainfile()
    return one, save(tmp_path / "two" / "deeper" / "b.blend")


def test_new_takes_go_beside_the_file_that_it_was_saved_as_and_earlier_ones_are_there_too(two, tmp_path):
    one, other = two
    scene = bpy.context.scene
    assert scene.ex4d.folder == other.parent / "ex4d" / scene.ex4d.shot
    take(scene, tmp_path / "job_two")
    assert takes.take_folder(scene, 2) == other.parent / "ex4d" / scene.ex4d.shot / "takes" / "take_002"
    assert takes.take_folder(scene, 2).is_dir()
    assert not list(one.parent.rglob("take_002"))
    assert takes.take_folder(scene, 1).is_dir()
    bpy.ops.wm.save_mainfile()
    shutil.rmtree(one.parent)
    moved = other.parent.rename(tmp_path / "moved")  # with everything next to it
    fresh = load(moved / "b.blend")
    assert all(path.startswith("//ex4d/") for path in paths(fresh))
    assert all_paths_are_right(fresh)


def test_the_file_that_was_left_keeps_its_files_and_takes_its_own_numbers(two, tmp_path):
    one, _other = two
    take(bpy.context.scene, tmp_path / "job_two")
    bpy.ops.wm.save_mainfile()
    fresh = load(one)
    assert fresh.ex4d.folder.is_relative_to(one.parent)
    assert all_paths_are_right(fresh)
    take(fresh, tmp_path / "job_three")
    assert takes.take_folder(fresh, 2).is_relative_to(one.parent)


def test_files_on_the_same_disk_take_no_room_twice(two):
    one, other = two
    name = bpy.context.scene.ex4d.shot
    assert (one.parent / "ex4d" / name / "mesh.pc2").samefile(other.parent / "ex4d" / name / "mesh.pc2")
    assert "copied" not in session.current().state.message


def test_files_on_another_disk_are_copied_which_is_told(scene, shot, tmp_path, monkeypatch):
    save(tmp_path / "one" / "a.blend")

    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    save(tmp_path / "two" / "b.blend")
    assert session.current().state.message.endswith("of the shot's files were copied beside b.blend.")
    assert all_paths_are_right(bpy.context.scene)


def test_going_back_and_forth_adds_what_is_new(two, tmp_path):
    one, _other = two
    scene = bpy.context.scene
    take(scene, tmp_path / "job_two")
    save(one)
    assert scene.ex4d.folder == one.parent / "ex4d" / scene.ex4d.shot
    assert takes.take_folder(scene, 2).is_dir()
    assert takes.take_folder(scene, 2).is_relative_to(one.parent)
    assert all_paths_are_right(scene)


def test_other_takes_under_the_same_numbers_are_not_mixed_up(two, tmp_path):
    one, other = two
    take(bpy.context.scene, tmp_path / "job_two")
    theirs = (takes.take_folder(bpy.context.scene, 2) / "result.mp4").read_bytes()
    bpy.ops.wm.save_mainfile()
    scene = load(one)
    take(scene, tmp_path / "job_three")
    mine = takes.take_folder(scene, 2) / "result.mp4"
    longer = Path(tmp_path / "longer.mp4")
    write_movie(longer, shots.small_frames(shots.small_depth()), shots.FPS)
    shutil.copyfile(longer, mine)
    save(other.parent / "c.blend")
    assert scene.ex4d.folder == other.parent / "ex4d" / f"{scene.ex4d.shot}_2"
    assert (takes.take_folder(scene, 2) / "result.mp4").read_bytes() == longer.read_bytes()
    assert all_paths_are_right(scene)
    scene = load(other)
    assert (takes.take_folder(scene, 2) / "result.mp4").read_bytes() == theirs


def test_a_copy_that_is_saved_elsewhere_leaves_the_open_file_with_its_own(scene, shot, tmp_path):
    one = save(tmp_path / "one" / "a.blend")
    before = paths(scene)
    copy = save(tmp_path / "copy" / "b.blend", copy=True)
    assert paths(scene) == before
    take(scene, tmp_path / "job")
    assert takes.take_folder(scene, 1).is_relative_to(one.parent)
    fresh = load(copy)
    assert fresh.ex4d.folder.is_relative_to(copy.parent)
    assert all_paths_are_right(fresh)


def test_a_copy_of_a_file_that_was_never_saved_leaves_it_in_the_users_folder(scene, shot, tmp_path, user_folder):
    copy = save(tmp_path / "copy" / "b.blend", copy=True)
    assert scene.ex4d.folder.is_relative_to(user_folder)
    assert all_paths_are_right(scene)
    from blender_addon.shot import homes

    homes.tidy()
    assert all_paths_are_right(scene), "the open file still shows them"
    assert all_paths_are_right(load(copy))


def test_a_second_name_in_the_same_folder_shares_the_shot(scene, shot, tmp_path):
    one = save(tmp_path / "one" / "a.blend")
    folder = scene.ex4d.folder
    save(one.with_name("a_v2.blend"))
    assert scene.ex4d.folder == folder
    assert [path.name for path in folder.parent.iterdir()] == [scene.ex4d.shot]


def test_settling_twice_changes_nothing(two):
    assert saving.settle(str(two[1])).before == ()


def test_a_shot_that_lies_in_a_third_place_comes_along_as_a_whole(two, tmp_path):
    """As in files that an earlier version saved to another folder, which use what is next to the first file."""
    _one, other = two
    scene = load(other)
    name = scene.ex4d.shot
    third = (other.parent / "ex4d").rename(tmp_path / "third")
    for owner in saving.files.path_owners():
        owner.filepath = owner.filepath.replace("//ex4d/", str(third) + "/")
    save(other)
    assert scene.ex4d.folder == other.parent / "ex4d" / name
    assert all(Path(bpy.path.abspath(path)).is_relative_to(other.parent) for path in paths(scene))
    assert all_paths_are_right(scene)
