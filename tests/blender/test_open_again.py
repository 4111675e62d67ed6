"""Opening the clip again with other depth, lens or motion, without losing any of the artist's work."""

import json
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots
from test_mesh import evaluated_vertices
from test_takes import deliver, take

from blender_addon.scene import axes, camera, compat, objects
from blender_addon.shot import asking, checks, files, source, takes
from blender_addon.work import session, state
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.media.movie import write_movie


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
    scene.frame_start, scene.render.fps = 3, 30  # changes by the artist
    views = [a.spaces.active for s in bpy.context.workspace.screens for a in s.areas if a.type == "VIEW_3D"]
    assert {view.shading.type for view in views} == {"MATERIAL"}
    views[0].shading.type = "SOLID"
    root = objects.find(scene, objects.ROOT)
    root.location, root.scale = (1, 2, 3), (2, 2, 2)
    other = replace(shot, depth=shot.depth * 1.1)
    told = shots.open_again(tmp_path, other)
    assert "The camera and takes are unchanged" in told
    assert "times as far" not in told
    assert facts.camera == chosen
    assert keys_of(chosen) == keys
    assert (facts.shot, facts.folder, facts.start) == (name, folder, 1)
    assert (scene.frame_start, scene.render.fps, views[0].shading.type) == (3, 30, "SOLID")
    assert (objects.find(scene, objects.ROOT), tuple(root.location), tuple(root.scale)) == (root, (1, 2, 3), (2, 2, 2))
    assert [entry.title for entry in facts.takes] == ["Take 001 (Preview)"]
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
    known = json.loads(scene.ex4d.inputs)
    (depth,) = set(known) - {"0", "1"}
    assert Path(known[depth]).name == "depth.npz"
    assert known == {"0": "zero", "1": "one", depth: known[depth]}
    found = json.loads(scene.ex4d.source)
    assert (found["clip"][0]["name"], found["depth"][0]["sha256"]) == ("again.mp4", depth)


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
    assert "The nearest surface is 2.9 times as far away as before" in told


def test_opening_again_that_is_given_up_changes_nothing(scene, shot, tmp_path):
    facts, before = scene.ex4d, scene.ex4d.image.filepath
    request = source.OpenRequest(scene.name, facts.shot, facts.opened, "", "", {}, source=shots.source_of("small.mp4"))
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
    request = source.OpenRequest(scene.name, facts.shot, facts.opened, "", "", {}, source=shots.source_of("small.mp4"))
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
    assert told() == ["The settings have changed since the clip was opened: press Open Again to use them."]
    shots.open_again(tmp_path, shot)
    assert not told()


def test_a_guess_is_called_one_in_panel_and_notes(scene, shot, tmp_path):
    shots.open_again(tmp_path, replace(shot, notes=("This is a guess.",)), caution="This is a guess.")
    assert "This is a guess." in [advice.text for advice in checks.depth_trouble(scene)]
    assert scene.ex4d.notes == "This is a guess."


CLIP_SETTINGS = [
    "some",
    "",
    "cm",
    1.0,
    "auto",
    "planar",
    "",
    40.0,
    "CAMERA",
    "",
    "tracked",
    0.0,
    "auto",
    "",
    False,
    True,
    "snap",
    "",
]


@pytest.fixture
def settings(scene, shot, tmp_path):
    """Settings that the current shot was made with."""
    facts = scene.ex4d
    facts.estimator_name, facts.field_of_view, facts.depth_unit, facts.motion = "some", 40, "cm", "CAMERA"
    facts.tracked_camera = bpy.data.objects.new("tracked", bpy.data.cameras.new("tracked"))
    scene.collection.objects.link(facts.tracked_camera)
    shots.open_again(tmp_path, shot)
    return facts


def other_clip(tmp_path):
    write_movie(tmp_path / "other.mp4", shots.small_frames(shots.small_depth()), shots.FPS)
    return tmp_path / "other.mp4"


def test_settings_of_one_clip_are_not_used_for_another(scene, settings, tmp_path):
    request = asking.request_open(scene, other_clip(tmp_path), "", 0, 49, None)
    sent = request.settings
    assert (sent["estimator"], sent["field_of_view"], request.camera) == ("some", None, "")
    settings.depth_unit = "mm"  # changed while the clip is being opened
    shots.bring_in(request, shots.deliver(tmp_path / "other", shots.small_depth()))
    assert (settings.estimator, settings.field_of_view, settings.depth_unit) == ("some", 0, "mm")
    assert (settings.motion, settings.tracked_camera) == ("FOUND", None)
    assert [advice.text for advice in checks.depth_trouble(scene)] == [
        "The settings have changed since the clip was opened: press Open Again to use them."
    ]
    settings.depth_unit = "as_it_is"
    assert not checks.depth_trouble(scene)


def test_a_shot_of_an_earlier_add_on_has_not_changed_where_what_is_new_has_its_default(scene, settings):
    then = json.loads(settings.asked)
    settings.asked = json.dumps(then[:-1])  # without Camera Scale
    assert not checks.depth_trouble(scene)
    settings.motion_scale = 2
    assert "have changed" in checks.depth_trouble(scene)[0].text
    settings.motion_scale, settings.field_of_view = 0, 41
    assert "have changed" in checks.depth_trouble(scene)[0].text


def test_a_shot_keeps_its_settings_when_another_clip_cannot_be_opened(scene, settings, tmp_path):
    with pytest.raises(source.InputError, match="There is no clip"):
        asking.request_open(scene, tmp_path / "other.mp4", str(tmp_path / "other.npz"), 0, 49, None)
    assert list(settings.settings.values()) == CLIP_SETTINGS
    assert not checks.depth_trouble(scene)
    assert (settings.clip_path, settings.opened) == (str(tmp_path / "other.mp4"), str(tmp_path / "small.mp4"))
    # The next try uses what was set for that clip, in the request and since then in the panel.
    other_clip(tmp_path)
    settings.field_of_view, settings.estimator_name = 50, "file"
    request = asking.request_open(scene, tmp_path / "other.mp4", "", 0, 49, None)
    assert (request.settings["field_of_view"], request.depth) == (50, str(tmp_path / "other.npz"))
    assert (request.settings["depth_unit"], request.camera) == (None, "")


def test_a_clip_that_could_not_be_opened_leaves_nothing_of_its_settings_to_the_next_in_an_empty_scene(addon, tmp_path):
    bpy.ops.scene.new(type="NEW")
    facts = bpy.context.scene.ex4d
    facts.clip_path, facts.field_of_view = str(tmp_path / "none.mp4"), 40
    asking.request_open(bpy.context.scene, other_clip(tmp_path), "", 0, 49, None)
    assert facts.field_of_view == 0


# -- scenes -----------------------------------------------------------------------------------------

JOB = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def two_scenes(scene, shot, tmp_path):
    """The scene, whose clip the session is opening again, and another one with a shot and a take."""
    facts = scene.ex4d
    request = source.OpenRequest(
        scene.name,
        facts.shot,
        facts.opened,
        "",
        "",
        {},
        source=shots.source_of("small.mp4"),
        scene_uid=scene.session_uid,
    )
    session.current().connect()
    session.current().dispatch(state.Reopened(request, JOB))
    bpy.ops.scene.new(type="NEW")
    shots.open_small(tmp_path / "two")
    take(bpy.context.scene, tmp_path / "take")
    return scene, bpy.context.scene


def finish(tmp_path, depth):
    session.current().dispatch(state.Updated(replace(shots.deliver(tmp_path / "again", depth), job_id=JOB)))
    return session.current().finish()


def test_a_clip_whose_scene_is_deleted_while_it_opens_is_not_put_into_another(two_scenes, shot, tmp_path):
    one, two = two_scenes
    folder, name, image, things = one.ex4d.folder, two.ex4d.shot, two.ex4d.image.filepath, len(two.objects)
    bpy.data.scenes.remove(one)
    ended = finish(tmp_path, shot)
    assert ended == state.State(message="The scene that this was for is gone: nothing was changed.", failed=True)
    assert (two.ex4d.shot, two.ex4d.image.filepath, len(two.objects)) == (name, image, things)
    assert [entry.title for entry in two.ex4d.takes] == ["Take 001 (Preview)"]
    assert not (folder / files.AGAIN).exists()


def test_a_take_whose_scene_is_deleted_goes_into_no_other(two_scenes, tmp_path):
    one, two = two_scenes
    session.current().dispatch(state.CancelPressed())
    request, update = deliver(one, tmp_path / "of one")
    bpy.data.scenes.remove(one)
    with pytest.raises(source.InputError, match="The scene that this was for is gone"):
        list(takes.bring_in(request, update))
    assert [entry.title for entry in two.ex4d.takes] == ["Take 001 (Preview)"]


def test_a_scene_that_is_renamed_while_its_clip_opens_is_found(two_scenes, shot, tmp_path):
    one, two = two_scenes
    one.name, two.name, image = "Shot 010", one.name, two.ex4d.image.filepath
    assert not finish(tmp_path, shot).failed
    assert "again_001" in one.ex4d.image.filepath
    assert (two.ex4d.image.filepath, one.ex4d.job_id) == (image, "")


def test_a_clip_that_was_opening_when_the_file_was_saved_finds_its_scene_in_the_loaded_file(two_scenes, tmp_path):
    one, _two = two_scenes
    session.current().after_undo()
    one.name = "Shot 010"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert objects.scene_of(session.current().state.request) == bpy.data.scenes["Shot 010"]
    session.current().dispatch(state.CancelPressed())


# -- what was deleted -------------------------------------------------------------------------------


def test_a_root_that_was_deleted_comes_back_with_all_its_children(scene, shot, tmp_path):
    bpy.ops.ex4d.camera_preset(preset="60")
    before = camera.sample(scene).camera_to_world
    free = scene.ex4d.camera.copy()  # a camera that the artist has reparented keeps its parent
    scene.collection.objects.link(free)
    free.parent = scene.objects["Light"]
    bpy.data.objects.remove(objects.find(scene, objects.ROOT))
    shots.open_again(tmp_path, shot)
    root = objects.find(scene, objects.ROOT)
    for thing in (objects.find(scene, objects.MESH), objects.find(scene, objects.SOURCE_CAMERA), scene.ex4d.camera):
        assert thing.parent == root
    assert free.parent == scene.objects["Light"]
    scene.cursor.location = (0, 3, 0)
    bpy.ops.ex4d.set_scale(distance=9)
    assert camera.sample(scene).camera_to_world == pytest.approx(before, abs=1e-4)


def test_what_opening_again_brings_back_is_told_with_its_button(scene, shot, tmp_path):
    def told():
        return [advice.text for advice in checks.warnings(scene) if advice.operator == "ex4d.open_again"]

    def cache():
        return files.absolute(objects.find(scene, objects.MESH).modifiers[0].filepath)

    assert not told()
    for delete, said in (
        (lambda: bpy.data.objects.remove(objects.find(scene, objects.MESH)), "The mesh of the shot was deleted."),
        (lambda: bpy.data.objects.remove(objects.find(scene, objects.ROOT)), "EX-4D Source, the parent of the mesh"),
        (lambda: cache().unlink(), "The file that moves the mesh is gone"),
    ):
        delete()
        (text,) = told()
        assert text.startswith(said)
        shots.open_again(tmp_path, shot)
        assert not told()


# -- scale ------------------------------------------------------------------------------------------


def test_a_shot_that_is_still_scaled_says_so_when_its_distances_or_their_unit_change(scene, shot, tmp_path):
    still = "EX-4D Source is still scaled by 3: set its scale to 1"
    assert "scaled" not in shots.open_again(tmp_path, replace(shot, depth=shot.depth * 2))
    objects.find(scene, objects.ROOT).scale = (3, 3, 3)
    assert still in shots.open_again(tmp_path, shot)
    assert "scaled" not in shots.open_again(tmp_path, shot)
    scene.ex4d.depth_made = json.dumps({**scene.ex4d.depth, "scale": "The distances are in metres."})
    assert still in shots.open_again(tmp_path, shot)


def test_opening_another_clip_tells_where_the_earlier_shots_takes_are(scene, shot, tmp_path):
    told = "The earlier shot is hidden; its takes stay in the sequencer and in its folder."
    first = shots.bring_in(
        asking.request_open(scene, other_clip(tmp_path), "", 0, 49, None),
        shots.deliver(tmp_path / "other", shots.small_depth()),
    )
    assert told not in first  # there was nothing to lose
    take(scene, tmp_path / "take")
    second = shots.bring_in(
        asking.request_open(scene, other_clip(tmp_path), "", 2, 49, None),
        shots.deliver(tmp_path / "again", shots.small_depth()),
    )
    assert told in second
    assert takes.strip_of(scene, 1) is None  # in the new shot
    assert len(compat.all_strips(scene)) == 1
