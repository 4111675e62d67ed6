"""Several shots in a file: adding one as a new scene, and switching between them."""

from fractions import Fraction
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots
from test_panels import draw
from test_takes import take

from blender_addon.scene import compat, objects
from blender_addon.shot import disk, matching, new_shot
from blender_addon.ui import panels
from blender_addon.ui.shots import draw_shots
from blender_addon.words import size
from blender_addon.work import memory, session, state
from ex4d.media.movie import write_movie


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path / "one")


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "second.mp4"
    write_movie(path, np.full((20, 64, 96, 3), 90, np.uint8), Fraction(25))
    return path


@pytest.fixture
def press_new_shot(clip, monkeypatch):
    """Press New Shot as in the panel: the job is started, and nothing waits for it."""
    monkeypatch.setattr(session.Session, "finish", lambda self: self.state)

    def press(path=clip):
        bpy.ops.ex4d.new_shot(filepath=str(path), frames=9)
        return bpy.context.scene

    yield press
    session.current().dispatch(state.CancelPressed())


def test_another_shot_is_a_scene_of_its_own_with_the_same_settings(scene, shot, press_new_shot, clip, tmp_path):
    take(scene, tmp_path / "take")
    facts = scene.ex4d
    facts.seed, facts.preset, facts.amount, facts.variations = 7, "crane", 33.0, 6
    facts.depth_unit, facts.match_scene, facts.estimator_name = "cm", False, "ruler"
    facts.options = '{"painter": {"prompt": "a street"}}'
    scene.render.engine = "CYCLES"
    before = facts.shot, facts.folder, len(facts.takes), compat.strip_range(compat.strips(scene)[0])
    scene.ex4d.estimator_name = "auto"
    made = press_new_shot()
    assert made.name == "second"
    new = made.ex4d
    assert (new.seed, new.preset, new.variations, new.match_scene) == (7, "crane", 6, False)
    assert new.amount == pytest.approx(33)
    assert new.options == facts.options
    assert made.render.engine == "CYCLES"
    assert new.depth_unit == "as_it_is", "that was about the other clip"
    assert (new.shot, len(new.takes), new.camera, new.image, new.opened) == ("", 0, None, None, "")
    assert not compat.all_strips(made)
    assert not made.objects
    request = session.current().state.request
    assert (request.clip, request.scene_uid) == (str(clip), made.session_uid)
    old = bpy.data.scenes["Scene"]
    facts = old.ex4d
    assert (facts.shot, facts.folder, len(facts.takes), compat.strip_range(compat.strips(old)[0])) == before


def test_where_the_clip_cannot_be_opened_there_is_no_new_scene(scene, shot, press_new_shot, tmp_path):
    for path in (tmp_path / "gone.mp4", ""):
        with pytest.raises(RuntimeError, match=r"There is no clip|No clip is chosen"):
            press_new_shot(path)
    assert list(bpy.data.scenes) == [scene]
    assert bpy.context.window.scene == scene
    assert not session.current().state.busy


def test_both_shots_stand_and_the_panel_goes_from_one_to_the_other(scene, shot, tmp_path):
    take(scene, tmp_path / "take")
    second = new_shot.make_scene("Second")
    shots.open_small(tmp_path / "two", fps=Fraction(25))
    assert bpy.context.scene == second
    assert {one.name for one in new_shot.with_shots()} == {"Scene", "Second"}
    one, two = (objects.find(each, objects.MESH) for each in (scene, second))
    assert one is not None
    assert two is not None
    assert one != two
    assert (matching.rate_of(scene), matching.rate_of(second)) == (24, 25)
    drawn = draw(draw_shots)
    first, other = (size(disk.look(each).total) for each in (scene, second))
    assert drawn.buttons == [f"small.mp4: 1 take, {first}", f"small.mp4: {other}", "New Shot"]
    bpy.ops.ex4d.show_scene(name=drawn.pressed[drawn.buttons[0]].name)
    assert bpy.context.window.scene == scene
    assert "Shots" in [panel.label for panel in panels.PANELS if panel.is_there is None or panel.is_there(scene)]


def test_a_take_that_waits_comes_into_its_own_scene(scene, shot, press_new_shot, tmp_path):
    from test_takes import deliver

    from blender_addon.shot import takes

    request, update = deliver(scene, tmp_path / "take")
    new_shot.make_scene("Second")
    assert bpy.context.scene.name == "Second"
    shots.outcome(takes.bring_in(request, update))
    assert len(scene.ex4d.takes) == 1
    assert not bpy.data.scenes["Second"].ex4d.takes


def test_a_scene_that_was_copied_does_not_make_what_waits_twice(scene, shot, monkeypatch):
    monkeypatch.setattr(session.Session, "finish", lambda self: self.state)
    bpy.ops.ex4d.variations(number=3)
    bpy.ops.scene.new(type="EMPTY")
    assert len(bpy.data.scenes) == 2
    assert bpy.context.scene.ex4d.waiting
    assert [each.request.generation["seed"] for each in memory.kept()] == [1, 2]
    new_shot.make_scene("Second")
    assert not bpy.context.scene.ex4d.waiting
    session.current().dispatch(state.CancelPressed())


def test_new_shot_is_not_there_while_takes_are_made(scene, shot, monkeypatch):
    monkeypatch.setattr(session.Session, "finish", lambda self: self.state)
    bpy.ops.ex4d.generate()
    assert not bpy.ops.ex4d.new_shot.poll()
    assert bpy.ops.ex4d.show_scene.poll()
    session.current().dispatch(state.CancelPressed())


def test_names_are_those_of_the_clip(scene, shot, press_new_shot, clip, tmp_path):
    pictures = tmp_path / "plate"
    pictures.mkdir()
    for number in range(3):
        image = bpy.data.images.new("picture", 32, 32)
        image.file_format = "PNG"
        image.save(filepath=str(Path(pictures) / f"plate_{number:04d}.png"))
    assert press_new_shot(pictures).name.startswith("plate")
