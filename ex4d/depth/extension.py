"""Depth for more frames of a shot: those that have it keep it, the others are estimated and fitted to them.

An estimator gives each run a scale and shift of its own. So it is run on the new frames and on some frames beside them
that have depth, and one scale and shift of disparity brings the run to the shot's. Over the shared frames the depth
goes over from one into the other, as Video-Depth-Anything joins its windows: without that, a seam is three to six times
as strong as the change from frame to frame is elsewhere; see docs/depth.md. Needs numpy only.
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
"""Median relative difference after the fit from which on the depth is that of other pictures, or worth nothing."""

LEAST_RELIEF = 0.02
"""Where the shared frames have less than this part of the run's range of disparity, they tell a scale and no shift."""

SAME = 1e-4
"""Relative difference up to which depth is the same: packing it for a file changes it by a third of that."""

SAME_LENS = 1e-3
"""Relative difference up to which a focal length is the same."""


@dataclass(frozen=True)
class Standing:
    """Depth that frames of a clip have already.

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
        """Whether its lens zooms: nobody knows how that goes on."""
        k = self.estimate.depth.intrinsics
        return not np.allclose(k, k[0])

    def lenses(self, count: int) -> NDArray[np.float64]:
        """The lens (count,3,3) of all frames of the clip: in those outside, that of the nearest one that has depth."""
        k = self.estimate.depth.intrinsics
        return k[np.clip(np.arange(count) - self.first, 0, len(k) - 1)]

    @property
    def steady(self) -> range:
        """Which frames of the clip are steady, see `Estimate`."""
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
    """Depth of a clip of which some frames have depth that is to stay.

    Args:
        path: a depth file of EX-4D that tells which `part` of the clip's source it is of.
        clip: all frames.
        provider: name of the estimator.
        titles: of all estimators, by name.
        focal_px: focal length in pixels of the source's displayed picture, if it was given.
        estimate: estimates the depth of some successive frames of the clip.
        kept: what is known from an earlier estimate of the whole clip.

    Returns:
        The depth of all frames, or None and a sentence about why that of the file cannot stay.

    Raises:
        InputError: the estimator refuses.
    """
    try:
        standing, why = _read(path, clip, provider, titles, focal_px)
    except InputError:  # it speaks of a file that the artist has never seen
        standing, why = None, "the file with the shot's depth is damaged"
    if standing is None:
        return None, f"The depth of all frames was estimated again: {why}."
    whole = kept()  # such as of frames that were open before
    if whole is not None and _is_same(standing, whole.depth.depth):
        return _with_lens(whole, standing), ""
    try:
        return _joined(standing, clip, estimate), ""
    except InputError as error:
        return None, f"The depth of all frames was estimated again. {error}"


def _read(
    path: Path, clip: "Clip", provider: str, titles: Mapping[str, str], focal_px: float | None
) -> tuple[Standing | None, str]:
    """The depth that frames of a clip have, or None and why it does not apply, as a part of a sentence.

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
    """Whether depth of the whole clip (T,H,W) is the one that stands, as far as that goes."""
    there = whole[standing.first :][: len(standing.depth)]
    return all(np.allclose(one, other, rtol=SAME, atol=0) for one, other in zip(there, standing.depth, strict=True))


def _with_lens(whole: Estimate, standing: Standing) -> Estimate:
    """An estimate of all frames, with the lens that the standing ones have got since."""
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
    """Depth of all frames: that which stands, and runs of the estimator that are fitted to it.

    Raises:
        InputError: a run contradicts what stands.
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
    """Successive frames of a clip as a clip."""
    assert clip.stored is not None
    part = slice(run.start, run.stop)
    start = int(clip.numbers[run.start])
    return replace(clip, frames=clip.frames[part], start=start, stored=clip.stored[part])


def join(depth: NDArray[np.float32], made: NDArray[np.float32], run: Run) -> tuple[float, float]:
    """Fill in the new frames of a run, and let the shared ones go over into them, in place.

    Args:
        depth: (R,H,W) distances of the frames of the run; those of the shared ones stand.
        made: (R,H,W) distances by the estimator, of any scale and shift of disparity.
        run: tells which are shared.

    Returns:
        The scale of disparity, and the median relative difference in the shared frames after the fit.

    Raises:
        InputError: they contradict each other.
    """
    shared = slice(run.new, None) if run.leads else slice(0, run.shared)
    scale, shift = _fit(made, 1 / made[shared].astype(np.float64), 1 / depth[shared].astype(np.float64))
    nearest = scale / float(made.min()) + shift
    # What would be behind infinity stands as far as the farthest that is there, or as for other shots.
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
    """Scale and shift from disparity of a run to that which stands, by the shared frames.

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
    """How much of a run each of the shared frames takes, in their order: more, the nearer it is to the new ones."""
    weights = np.arange(1, run.shared + 1) / (run.shared + 1)
    return weights[::-1] if run.leads else weights
