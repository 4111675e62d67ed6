"""A moving mask given by the user covers the same pixels as in the clip."""

from fractions import Fraction

import cv2
import numpy as np

from ex4d.media.clip import read_clip
from ex4d.media.movie import write_movie
from ex4d.source_camera import masks


def test_a_mask_of_a_clip_that_is_cropped_is_cropped_with_it(tmp_path):
    """A white disc in the clip is its own mask; if it were squeezed instead, it would be up to 7 pixels off."""
    disc = np.zeros((350, 400, 3), np.uint8)
    cv2.circle(disc, (60, 40), 30, (255, 255, 255), -1)
    write_movie(tmp_path / "clip.mp4", np.stack([disc[..., 0]] * 3), Fraction(24), lossless=True)
    cv2.imwrite(str(tmp_path / "mask.png"), disc)
    clip = read_clip(tmp_path / "clip.mp4", frames=3)
    assert (clip.fit.width, clip.fit.height) == (400, 336)
    mask = masks.read(tmp_path / "mask.png", clip)
    seen = clip.frames.max(axis=-1) >= masks.WHITE
    assert (mask != seen).mean() < 0.0005
    # A mask of the working size, such as moving.mp4, stays as it is.
    write_movie(tmp_path / "moving.mp4", mask.astype(np.uint8) * 255, Fraction(24), lossless=True)
    assert np.array_equal(masks.read(tmp_path / "moving.mp4", clip), mask)
