"""Shots of unsaved files are in the user's data folder, including those of earlier versions."""

import shutil
from pathlib import Path

import bpy
import pytest
import shots
from test_takes import all_paths_are_right, take

from blender_addon.scene import compat
from blender_addon.shot import homes, saving, source, takes
from blender_addon.work import session

OWN_USER_FOLDER = compat.user_folder


@pytest.fixture
def former(tmp_path, monkeypatch, addon):
    """The folder in which an earlier version kept everything."""
    folder = tmp_path / "extension"
    folder.mkdir()
    monkeypatch.setattr("blender_addon.scene.compat.former_user_folders", lambda package: [folder])
    return folder


@pytest.fixture
def of_earlier_version(scene, tmp_path, former, user_folder, monkeypatch):
    """A shot with a take, as an earlier version left it in a file that was only auto-saved."""
    with monkeypatch.context() as patch:
        patch.setattr("blender_addon.scene.compat.user_folder", lambda package: former)
        shots.open_small(tmp_path)
        take(scene, tmp_path / "one")
    assert scene.ex4d.folder.is_relative_to(former)
    autosave = tmp_path / "autosave.blend"
    with monkeypatch.context() as patch:  # auto-save calls no handlers
        patch.setattr("blender_addon.shot.saving.settle", lambda blend: saving.Settled(blend))
        bpy.ops.wm.save_as_mainfile(filepath=str(autosave), copy=True, relative_remap=False)
    return autosave


def test_files_of_the_user_do_not_lie_where_blender_removes_them_with_the_extension(monkeypatch, tmp_path):
    monkeypatch.setenv("EX4D_DATA", str(tmp_path / "data"))
    folder = OWN_USER_FOLDER("bl_ext.user_default.ex4d")
    assert folder == tmp_path / "data" / "blender"
    assert folder.is_dir()
    monkeypatch.delenv("EX4D_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    removed_with_it = Path(bpy.utils.extension_path_user("bl_ext.user_default.ex4d"))
    assert not OWN_USER_FOLDER("bl_ext.user_default.ex4d").is_relative_to(removed_with_it.parents[1])


def test_shots_of_an_earlier_version_are_found_after_the_extension_is_gone(of_earlier_version, former, user_folder):
    homes.tidy()
    homes.take_over()
    bpy.ops.wm.open_mainfile(filepath=str(of_earlier_version))
    session.current().tick()
    shutil.rmtree(former)  # uninstalled
    scene = bpy.context.scene
    assert scene.ex4d.folder.is_relative_to(user_folder)
    assert all_paths_are_right(scene)
    assert takes.take_folder(scene, 1).is_dir()
    assert Path(source.standing_depth(scene.ex4d)).is_relative_to(user_folder)


def test_what_was_taken_over_is_removed_at_the_next_start_and_not_before(of_earlier_version, former, user_folder):
    homes.tidy()
    homes.take_over()
    (old,) = (former / "shots").iterdir()
    assert (old / "source.mp4").samefile(user_folder / "shots" / old.name / "source.mp4"), "it takes no room twice"
    homes.tidy()
    homes.take_over()
    assert not old.exists()
    assert (user_folder / "shots" / old.name / "takes" / "take_001" / "result.mp4").is_file()


def test_a_shot_of_an_earlier_version_goes_beside_the_blend_like_any_other(scene, of_earlier_version, former, tmp_path):
    blend = tmp_path / "project" / "shot.blend"
    blend.parent.mkdir()
    saving.settle(str(blend))
    assert scene.ex4d.folder == blend.parent / "ex4d" / scene.ex4d.shot
    assert all_paths_are_right(scene)


def test_the_server_of_an_earlier_version_is_known_and_its_folder_comes_along(former, user_folder, tmp_path):
    (former / "server").mkdir()
    (former / "server" / "server.json").write_text('{"instance": "2c3d"}')
    (former / "server" / "journal").write_text("jobs")
    own = session.current().server
    assert own.is_instance("2c3d")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    own.start(str(python), "tcp://127.0.0.1:59731")
    own.stop()
    assert own.state == user_folder / "server"
    assert (user_folder / "server" / "journal").read_text() == "jobs"
    assert not (former / "server").exists()
