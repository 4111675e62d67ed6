"""The small picture of the take in progress: real JPEG bytes into a real icon."""

from fractions import Fraction
from pathlib import Path

import av
import bpy
import numpy as np
import pytest

from blender_addon.work import requests, session, state
from ex4d.jobs.client import JobUpdate

JOB = "11111111-1111-4111-8111-111111111111"
TAKE = requests.TakeRequest("Scene", "shot", "path.npz", "{}", {})


def jpeg(colour, width=160, height=96):
    """A JPEG of one colour with a black band along the top."""
    pixels = np.full((height, width, 3), colour, np.uint8)
    pixels[: height // 4] = 0
    codec = av.CodecContext.create("mjpeg", "w")
    codec.width, codec.height, codec.pix_fmt, codec.time_base = width, height, "yuvj444p", Fraction(1)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuvj444p")
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def shown():
    """The icon's pixels (H,W,3), first row at the top, 0 to 255."""
    icon = session.current().picture.preview
    width, height = icon.image_size
    pixels = np.empty(width * height * 4, np.float32)
    icon.image_pixels_float.foreach_get(pixels)
    return pixels.reshape(height, width, 4)[::-1, :, :3] * 255


def test_a_picture_is_decoded_upright_and_only_the_latest_is_kept(addon):
    session.current().picture.show(jpeg((200, 40, 10)))
    assert shown().shape == (96, 160, 3)
    assert shown()[60, 80] == pytest.approx([200, 40, 10], abs=6)
    assert shown()[5, 80] == pytest.approx([0, 0, 0], abs=6)
    session.current().picture.show(jpeg((10, 40, 200), 96, 160))
    assert shown().shape == (160, 96, 3)
    assert shown()[100, 40] == pytest.approx([10, 40, 200], abs=6)
    session.current().picture.show(b"")
    assert session.current().picture.icon == 0
    assert session.current().picture.preview is None


def test_a_picture_leaves_no_file_anywhere_and_nothing_in_the_blend(addon, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    images = list(bpy.data.images)
    for red in range(0, 250, 10):
        session.current().picture.show(jpeg((red, 0, 0)))
        shown()
    assert list(bpy.data.images) == images
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not list(Path(bpy.app.tempdir).glob("*.jpg"))


@pytest.mark.parametrize("data", [b"no picture", jpeg((1, 2, 3))[:40]], ids=["text", "cut off"])
def test_what_is_no_picture_is_not_shown_and_stops_nothing(addon, data):
    images = list(bpy.data.images)
    session.current().picture.show(jpeg((200, 40, 10)))
    session.current().picture.show(data)
    assert session.current().picture.preview is None
    assert list(bpy.data.images) == images


def test_the_picture_comes_with_the_job_and_goes_when_it_ends(scene):
    session.current().connect()
    session.current().dispatch(state.Reopened(TAKE, JOB))
    running = JobUpdate(JOB, "running", stage="Sampling", step=1, steps=9)
    session.current().dispatch(state.Updated(running))
    assert session.current().picture.preview is None
    session.current().dispatch(
        state.Updated(JobUpdate(JOB, "running", stage="Sampling", step=2, picture=jpeg((0, 200, 0))))
    )
    assert shown()[60, 80] == pytest.approx([0, 200, 0], abs=6)
    session.current().dispatch(state.CancelPressed())
    assert session.current().picture.preview is None


def test_another_file_has_no_picture_of_the_job_before(scene):
    session.current().connect()
    session.current().dispatch(state.Reopened(TAKE, JOB))
    session.current().dispatch(state.Updated(JobUpdate(JOB, "running", picture=jpeg((0, 200, 0)))))
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    assert session.current().picture.preview is None
