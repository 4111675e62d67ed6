"""What other frames saw, in the add-on: the setting, what takes are told, and what the panel says."""

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots
from test_camera_search import searched, shot  # noqa: F401 - a fixture
from test_panels import draw

from blender_addon.shot import takes
from blender_addon.ui import panels


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


def test_the_panel_says_where_others_may_fill_what_is_striped(scene, shot, tmp_path):  # noqa: F811
    facts, _known = shot
    said = "Other frames may fill some of it"
    assert said not in draw(panels.draw_check).text
    searched(facts, tmp_path, moving=np.eye(shots.HEIGHT, shots.WIDTH, dtype=np.uint8))
    assert said in draw(panels.draw_check).text
    scene.ex4d.persistence = "off"
    assert said not in draw(panels.draw_check).text
    assert bpy.context.scene == scene
