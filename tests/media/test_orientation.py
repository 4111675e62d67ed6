"""How files declare that their pictures are rotated and mirrored, and that they are shown upright."""

import gc
import math
import struct
import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ex4d.media.clip import clip_info, open_source, read_clip
from ex4d.media.movie import write_movie
from ex4d.media.orientation import Orientation, from_matrix

ONE = 1 << 16
EIGHT = {  # the EXIF value, the signs of the display matrix, and how numpy shows it
    1: ((1, 0, 0, 1), lambda p: p),
    2: ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    3: ((-1, 0, 0, -1), lambda p: p[::-1, ::-1]),
    4: ((1, 0, 0, -1), lambda p: p[::-1]),
    5: ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    6: ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    7: ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
    8: ((0, -1, 1, 0), lambda p: np.rot90(p)),
}


def matrix(a: float, b: float, c: float, d: float, x: int = 0, y: int = 0) -> tuple[int, ...]:
    a, b, c, d = (round(value * ONE) for value in (a, b, c, d))
    return (a, b, 0, c, d, 0, x * ONE, y * ONE, 1 << 30)


def four_colours() -> np.ndarray:
    """A picture (48,80,3) with four different quarters."""
    picture = np.zeros((48, 80, 3), np.uint8)
    picture[:24, :40], picture[:24, 40:] = (200, 40, 40), (40, 180, 60)
    picture[24:, :40], picture[24:, 40:] = (60, 60, 200), (210, 210, 210)
    return picture


def movie(path: Path, display: tuple[int, ...], aspect: Fraction | None = None) -> Path:
    """A video whose track header has this matrix."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.height, stream.width = four_colours().shape[:2]
        stream.pix_fmt, stream.options = "yuv444p", {"crf": "4"}
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for number in range(3):
            picture = av.VideoFrame.from_ndarray(four_colours(), format="rgb24").reformat(format="yuv444p")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", *display)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("number", EIGHT)
@pytest.mark.parametrize("shift", [(0, 0), (80, -48)])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_video_is_shown_by_its_whole_display_matrix(tmp_path, number, shift, bits):
    signs, shown = EIGHT[number]
    path = movie(tmp_path / "a.mp4", matrix(*signs, *shift))
    wanted = shown(four_colours())
    info = clip_info(path)
    assert (info.height, info.width) == wanted.shape[:2]
    told = []
    frame = next(open_source(path).frames(bits=bits, tell=told.append))
    assert frame.shape == wanted.shape
    assert np.abs(frame / (1 if bits == 8 else 257) - wanted).mean() < 2
    assert told == []


def exif(number: int) -> bytes:
    return b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([number]) + b"\0\0\0\0\0\0\0"


def jpeg(number: int) -> bytes:
    data = cv2.imencode(".jpg", four_colours()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    content = b"Exif\0\0" + exif(number)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + data[2:]


def png(number: int) -> bytes:
    data = cv2.imencode(".png", four_colours()[..., ::-1])[1].tobytes()
    chunk = b"eXIf" + exif(number)
    header = data[:33]
    return header + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]


@pytest.mark.parametrize("number", EIGHT)
@pytest.mark.parametrize(("kind", "ending"), [(jpeg, ".jpg"), (png, ".png")])
def test_a_picture_is_shown_as_its_exif_says(tmp_path, number, kind, ending):
    (tmp_path / f"1{ending}").write_bytes(kind(number))
    wanted = EIGHT[number][1](four_colours())
    info = clip_info(tmp_path)
    assert (info.height, info.width) == wanted.shape[:2]
    clip = read_clip(tmp_path, frames=None)
    assert clip.frames[0].shape == wanted.shape
    assert np.abs(clip.frames[0].astype(int) - wanted).mean() < (3 if ending == ".jpg" else 0.01)
    assert clip.notes == ()


def test_pixels_that_are_not_square_are_stretched_before_the_picture_is_turned(tmp_path):
    path = movie(tmp_path / "a.mp4", matrix(0, 1, -1, 0), aspect=Fraction(2))
    assert (clip_info(path).width, clip_info(path).height) == (48, 160)
    frame = read_clip(path, frames=1).frames[0]
    wanted = cv2.resize(np.rot90(four_colours(), -1), (48, 160), interpolation=cv2.INTER_NEAREST)
    assert frame.shape == wanted.shape
    assert np.median(np.abs(frame.astype(int) - wanted)) <= 3


@given(
    st.sampled_from(list(EIGHT)),
    st.integers(1, 1 << 20),
    st.integers(-(1 << 30), 1 << 30),
    st.integers(-(1 << 30), 1 << 30),
)
def test_scale_and_place_on_the_canvas_do_not_change_the_orientation(number, scale, x, y):
    signs, shown = EIGHT[number]
    a, b, c, d = (sign * scale for sign in signs)
    orientation = from_matrix((a, b, 0, c, d, 0, x, y, 1 << 30))
    picture = np.arange(2 * 3 * 3).reshape(2, 3, 3)
    assert np.array_equal(orientation.upright(picture), shown(picture))
    assert orientation.note is None


@pytest.mark.parametrize(
    ("degrees", "turns", "rest"), [(10, 0, 10.0), (-3, 0, -3.0), (80, 1, -10.0), (185, 2, 5.0), (-90.5, 3, -0.5)]
)
def test_a_free_angle_is_brought_to_the_nearest_quarter_turn_and_the_rest_is_told(tmp_path, degrees, turns, rest):
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    orientation = from_matrix(matrix(cos, sin, -sin, cos))
    assert not orientation.exact
    assert abs(orientation.angle - rest) < 0.01
    assert np.array_equal(orientation.upright(four_colours()), np.rot90(four_colours(), -turns))
    path = movie(tmp_path / "a.mp4", matrix(cos, sin, -sin, cos))
    clip = read_clip(path, frames=None)
    (note,) = clip.notes
    assert f"further {abs(rest)} degrees {'clockwise' if rest > 0 else 'counter-clockwise'}" in note
    assert clip.frames.shape[1:3] == ((80, 48) if turns % 2 else (48, 80))


def test_a_sheared_picture_is_told_and_an_empty_matrix_means_nothing():
    assert "sheared" in (from_matrix(matrix(1, 0, 0.5, 1)).note or "")
    assert from_matrix((0,) * 9) == Orientation()
    assert from_matrix(matrix(1, 0.0001, -0.0001, 1)) == Orientation(), "rounding is no angle"


def test_no_decoded_picture_stays_in_memory_once_it_was_read(tmp_path):
    movie = tmp_path / "clip.mp4"
    write_movie(movie, np.zeros((6, 32, 48, 3), np.uint8), Fraction(24))
    gc.collect()
    gc.disable()  # Python looks for cycles so rarely that a hundred large pictures may wait for it
    try:
        clip = read_clip(movie, frames=None)
        left = [one for one in gc.get_objects() if isinstance(one, av.VideoFrame)]
    finally:
        gc.enable()
    assert len(clip.frames) == 6
    assert left == []
