"""Finding a moved clip again by its content."""

import json
from dataclasses import asdict
from pathlib import Path

import bpy
import numpy as np
import pytest
import shots
from test_panels import draw

from blender_addon.shot import asking, source
from blender_addon.ui import panels
from blender_addon.work import session, state
from ex4d.media.movie import write_movie
from ex4d.pipeline.hashing import blob_of


@pytest.fixture
def clip(tmp_path) -> Path:
    file = tmp_path / "small.mp4"
    write_movie(file, np.zeros((shots.FRAMES, 32, 32, 3), np.uint8), shots.FPS)
    return file


@pytest.fixture
def shot(scene, tmp_path, clip, addon):
    shots.open_small(tmp_path)
    knows(scene, [clip])


def knows(scene, files):
    """Record the shot's files as if they had been sent."""
    blobs = [blob_of(file) for file in files]
    source = {**json.loads(scene.ex4d.source), "clip": [asdict(blob) for blob in blobs]}
    places = {blob.sha256: str(file) for blob, file in zip(blobs, files, strict=True)}
    scene.ex4d.source, scene.ex4d.inputs = json.dumps(source), json.dumps(places)


def test_a_clip_that_was_moved_is_missed_and_found(scene, shot, clip, tmp_path):
    assert "Find Clip..." not in draw(panels.draw_check).buttons
    moved = tmp_path / "footage" / "renamed.mp4"
    moved.parent.mkdir()
    clip.rename(moved)
    drawn = draw(panels.draw_check)
    assert "small.mp4 was moved or deleted" in drawn.text
    assert "Find Clip..." in drawn.buttons
    with pytest.raises(RuntimeError, match="press Find Clip"):
        bpy.ops.ex4d.open_again()
    assert bpy.ops.ex4d.find_clip(filepath=str(moved)) == {"FINISHED"}
    assert session.current().client is None, "no server is needed for that"
    assert session.current().state == state.State(message=f"The clip is found: {moved}.")
    assert scene.ex4d.opened == scene.ex4d.clip_path == str(moved)
    assert scene.ex4d.input_files == {blob_of(moved).sha256: str(moved)}
    assert "Find Clip..." not in draw(panels.draw_check).buttons
    again = asking.request_again(scene, estimate=False)
    assert (again.clip, again.shot) == (str(moved), scene.ex4d.shot)


@pytest.mark.parametrize("longer", [True, False], ids=["of another size", "of the same size"])
def test_another_file_is_refused_and_nothing_changes(scene, shot, clip, tmp_path, longer):
    content = bytearray(clip.read_bytes())
    content[-1] ^= 1
    other = tmp_path / "other.mp4"
    other.write_bytes(content + b"more" if longer else content)
    clip.unlink()
    before = (scene.ex4d.opened, scene.ex4d.inputs)
    with pytest.raises(
        RuntimeError, match=r"other\.mp4 is not the same file as small\.mp4, which is open: its content"
    ):
        bpy.ops.ex4d.find_clip(filepath=str(other))
    assert (scene.ex4d.opened, scene.ex4d.inputs) == before


def test_a_folder_of_pictures_is_found_by_one_of_them(scene, shot, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"picture %d" % number)
    knows(scene, sorted(folder.iterdir()))
    scene.ex4d.opened = str(folder)
    moved = folder.rename(tmp_path / "moved")
    bpy.ops.ex4d.find_clip(filepath=str(moved / "1.png"))
    assert scene.ex4d.opened == str(moved)
    assert set(scene.ex4d.input_files.values()) == {str(file) for file in moved.iterdir()}
    (moved / "3.png").write_bytes(b"one more")
    with pytest.raises(RuntimeError, match="moved is another clip: it has 4 files, and the one that is open 3"):
        bpy.ops.ex4d.find_clip(filepath=str(moved))


def test_of_a_sequence_only_the_pictures_that_are_used_are_compared(scene, shot, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(1, 31):
        (folder / f"shot.{number:04d}.png").write_bytes(b"picture %d" % number)
        (folder / f"shot_mask.{number:04d}.png").write_bytes(b"mask %d" % number)
    request, _job = shots.outcome(source.prepare(asking.request_open(scene, folder, "", 4, 5, 1024, 2)))
    scene.ex4d.source, scene.ex4d.inputs, scene.ex4d.opened = request.source, json.dumps(request.files), str(folder)
    moved = folder.rename(tmp_path / "moved")
    bpy.ops.ex4d.find_clip(filepath=str(moved / "shot.0001.png"))
    assert scene.ex4d.opened == str(moved)
    assert [Path(file).name for file in scene.ex4d.input_files.values()] == [
        f"shot.{n:04d}.png" for n in range(5, 14, 2)
    ]
    assert {Path(file).parent for file in scene.ex4d.input_files.values()} == {moved}
    (moved / "shot.0006.png").write_bytes(b"a picture that the step leaves out")
    bpy.ops.ex4d.find_clip(filepath=str(moved))
    (moved / "shot.0007.png").write_bytes(b"picture X")
    with pytest.raises(RuntimeError, match="moved is not the same file as moved, which is open: its content differs"):
        bpy.ops.ex4d.find_clip(filepath=str(moved))


def test_a_depth_file_that_was_moved_along_is_found_too(scene, shot, clip, tmp_path):
    scene.ex4d.depth_found = str(tmp_path / "small.depth.npz")
    moved = tmp_path / "there" / "small.mp4"
    moved.parent.mkdir()
    clip.rename(moved)
    (moved.parent / "small.depth.npz").write_bytes(b"depth")
    bpy.ops.ex4d.find_clip(filepath=str(moved))
    assert scene.ex4d.depth_found == str(moved.parent / "small.depth.npz")
