"""A generator that only the server knows: its settings are properties, and the .blend keeps what was chosen."""

import json
from dataclasses import replace

import announced
import bpy
import pytest
import shots

from blender_addon.shot import options, takes
from blender_addon.ui import generators
from blender_addon.work import session
from ex4d.errors import InputError
from ex4d.jobs.messages import Capabilities, GeneratorInfo
from ex4d.schema import Setting


def group(scene, info=announced.PAINTER):
    return session.current().generators.of(scene, info)


def test_a_script_sets_what_the_server_announced_and_the_job_carries_it(scene, tmp_path):
    shots.open_small(tmp_path)
    announced.by()
    painter = scene.ex4d_generators.painter
    painter.quality, painter.steps, painter.guidance, painter.prompt = "draft", 4, 0.36, "a street in rain"
    painter.tiled, painter.seen, painter.kernel = True, 2.5, "box"
    wanted = {
        "quality": "draft",
        "steps": 4,
        "guidance": 0.36,
        "prompt": "a street in rain",
        "tiled": True,
        "seen": 2.5,
        "kernel": "box",
    }
    assert json.loads(scene.ex4d.options) == {"painter": wanted}
    assert {name: getattr(painter, name) for name in wanted if name not in ("guidance",)} == {
        name: value for name, value in wanted.items() if name != "guidance"
    }
    scene.ex4d.generator = "painter"
    request = takes.request_take(scene, False, announced.EVERYTHING)
    generation = shots.outcome(takes.prepare(request))[1].generation
    assert (generation.generator, generation.options) == ("painter", {"painter": wanted})


def test_what_is_taken_back_is_not_given_any_more(scene):
    announced.by()
    painter = scene.ex4d_generators.painter
    painter.prompt, painter.seen, painter.kernel = "rain", 2.5, "box"
    painter.prompt, painter.seen, painter.kernel = "", 0, generators.NOT_GIVEN
    assert json.loads(scene.ex4d.options) == {"painter": {"prompt": None, "seen": None, "kernel": None}}


def test_nothing_is_stored_that_nobody_has_set(scene):
    announced.by()
    painter = scene.ex4d_generators.painter
    assert (painter.quality, painter.steps, painter.guidance, painter.prompt) == ("final", 25, 5.0, "")
    assert scene.ex4d.options == ""


def test_labels_help_units_ranges_and_choices_are_the_servers(scene):
    announced.by()
    drawn = group(scene).bl_rna.properties
    assert (drawn["steps"].name, drawn["steps"].description) == ("Steps", "How often it looks again (steps)")
    assert (drawn["steps"].hard_min, drawn["steps"].hard_max) == (1, 100)
    scene.ex4d_generators.painter.steps = 1000
    assert scene.ex4d_generators.painter.steps == 100
    with pytest.raises(TypeError):
        scene.ex4d_generators.painter.quality = "superb"


def test_undo_takes_a_setting_back(scene):
    announced.by()
    scene.ex4d_generators.painter.steps = 4
    bpy.ops.ed.undo_push(message="four")
    scene.ex4d_generators.painter.steps = 9
    bpy.ops.ed.undo_push(message="nine")
    bpy.ops.ed.undo()
    assert bpy.context.scene.ex4d_generators.painter.steps == 4


def test_each_scene_has_settings_of_its_own(scene):
    announced.by()
    other = bpy.data.scenes.new("Other")
    scene.ex4d_generators.painter.steps, other.ex4d_generators.painter.steps = 4, 9
    assert (scene.ex4d_generators.painter.steps, other.ex4d_generators.painter.steps) == (4, 9)


def test_values_survive_a_file_that_is_saved_while_the_server_is_away_or_knows_less(scene, tmp_path):
    announced.by()
    scene.ex4d.generator = "painter"
    scene.ex4d_generators.painter.quality, scene.ex4d_generators.painter.steps = "draft", 4
    kept = scene.ex4d.options

    def saved_and_loaded():
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
        bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
        return bpy.context.scene

    announced.by(replace(announced.EVERYTHING, generators=(announced.SKETCH,)))
    fresh = saved_and_loaded()
    assert (fresh.ex4d.options, fresh.ex4d.generator) == (kept, "painter")
    assert [p.identifier for p in fresh.ex4d_generators.bl_rna.properties if p.type == "POINTER"].count("painter") == 0
    session.current().disconnect()
    fresh = saved_and_loaded()
    assert (fresh.ex4d.options, fresh.ex4d.generator) == (kept, "painter")
    announced.by()
    assert (fresh.ex4d_generators.painter.quality, fresh.ex4d_generators.painter.steps) == ("draft", 4)


def test_a_generator_that_is_chosen_and_unknown_stays_and_another_can_be_chosen(scene):
    scene.ex4d.generator_name = "sculptor"
    announced.by()
    assert scene.ex4d.generator == "sculptor"
    scene.ex4d.generator = "sketch"
    assert scene.ex4d.generator_name == "sketch"
    with pytest.raises(TypeError):
        scene.ex4d.generator = "sculptor"


def test_a_choice_that_the_server_does_not_know_is_shown_and_refused_until_another_is_chosen(scene):
    options.put(scene.ex4d, "painter", "quality", "superb")
    scene.ex4d.generator_name = "painter"
    announced.by()
    assert scene.ex4d_generators.painter.quality == "superb"
    with pytest.raises(InputError, match="Quality is one of final, draft, not 'superb'"):
        options.for_job(scene.ex4d, announced.EVERYTHING)
    scene.ex4d_generators.painter.quality = "draft"
    assert options.for_job(scene.ex4d, announced.EVERYTHING) == {"painter": {"quality": "draft"}}


def test_a_value_of_another_kind_than_the_servers_shows_the_default(scene):
    options.put(scene.ex4d, "painter", "steps", "many")
    announced.by()
    assert scene.ex4d_generators.painter.steps == 25
    assert options.stored(scene.ex4d) == {"painter": {"steps": "many"}}


def test_a_job_has_the_settings_of_its_generator_and_of_all_where_the_server_chooses(scene):
    stored = {"painter": {"steps": 4, "sparkle": 3}, "sketch": {"radius": 2}, "sculptor": {"clay": True}}
    scene.ex4d.options = json.dumps(stored)
    assert options.for_job(scene.ex4d, None) == stored  # the server will look
    assert options.for_job(scene.ex4d, announced.EVERYTHING) == {"painter": {"steps": 4}}
    scene.ex4d.generator_name = "sculptor"
    assert options.for_job(scene.ex4d, None) == {"sculptor": {"clay": True}}
    assert options.for_job(scene.ex4d, announced.EVERYTHING) == {}


def test_a_server_that_learns_a_setting_brings_it_to_the_panel(scene):
    announced.by()
    first = type(scene.ex4d_generators)
    announced.by()
    assert type(scene.ex4d_generators) is first  # nothing is made anew without a reason
    scene.ex4d_generators.painter.steps = 4
    more = replace(
        announced.PAINTER, settings=(*announced.PAINTER.settings, Setting("depth", "whole", 3, "Depth", "How deep"))
    )
    announced.by(replace(announced.EVERYTHING, generators=(more, announced.SKETCH)))
    assert (scene.ex4d_generators.painter.depth, scene.ex4d_generators.painter.steps) == (3, 4)
    assert group(scene) is None  # of what was announced before


def test_names_that_python_or_blender_do_not_take_get_others(scene):
    odd = GeneratorInfo(
        "very-odd.2",
        "Odd",
        "Odd",
        "MIT",
        False,
        settings=tuple(Setting(name, "whole", 1, "L", "H") for name in ("class", "_x", "a-b", "n" * 80)),
    )
    announced.by(Capabilities((odd,)))
    held = scene.ex4d_generators.very_odd_2
    held.class_, held.x, held.a_b = 2, 3, 4
    assert options.stored(scene.ex4d) == {"very-odd.2": {"class": 2, "_x": 3, "a-b": 4}}


def test_what_blender_cannot_register_is_told_once_and_nothing_else_breaks(scene, capfd):
    twice = tuple(Setting("same", "whole", "no number", "L", "H") for _ in range(2))
    bad = GeneratorInfo("bad", "Bad", "Bad", "MIT", False, settings=twice)
    announced.by(Capabilities((announced.SKETCH, bad)))
    assert session.current().state.failed
    session.current().tick()
    assert capfd.readouterr().err.count("Traceback") == 1
    announced.by()
    assert scene.ex4d_generators.painter.steps == 25
