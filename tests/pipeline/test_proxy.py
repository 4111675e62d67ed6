"""The small movie of a take, to look at while the take is being transferred."""

from fractions import Fraction

import numpy as np
import pytest

from ex4d.media.frames import Stream
from ex4d.media.movie import read_movie
from ex4d.pipeline.leaving import ProxyFile
from ex4d.progress import silent


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("size", "small"), [((1080, 1920), (288, 512)), ((1920, 1080), (512, 288)), ((46, 64), (46, 64))]
)
def test_a_proxy_shows_the_frames_in_their_order_and_colours_with_no_side_over_512_pixels(tmp_path, bits, size, small):
    shades = [(200, 40, 30), (30, 160, 60), (20, 50, 180)]
    frames = [np.full((*size, 3), shade, np.uint8) for shade in shades]
    given = [frame.astype(np.uint16) * 257 if bits == 16 else frame for frame in frames]
    path = tmp_path / "proxy.mp4"
    ProxyFile(path)("result.mp4", Stream(iter(given), 3), None, Fraction(24), {}, progress=silent)
    clip = read_movie(path)
    assert clip.frames.shape == (3, *small, 3)
    assert clip.fps == 24
    for frame, shade in zip(clip.frames, shades, strict=True):
        assert np.abs(frame.reshape(-1, 3).mean(0) - shade).max() < 4
