"""Measures of a depth video that need no ground truth: steadiness, range, lens, repairs."""

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthVideo
from ex4d.media import flow as optical
from ex4d.progress import Progress, silent
from ex4d.storage.atomic import replacing

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

WIDTH = 512
"""Flicker is measured in pictures of at most this width."""


@dataclass(frozen=True)
class DepthReport:
    """Figures of one depth video.

    Attributes:
        provider: where the depth is from.
        frames, width, height: its size.
        flicker: mean |log(depth) - log(depth of the same point a frame later)|; 0.01 is 1 % per frame. Things that come
            nearer add to it. None for a single frame, or if nothing can be followed.
        followed: fraction of the pixels, 0 to 1, that the flow follows there and back, over which flicker is averaged.
        nearest, median, farthest: distances of the shot; nearest and farthest leave out 0.1 % at either end.
        focal_px: of the first frame, at this size.
        field_of_view: degrees, horizontal and vertical, of the first frame.
        lens: a sentence about where the lens comes from.
        repaired: fraction of the values that were not distances.
        notes: all sentences for the user.
    """

    provider: str
    frames: int
    width: int
    height: int
    flicker: float | None
    followed: float | None
    nearest: float
    median: float
    farthest: float
    focal_px: float
    field_of_view: tuple[float, float]
    lens: str
    repaired: float
    notes: tuple[str, ...]

    def text(self) -> str:
        """A few lines for people."""
        steady = "Flicker: nothing to compare."
        if self.flicker is not None and self.followed is not None:
            steady = (
                f"Flicker: {self.flicker:.2%} a frame, over the {self.followed:.0%} of pixels that can be followed."
            )
        across, down = self.field_of_view
        return "\n".join(
            [
                f"Depth: {self.provider}, {self.frames} frames of {self.width}x{self.height}.",
                steady,
                f"Range: {self.nearest:.4g} to {self.farthest:.4g}, median {self.median:.4g}.",
                f"Field of view: {across:.1f} x {down:.1f} degrees ({self.focal_px:.0f} px). {self.lens}",
                f"Repaired: {self.repaired:.2%} of the values.",
                *(note for note in self.notes if note != self.lens),
            ]
        )

    def save(self, path: Path) -> None:
        """Write all figures as JSON; all or nothing."""
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def report(clip: "Clip", depth: DepthVideo, progress: Progress = silent) -> DepthReport:
    """Measure a depth video.

    Args:
        clip: frames of the same size as the depth.
        depth: what to measure.
        progress: called after each frame.

    Raises:
        InputError: clip and depth do not belong together.
    """
    check_belongs(clip, depth)
    change, followed = flicker(clip.frames, depth.depth, progress)
    frames, height, width = depth.depth.shape
    sample = depth.depth[:, ::2, ::2] if depth.depth.size > 1 << 24 else depth.depth
    nearest, median, farthest = (float(value) for value in np.percentile(sample, [0.1, 50, 99.9]))
    k = depth.intrinsics[0]
    lens = next((note for note in depth.notes if "focal length" in note.lower()), "Its source is not known.")
    return DepthReport(
        depth.provider,
        frames,
        width,
        height,
        change,
        followed,
        nearest,
        median,
        farthest,
        float(k[0, 0]),
        (_angle(k[0, 0], k[0, 2], width), _angle(k[1, 1], k[1, 2], height)),
        lens,
        depth.repaired,
        depth.notes,
    )


def check_belongs(clip: "Clip", depth: DepthVideo) -> None:
    """Raise InputError unless depth and clip have the same frames and size."""
    if depth.depth.shape != clip.frames.shape[:3]:
        raise InputError(
            f"The depth has the shape {depth.depth.shape} and the clip's frames {clip.frames.shape[:3]}: they must"
            " belong together."
        )


def flicker(
    frames: NDArray[np.uint8], depth: NDArray[np.float32], progress: Progress = silent
) -> tuple[float | None, float | None]:
    """Mean change of log depth along the optical flow, and the fraction of the pixels it is averaged over.

    Only pixels that the flow follows to the next frame and back count. Nothing is known to be static, so things that
    move nearer or away count too, and even true depth has some flicker.

    Args:
        frames: (T,H,W,3) uint8.
        depth: (T,H,W), > 0.
        progress: called after each frame.

    Returns:
        Both None if there is nothing to compare.
    """
    flow = optical.Flow()
    total, counted, pixels = 0.0, 0, 0
    for number, ((a, depth_a), (b, depth_b)) in enumerate(pairwise(zip(frames, depth, strict=True)), 1):
        grey_a, grey_b = optical.small_grey(a, WIDTH), optical.small_grey(b, WIDTH)
        forward, backward = flow(grey_a, grey_b), flow(grey_b, grey_a)
        seen = optical.followed(forward, backward)
        here, there = _log_depth(depth_a, grey_a.shape), _log_depth(depth_b, grey_b.shape)
        total += float(np.abs(optical.nearest(there, forward) - here)[seen].sum())
        counted, pixels = counted + int(seen.sum()), pixels + seen.size
        progress("Measuring flicker", number, len(frames) - 1)
    return (total / counted, counted / pixels) if counted else (None, None)


def _log_depth(depth: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Log of the depth nearest to each pixel of a picture of that shape, so that nothing is mixed across edges."""
    rows = ((np.arange(shape[0]) + 0.5) * depth.shape[0] / shape[0]).astype(np.intp)
    columns = ((np.arange(shape[1]) + 0.5) * depth.shape[1] / shape[1]).astype(np.intp)
    return np.log(depth[rows[:, None], columns])


def _angle(focal: float, centre: float, size: int) -> float:
    """Angle in degrees that a side of the picture spans."""
    return float(np.degrees(np.arctan(centre / focal) + np.arctan((size - centre) / focal)))
