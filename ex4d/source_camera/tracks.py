"""Points of a clip followed from frame to frame (Lucas-Kanade, in OpenCV): what most estimators start from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.progress import FOLLOWING_POINTS, Progress, silent

MOST_POINTS = 1500
"""So many points are followed at a time, if no other number is asked for."""

REFILL_EVERY = 3
"""After so many frames, new points are looked for where old ones were lost."""

BACK_PX = 0.4
"""A point counts as followed where going there and back ends this close to where it began."""

WINDOW, LEVELS = 15, 4
"""Side of what is compared, in pixels, and how often the picture is halved for large motion."""

BORDER_PX = 4
"""Points this close to the border are lost."""


@dataclass(frozen=True)
class Tracks:
    """Sightings of points, sorted by frame.

    Attributes:
        track: (N,) intp, which point, counted from 0.
        frame: (N,) intp, where it is seen.
        xy: (N,2) float64 pixels, centres at +0.5.
        survived: (T,) part of the points of the frame before that were found again; 1 in the first.
    """

    track: NDArray[np.intp]
    frame: NDArray[np.intp]
    xy: NDArray[np.float64]
    survived: NDArray[np.float64]

    @property
    def count(self) -> int:
        """How many points there are."""
        return int(self.track.max(initial=-1)) + 1

    def lengths(self) -> NDArray[np.intp]:
        """In how many frames each point is seen."""
        return np.bincount(self.track, minlength=self.count)

    def kept(self, keep: NDArray[np.bool_]) -> "Tracks":
        """Those sightings alone."""
        return Tracks(self.track[keep], self.frame[keep], self.xy[keep], self.survived)


def follow(
    grey: NDArray[np.uint8],
    allowed: NDArray[np.bool_] | None = None,
    progress: Progress = silent,
    most: int = MOST_POINTS,
) -> Tracks:
    """Follow points through pictures (T,h,w).

    Args:
        grey: the pictures.
        allowed: (T,h,w) where points may be; None allows everything.
        progress: called after each frame.
        most: so many points are followed at a time.
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
    """Where points (N,2) are in the next picture, and which of them were found."""
    found, forward = lucas_kanade(here, there, p)
    back, backward = lucas_kanade(there, here, found)
    height, width = here.shape
    inside = ((found > BORDER_PX) & (found < (width - BORDER_PX, height - BORDER_PX))).all(axis=1)
    return found, forward & backward & inside & (np.hypot(*(back - p).T) < BACK_PX)


def lucas_kanade(
    here: NDArray[np.uint8], there: NDArray[np.uint8], p: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Points (N,2) of `here` in `there`, in OpenCV's pixels (centres at integers), and which were found."""
    import cv2

    end = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 0.01)
    found, status, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]  # from nothing, which its types lack
        here, there, p.reshape(-1, 1, 2), None, winSize=(WINDOW, WINDOW), maxLevel=LEVELS, criteria=end
    )
    return found.reshape(-1, 2), status.ravel().astype(bool)
