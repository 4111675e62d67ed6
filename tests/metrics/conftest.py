"""Pictures and cameras shared by the tests of measuring."""

import cv2
import numpy as np
import pytest
from small_shots import FRAMES, HEIGHT, WIDTH, left_half, turning

from ex4d.media.movie import write_png_frames


@pytest.fixture(scope="session")
def truth():
    """(5,48,64,3) uint8, a texture that moves by one pixel per frame."""
    random = np.random.default_rng(7)
    coarse = (random.random((12, 16, 3)) * 160 + 40).astype(np.float32)
    wide = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.stack([np.roll(np.clip(wide, 30, 220), t, axis=1) for t in range(FRAMES)]).astype(np.uint8)


@pytest.fixture
def shot(tmp_path, truth):
    """A folder of pairs with one shot as lossless images, whose left half is visible."""
    from ex4d.geometry import camera_path

    folder = tmp_path / "data" / "shot"
    folder.mkdir(parents=True)
    write_png_frames(folder / "source", truth[:, :, ::-1])
    write_png_frames(folder / "truth", truth)
    write_png_frames(folder / "mask", left_half())
    camera_path.save(folder / "camera.npz", turning(np.linspace(0, 30, FRAMES)))
    return folder
