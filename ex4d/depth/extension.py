"""Depth for more frames of a shot: existing depth is kept, new frames are estimated and fitted to it.

An estimator gives each run a scale and shift of its own. It is therefore run on the new frames together with some
adjacent frames that have depth, and one scale and shift of disparity maps the run to the shot's depth. Over the shared
frames one depth blends into the other, as Video-Depth-Anything joins its windows. Without this, a seam is three to six
times as strong as the usual change from frame to frame; see docs/depth.md. Needs only numpy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.depth import alignment, lens
from ex4d.depth.encoding import DepthEncoding
from ex4d.depth.estimate import Estimate
from ex4d.depth.files.arrays import open_npz
from ex4d.depth.files.stored import Stored
from ex4d.depth.runs import Run, runs
from ex4d.errors import InputError
from ex4d.frame_numbers import in_file
from ex4d.geometry import intrinsics
from ex4d.geometry.depth_video import DepthVideo

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

MOST_LEFT = 0.25
"""Median relative difference after the fit above which the depth belongs to other pictures, or is worthless."""

LEAST_RELIEF = 0.02
"""If the shared frames cover less than this fraction of the run's range of disparity, only a scale is fitted."""

SAME = 1e-4
"""Relative difference up to which two depths count as the same; packing for a file changes depth by a third of that."""

SAME_LENS = 1e-3
"""Relative difference up to which two focal lengths count as the same."""


@dataclass(frozen=True)
class Standing:
    """Depth that some frames of a clip already have.

    Attributes:
        first: the first of these frames, within the clip.
        estimate: their depth (S,H,W) and what is known about it.
    """

    first: int
    estimate: Estimate

    @property
    def depth(self) -> NDArray[np.float32]:
        """Distances (S,H,W)."""
        return self.estimate.depth.depth

    @property
    def zooms(self) -> bool:
        """Whether its lens zooms; how the zoom continues is unknown."""
        k = self.estimate.depth.intrinsics
        return not np.allclose(k, k[0])

    def lenses(self, count: int) -> NDArray[np.float64]:
        """The lens (count,3,3) of every frame of the clip, taken from the nearest frame that has depth."""
        k = self.estimate.depth.intrinsics
        return k[np.clip(np.arange(count) - self.first, 0, len(k) - 1)]

    @property
    def steady(self) -> range:
        """Which frames of the clip are steady; see `Estimate`."""
        return range(self.first, self.first + len(self.estimate.steady))


def extended(
    path: Path,
    clip: "Clip",
    provider: str,
    titles: Mapping[str, str],
    focal_px: float | None,
    estimate: Callable[["Clip"], Estimate],
    kept: Callable[[], Estimate | None],
) -> tuple[Estimate | None, str]:
    """Complete the depth of a clip in which some frames have depth that is to be kept.

    Args:
        path: an EX-4D depth file that says which `part` of the clip's source it covers.
        clip: all frames.
        provider: name of the estimator.
        titles: of all estimators, by name.
        focal_px: focal length in pixels of the source's displayed picture, if given.
        estimate: estimates the depth of some consecutive frames of the clip.
        kept: returns the cached result of an earlier estimate of the whole clip, if any.

    Returns:
        The depth of all frames, or None and a sentence about why the file's depth cannot be kept.

    Raises:
        InputError: the estimator refuses.
    """
    try:
        standing, why = _read(path, clip, provider, titles, focal_px)
    except InputError:  # its message is about a file that the artist has never seen
        standing, why = None, "the file with the shot's depth is damaged"
    if standing is None:
        return None, f"The depth of all frames was estimated again: {why}."
    whole = kept()  # for example of frames that were open before
    if whole is not None and _is_same(standing, whole.depth.depth):
        return _with_lens(whole, standing), ""
    try:
        return _joined(standing, clip, estimate), ""
    except InputError as error:
        return None, f"The depth of all frames was estimated again. {error}"


def _read(
    path: Path, clip: "Clip", provider: str, titles: Mapping[str, str], focal_px: float | None
) -> tuple[Standing | None, str]:
    """Read the existing depth of a clip's frames, or return None and why it does not apply, as part of a sentence.

    Raises:
        InputError: the file is damaged.
    """
    with open_npz(path, DepthEncoding()) as stored:
        if stored.part is None or not stored.is_ours or stored.intrinsics is None:
            return None, f"{path.name} does not say which frames it belongs to"
        first, step, of = stored.part
        if of != clip.source_frames:
            return None, f"{clip.source} had {of} frames and has {clip.source_frames} now"
        places, between = np.divmod(clip.numbers - first, step)
        common = np.flatnonzero((places >= 0) & (places < stored.frames))
        if step != clip.step or between.any() or not len(common):
            return None, "no frame that was open is among them"
        if (stored.width, stored.height) != (clip.fit.width, clip.fit.height):
            return None, (
                f"it was {stored.width}x{stored.height} pixels large and is to be {clip.fit.width}x{clip.fit.height}"
            )
        if stored.provider != provider:
            before, now = (titles.get(name, name) for name in (stored.provider, provider))
            made = "read from a file" if stored.provider == "file" else f"made by {before}"
            return None, f"it was {made}, and {now} runs now"
        k = intrinsics.per_frame(stored.intrinsics, stored.frames)[places[common]]
        if focal_px is not None:
            given, _note = lens.given_or_assumed(clip, focal_px)
            if not np.allclose(k[:, 0, 0], given[0, 0, 0], rtol=SAME_LENS):
                return None, "a different field of view is given now"
        return Standing(int(common[0]), _read_frames(stored, int(places[common[0]]), k)), ""


def _read_frames(stored: Stored, start: int, k: NDArray[np.float64]) -> Estimate:
    depth = np.empty((len(k), stored.height, stored.width), np.float32)
    for into, frame in zip(depth, stored.read(start, start + len(k)), strict=True):
        into[:] = frame
    made = DepthVideo(depth, k, stored.provider, stored.notes, is_guess=stored.is_guess)
    steady = range(len(depth) if stored.steady else 0)
    return Estimate(made, stored.scale_note, stored.licence, caution=stored.caution, steady=steady)


def _is_same(standing: Standing, whole: NDArray[np.float32]) -> bool:
    """Whether depth of the whole clip (T,H,W) matches the existing depth in the frames that have some."""
    there = whole[standing.first :][: len(standing.depth)]
    return all(np.allclose(one, other, rtol=SAME, atol=0) for one, other in zip(there, standing.depth, strict=True))


def _with_lens(whole: Estimate, standing: Standing) -> Estimate:
    """Give an estimate of all frames the lens that the existing depth has acquired since."""
    whole, k = replace(whole, steady=standing.steady), standing.lenses(len(whole.depth.depth))
    if np.allclose(whole.depth.intrinsics, k, rtol=SAME_LENS):
        return whole
    goes_on: tuple[str, ...] = ()
    others = np.setdiff1d(np.arange(len(k)), standing.first + np.arange(len(standing.depth)))
    if standing.zooms and lens.ASSUMED not in whole.depth.notes:
        k[others] = whole.depth.intrinsics[others]
    elif standing.zooms and len(others):
        goes_on = (lens.GOES_ON,)
    told = (*standing.estimate.depth.notes, *(note for note in whole.depth.notes if note != lens.ASSUMED), *goes_on)
    return replace(whole, depth=replace(whole.depth, intrinsics=k, notes=tuple(dict.fromkeys(told))))


def _joined(standing: Standing, clip: "Clip", estimate: Callable[["Clip"], Estimate]) -> Estimate:
    """Depth of all frames: the existing depth, and runs of the estimator fitted to it.

    Raises:
        InputError: a run contradicts the existing depth.
    """
    known = standing.estimate
    depth = np.empty((len(clip.frames), *standing.depth.shape[1:]), np.float32)
    depth[standing.first :][: len(standing.depth)] = standing.depth
    notes = list(known.depth.notes)
    k, steady = standing.lenses(len(clip.frames)), standing.steady
    for run in runs(len(clip.frames), standing.first, len(standing.depth)):
        made = estimate(_frames(clip, run))
        scale, left = join(depth[run.start : run.stop], made.depth.depth, run)
        if standing.zooms and lens.ASSUMED not in made.depth.notes:
            new = slice(0, run.new) if run.leads else slice(run.shared, None)
            k[run.start : run.stop][new] = made.depth.intrinsics[new]
        elif standing.zooms and lens.GOES_ON not in notes:
            notes.append(lens.GOES_ON)
        steady = steady[run.shared :] if run.leads else steady[: -run.shared]
        notes += [note for note in made.depth.notes if note not in notes and note != lens.ASSUMED]
        first_new = clip.numbers[run.start if run.leads else run.start + run.shared]
        frames = f"{run.new} frames" if run.new > 1 else "frame"
        notes.append(
            f"The {frames} from {in_file(int(first_new))} on {'were' if run.new > 1 else 'was'} estimated later and"
            f" fitted to the existing depth (scale {scale:.3g}, remaining difference {100 * left:.1f} %)."
        )
    joined = replace(known.depth, depth=depth, intrinsics=k, notes=tuple(notes))
    return replace(known, depth=joined, steady=steady)


def _frames(clip: "Clip", run: Run) -> "Clip":
    """Consecutive frames of a clip as a clip."""
    assert clip.stored is not None
    part = slice(run.start, run.stop)
    start = int(clip.numbers[run.start])
    return replace(clip, frames=clip.frames[part], start=start, stored=clip.stored[part])


def join(depth: NDArray[np.float32], made: NDArray[np.float32], run: Run) -> tuple[float, float]:
    """Fill in the new frames of a run, and blend the shared frames into them, in place.

    Args:
        depth: (R,H,W) distances of the frames of the run, with existing depth in the shared ones.
        made: (R,H,W) distances by the estimator, with any scale and shift of disparity.
        run: says which frames are shared.

    Returns:
        The scale of disparity, and the median relative difference in the shared frames after the fit.

    Raises:
        InputError: they contradict each other.
    """
    shared = slice(run.new, None) if run.leads else slice(0, run.shared)
    scale, shift = _fit(made, 1 / made[shared].astype(np.float64), 1 / depth[shared].astype(np.float64))
    nearest = scale / float(made.min()) + shift
    # Depth that would end up beyond infinity is placed at the farthest existing depth, or farther as in other shots.
    least = min(1 / float(depth[shared].max()), nearest / alignment.FARTHEST_OVER_NEAREST)
    weights = np.ones(len(made))
    weights[shared] = _ramp(run)
    left = []
    for into, frame, weight in zip(depth, made, weights, strict=True):
        disparity = np.maximum(scale / frame.astype(np.float64) + shift, least)
        if weight < 1:
            stood = 1 / into.astype(np.float64)
            left.append(np.median(np.abs(disparity / stood - 1)))
            disparity = weight * disparity + (1 - weight) * stood
        into[:] = 1 / disparity
    if (median := float(np.median(left))) > MOST_LEFT:
        raise InputError(
            f"The new frames differ by {100 * median:.0f} % from the existing depth, even when fitted to it."
        )
    return scale, median


def _fit(made: NDArray[np.float32], new: NDArray[np.float64], standing: NDArray[np.float64]) -> tuple[float, float]:
    """Fit scale and shift from the run's disparity to the existing one over the shared frames.

    Raises:
        InputError: near and far are swapped.
    """
    if np.ptp(new) <= LEAST_RELIEF * (1 / float(made.min()) - 1 / float(made.max())):
        return float(np.median(standing / new)), 0.0
    try:
        return alignment.fit_disparity(new, standing)
    except InputError:
        raise InputError("The new frames contradict the existing depth: near and far are swapped.") from None


def _ramp(run: Run) -> NDArray[np.float64]:
    """Weight of the run in each of the shared frames, in order; it grows towards the new frames."""
    weights = np.arange(1, run.shared + 1) / (run.shared + 1)
    return weights[::-1] if run.leads else weights
