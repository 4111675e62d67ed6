"""What the panel shows of the active take: its picture and facts from its record."""

import json
from fractions import Fraction

import announced
import bpy
import numpy as np
import pytest
import shots
from test_panels import draw
from test_takes import record_of, take

from blender_addon.shot import take_facts, takes
from blender_addon.ui import panels
from blender_addon.work import session
from ex4d.media.movie import write_movie
from ex4d.pipeline import take as record


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def frames():
    """Frames with distinct colours, different in the upper and the lower half."""
    made = np.zeros((shots.FRAMES, shots.HEIGHT, shots.WIDTH, 3), np.uint8)
    for t in range(shots.FRAMES):
        made[t, : shots.HEIGHT // 2] = 15 * t, 0, 100
        made[t, shots.HEIGHT // 2 :] = 15 * t, 200, 0
    return made


def write_thumbnail(folder):
    """Write a thumbnail as the server, which has cv2, does."""
    image = bpy.data.images.new("still", shots.WIDTH, shots.HEIGHT)
    middle = frames()[shots.FRAMES // 2] / np.float32(255)
    image.pixels.foreach_set(np.dstack([middle[::-1], np.ones_like(middle[..., :1])]).ravel())
    image.file_format = "JPEG"
    image.save(filepath=str(folder / record.THUMBNAIL))
    bpy.data.images.remove(image)


def picture(scene, number=1, view=False):
    """The picture that the panel would show, RGB, from the upper left corner; None if there is none."""
    looks, entry = session.current().take_looks, takes.entry_of(scene.ex4d, number, view)
    looks.of(scene, entry)
    looks.take()
    held = looks.preview(scene, entry)
    if held is None:
        return None
    width, height = held.image_size
    return 255 * np.array(held.image_pixels_float).reshape(height, width, 4)[::-1, :, :3]


def shows_the_middle(shown):
    middle = frames()[shots.FRAMES // 2]
    return shown.shape == middle.shape and np.abs(shown - middle).mean() < 8


def test_the_picture_of_a_take_is_its_thumbnail_and_nothing_of_it_stays_in_the_file(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    write_thumbnail(takes.take_folder(scene, 1))
    images = len(bpy.data.images)
    assert shows_the_middle(picture(scene))
    assert len(bpy.data.images) == images


def test_takes_of_earlier_versions_show_the_middle_frame_of_their_video(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    take(scene, tmp_path / "view", preview=True)
    for view, name in ((False, "result.mp4"), (True, "view.mp4")):
        folder = takes.take_folder(scene, 1, view)
        assert not (folder / record.THUMBNAIL).exists()
        write_movie(folder / name, frames(), Fraction(24))
        assert shows_the_middle(picture(scene, 1, view))


def test_where_there_is_no_picture_the_panel_says_so(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    (takes.take_folder(scene, 1) / "result.mp4").write_bytes(b"no movie")
    assert picture(scene) is None
    assert "No thumbnail: the video is gone or cannot be read." in draw(panels.draw_takes).text


def test_the_panel_says_how_much_is_invented_and_how_long_it_took(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    folder = takes.take_folder(scene, 1)
    record_of(scene, folder, "painter", seed=7)
    plain = json.loads((folder / "take.json").read_text())
    plain |= {"coverage": [1.0, 0.5], "seconds": {"Rendering": 12.0, "Sampling": 30.0}}
    (folder / "take.json").write_text(json.dumps(plain))
    picture(scene)
    drawn = draw(panels.draw_takes).text
    assert "25% invented, 50% in the worst frame. Made in 42 s" in drawn
    assert "Preview, seed 0" in drawn, "what made it, as the server said it then"


def test_a_path_preview_says_how_much_is_invented_too(scene, shot, tmp_path):
    take(scene, tmp_path / "view", preview=True)
    picture(scene, 1, True)
    assert "0% invented, 0% in the worst frame" in draw(panels.draw_takes).text
    assert "Path previews have no settings" in draw(panels.draw_settings).text


def test_every_setting_of_the_generator_is_shown_with_the_value_that_was_in_use(scene, shot, tmp_path):
    announced.by()
    take(scene, tmp_path / "one", made_by="painter")
    folder = takes.take_folder(scene, 1)
    record_of(scene, folder, "painter", seed=9)
    plain = json.loads((folder / "take.json").read_text())
    used = {"quality": "draft", "steps": 4, "guidance": 5.5, "prompt": "A quiet street", "tiled": False, "seen": None}
    plain["settings"] = {**used, "kernel": "box", "eroded_by": 3}
    (folder / "take.json").write_text(json.dumps(plain))
    picture(scene)
    shown = draw(panels.draw_settings).labels
    assert shown == [
        "Quality: Draft",
        "Steps: 4 steps",
        "Guidance: 5.5",
        "Prompt: A quiet street",
        "Tiled: Off",
        "Seen: Default",
        "Kernel: Box",
        "Seed: 9",
    ]
    session.current().client = None
    assert "Prompt: A quiet street" in draw(panels.draw_settings).labels, "also while no server says what it means"


def test_a_record_that_cannot_be_read_is_told_and_the_picture_is_there(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    folder = takes.take_folder(scene, 1)
    write_thumbnail(folder)
    (folder / "take.json").write_text("{")
    assert shows_the_middle(picture(scene))
    drawn = draw(panels.draw_takes).text
    assert "is not the record of a take" in drawn
    assert "0% invented" in drawn, "the strip knows that"


def test_pictures_are_let_go_with_the_shot_the_file_and_the_add_on(scene, shot, tmp_path):
    import addon_utils

    looks = session.current().take_looks

    def show():
        take(bpy.context.scene, tmp_path / f"take{len(list(tmp_path.iterdir()))}")
        entry = bpy.context.scene.ex4d.takes[-1]
        assert picture(bpy.context.scene, entry.number) is not None
        return entry

    show()
    shots.open_small(tmp_path / "other")
    show()
    assert len(looks._icons) == 1, "those of the other shot are gone"
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert looks._icons is None
    shots.open_small(tmp_path / "third")
    show()
    addon_utils.disable("blender_addon", default_set=True)
    assert looks._icons is None
    addon_utils.enable("blender_addon", default_set=True)


def test_no_more_pictures_are_held_than_some(scene, shot, tmp_path, monkeypatch):
    monkeypatch.setattr("blender_addon.ui.take_looks.MOST", 2)
    for number in (1, 2, 3):
        take(scene, tmp_path / str(number))
        assert picture(scene, number) is not None
    assert len(session.current().take_looks._icons) == 1


def test_a_take_whose_folder_is_gone_says_so(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    takes.take_folder(scene, 1).rename(tmp_path / "moved")
    assert take_facts.read(scene, scene.ex4d.takes[0]).trouble == "Its folder is gone."
