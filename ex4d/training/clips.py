"""Clips of a video: square, of a fixed number of frames, and without cuts."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry.intrinsics import FrameFit
from ex4d.media.clip import Clip, ClipSource, open_source
from ex4d.source_camera.tracks import Tracks, cuts_in
from ex4d.training.trackers import lucas_kanade

CHANGE, CHANGE_TIMES = 8.0, 3.0
"""At a cut, the downscaled picture changes by more than this many levels of 255, and this many times as much as usual.
Measured: up to 3 levels in a walk through a bare room, 4 in real clips, 39 where one scene follows another."""

_SMALL = 32

BARE = 1.0
"""A picture whose standard deviation is below this, in levels of 255, is one colour, such as black before a title."""


@dataclass(frozen=True)
class Piece:
    """A clip of a video.

    Attributes:
        clip: its frames, square.
        tracks: points tracked through them by `lucas_kanade`.
        cuts: number of cuts found since the previous piece.
    """

    clip: Clip
    tracks: Tracks
    cuts: int


def pieces(path: Path, frames: int, size: int, most: int) -> Iterator[Piece]:
    """Clips of a video one after another, each of them a single shot.

    Each picture is scaled until its shorter side is `size`, and cropped around the centre. There is a cut where the
    tracked points are lost together and the picture changes; the next clip begins after it. Parts in which every
    picture is a single colour are left out, because there is nothing to learn from them.

    Args:
        path: the video.
        frames: of each clip.
        size: side of its pictures in pixels.
        most: maximum number of clips; 0 for all.

    Raises:
        InputError: the video cannot be read, is too short or too small, or has no shot that is long enough and shows
            something.
    """
    source = open_source(path)
    info = source.info
    if min(info.width, info.height) < size:
        raise InputError(f"its pictures of {info.width}x{info.height} are smaller than {size} pixels")
    if info.frames < frames:
        raise InputError(f"it has {info.frames} frames, and a clip needs {frames}")
    start = done = cuts = bare = 0
    while start + frames <= info.frames and not (most and done == most):
        clip = _read(source, start, frames, size)
        if all(frame.std(axis=(0, 1)).max() < BARE for frame in clip.frames):
            start, bare = start + frames, bare + 1
            continue
        tracks = lucas_kanade(clip.frames)
        if found := true_cuts(clip.frames, cuts_in(tracks)):
            cuts += len(found)
            start += found[-1]
            continue
        yield Piece(clip, tracks, cuts)
        done, cuts = done + 1, 0
        start += frames
    if not done and bare:
        raise InputError("its pictures show nothing but one colour")
    if not done:
        raise InputError(f"it is cut {cuts} times, and no shot in it has {frames} frames")


def true_cuts(frames: NDArray[np.uint8], suspected: list[int]) -> list[int]:
    """Those of the suspected frames at which the whole picture changes: on bare walls points get lost without any cut.

    Args:
        frames: (T,H,W,3) uint8.
        suspected: numbers of frames in which hardly any point of the previous frame was found.
    """
    if not suspected:
        return []
    small = np.stack([cv2.resize(frame, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA) for frame in frames])
    changes = np.abs(np.diff(small.astype(np.int16), axis=0)).mean(axis=(1, 2, 3))
    least = max(CHANGE, CHANGE_TIMES * float(np.median(changes)))
    return [t for t in suspected if changes[t - 1] > least]


def _read(source: ClipSource, start: int, frames: int, size: int) -> Clip:
    """The `frames` frames from `start` on, scaled and cropped."""
    info = source.info
    longest = -(-size * max(info.width, info.height) // min(info.width, info.height))
    whole = source.fit(longest, multiple=1)
    fit = FrameFit(info.width, info.height, whole.scaled_width, whole.scaled_height, size, size)
    inside = replace(fit, scaled_width=whole.width, scaled_height=whole.height)
    result = np.empty((frames, size, size, 3), np.uint8)
    notes: list[str] = []
    reading = source.frames(start, start + frames, longest_side=longest, multiple=1, tell=notes.append)
    for t, frame in enumerate(reading):
        result[t] = frame[inside.top : inside.top + size, inside.left : inside.left + size]
    return Clip(
        result,
        info.fps,
        source.path.name,
        start,
        fit,
        tuple(notes),
        info.frames,
        source.content.shown[start : start + frames],
        source.content.stored_pictures,
    )
