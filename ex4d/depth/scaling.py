"""Distances of a whole shot from an estimator's relative disparity: one scale and shift for all frames."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.depth import alignment, lens
from ex4d.depth.base import Metric, Spec
from ex4d.depth.estimate import NO_UNIT, Estimate
from ex4d.errors import InputError
from ex4d.geometry import intrinsics
from ex4d.geometry.depth_video import DepthVideo

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

KEY_FRAMES = 5
"""Number of frames of a shot in which lens and scale are measured."""


def key_frames(count: int) -> NDArray[np.intp]:
    """Numbers (K,) of at most `KEY_FRAMES` frames, spread evenly over a shot of `count` frames."""
    return np.unique(np.linspace(0, count - 1, KEY_FRAMES).round().astype(np.intp))


def scaled(
    spec: Spec, clip: "Clip", disparity: NDArray[np.float32], focal_px: float | None, metric: Metric | None
) -> Estimate:
    """Convert relative disparity to distances.

    The unit is that of `metric`, by a robust fit to it; without `metric`, or if the fit fails (a note says so), the
    mapping of EX-4D's release is used.

    Args:
        spec: of the estimator.
        clip: T frames at the working size.
        disparity: (T,H,W), larger is nearer, of one unknown scale and shift.
        focal_px: focal length in pixels of the source's displayed picture; None takes the metric's, or a typical lens.
        metric: lens and distances measured in some frames.

    Raises:
        InputError: the disparity is the same everywhere, or the focal length is impossible for a lens.
    """
    notes: list[str] = []
    k, about_lens = lens.given_or_assumed(clip, focal_px)
    depth, scale_note = None, NO_UNIT
    if metric is not None:
        if focal_px is None and np.isfinite(metric.focal_px):
            k = intrinsics.per_frame(
                intrinsics.from_focal(metric.focal_px, clip.fit.width, clip.fit.height), len(clip.frames)
            )
            about_lens = ""  # the metric's own note is enough
        notes.append(metric.note)
        seen = np.isfinite(metric.depth)
        try:
            scale, shift = alignment.fit_disparity(disparity[metric.numbers][seen], 1 / metric.depth[seen])
            depth = alignment.metric_depth(disparity, scale, shift)
            scale_note = metric.scale_note
        except InputError as error:
            notes.append(str(error))
    if depth is None:
        depth = alignment.relative_depth(disparity)
    if about_lens:
        notes.append(about_lens)
    return Estimate(DepthVideo(depth, k, spec.name, tuple(notes)), scale_note, spec.licence)
