"""Other frames in the add-on: the setting, what goes into takes, and what the panel says."""

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots
from test_camera_search import searched, shot  # noqa: F401 - a fixture
from test_live_coverage import PlayedServer, settle
from test_panels import draw

from blender_addon.scene import live_camera
from blender_addon.shot import takes
from blender_addon.ui import panels
from blender_addon.work import session
from ex4d.render.donors import donors, nearby


@pytest.mark.parametrize("poses", [None, shots.walk()], ids=["still", "walking"])
def test_once_the_search_has_told_what_moves_takes_know_it(scene, shot, tmp_path, poses):  # noqa: F811
    facts, _known = shot
    assert json.loads(facts.source)["moving"] == []
    searched(facts, tmp_path, poses, moving=np.eye(shots.HEIGHT, shots.WIDTH, dtype=np.uint8))
    request = takes.request_take(scene, False)
    (mask,) = json.loads(request.source)["moving"]
    assert Path(request.files[mask["sha256"]]).name == "moving.mp4"
    assert Path(request.files[mask["sha256"]]).is_file()


def test_a_take_is_asked_for_as_other_frames_are_set_and_fills_by_default(scene, shot):  # noqa: F811
    assert takes.request_take(scene, False).render["persistence"] == "fill"
    scene.ex4d.persistence = "off"
    assert takes.request_take(scene, False).render["persistence"] == "off"


def test_looks_ask_the_frames_that_takes_ask_once_it_is_known_what_moves(scene, shot, tmp_path):  # noqa: F811
    facts, _known = shot
    bpy.ops.ex4d.camera_preset(preset="30", amount=30)
    alone = live_camera.standing(scene, None)
    assert (alone.moving, alone.others) == (None, ())
    searched(facts, tmp_path, shots.walk(), moving=np.eye(shots.HEIGHT, shots.WIDTH, dtype=np.uint8))
    known = live_camera.standing(scene, alone)
    look = live_camera.Along(scene, known).look(3)
    assert look.moving == json.loads(takes.request_take(scene, False).source)["moving"][0]["sha256"]
    np.testing.assert_allclose(np.reshape(look.others, (-1, 4, 4)), shots.walk()[donors(shots.FRAMES)], atol=1e-6)
    near = shots.walk()[nearby(3, shots.FRAMES)]
    np.testing.assert_allclose(np.reshape(look.nearby, (-1, 4, 4)), near, atol=1e-6)
    assert look.render.persistence == "fill"
    assert live_camera.standing(scene, known) is known


def test_another_choice_of_other_frames_is_looked_at_anew(scene, shot, tmp_path):  # noqa: F811
    facts, _known = shot
    searched(facts, tmp_path, moving=np.eye(shots.HEIGHT, shots.WIDTH, dtype=np.uint8))
    bpy.ops.ex4d.camera_preset(preset="30", amount=30)
    played = session.current().client = PlayedServer()
    coverage = session.current().coverage
    assert settle(played, scene) == shots.FRAMES
    for choice in ("all", "off"):
        scene.ex4d.persistence = choice
        coverage.step(scene, played, True)
        assert coverage.along == {}
        (asked, *_) = played.looks
        assert asked.render.persistence == choice
        assert (asked.moving is not None, bool(asked.others)) == (choice == "all", choice == "all")
        assert settle(played, scene) > 0


def test_the_panel_says_what_dots_mean_where_other_frames_are_looked_at(scene, shot, tmp_path):  # noqa: F811
    facts, _known = shot
    bpy.ops.ex4d.camera_preset(preset="30", amount=30)
    played, coverage = PlayedServer(), session.current().coverage
    said = "Amber dots: seen by other frames"
    coverage.step(scene, played, True)
    assert said not in draw(panels.draw_check).labels
    searched(facts, tmp_path, moving=np.eye(shots.HEIGHT, shots.WIDTH, dtype=np.uint8))
    coverage.step(scene, played, True)
    assert said in draw(panels.draw_check).labels
    scene.ex4d.persistence = "off"
    assert said not in draw(panels.draw_check).labels
    assert bpy.context.scene == scene
