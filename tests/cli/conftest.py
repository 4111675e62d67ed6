"""What tests of the command line share."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ex4d.media.movie import write_movie


@pytest.fixture
def shoot(tmp_path, moving_box) -> Path:
    """A folder with clip.mp4 and the depth beside it."""
    clip, depth = moving_box
    write_movie(tmp_path / "clip.mp4", clip.frames, Fraction(24000, 1001))
    np.savez(tmp_path / "clip.depth.npz", depth=depth.depth, intrinsics=depth.intrinsics[0])
    return tmp_path
