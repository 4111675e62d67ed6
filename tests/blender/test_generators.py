"""A generator that only the server knows: its settings become properties, and the .blend stores the choices."""

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
from ex4d.schema import Choice, Setting


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
    assert options.for_job(scene.ex4d, None) == stored  # the server will check
    assert options.for_job(scene.ex4d, announced.EVERYTHING) == {"painter": {"steps": 4}}
    scene.ex4d.generator_name = "sculptor"
    assert options.for_job(scene.ex4d, None) == {"sculptor": {"clay": True}}
    assert options.for_job(scene.ex4d, announced.EVERYTHING) == {}


def test_a_server_that_learns_a_setting_brings_it_to_the_panel(scene):
    announced.by()
    first = type(scene.ex4d_generators)
    announced.by()
    assert type(scene.ex4d_generators) is first  # nothing is recreated without a reason
    scene.ex4d_generators.painter.steps = 4
    more = replace(
        announced.PAINTER, settings=(*announced.PAINTER.settings, Setting("depth", "whole", 3, "Depth", "How deep"))
    )
    announced.by(replace(announced.EVERYTHING, generators=(more, announced.SKETCH)))
    assert (scene.ex4d_generators.painter.depth, scene.ex4d_generators.painter.steps) == (3, 4)
    assert group(scene) is None  # of the previous announcement


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
    held.class_2, held.x, held.a_b = 2, 3, 4
    assert options.stored(scene.ex4d) == {"very-odd.2": {"class": 2, "_x": 3, "a-b": 4}}


def odd(*settings, name="odd"):
    return GeneratorInfo(name, "Odd", "Odd", "MIT", False, settings=settings)


def properties(info):
    return session.current().generators.shown(info).properties


def test_no_setting_or_generator_takes_the_place_of_something_of_blenders(scene):
    own = [*dir(bpy.types.PropertyGroup), "name", "rna_type", "register", "unregister", "is_registered", "mro", "poll"]
    names = list(dict.fromkeys(own))
    settings = odd(*(Setting(name, "whole", 1, "L", "H") for name in names))
    others = [odd(announced.STEPS, name=name) for name in names]
    announced.by(Capabilities((settings, *others)))
    held = group(scene, settings)
    assert held.id_data == scene
    for number, (name, attribute) in enumerate(zip(names, properties(settings), strict=True)):
        setattr(held, attribute, number)
        assert getattr(held, attribute) == options.stored(scene.ex4d)["odd"][name] == number
    for info in others:
        group(scene, info).steps = 7
        assert options.stored(scene.ex4d)[info.name] == {"steps": 7}


@pytest.mark.parametrize(
    "names",
    [
        ("hold-last", "hold_last", "hold.last"),
        ("x" * 100, "x" * 100 + "y"),
        ("\u00e9", "\u65e5\u672c"),
        (" ", ".."),
        ("class", "class_2"),
    ],
)
def test_generators_and_settings_with_names_that_look_alike_are_kept_apart(scene, names):
    infos = [odd(*(Setting(n, "whole", 1, "L", "H") for n in names), name=name) for name in names]
    announced.by(Capabilities(tuple(infos)))
    for number, info in enumerate(infos):
        for attribute in properties(info):
            number += 10
            setattr(group(scene, info), attribute, number)
        assert list(options.stored(scene.ex4d)[info.name]) == list(names)
    wanted = {
        name: {setting: first + 10 * nth for nth, setting in enumerate(names, 1)} for first, name in enumerate(names)
    }
    assert options.stored(scene.ex4d) == wanted


@pytest.mark.parametrize(
    "bad",
    [
        Setting("bad", "whole", "no number", "L", "H"),
        Setting("bad", "text", 5, "L", "H"),
        Setting("bad", "switch", "on", "L", "H"),
        Setting("bad", "choice", "z", "L", "H", choices=(Choice("a", "A"),)),
        Setting("bad", "choice", "a", "L", "H"),
        Setting("bad", "text", "a", "L\0L", "H"),
        Setting("bad", "text", "a\0b", "L", "H"),
    ],
)
def test_a_setting_that_blender_refuses_is_left_out_and_all_others_are_there(scene, bad, capfd):
    info = odd(bad, announced.STEPS)
    announced.by(Capabilities((info, announced.PAINTER)))
    assert not session.current().state.failed
    (told,) = session.current().generators.shown(info).refused
    assert told == "Blender cannot show the setting 'bad' of the generator 'odd': it stays as it is."
    assert properties(info) == ("steps",)
    group(scene, info).steps = 4
    assert (group(scene, info).steps, scene.ex4d_generators.painter.steps) == (4, 25)
    session.current().tick()
    assert capfd.readouterr().err.count("Traceback") == 1


def test_a_generator_that_blender_refuses_is_left_out_and_all_others_are_there(scene):
    info = replace(odd(announced.STEPS), title="Odd\0")
    announced.by(Capabilities((info, announced.PAINTER)))
    shown = session.current().generators.shown(info)
    assert shown.refused == ("Blender cannot show the settings of the generator 'odd': they stay as they are.",)
    assert (group(scene, info), shown.properties) == (None, ())
    assert scene.ex4d_generators.painter.steps == 25


def test_there_is_no_group_where_none_could_be_made(scene, monkeypatch):
    monkeypatch.setattr(generators.Groups, "_register", lambda *_: 1 / 0)
    announced.by()
    assert group(scene) is None


def test_numbers_beyond_those_of_blender_are_shown_as_the_nearest_and_stay_exact(scene):
    large = Setting("large", "whole", 2**40, "L", "H", minimum=2**39, maximum=2**41)
    huge = Setting("huge", "number", 1e300, "L", "H")
    info = odd(large, huge)
    announced.by(Capabilities((info,)))
    options.put(scene.ex4d, "odd", "large", 2**40 + 1)
    assert (group(scene, info).large, group(scene, info).huge > 3e38) == (2**31 - 1, True)
    assert options.for_job(scene.ex4d, Capabilities((info,))) == {"odd": {"large": 2**40 + 1}}


DAMAGED = [
    "{bad",
    "[]",
    "5",
    "null",
    '{"painter": 5}',
    '{"painter": {"steps": %s}}' % ("9" * 400),
    '{"painter": {"steps": %s}}' % ("9" * 5000),
    "[" * 100_000,
]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_settings_that_cannot_be_read_count_as_none_and_setting_one_writes_a_new_text(scene, text):
    announced.by()
    scene.ex4d.options = text
    painter = scene.ex4d_generators.painter
    assert not options.are_readable(scene.ex4d)
    assert (painter.quality, painter.steps, painter.prompt, painter.kernel) == ("final", 25, "", generators.NOT_GIVEN)
    assert options.for_job(scene.ex4d, announced.EVERYTHING) == {}
    assert options.for_job(scene.ex4d, None) == {}
    assert options.troubles(scene.ex4d, announced.PAINTER) == []
    assert scene.ex4d.options == text
    painter.steps = 4
    assert json.loads(scene.ex4d.options) == {"painter": {"steps": 4}}
