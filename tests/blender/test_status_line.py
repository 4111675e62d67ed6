"""Messages fit on one line of the status box, where they are whole sentences."""

from dataclasses import replace

import announced
import bpy
import pytest
import shots
from test_panels import draw
from test_takes import deliver

from blender_addon.shot import detail, part, takes
from blender_addon.ui import panels
from blender_addon.words import brief
from blender_addon.work import requests, session, state


@pytest.fixture(autouse=True)
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def line(message):
    """What the box shows of a message at the sidebar's default width."""
    session.current().dispatch(state.Said(message))
    return draw(panels.draw_status).lines[0][0]


def bring_in(scene, folder, coverage, **more):
    request, update = deliver(scene, folder, **more)
    update = replace(update, facts={**update.facts, "coverage": coverage})
    return shots.outcome(takes.bring_in(request, update, session.current().capabilities))


def test_a_clip_that_is_open_is_told_in_a_short_sentence_and_its_size_in_pixels(scene, tmp_path):
    said = shots.said_when_opened(tmp_path / "long", depth=shots.small_depth(), of=247)
    assert said.startswith("small.mp4 is open. Frames 1 to 13 of 247, 96x64 px.")
    assert line(said) == "small.mp4 is open."
    said = shots.open_again(tmp_path, shots.small_depth(frames=5))
    assert "small.mp4 is open again. 5 frames, 96x64 px. The camera and takes are unchanged." in said
    assert line(said) == "small.mp4 is open again."


@pytest.mark.parametrize(
    ("preview", "made_by", "title"),
    [(False, "preview", "Take 001 (Preview)"), (False, "painter", "Take 001 (Final)"), (True, "", "Path Preview 001")],
)
def test_a_take_is_told_by_its_name_and_then_how_much_of_it_is_invented(scene, tmp_path, preview, made_by, title):
    announced.by()
    said = bring_in(scene, tmp_path / "job", [1.0] * 12 + [0.35], preview=preview, made_by=made_by)
    assert said.startswith(f"{title} is ready. It is in the sequencer: 5% invented, 65% in the worst frame.")
    assert line(said) == f"{title} is ready."
    assert scene.ex4d.takes[0].title == title


def test_what_the_buttons_have_done_is_a_whole_sentence_on_the_line(scene, tmp_path):
    announced.by()
    for folder in ("one", "two"):
        bring_in(scene, tmp_path / folder, [1.0] * 13)

    def pressed(name, **values):
        assert getattr(bpy.ops.ex4d, name)(**values) == {"FINISHED"}
        return session.current().state.message

    scene.cursor.location = (0, 3, 0)
    told = [
        pressed("camera_preset", preset="30"),
        pressed("take_restore_camera"),
        pressed("set_scale", distance=6),
        pressed("source_strip"),
        pressed("compare", mode="WIPE"),
        pressed("new_camera"),
        pressed("bake_camera"),
        pressed("takes_list"),
        pressed("take_delete"),
        pressed("cg_set_up"),
        shots.outcome(
            detail.change(requests.DetailRequest(scene.name, scene.ex4d.shot, "FULL", scene_uid=scene.session_uid))
        ),
    ]
    for message in told:
        assert line(message).endswith("."), message
        assert len(line(message)) <= 36, message


def test_a_longer_sentence_ends_where_a_clause_or_a_word_does():
    assert brief("Short. And more.", 20) == "Short."
    assert brief("The clip is found: /a/long/path/to/it.mp4.", 20) == "The clip is found"
    assert brief("The scene renders 640x480 px, but the clip is wide.", 30) == "The scene renders 640x480 px,…"
    assert brief("a_name_that_is_longer_than_the_line.mp4", 10) == "a_name_that_is_longer_than_the_line.mp4"


def test_settings_that_wait_for_a_server_and_takes_that_wait_are_named_by_labels(scene):
    scene.ex4d.options = '{"painter": {"quality": "draft", "steps": 4, "prompt": "a red car", "tiled": true}}'
    kept = "Kept until a server answers: Quality Draft, Steps 4, Prompt a red car, Tiled On."
    assert kept in draw(panels.draw_generator).text
    announced.by()
    waiting = requests.TakeRequest(
        scene.name,
        scene.ex4d.shot,
        "path.npz",
        "{}",
        {},
        scene_uid=scene.session_uid,
        generation={"seed": 3, "generator": "painter", "options": {"painter": {"quality": "draft"}}},
    )
    from blender_addon.ui import take_queue

    assert take_queue.told(waiting, bpy.context) == "Take with Seed 3 (Draft)"
    assert part.opened(scene.ex4d).frames == 13
