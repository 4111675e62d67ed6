"""Files saved by version 0.1, in every Blender: no stored value is lost, and takes can be remade."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import bpy
import pytest
import shots

from blender_addon.scene import compat
from blender_addon.shot import asking, from_0_1, options, takes
from blender_addon.work import session
from ex4d.errors import InputError
from ex4d.pipeline import since_0_1
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import blobs_of, canonical
from ex4d.pipeline.take import read_record

SAVED = Path(__file__).parents[1] / "data" / "shot_of_0_1"
EXPECTED = json.loads((SAVED / "expected.json").read_text())
NUMBERS_OF_0_1 = {"generator", "quality", "model_size", "estimator"}


@pytest.fixture(params=["saved_by_4_2.blend", "saved_by_5_0.blend"])
def blend(request, tmp_path, addon):
    """A copy of the file, with the folder of its shot."""
    if request.param == "saved_by_5_0.blend" and bpy.app.version < (4, 5, 0):
        pytest.skip("4.2 cannot read what 5.0 saved")
    folder = tmp_path / "project"
    shutil.copytree(SAVED, folder)
    return folder / request.param


def expected(blend):
    return EXPECTED[blend.name]["scenes"]


def as_today(name, value):
    """A value of 0.1 in the form of the current property of that name."""
    if name == "source" and value:
        return json.dumps(since_0_1.source(json.loads(value)))
    return value


def found(facts, name):
    """The current value of what 0.1 called `name`."""
    if name in ("quality", "model_size"):
        return options.stored(facts).get(since_0_1.MODEL, {}).get(name)
    value = getattr(facts, name)
    return value.name if isinstance(value, bpy.types.ID) else value


def all_is_there(blend):
    """Assert that every scene has all its values."""
    assert {scene.name for scene in bpy.data.scenes} == set(expected(blend))
    for name, then in expected(blend).items():
        facts = bpy.data.scenes[name].ex4d
        for value in then["values"]:
            wanted = as_today(value, then["values"][value])
            if value in ("quality", "model_size") and value not in then["stored"]:
                wanted = None  # nobody had chosen
            if value == "depth_convention" and value not in then["stored"]:
                wanted = "auto"  # the default has changed, and no shot was opened with the old one
            if value == "motion" and value not in then["stored"] and not facts.shot:
                wanted = "FOUND"  # a shot keeps its still camera
            assert found(facts, value) == wanted, (name, value)
        assert facts.version == from_0_1.VERSION
        assert not NUMBERS_OF_0_1 & set(facts.keys())
        takes_now = [
            {key: getattr(entry, key) for key in take} for entry, take in zip(facts.takes, then["takes"], strict=True)
        ]
        assert takes_now == then["takes"]
        assert [entry.generator for entry in facts.takes] == ["" if entry.view else "preview" for entry in facts.takes]
        strips = [strip_of(strip) for strip in compat.all_strips(bpy.data.scenes[name])]
        assert strips == then["strips"]
        things = {thing["ex4d_role"]: thing.name for thing in bpy.data.scenes[name].objects if "ex4d_role" in thing}
        assert things == {role: thing["name"] for role, thing in then["objects"].items()}


def strip_of(strip):
    start, end = compat.strip_range(strip)
    own = {name: strip[name] for name in strip.keys() if name.startswith("ex4d_")}  # noqa: SIM118 - no mapping
    return {
        "name": strip.name,
        "channel": strip.channel,
        "start": start,
        "length": end - start,
        "filepath": strip.filepath,
        "properties": {name: v.to_list() if hasattr(v, "to_list") else v for name, v in own.items()},
    }


def test_every_stored_value_survives_loading_saving_and_loading_again(blend):
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    all_is_there(blend)
    assert not session.current().state.busy
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    all_is_there(blend)


def test_values_that_are_changed_in_the_new_version_stay_changed(blend):
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    facts = bpy.context.scene.ex4d
    facts.generator_name, facts.estimator_name = "sculptor", "auto"
    options.put(facts, since_0_1.MODEL, "quality", "balanced")
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    facts = bpy.context.scene.ex4d
    assert (facts.generator, facts.estimator, found(facts, "quality")) == ("sculptor", "auto", "balanced")


def test_the_add_on_that_is_enabled_with_the_file_open_finds_every_value(blend):
    import addon_utils

    addon_utils.disable("blender_addon", default_set=True)
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    addon_utils.enable("blender_addon", default_set=True)
    session.current().tick()
    all_is_there(blend)


def test_undo_to_before_the_file_was_brought_up_to_date_does_so_again(blend):
    import addon_utils

    addon_utils.disable("blender_addon", default_set=True)
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    addon_utils.enable("blender_addon", default_set=True)
    bpy.ops.ed.undo_push(message="before")
    session.current().tick()
    bpy.context.scene.frame_current += 1
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    all_is_there(blend)


def test_a_take_is_made_again_by_the_same_job_with_the_same_files(blend):
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    scene = bpy.context.scene
    for number, seed in ((1, 7), (2, 8)):
        folder = takes.take_folder(scene, number)
        assert folder.is_relative_to(blend.parent)
        job = read_record(folder / "take.json").job
        then = json.loads((folder / "take.json").read_text())["job"]
        request = takes.request_again(scene, number)
        again = shots.outcome(takes.prepare(request))[1]
        assert canonical(again) == canonical(replace(job, path=blob_of(folder / "camera.npz")))
        assert (again.path.sha256, again.generation.seed) == (then["path"]["sha256"], seed)
        assert (again.generation.generator, again.generation.keep_source) == ("preview", then["keep_source"])
        for blob in [*again.source.depth, again.source.camera]:
            assert hashlib.sha256(Path(request.files[blob.sha256]).read_bytes()).hexdigest() == blob.sha256
        assert {blob.sha256 for blob in blobs_of(again)} <= {*request.files, again.path.sha256}


def test_the_camera_of_a_take_comes_back(blend):
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    bpy.context.scene.ex4d.camera.animation_data_clear()
    bpy.ops.ex4d.take_restore_camera(number=1)
    keys = {(c.data_path, c.array_index): len(c.keyframe_points) for c in compat.fcurves(bpy.context.scene.ex4d.camera)}
    assert len(keys) == 6
    assert len(list(compat.fcurves(bpy.context.scene.ex4d.camera.data))) == 3  # the clip zooms


def test_the_shot_of_0_1_is_opened_again_from_its_clip(blend):
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    facts = bpy.context.scene.ex4d
    facts.opened, facts.motion, facts.estimator_name = str(blend.with_name("walk.mp4")), "STILL", "auto"
    facts.depth_path, facts.depth_convention, facts.depth_unit = "", "depth", "as_it_is"
    facts.depth_distance = "planar"
    request = asking.request_again(bpy.context.scene, False)
    assert {name: request.settings[name] for name in ("start", "frames", "longest_side", "fps")} == {
        "start": 0,
        "frames": 5,
        "longest_side": 1024,
        "fps": None,
    }
    assert request.settings["field_of_view"] == 47.5


def test_a_shot_that_was_read_as_distances_by_default_has_not_changed_its_settings(scene):
    facts = scene.ex4d
    facts.shot = "walk_1"
    facts.asked = asking.asked(facts).replace('"auto", "planar"', '"depth", "planar"')
    assert facts.asked != asking.asked(facts)
    from_0_1.migrate_file()
    assert facts.asked == asking.asked(facts)


def test_a_guess_of_0_1_is_still_called_one(scene):
    scene.ex4d.version = 0
    scene.ex4d.depth_made = json.dumps({"provider": "plane", "scale": "", "licence": "Apache-2.0"})
    from_0_1.migrate_file()
    assert "guess" in scene.ex4d.depth["caution"]


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("generator", 99, "generator 99"),
        ("generator", -1, "generator -1"),
        ("estimator", 77, "estimator 77"),
        ("quality", 3, "quality 3"),
        ("source", "{bad", "its source"),
        ("source", "[]", "its source"),
        ("source", '{"clip": [], "frames": 5}', "its source"),
        ("source", '{"settings": 5}', "its source"),
        ("depth_made", "nope", "its depth_made"),
        ("depth_made", "[]", "its depth_made"),
    ],
)
def test_a_damaged_value_is_left_out_with_a_sentence_and_all_others_come_over(blend, name, value, told):
    import addon_utils

    addon_utils.disable("blender_addon", default_set=True)
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    damaged = next(scene for scene in bpy.data.scenes if expected(blend)[scene.name]["stored"])
    holder = bpy.data.scenes[damaged.name]
    if hasattr(holder, "bl_system_properties_get"):  # since 5.0 an add-on's properties are not custom properties
        holder = holder.bl_system_properties_get()
    holder["ex4d"][name] = value
    scene_name = damaged.name
    addon_utils.enable("blender_addon", default_set=True)
    session.current().tick()
    assert session.current().state.message == f"In the scene {scene_name}, {told} means nothing and is left out."
    for each, then in expected(blend).items():
        facts = bpy.data.scenes[each].ex4d
        assert facts.version == from_0_1.VERSION
        assert not NUMBERS_OF_0_1 & set(facts.keys())
        for kept in set(then["stored"]) & set(then["values"]):
            if (each, kept) != (scene_name, name):
                assert found(facts, kept) == as_today(kept, then["values"][kept]), (each, kept)
    kept_as = {"generator": "auto", "estimator": "auto", "quality": None}.get(name, "")
    assert found(bpy.data.scenes[scene_name].ex4d, name) == kept_as


@pytest.mark.parametrize("source", ["", "{bad", '{"settings": 5}'])
def test_a_shot_whose_source_was_damaged_says_what_to_do(blend, source):
    from blender_addon.shot import asking

    bpy.ops.wm.open_mainfile(filepath=str(blend))
    scene = bpy.context.scene
    scene.ex4d.source, scene.ex4d.opened = source, str(blend.with_name("walk.mp4"))
    said = "The scene's record of how its clip was opened is damaged: choose the clip again with Open Clip."
    for ask in (lambda: takes.request_take(scene, False), lambda: asking.request_again(scene, False)):
        with pytest.raises(InputError) as told:
            ask()
        assert str(told.value) == said
    request = takes.request_again(scene, 1)  # a take has its own source
    steps = takes.prepare(replace(request, source=source))  # as in a request stored in the file
    with pytest.raises(InputError) as told:
        for _ in steps:
            pass
    assert str(told.value) == said
