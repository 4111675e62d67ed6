"""The small picture of a take: its middle frame, at most 256 pixels long."""

import cv2
import numpy as np
import pytest

from ex4d.pipeline import thumbnail


@pytest.mark.parametrize(("count", "middle"), [(1, 0), (2, 1), (9, 4), (49, 24)])
def test_it_shows_the_middle_frame(tmp_path, count, middle):
    frames = np.empty((count, 48, 64, 3), np.uint8)
    for t in range(count):
        frames[t] = 5 * t, 200, 30
    thumbnail.write(tmp_path / "thumbnail.jpg", frames)
    read = cv2.imread(str(tmp_path / "thumbnail.jpg"))[..., ::-1].astype(int)
    assert read.shape == (48, 64, 3), "small ones stay as they are"
    assert np.abs(read - (5 * middle, 200, 30)).max() <= 3


@pytest.mark.parametrize(
    ("size", "small"), [((576, 1024), (144, 256)), ((1024, 576), (256, 144)), ((2, 4096), (1, 256))]
)
def test_large_frames_become_small_and_keep_their_aspect(size, small):
    assert thumbnail.of(np.zeros((3, *size, 3), np.uint8)).shape == (*small, 3)
