"""Comparing source, path preview and take in the sequencer, and ending the comparison."""

from fractions import Fraction

import bpy
import numpy as np
import pytest
import shots
from test_panels import draw
from test_takes import take

from blender_addon.scene import comparison, compat
from blender_addon.shot import files, takes
from blender_addon.ui import panels
from blender_addon.work import session
from ex4d.media.movie import write_movie

RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def paint(path, colour, frames=shots.FRAMES):
    """Write a movie of one colour, which gets brighter with each frame."""
    shown = np.empty((frames, shots.HEIGHT, shots.WIDTH, 3), np.uint8)
    for t in range(frames):
        shown[t] = np.array(colour) * (t + 20) / 40
    write_movie(path, shown, Fraction(24))


@pytest.fixture
def shot(tmp_path, scene, addon):
    """A shot whose source is red, with a green take and a blue path preview."""
    depth = shots.open_small(tmp_path)
    scene.ex4d.result_size = "model"  # render at the size of the movies below
    take(scene, tmp_path / "view", preview=True)
    take(scene, tmp_path / "one")
    paint(files.absolute(scene.ex4d.image.filepath), RED)
    paint(takes.take_folder(scene, 1) / "result.mp4", GREEN)
    paint(takes.take_folder(scene, 1, view=True) / "view.mp4", BLUE)
    for strip in compat.strips(scene):
        strip.filepath = strip.filepath  # makes Blender read the file again
    return depth


def rendered(scene, tmp_path, frame=5):
    """An F12 render of the sequencer, RGB, from the upper left corner."""
    render = scene.render
    render.use_sequencer, render.filepath = True, str(tmp_path / "f12.png")
    render.image_settings.file_format = "PNG"
    scene.frame_set(frame)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(render.filepath)
    width, height = image.size
    pixels = 255 * np.array(image.pixels).reshape(height, width, 4)[::-1, :, :3]
    bpy.data.images.remove(image)
    return pixels


@pytest.fixture
def preview(scene, tmp_path, monkeypatch):
    """What the sequencer's preview shows: without a window, a render in which nothing is hidden."""

    def look(frame=5):
        with monkeypatch.context() as patch:
            patch.setattr(comparison, "hide_from_render", lambda scene: None)
            return rendered(scene, tmp_path, frame)

    return look


def colour(pixels, column, frame=5):
    """The name of the colour in a column, whose brightness must be that of the frame."""
    found = pixels[shots.HEIGHT // 2, column]
    names = {"red": RED, "green": GREEN, "blue": BLUE}
    for name, wanted in names.items():
        if np.abs(found - np.array(wanted) * (frame - 1 + 20) / 40).max() < 12:
            return name
    return "black" if found.max() < 5 else str(found)


def test_a_wipe_shows_the_source_left_of_the_line_and_the_take_right_of_it(scene, shot, preview):
    bpy.ops.ex4d.compare(mode="WIPE")
    assert session.current().state.message == "Wipe is on. The sequencer shows Clip | Take 001 (Preview)."
    shown = preview()
    assert [colour(shown, column) for column in (1, 46, 49, 94)] == ["red", "red", "green", "green"]
    scene.ex4d.wipe = 0.25
    shown = preview(9)
    assert [colour(shown, column, 9) for column in (1, 22, 25, 94)] == ["red", "red", "green", "green"]
    scene.ex4d.wipe = 0
    assert colour(preview(), 1) == "green"
    scene.ex4d.wipe = 1
    assert colour(preview(), 94) == "red"


def test_side_by_side_shows_both_in_their_aspect(scene, shot, preview):
    bpy.ops.ex4d.compare(mode="SIDE_BY_SIDE")
    shown = preview()
    assert [colour(shown, column) for column in (2, 46, 49, 93)] == ["red", "red", "green", "green"]
    assert shown[shots.HEIGHT // 4 - 3].max() < 5, "above them it is black"
    scene.ex4d.compare_with = "BOTH"
    bpy.ops.ex4d.compare(mode="SIDE_BY_SIDE")
    shown = preview()
    assert [colour(shown, column) for column in (3, 28, 35, 60, 67, 92)] == [
        "red",
        "red",
        "blue",
        "blue",
        "green",
        "green",
    ]


def test_a_wipe_against_the_view_and_against_a_starred_take(scene, shot, preview, tmp_path):
    scene.ex4d.compare_with = "VIEW"
    bpy.ops.ex4d.compare(mode="WIPE")
    assert [colour(preview(), column) for column in (5, 90)] == ["blue", "green"]
    scene.ex4d.compare_with = "STARRED"
    with pytest.raises(RuntimeError, match="No other take has a star"):
        bpy.ops.ex4d.compare(mode="WIPE")
    takes.entry_of(scene.ex4d, 1).favourite = True
    take(scene, tmp_path / "two")
    paint(takes.take_folder(scene, 2) / "result.mp4", BLUE)
    bpy.ops.ex4d.compare(mode="WIPE")
    assert [colour(preview(), column) for column in (5, 90)] == ["green", "blue"]


def strips_of(scene):
    names = [(s.name, s.channel, compat.strip_range(s), s.mute, s.filepath) for s in compat.all_strips(scene)]
    return sorted(names)


def test_single_takes_everything_away_again(scene, shot, preview):
    before = strips_of(scene)
    for mode in ("WIPE", "SIDE_BY_SIDE", "WIPE"):
        bpy.ops.ex4d.compare(mode=mode)
        assert len(comparison.marked(scene)) == 2
        assert comparison.mode_of(scene) == mode
    bpy.ops.ex4d.compare(mode="SINGLE")
    assert strips_of(scene) == before
    assert comparison.mode_of(scene) == "SINGLE"
    assert colour(preview(), 20) == "green"


def test_f12_renders_no_strip_that_compares_also_where_strips_are_rendered(scene, shot, tmp_path):
    bpy.ops.ex4d.compare(mode="SIDE_BY_SIDE")
    shown = rendered(scene, tmp_path)
    assert {colour(shown, column) for column in (2, 46, 49, 93)} == {"green"}
    assert shown[2].max() > 50, "the take fills the picture"
    assert not any(strip.mute for strip in comparison.marked(scene)), "they are there again"


def test_a_strip_that_the_artist_has_muted_stays_so_after_a_render(scene, shot, tmp_path):
    bpy.ops.ex4d.compare(mode="WIPE")
    comparison.marked(scene)[0].mute = True
    rendered(scene, tmp_path)
    assert [strip.mute for strip in comparison.marked(scene)] == [True, False]


def test_a_file_that_was_saved_while_it_rendered_shows_them_again(scene, shot, tmp_path):
    bpy.ops.ex4d.compare(mode="WIPE")
    scene.render.use_sequencer = True
    comparison.hide_from_render(scene)
    assert all(strip.mute for strip in comparison.marked(scene))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    session.current().enter_file()
    assert not any(strip.mute for strip in comparison.marked(bpy.context.scene))


def test_a_new_take_comes_below_what_is_compared(scene, shot, tmp_path):
    bpy.ops.ex4d.compare(mode="WIPE")
    for number in (2, 3):
        take(scene, tmp_path / str(number))
        assert takes.strip_of(scene, number).channel < comparison.marked(scene)[0].channel
    assert len({strip.channel for strip in compat.strips(scene)}) == 6, "none shares a channel"


def test_takes_of_other_frames_are_compared_in_those_that_both_have(scene, shot, tmp_path, preview):
    scene.ex4d.takes[1].start, scene.ex4d.takes[1].frames = 4, shots.FRAMES
    bpy.ops.ex4d.compare(mode="WIPE")
    assert [compat.strip_range(strip) for strip in comparison.marked(scene)] == [(5, 14)] * 2
    shown = preview(9)
    assert colour(shown, 5, 9) == "red"
    assert colour(shown, 90, 9 - 4) == "green", "its frame 5 stands in the scene frame 9"
    scene.ex4d.takes[1].start = 100
    before = strips_of(scene)
    with pytest.raises(RuntimeError, match="have no frame in common"):
        bpy.ops.ex4d.compare(mode="WIPE")
    assert strips_of(scene) == before


def test_what_cannot_be_compared_says_why(scene, shot, tmp_path):
    scene.ex4d.compare_with = "BOTH"
    with pytest.raises(RuntimeError, match="A wipe has two sides"):
        bpy.ops.ex4d.compare(mode="WIPE")
    scene.ex4d.compare_with = "SOURCE"
    (takes.take_folder(scene, 1) / "result.mp4").unlink()
    with pytest.raises(RuntimeError, match=r"The video of Take 001 \(Preview\) is gone"):
        bpy.ops.ex4d.compare(mode="WIPE")
    bpy.ops.ex4d.take_delete(number=1, view=True)
    scene.ex4d.compare_with = "VIEW"
    with pytest.raises(RuntimeError, match="press Preview Path first"):
        bpy.ops.ex4d.compare(mode="WIPE")
    assert not comparison.marked(scene)


def test_deleting_a_take_ends_its_comparison(scene, shot, tmp_path):
    bpy.ops.ex4d.compare(mode="WIPE")
    bpy.ops.ex4d.take_delete(number=1)
    assert not comparison.marked(scene)


def test_saving_keeps_the_paths_of_what_is_compared_right(scene, shot, tmp_path):
    bpy.ops.ex4d.compare(mode="WIPE")
    (tmp_path / "project").mkdir()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "project" / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "project" / "a.blend"))
    for strip in comparison.marked(bpy.context.scene):
        assert files.absolute(strip.filepath).is_file()
        assert files.absolute(strip.filepath).is_relative_to(tmp_path / "project")


def test_the_panel_has_the_choice_and_a_line_to_move_only_for_a_wipe(scene, shot):
    drawn = draw(panels.draw_takes)
    assert {"Single", "Wipe", "Side by Side"} <= set(drawn.buttons)
    assert "compare_with" in drawn.shown
    assert "wipe" not in drawn.shown
    bpy.ops.ex4d.compare(mode="WIPE")
    assert "wipe" in draw(panels.draw_takes).shown


def test_pictures_that_are_smaller_than_the_scenes_are_as_big_side_by_side_as_there_is_room(scene, shot, preview):
    scene.render.resolution_x, scene.render.resolution_y = 4 * shots.WIDTH, 4 * shots.HEIGHT
    bpy.ops.ex4d.compare(mode="SIDE_BY_SIDE")
    shown = preview()
    row = 2 * shots.HEIGHT
    assert np.abs(shown[row, 4] - np.array(RED) * 24 / 40).max() < 12
    assert np.abs(shown[row, 4 * shots.WIDTH - 4] - np.array(GREEN) * 24 / 40).max() < 12


def test_undo_takes_all_of_it_back(scene, shot):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.ex4d.compare(mode="WIPE")
    bpy.ops.ed.undo_push(message="EX-4D: Compare")
    bpy.ops.ed.undo()
    assert not comparison.marked(bpy.context.scene)
    assert comparison.mode_of(bpy.context.scene) == comparison.SINGLE
