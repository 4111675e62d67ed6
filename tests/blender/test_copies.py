"""Scenes copied by Blender, and scenes of other files: each shot is left unchanged."""

import os

import bpy
import pytest
import shots
from test_takes import deliver, take

from blender_addon.scene import compat, objects
from blender_addon.shot import copies, disk, files, new_shot, source, takes
from blender_addon.work import memory, session, state


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def copy(scene, kind):
    bpy.context.window.scene = scene
    bpy.ops.scene.new(type=kind)
    session.current().tick()
    return bpy.context.scene


def pictures(scene):
    """Paths of the movies that the mesh of a scene's shot shows."""
    materials = objects.find(scene, objects.MESH).data.materials
    return {files.absolute(n.image.filepath) for m in materials for n in m.node_tree.nodes if n.type == "TEX_IMAGE"}


@pytest.mark.parametrize("kind", ["EMPTY", "LINK_COPY"])
def test_a_copy_without_objects_of_its_own_has_no_shot_and_says_so(scene, shot, tmp_path, kind):
    take(scene, tmp_path / "take")
    scene.ex4d.preset, scene.ex4d.seed = "crane", 7
    before = scene.ex4d.shot, scene.ex4d.folder, scene.ex4d.camera, [t.title for t in scene.ex4d.takes]
    made = copy(scene, kind)
    facts = made.ex4d
    assert (facts.shot, facts.image, facts.camera, len(facts.takes)) == ("", None, None, 0)
    assert (facts.preset, facts.seed) == ("crane", 7)
    assert new_shot.with_shots() == [scene]
    assert session.current().state.message == (
        "Scene.001 is a copy of Scene without objects of its own, so it has no shot: open a clip in it."
    )
    assert before == (scene.ex4d.shot, scene.ex4d.folder, scene.ex4d.camera, [t.title for t in scene.ex4d.takes])
    assert objects.find(scene, objects.MESH) is not None


def test_opening_a_full_copy_again_changes_nothing_in_the_scene_that_was_copied(scene, shot, tmp_path):
    before = pictures(scene)
    made = copy(scene, "FULL_COPY")
    assert made.ex4d.shot == scene.ex4d.shot
    assert made.ex4d.image != scene.ex4d.image
    shots.open_again(tmp_path, shots.small_depth(5))
    assert (made.ex4d.frames, scene.ex4d.frames) == (5, shots.FRAMES)
    assert pictures(scene) == before
    assert {path.parent for path in pictures(made)} == {made.ex4d.folder / "again" / "again_001"}
    assert files.absolute(scene.ex4d.image.filepath) == scene.ex4d.folder / "source.mp4"


def test_a_full_copy_keeps_its_own_pictures_when_the_original_is_opened_again(scene, shot, tmp_path):
    made = copy(scene, "FULL_COPY")
    before = pictures(made)
    bpy.context.window.scene = scene
    shots.open_again(tmp_path, shots.small_depth(5))
    assert pictures(made) == before
    assert {path.parent for path in pictures(scene)} == {scene.ex4d.folder / "again" / "again_001"}


def test_clean_keeps_the_depth_of_copies(scene, shot, tmp_path):
    made = copy(scene, "FULL_COPY")
    shots.open_again(tmp_path, shots.small_depth(5))
    assert source.standing_depth(made.ex4d) != source.standing_depth(scene.ex4d)
    for each in (scene, made):
        disk.clean(each)
    assert source.standing_depth(scene.ex4d)
    assert source.standing_depth(made.ex4d)


def test_deleting_a_take_takes_it_out_of_copies_too(scene, shot, tmp_path):
    for name in ("one", "two"):
        take(scene, tmp_path / name)
    made = copy(scene, "FULL_COPY")
    assert copies.sharing(made) == [made, scene]
    bpy.ops.ex4d.take_delete(number=1)
    for each in (scene, made):
        assert [entry.number for entry in each.ex4d.takes] == [2]
        assert takes.strip_of(each, 1) is None
        assert all(files.absolute(strip.filepath).is_file() for strip in compat.all_strips(each))


def test_removing_cg_from_a_copy_leaves_that_of_the_original(scene, shot, tmp_path):
    take(scene, tmp_path / "take")
    bpy.ops.ex4d.cg_set_up()
    made = copy(scene, "FULL_COPY")
    bpy.ops.ex4d.cg_remove()
    assert not made.ex4d.cg
    assert scene.ex4d.cg
    assert [b.image.name for b in scene.camera.data.background_images if b.image.get("ex4d_role") == "cg_take"]
    bpy.context.window.scene = scene
    bpy.ops.ex4d.cg_remove()
    assert not [image for image in bpy.data.images if image.get("ex4d_role") == "cg_take"]


def test_a_copy_that_is_made_while_a_take_is_under_way_does_not_get_that_take(scene, shot, tmp_path):
    session.current().enter_file()
    request, _update = deliver(scene, tmp_path / "take")
    scene.ex4d.remember(request, "job 1", True)
    made = copy(scene, "FULL_COPY")
    made.name = "A first one"
    assert made.ex4d.remembered is None
    assert scene.ex4d.remembered is not None


def test_the_copies_of_a_file_that_is_opened_again_are_as_they_were(scene, shot, tmp_path):
    made = copy(scene, "FULL_COPY")
    made.name = "A"
    blend = tmp_path / "project" / "a.blend"
    blend.parent.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    session.current().tick()
    assert [each.name for each in new_shot.with_shots()] == ["A", "Scene"]
    one, other = new_shot.with_shots()
    assert one.ex4d.image != other.ex4d.image
    assert {str(each.session_uid) for each in (one, other)} == {each.ex4d.owner for each in (one, other)}


@pytest.fixture
def linked(scene, shot, tmp_path):
    """The scene of another file, linked into this one."""
    take(scene, tmp_path / "take")
    blend = tmp_path / "project" / "other.blend"
    blend.parent.mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    with bpy.data.libraries.load(str(blend), link=True) as (_there, here):
        here.scenes = ["Scene"]
    (found,) = here.scenes
    bpy.context.window.scene = found
    session.current().tick()
    return found


def test_nothing_is_made_in_a_linked_scene_where_saving_would_lose_it(linked, tmp_path):
    for name in ("generate", "open_again", "new_camera", "bake_camera", "take_delete", "takes_list", "cg_set_up"):
        operator = getattr(bpy.ops.ex4d, name)
        assert not operator.poll(), name
    assert not bpy.ops.ex4d.open_clip.poll()
    with pytest.raises(RuntimeError, match=r"linked from other\.blend: open that file, or append the scene instead"):
        bpy.ops.ex4d.drop_footage(directory=str(tmp_path), files=[{"name": "clip.mp4"}])
    assert bpy.ops.ex4d.show_scene.poll()


def test_saving_a_file_leaves_what_it_links_where_it_is(linked, tmp_path):
    before = {image.filepath for image in bpy.data.images if image.library}
    assert before
    place = tmp_path / "elsewhere"
    place.mkdir()
    for name in ("a", "b"):
        bpy.ops.wm.save_as_mainfile(filepath=str(place / f"{name}.blend"))
        assert not session.current().state.failed, session.current().state.message
    assert not (place / "ex4d").exists()


def test_the_jobs_of_a_linked_scene_are_not_followed(scene, shot, tmp_path):
    request, _update = deliver(scene, tmp_path / "take")
    scene.ex4d.remember(request, "job 1", True)
    blend = tmp_path / "other.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    session.current().leave_file()
    session.current()._entered = True
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    with bpy.data.libraries.load(str(blend), link=True) as (_there, here):
        here.scenes = ["Scene"]
    session.current()._entered = False
    session.current().enter_file()
    assert not session.current().state.busy
    assert memory.kept() == ()
    session.current().dispatch(state.CancelPressed())
    assert os.path.isfile(blend)
