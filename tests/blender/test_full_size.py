"""Takes at the clip's size, in scenes that render at the working size or at the clip's."""

from dataclasses import replace
from fractions import Fraction

import announced
import bpy
import numpy as np
import pytest
import shots
from test_compare import rendered
from test_panels import draw
from test_takes import deliver

from blender_addon.scene import camera, comparison, live_camera
from blender_addon.shot import checks, estimates, files, takes
from blender_addon.ui import panels
from blender_addon.work import pace
from ex4d.media.movie import write_movie
from ex4d.pipeline.settings import GenerateSettings
from ex4d.plain import from_plain

WIDTH, HEIGHT = 2 * shots.WIDTH, 2 * shots.HEIGHT
"""Size of the clip; the working size is half of that, see `shots.deliver`."""

CORNERS = np.array([[[200, 0, 0], [0, 200, 0]], [[0, 0, 200], [200, 200, 0]]], np.uint8)
"""Colours of the corners of a take."""


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def bring_large(scene, folder):
    """Bring in a take at the clip's size whose quadrants have different colours."""
    request, update = deliver(scene, folder)
    picture = CORNERS.repeat(HEIGHT // 2, axis=0).repeat(WIDTH // 2, axis=1)
    for name in ("result.mp4", "colour.mp4"):
        write_movie(folder / name, np.stack([picture] * shots.FRAMES), Fraction(24))
    update = replace(update, facts={**update.facts, "width": WIDTH, "height": HEIGHT})
    for _step in takes.bring_in(request, update):
        pass
    return takes.strip_of(scene, 1)


def corners(picture):
    """The colours near the corners of an image."""
    return picture[[4, 4, -5, -5], [4, -5, 4, -5]]


def shows_all(picture):
    return np.abs(corners(picture).astype(int) - CORNERS.reshape(4, 3)).max() < 12


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_take_of_the_clips_size_fills_the_picture_of_the_scene_whatever_that_renders(scene, tmp_path, times):
    render = scene.render
    render.resolution_x, render.resolution_y = times * shots.WIDTH, times * shots.HEIGHT
    bring_large(scene, tmp_path / "take")
    shown = rendered(scene, tmp_path)
    assert shown.shape[:2] == (times * shots.HEIGHT, times * shots.WIDTH)
    assert shows_all(shown)


def rendered_size(scene):
    return scene.render.resolution_x, scene.render.resolution_y


def test_the_scene_renders_the_size_of_takes_so_that_f12_of_the_sequencer_loses_nothing(scene, tmp_path):
    assert rendered_size(scene) == (WIDTH, HEIGHT)
    strip = bring_large(scene, tmp_path / "take")
    assert (strip.transform.scale_x, strip.transform.scale_y) == (1, 1)
    shown = rendered(scene, tmp_path)
    assert shown.shape[:2] == (HEIGHT, WIDTH)
    assert shows_all(shown)


def test_the_scene_follows_another_result_size_where_it_renders_that_of_takes(scene):
    scene.ex4d.result_size = "model"
    assert rendered_size(scene) == (shots.WIDTH, shots.HEIGHT)
    bpy.ops.ex4d.match_scene(what="ALL")
    assert rendered_size(scene) == (shots.WIDTH, shots.HEIGHT)
    scene.ex4d.result_size = "clip"
    assert rendered_size(scene) == (WIDTH, HEIGHT)
    scene.render.resolution_x, scene.render.resolution_y = 1920, 1080
    scene.ex4d.result_size = "model"
    assert rendered_size(scene) == (1920, 1080), "the artist's own size stays"
    scene.ex4d.clip_width = 0
    scene.ex4d.result_size = "clip"
    bpy.ops.ex4d.match_scene(what="ALL")
    assert rendered_size(scene) == (shots.WIDTH, shots.HEIGHT), "an older server does not tell the clip's size"


def test_no_size_is_complained_of_and_the_camera_is_the_same_where_takes_are_cut_to_even_pixels(scene):
    facts = scene.ex4d
    bpy.ops.ex4d.camera_preset(preset="30")
    path = camera.sample(scene)
    facts.clip_width, facts.clip_height = 195, 130
    bpy.ops.ex4d.match_scene(what="ALL")
    across, down = rendered_size(scene)
    assert across * facts.height != down * facts.width
    again = camera.sample(scene)
    assert np.array_equal(again.camera_to_world, path.camera_to_world)
    assert np.array_equal(again.intrinsics, path.intrinsics)
    assert np.array_equal(again.intrinsics[0], facts.intrinsics), "the first camera is the source to the bit"
    assert not [advice for advice in checks.warnings(scene) if "renders" in advice.text]
    looks = live_camera.Along(scene, live_camera.standing(scene, None))
    scale = [[256 / shots.WIDTH], [171 / shots.HEIGHT], [1]]
    assert np.reshape(looks.look(0).intrinsics, (3, 3)) == pytest.approx(facts.intrinsics * scale, rel=1e-6)
    scene.render.resolution_y = down - 20
    (said,) = (advice.text for advice in checks.warnings(scene) if "renders" in advice.text)
    assert said == f"The scene renders {across}x{down - 20} px, but the clip is {across}x{down} px."


def test_a_take_is_asked_for_in_the_clips_size_and_the_panel_may_say_otherwise(scene):
    asked = takes.request_take(scene, preview=False).generation
    assert from_plain(GenerateSettings, asked, "generation").result_size == "clip"
    assert "result_size" in draw(panels.draw_generator).shown
    scene.ex4d.result_size, scene.ex4d.master = "model", "prores"
    asked = from_plain(GenerateSettings, takes.request_take(scene, preview=False).generation, "generation")
    assert (asked.result_size, asked.master) == ("model", "prores")


@pytest.mark.parametrize(("wipe", "there"), [(0.0, True), (0.5, True), (1.0, False)])
def test_a_wipe_against_the_clip_lays_both_on_each_other(scene, tmp_path, monkeypatch, wipe, there):
    white = np.full((shots.FRAMES, shots.HEIGHT, shots.WIDTH, 3), 235, np.uint8)
    write_movie(files.absolute(scene.ex4d.image.filepath), white, Fraction(24))
    bring_large(scene, tmp_path / "take")
    monkeypatch.setattr(comparison, "hide_from_render", lambda scene: None)
    bpy.ops.ex4d.compare(mode="WIPE")
    scene.ex4d.wipe = wipe
    shown = rendered(scene, tmp_path)
    right = np.abs(corners(shown)[[1, 3]].astype(int) - CORNERS[:, 1]).max() < 12
    left = np.abs(corners(shown)[[0, 2]].astype(int) - CORNERS[:, 0]).max() < 12
    assert (right, left) == (there, wipe == 0.0)
    if wipe == 0.5:
        middle = WIDTH // 2
        assert shown[4, middle - 3].min() > 220
        assert np.abs(shown[4, middle + 3].astype(int) - CORNERS[0, 1]).max() < 12


def test_side_by_side_shows_a_large_take_whole(scene, tmp_path, monkeypatch):
    bring_large(scene, tmp_path / "take")
    monkeypatch.setattr(comparison, "hide_from_render", lambda scene: None)
    bpy.ops.ex4d.compare(mode="SIDE_BY_SIDE")
    half = rendered(scene, tmp_path)[HEIGHT // 4 : -HEIGHT // 4, WIDTH // 2 :]
    assert shows_all(half)


def test_the_estimate_counts_the_pixels_of_the_result(scene):
    announced.by()
    facts = scene.ex4d
    assert estimates.of_result(facts) == WIDTH * HEIGHT
    large = estimates.of_take(facts)
    facts.result_size = "model"
    assert estimates.of_result(facts) == shots.WIDTH * shots.HEIGHT
    small = estimates.of_take(facts)
    assert large.bytes == pytest.approx(4 * small.bytes)
    facts.result_size = "clip"
    facts.clip_width = 0  # earlier servers do not report it
    assert estimates.of_take(facts).bytes == small.bytes
    longer = pace.estimate("generate preview", 1_000_000, {}, 4_000_000)
    assert longer.seconds > pace.estimate("generate preview", 1_000_000, {}).seconds


def test_what_grows_with_the_result_is_learned_by_its_pixels():
    stages = {"Bringing to Full Size": 8.0, "Writing Files": 4.0, "Filling": 6.0}
    known = pace.learn(None, stages, 1_000_000, 40e6, 4_000_000)
    learned = {"generate painter": known}
    same = pace.estimate("generate painter", 1_000_000, learned, 4_000_000)
    assert (same.seconds, same.bytes) == (pytest.approx(18), pytest.approx(40e6))
    larger = pace.estimate("generate painter", 1_000_000, learned, 16_000_000)
    assert (larger.seconds, larger.bytes) == (pytest.approx(6 + 4 * 12), pytest.approx(160e6))
