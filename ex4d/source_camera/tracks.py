"""Points tracked from frame to frame (Lucas-Kanade, in OpenCV), the starting point of most estimators."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.frame_numbers import in_shot
from ex4d.progress import FOLLOWING_POINTS, Progress, silent

MOST_POINTS = 1500
"""Default for the number of points tracked at the same time."""

REFILL_EVERY = 3
"""Interval in frames at which lost points are replaced by new ones."""

BACK_PX = 0.4
"""A point counts as tracked if tracking it forward and back ends this close to its start."""

WINDOW, LEVELS = 15, 4
"""Side of the compared window in pixels, and the number of halvings of the picture for large motion."""

BORDER_PX = 4
"""Points this close to the border are lost."""

FEWEST_FRAMES = 5
"""Minimum number of frames in which points say anything about a camera."""

LEAST_SIDE = 100
"""In pixels. Frames with a shorter side below this have too few distinguishable points to say anything."""

CUT_SURVIVORS = 0.12
"""A frame in which less than this part of the points is found again starts another shot."""

FOLLOWED = 0.6
"""The points are noise if, in the median frame, less than this part of them is found again from the frame before.
Measured: 0.38 on bare walls, 0.91 and more in clips with texture."""

TOO_LITTLE_TEXTURE = "there is too little texture that can be followed from frame to frame"
"""The reason given then, as part of a sentence."""


@dataclass(frozen=True)
class Tracks:
    """Sightings of points, sorted by frame.

    Attributes:
        track: (N,) intp, number of the point, from 0.
        frame: (N,) intp, frame that it is seen in.
        xy: (N,2) float64 pixels, centres at +0.5.
        survived: (T,) fraction of the previous frame's points that were found again; 1 in the first frame.
    """

    track: NDArray[np.intp]
    frame: NDArray[np.intp]
    xy: NDArray[np.float64]
    survived: NDArray[np.float64]

    @property
    def count(self) -> int:
        """Number of points."""
        return int(self.track.max(initial=-1)) + 1

    def lengths(self) -> NDArray[np.intp]:
        """Number of frames in which each point is seen."""
        return np.bincount(self.track, minlength=self.count)

    def kept(self, keep: NDArray[np.bool_]) -> "Tracks":
        """Only the sightings to `keep` (N,)."""
        return Tracks(self.track[keep], self.frame[keep], self.xy[keep], self.survived)


def follow(
    grey: NDArray[np.uint8],
    allowed: NDArray[np.bool_] | None = None,
    progress: Progress = silent,
    most: int = MOST_POINTS,
) -> Tracks:
    """Track points through pictures (T,h,w).

    Args:
        grey: the pictures.
        allowed: (T,h,w) where points may be; None allows them everywhere.
        progress: called after each frame.
        most: maximum number of points tracked at the same time.
    """
    import cv2

    height, width = grey.shape[1:]
    spacing = max(4.0, 0.6 * np.sqrt(height * width / most))
    p, ids = np.zeros((0, 2), np.float32), np.zeros(0, np.intp)
    fresh = 0
    tracks, frames, places, survived = [], [], [], np.ones(len(grey))
    for t, picture in enumerate(grey):
        if t and len(p):
            found, good = _step(grey[t - 1], picture, p)
            survived[t] = good.mean()
            p, ids = found[good], ids[good]
        if allowed is not None and len(p):
            good = allowed[t][p[:, 1].astype(np.intp), p[:, 0].astype(np.intp)]
            p, ids = p[good], ids[good]
        if t % REFILL_EVERY == 0 and len(p) < most:
            free = np.full((height, width), 255, np.uint8) if allowed is None else allowed[t].astype(np.uint8) * 255
            free[:BORDER_PX], free[-BORDER_PX:], free[:, :BORDER_PX], free[:, -BORDER_PX:] = 0, 0, 0, 0
            for x, y in p.round().astype(int).tolist():
                cv2.circle(free, (x, y), int(spacing), 0, -1)
            new = cv2.goodFeaturesToTrack(picture, most - len(p), 0.002, spacing, mask=free, blockSize=7)
            if new is not None:
                p = np.concatenate([p, new.reshape(-1, 2)])
                ids = np.concatenate([ids, fresh + np.arange(len(new))])
                fresh += len(new)
        tracks.append(ids)
        frames.append(np.full(len(ids), t))
        places.append(p.astype(np.float64) + 0.5)
        progress(FOLLOWING_POINTS, t + 1, len(grey))
    return Tracks(np.concatenate(tracks), np.concatenate(frames), np.concatenate(places), survived)


def _step(
    here: NDArray[np.uint8], there: NDArray[np.uint8], p: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Positions of points (N,2) in the next picture, and which of them were found."""
    found, forward = lucas_kanade(here, there, p)
    back, backward = lucas_kanade(there, here, found)
    height, width = here.shape
    inside = ((found > BORDER_PX) & (found < (width - BORDER_PX, height - BORDER_PX))).all(axis=1)
    return found, forward & backward & inside & (np.hypot(*(back - p).T) < BACK_PX)


def lucas_kanade(
    here: NDArray[np.uint8], there: NDArray[np.uint8], p: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Position in `there` of points (N,2) of `here`, in OpenCV's pixels (centres at integers), and which were found."""
    import cv2

    end = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)
    found, status, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]  # None is missing in its types
        here, there, p.reshape(-1, 1, 2), None, winSize=(WINDOW, WINDOW), maxLevel=LEVELS, criteria=end
    )
    return found.reshape(-1, 2), status.ravel().astype(bool)


def too_little(frames: NDArray[np.uint8]) -> str:
    """Why nothing can be found in frames (T,H,W,3), as the beginning of a clause that ends with "to ..."; or ""."""
    height, width = frames.shape[1:3]
    if len(frames) < FEWEST_FRAMES:
        return f"{len(frames)} frames are too few"
    if min(height, width) < LEAST_SIDE:
        return f"frames of {width}x{height} px are too small"
    return ""


def is_noise(tracks: Tracks) -> bool:
    """Whether nothing was tracked, or most of it is not there in the next frame."""
    return not len(tracks.track) or bool(np.median(tracks.survived[1:]) < FOLLOWED)


def cuts_in(tracks: Tracks) -> list[int]:
    """The first frame of every shot except the first."""
    return [int(t) for t in np.flatnonzero(tracks.survived < CUT_SURVIVORS)]


def said_of(cuts: list[int]) -> str:
    """Where these cuts are, as part of a sentence."""
    return f"cut at {' and '.join(in_shot(t) for t in cuts[:5])}"
