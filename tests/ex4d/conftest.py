from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ex4d import intrinsics
from ex4d.clip import Clip
from ex4d.depth import DepthVideo

HEIGHT, WIDTH, FRAMES = 48, 64, 9


@pytest.fixture
def moving_box() -> tuple[Clip, DepthVideo]:
    """A bright box that moves to the right in front of a slanted, textured wall."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    depth = np.empty((FRAMES, HEIGHT, WIDTH), np.float32)
    for t in range(FRAMES):
        frames[t] = np.stack([rows * 4, cols * 3, (rows + cols) * 2], axis=-1)
        depth[t] = 8 + cols * 0.02
        box = (slice(14, 34), slice(16 + 2 * t, 32 + 2 * t))
        frames[t][box] = (250, 220, 40)
        depth[t][box] = 4
    fit = intrinsics.fit_frame(WIDTH, HEIGHT)
    k = intrinsics.per_frame(intrinsics.from_focal(60, WIDTH, HEIGHT), FRAMES)
    return Clip(frames, Fraction(24), "box", 0, fit), DepthVideo(depth, k, "synthetic")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference outputs of the release and real clips, which stand beside the checkout where they are at hand."""
    folder = Path(__file__).resolve().parents[3] / "shared"
    if not folder.is_dir():
        pytest.skip("the folder of reference files is not beside the checkout")
    return folder
