"""Fixtures shared by the tests of the command line."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ex4d.media.movie import write_movie


@pytest.fixture
def shoot(tmp_path, moving_box) -> Path:
    """A folder with clip.mp4 and its depth next to it."""
    clip, depth = moving_box
    write_movie(tmp_path / "clip.mp4", clip.frames, Fraction(24000, 1001))
    np.savez(tmp_path / "clip.depth.npz", depth=depth.depth, intrinsics=depth.intrinsics[0])
    return tmp_path
