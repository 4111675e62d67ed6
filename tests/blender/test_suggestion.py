"""Suggesting a prompt from the name of the clip."""

import announced
import bpy
import pytest
import shots
from test_panels import draw

from blender_addon.shot import options
from blender_addon.ui import generate_panels


@pytest.fixture
def shot(scene, tmp_path):
    """A shot of a clip with a telling name, and a server whose painter takes a prompt."""
    shots.open_small(tmp_path)
    announced.by()
    scene.ex4d.generator = "painter"
    scene.ex4d.opened = str(tmp_path / "old-town_walk v03.mp4")
    return scene


def suggest(generator="painter"):
    return bpy.ops.ex4d.suggest_prompt(generator=generator)


def test_the_name_of_the_clip_fills_the_empty_prompt_and_undo_empties_it(shot):
    bpy.ops.ed.undo_push(message="before")
    assert suggest() == {"FINISHED"}
    assert shot.ex4d_generators.painter.prompt == "old town walk"
    assert options.for_job(shot.ex4d, announced.EVERYTHING) == {"painter": {"prompt": "old town walk"}}
    bpy.ops.ed.undo_push(message="suggested")
    bpy.ops.ed.undo()
    assert bpy.context.scene.ex4d_generators.painter.prompt == ""


def test_a_prompt_that_is_there_stays(shot):
    shot.ex4d_generators.painter.prompt = "my own"
    with pytest.raises(RuntimeError, match="The prompt is not empty, so it stays"):
        suggest()
    assert shot.ex4d_generators.painter.prompt == "my own"


def test_a_name_that_says_nothing_is_told_and_an_empty_prompt_can_be_sent(shot, tmp_path):
    shot.ex4d.opened = str(tmp_path / "IMG_2034.mov")
    with pytest.raises(RuntimeError, match=r"The clip's name, IMG_2034, does not say what it shows"):
        suggest()
    assert options.for_job(shot.ex4d, announced.EVERYTHING) == {}
    shot.ex4d_generators.painter.prompt = "rain"
    shot.ex4d_generators.painter.prompt = ""
    assert options.for_job(shot.ex4d, announced.EVERYTHING)["painter"]["prompt"] in ("", None)


@pytest.mark.parametrize("generator", ["sketch", "nobody"])
def test_a_generator_without_a_prompt_is_told(shot, generator):
    with pytest.raises(RuntimeError, match="There is no prompt to fill"):
        suggest(generator)


def test_the_button_stands_beside_an_empty_prompt_only(shot):
    drawn = draw(generate_panels.draw_options)
    assert drawn.pressed["Suggest"].generator == "painter"
    assert drawn.shown.count("prompt") == 1
    shot.ex4d_generators.painter.prompt = "my own"
    drawn = draw(generate_panels.draw_options)
    assert "Suggest" not in drawn.buttons
    assert drawn.shown.count("prompt") == 1
    shot.ex4d.generator = "sketch"
    assert "Suggest" not in draw(generate_panels.draw_options).buttons
