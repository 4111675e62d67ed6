"""Pictures with subsampled chroma and an odd side: colours stay where they are in the same picture with even sides."""

import av
import cv2
import numpy as np
import pytest

from ex4d.geometry.intrinsics import fit_frame
from ex4d.media.clip import read_clip
from ex4d.media.picture import at_working_size

HEIGHT, WIDTH = 48, 64
SIZES = [(WIDTH - 1, HEIGHT), (WIDTH, HEIGHT - 1), (WIDTH - 1, HEIGHT - 1), (WIDTH - 3, HEIGHT - 3)]


def bars(width: int, height: int) -> np.ndarray:
    """Grey with a red bar at the right and a blue one at the bottom, where a shift is greatest (h,w,3)."""
    rgb = np.full((height, width, 3), 120, np.uint8)
    rgb[:, WIDTH - 12 :] = 220, 60, 60
    rgb[HEIGHT - 12 :] = 60, 60, 220
    return rgb


def read(path) -> np.ndarray:
    return read_clip(path, frames=1, longest_side=None, multiple=1).frames[0]


@pytest.mark.parametrize("sampling", ["420", "422", "440", "411"])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_jpeg(tmp_path, width, height, sampling):
    jpeg = [cv2.IMWRITE_JPEG_QUALITY, 100]
    jpeg += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{sampling}")]
    odd = bars(width, height)
    even = np.pad(odd, ((0, HEIGHT - height), (0, WIDTH - width), (0, 0)), mode="edge")
    for name, rgb in (("odd", odd), ("even", even)):
        cv2.imwrite(str(tmp_path / f"{name}.jpg"), rgb[..., ::-1], jpeg)
    odd, even = (read(tmp_path / f"{name}.jpg").astype(int) for name in ("odd", "even"))
    assert np.abs(odd - even[:height, :width]).max() <= 3, "the encoder continues the border in its own way"


def stored(width: int, height: int, layout: str) -> av.VideoFrame:
    """The upper left part of a picture of noise, as a decoder stores it."""
    chance = np.random.default_rng(1)
    picture, whole = av.VideoFrame(width, height, layout), av.VideoFrame(WIDTH, HEIGHT, layout)
    bits = picture.format.components[0].bits
    for part, plane in zip(picture.planes, whole.planes, strict=True):
        values = chance.integers(0, 1 << bits, (plane.height, plane.line_size)).astype(
            np.uint16 if bits > 8 else np.uint8
        )
        rows = np.frombuffer(memoryview(part), values.dtype).reshape(part.height, -1)
        rows[:] = values[: part.height, : rows.shape[1]]
    return picture


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p", "yuv411p", "yuv440p", "yuva420p", "yuv420p10le", "nv12"])
@pytest.mark.parametrize(("width", "height"), SIZES[:3])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_picture_of_a_clip(width, height, layout, bits):
    odd = at_working_size(stored(width, height, layout), fit_frame(width, height, multiple=1), bits)
    even = at_working_size(stored(WIDTH, HEIGHT, layout), fit_frame(WIDTH, HEIGHT, multiple=1), bits)
    assert np.array_equal(odd, even[:height, :width])


def test_the_tags_of_a_picture_are_heeded():
    """Colours of BT.2020 in PQ are converted; with an odd side too."""
    pictures = [stored(WIDTH - 1, HEIGHT - 1, "yuv420p10le"), stored(WIDTH, HEIGHT, "yuv420p10le")]
    for picture in pictures:
        picture.color_primaries, picture.color_trc, picture.colorspace, picture.color_range = 9, 16, 9, 2
    odd, even = (at_working_size(p, fit_frame(p.width, p.height, multiple=1), 8) for p in pictures)
    assert np.array_equal(odd, even[:-1, :-1])
