"""Videos at a constant rate other than their own."""

from dataclasses import replace
from fractions import Fraction

import numpy as np

from ex4d.errors import InputError
from ex4d.media.video import VideoFile


def at_rate(video: VideoFile, fps: Fraction) -> VideoFile:
    """The video at another rate; each frame shows what is on screen in the middle of its time.

    Raises:
        InputError: the rate is not positive.
    """
    if fps <= 0:
        raise InputError(f"The frame rate must be above 0, not {fps}.")
    own, frames = video.info.fps, len(video.shown)
    middles = np.arange(max(1, round(frames * fps / own))) + 0.5
    at = np.minimum((middles * float(own / fps)).astype(np.int64), frames - 1)
    return replace(video, shown=video.shown[at], info=replace(video.info, fps=fps, frames=len(at)))
