"""The user's own camera moves, stored by Blender's preset system."""

from pathlib import Path

import bpy
import pytest

from blender_addon.ui import saved_moves

LEFT = {"preset": "truck", "amount": -0.75, "rise": 0.5, "easing": "in_out", "shake": 1.5, "shake_seed": 9}


@pytest.fixture(autouse=True)
def folder(tmp_path, addon, monkeypatch):
    monkeypatch.setenv("BLENDER_USER_SCRIPTS", str(tmp_path / "scripts"))
    return tmp_path / "scripts" / "presets" / "ex4d" / "camera_move"


def choose(file: Path):
    return bpy.ops.script.execute_preset(filepath=str(file), menu_idname=saved_moves.EX4D_MT_saved_moves.bl_idname)


def test_a_saved_move_comes_back_with_all_its_values_in_another_file(scene, folder):
    for name, value in LEFT.items():
        setattr(scene.ex4d, name, value)
    scene.ex4d.pivot = "CURSOR"
    assert bpy.ops.ex4d.save_move(name="Past the Window") == {"FINISHED"}
    (file,) = folder.glob("*.py")
    assert file.stem == "Past_the_Window"
    bpy.ops.wm.read_homefile(use_factory_startup=False)
    facts = bpy.context.scene.ex4d
    assert (facts.preset, facts.pivot) == ("30", "NEAREST")
    choose(file)
    assert {name: getattr(facts, name) for name in LEFT} == LEFT
    assert facts.pivot == "CURSOR"
    assert saved_moves.EX4D_MT_saved_moves.bl_label == "Past the Window"


def test_a_name_is_saved_once_and_removing_takes_the_file_of_the_one_that_stands_there(scene, folder):
    bpy.ops.ex4d.save_move(name="One")
    bpy.ops.ex4d.save_move(name="Two")
    scene.ex4d.amount = 77
    assert bpy.ops.ex4d.save_move(name="One") == {"CANCELLED"}
    choose(folder / "One.py")
    assert scene.ex4d.amount == 30
    assert bpy.ops.ex4d.save_move(remove_active=True) == {"FINISHED"}
    assert [file.name for file in folder.iterdir()] == ["Two.py"]
    assert saved_moves.EX4D_MT_saved_moves.bl_label == "Saved Moves"
