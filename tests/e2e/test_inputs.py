"""Typical inputs, opened by the add-on's operator through a real server."""

from fractions import Fraction
from pathlib import Path

import av
import bpy
import numpy as np

HEIGHT, WIDTH = 48, 64


def movie(path: Path, form: str, frames: int) -> Path:
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            grey = np.full((HEIGHT, WIDTH, 3), 20 + 5 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    return path


def source_levels(scene: bpy.types.Scene) -> list[int]:
    """The grey level of each frame that the viewport shows."""
    with av.open(str(Path(bpy.path.abspath(scene.ex4d.image.filepath)))) as container:
        return [round(float(frame.to_ndarray(format="rgb24").mean())) for frame in container.decode(video=0)]


def picture(path: Path, level: int) -> None:
    frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), level, np.uint8), format="rgb24")
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_a_picture_of_a_long_sequence_with_a_gap_opens_with_its_own_frames_alone(scene, tmp_path):
    folder = tmp_path / "render"
    folder.mkdir()
    present = [n for n in range(1, 31) if n not in (12, 13)]
    for number in present:
        picture(folder / f"Image{number:04d}.png", 4 * number)
        picture(folder / f"Image{number:04d}_depth.png", 250)
    np.savez(tmp_path / "render.depth.npz", depth=np.linspace(3, 9, 30 * HEIGHT * WIDTH).reshape(30, HEIGHT, WIDTH))
    done = bpy.ops.ex4d.open_clip(filepath=str(folder / "Image0001.png"), first_frame=10, frames=6, fps="12")
    assert done == {"FINISHED"}
    facts = scene.ex4d
    assert (facts.frames, facts.fraction) == (6, 12)
    assert np.abs(np.array(source_levels(scene)) - [40, 44, 44, 44, 56, 60]).max() <= 1
    assert "6 of the 30 frames of render are used, beginning with frame 10." in facts.notes
    assert "Missing from render: 12 to 13." in facts.notes
    assert "Left out: Image####_depth.png (28);" in facts.notes


def test_a_clip_of_a_kind_that_blender_does_not_know_opens_in_full(scene, tmp_path):
    clip = movie(tmp_path / "phone.3gp", "3gp", 14)
    np.savez(tmp_path / "phone.depth.npz", depth=np.linspace(3, 9, 14 * HEIGHT * WIDTH).reshape(14, HEIGHT, WIDTH))
    assert bpy.ops.ex4d.open_clip(filepath=str(clip)) == {"FINISHED"}
    assert (scene.ex4d.frames, scene.ex4d.fraction) == (14, Fraction(24))
    assert bpy.ops.ex4d.open_clip(filepath=str(clip), step=3) == {"FINISHED"}
    assert (scene.ex4d.frames, scene.ex4d.fraction) == (5, Fraction(8))
    assert np.abs(np.array(source_levels(scene)) - [20, 35, 50, 65, 80]).max() <= 2
