"""Things done in an unlucky order: undo while a take is made, damaged files, dialogs without a name."""

import shutil
from pathlib import Path

import bpy
import pytest
import shots
from test_takes import deliver, record_of, take

from blender_addon.scene import cg, objects
from blender_addon.shot import checks, disk, part, take_list, takes
from blender_addon.ui.file_name import is_named
from blender_addon.work import session
from ex4d.errors import InputError


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def reported(name, *how, **settings):
    """The error that an operator reports."""
    with pytest.raises(RuntimeError) as said:
        getattr(bpy.ops.ex4d, name)(*how, **settings)
    return str(said.value)


@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize("gone", ["undone", "deleted"])
def test_a_take_whose_shot_was_undone_or_deleted_meanwhile_is_kept_on_the_disk(scene, shot, tmp_path, gone, preview):
    facts = scene.ex4d
    standing, folder = facts.shot, facts.folder
    request, update = deliver(scene, tmp_path / "take", preview=preview)
    camera = Path(request.path).read_bytes()
    if gone == "undone":
        facts.shot = ""
    else:
        bpy.context.window.scene = bpy.data.scenes.new("Other")
        bpy.data.scenes.remove(scene)
    with pytest.raises(InputError, match=r"is kept in .*_001: press Undo or Redo until the shot is back"):
        shots.outcome(takes.bring_in(request, update))
    kept = folder / ("views" if preview else "takes") / ("view_001" if preview else "take_001")
    assert (kept / "camera.npz").read_bytes() == camera
    assert (kept / ("colour.mp4" if preview else "result.mp4")).is_file()
    if gone == "undone":
        facts.shot = standing
        bpy.ops.ex4d.takes_list()
        assert [(entry.number, entry.view) for entry in facts.takes] == [(1, preview)]
        assert takes.strip_of(scene, 1, preview) is not None


def test_a_take_whose_folder_is_gone_as_well_says_so(scene, shot, tmp_path):
    request, update = deliver(scene, tmp_path / "take")
    shutil.rmtree(scene.ex4d.folder)
    scene.ex4d.shot = ""
    with pytest.raises(InputError, match="its folder is gone: open the clip again"):
        shots.outcome(takes.bring_in(request, update))


def test_a_take_that_is_damaged_does_not_keep_others_out_of_the_list(scene, shot, tmp_path):
    for name in ("one", "two"):
        take(scene, tmp_path / name)
    (takes.take_folder(scene, 1) / "camera.npz").write_bytes(b"half of it")
    for _each in range(2):
        bpy.ops.ex4d.take_remove()
    for _each in range(2):
        found, (damaged,) = take_list.list_again(scene)
        assert damaged.startswith("Take 001 is not listed: The camera file")
        assert [(entry.number, bool(entry.title)) for entry in scene.ex4d.takes] == [(2, True)]
    assert found == 0


def test_a_take_with_cg_in_it_is_not_deleted(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    folder = takes.take_folder(scene, 1)
    bpy.ops.ex4d.cg_set_up()
    assert cg.is_rendered_into(scene, folder)
    assert "press Remove under CG and Export" in reported("take_delete", number=1)
    assert (folder / "result.mp4").is_file()
    bpy.ops.ex4d.cg_remove()
    bpy.ops.ex4d.take_delete(number=1)
    assert not folder.exists()


def test_without_the_shots_video_nothing_is_said_to_be_deleted_and_no_take_is_begun(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    folder = takes.take_folder(scene, 1)
    bpy.data.images.remove(scene.ex4d.image)
    assert "cannot be found: press Open Again" in reported("take_delete", number=1)
    assert len(scene.ex4d.takes) == 1
    assert folder.is_dir()
    assert "press Open Again to restore it" in reported("generate")
    assert not session.current().state.busy


def test_a_shot_that_reaches_beyond_blenders_last_frame_is_refused(scene, shot, tmp_path):
    before = scene.ex4d.shot
    scene.frame_end = part.LAST_FRAME
    scene.frame_start = part.LAST_FRAME - 3
    with pytest.raises(InputError, match=r"from scene frame 1048571 to 1048583, but Blender's last frame is 1048574"):
        shots.open_small(tmp_path / "late")
    assert scene.ex4d.shot == before
    assert objects.find(scene, objects.MESH) is not None


@pytest.mark.parametrize("name", ["export_shot", "export_path"])
def test_an_export_without_a_name_says_so(scene, shot, tmp_path, name):
    for filepath in ("", f"{tmp_path}/"):
        assert "No file is named" in reported(name, filepath=filepath)
    assert not is_named("//")
    assert is_named("//camera.abc")


def test_what_is_wrong_with_a_dropped_clip_is_told_in_one_sentence(scene, addon, tmp_path):
    said = reported("drop_footage", directory=str(tmp_path), files=[{"name": "gone.mp4"}])
    assert said.strip() == f"Error: There is no clip {tmp_path / 'gone.mp4'}: choose another file."


def test_details_do_not_crash_a_blender_without_a_window(scene, addon):
    assert bpy.ops.ex4d.details(text="All of it.") == {"FINISHED"}


def test_find_clip_without_a_name_says_so(scene, shot):
    assert "No clip is chosen" in reported("find_clip")


def test_a_shot_that_is_scaled_to_nothing_says_so_everywhere(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    objects.find(scene, objects.ROOT).scale = 0, 0, 0
    bpy.context.view_layer.update()
    for name in ("generate", "new_camera", "cg_set_up", "set_scale"):
        assert "EX-4D Source has a scale of zero" in reported(name), name
    assert [advice for advice in checks.warnings(scene) if "has a scale of zero" in advice.text]


def test_options_that_are_no_settings_are_refused_in_words(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    record_of(scene, takes.take_folder(scene, 1), "painter")
    assert "a setting and its value" in reported("take_again", number=1, options="[1]")


def test_the_disk_panel_stands_where_the_source_is_damaged(scene, shot):
    scene.ex4d.source = "{"
    found = disk.look(scene)
    assert found.total > 0
    assert not [file for file in found.unused if file.name == "depth.npz"], "nobody knows which one stands"
    disk.clean(scene)
    assert (scene.ex4d.folder / "depth.npz").is_file()
