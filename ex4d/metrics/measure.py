"""Measuring one result, frame by frame: a single pass over its pictures, with every figure that needs no network.

Figures of a frame have the names in `GROUPS`. One whose name ends in `_visible` or `_invented` is the same figure over
only the pixels that are real in the result, or only those that are not. Those of `TRUTH` need a true view.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.metrics.camera_error import CameraError, FoundCamera, camera_error, find_camera
from ex4d.metrics.cases import Case
from ex4d.metrics.matches import matches
from ex4d.metrics.pixels import masked_psnr, psnr
from ex4d.metrics.steadiness import Changes, Steadiness
from ex4d.metrics.streams import Stream, ascending, mask_in_size, open_stream, resized
from ex4d.metrics.structure import SIZE, similarity
from ex4d.progress import Progress, silent

Perceptual = Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.float64]]
"""LPIPS of two pictures (H,W,3) as a map (H,W), see `ex4d.metrics.perceptual`."""

BEST_DB = 100.0
"""Maximum value of a PSNR, so that means stay finite if pictures are equal."""

MOST_PULLED = 1.1
"""Pictures are only resized if their aspects agree up to this factor, because models round to multiples of 16."""

GROUPS: dict[str, tuple[str, ...]] = {
    "psnr": ("psnr", "psnr_visible", "psnr_invented"),
    "ssim": ("ssim", "ssim_visible", "ssim_invented"),
    "lpips": ("lpips", "lpips_visible", "lpips_invented"),
    "dycheck": ("mpsnr", "mssim", "mlpips"),
    "warp": ("warp_error", "warp_error_visible", "warp_error_invented"),
    "flicker": ("flicker", "flicker_visible", "flicker_invented"),
    "invented": ("invented",),
    "matches": ("matches",),
    "camera": ("rot_err", "trans_err", "cam_mc", "rot_err_of_truth", "trans_err_of_truth", "cam_mc_of_truth"),
}
"""The groups of measures, and the figures of each."""

TRUTH = ("psnr", "ssim", "lpips", "dycheck")

Figures = dict[str, float | None]


@dataclass(frozen=True)
class Measured:
    """The figures of one result.

    Attributes:
        name: of the shot.
        range: see `ranges`.
        frames: figures of each frame, with its number as `frame` and the camera's angle in degrees as `angle`.
        means: over the frames that have a figure; they include those of the camera, which are for the whole path.
        notes: sentences about what was converted or could not be measured.
    """

    name: str
    range: str
    frames: tuple[Figures, ...]
    means: Figures
    notes: tuple[str, ...] = ()


@dataclass
class _Rows:
    """Figures by frame, in the order in which they come."""

    angles: NDArray[np.float64] | None
    rows: dict[int, Figures] = field(default_factory=dict)

    def put(self, t: int, **figures: float | None) -> None:
        """Add figures of frame `t`."""
        angle = None if self.angles is None or t >= len(self.angles) else round(float(self.angles[t]), 3)
        row = self.rows.setdefault(t, {"frame": t, "angle": angle})
        row |= figures


def measure(
    case: Case,
    wanted: frozenset[str] = frozenset(GROUPS),
    *,
    resize: bool = False,
    perceptual: Perceptual | None = None,
    progress: Progress = silent,
) -> Measured:
    """Measure one result.

    Args:
        case: the result, and what to compare it with. Figures that need something missing are left out.
        wanted: names of `GROUPS`.
        resize: resize a result to the size of the truth; otherwise another size is an error.
        perceptual: LPIPS, if it can run.
        progress: called after each frame; raises `Cancelled` to stop.

    Raises:
        InputError: pictures cannot be read, or sizes or lengths differ; says which and what to do.
    """
    result = open_stream(case.result, f"result of {case.name}")
    notes = list(case.notes)
    rows = _Rows(case.angles)
    if case.path is not None and len(case.path) != len(result):
        _refuse_lengths(case.name, result, "camera path", len(case.path))
    if wanted & set(TRUTH) and case.truth is not None:
        _against_truth(case, result, wanted, resize, perceptual, rows, notes, progress)
    if wanted & {"warp", "flicker", "invented", "matches"}:
        _alone(case, result, wanted, rows, notes, progress)
    frames = tuple(rows.rows[t] for t in sorted(rows.rows))
    means = means_of(frames)
    if "camera" in wanted and case.path is not None:
        means |= _camera(case, result, notes, progress)
    return Measured(case.name, case.range, frames, means, tuple(dict.fromkeys(notes)))


def means_of(frames: tuple[Figures, ...]) -> Figures:
    """The mean of each figure over the frames that have it, except their number and angle."""
    names = dict.fromkeys(name for row in frames for name in row if name not in ("frame", "angle"))
    means: Figures = {}
    for name in names:
        there = [value for row in frames if (value := row.get(name)) is not None]
        means[name] = float(np.mean(there)) if there else None
    return means


def _against_truth(
    case: Case,
    result: Stream,
    wanted: frozenset[str],
    resize: bool,
    perceptual: Perceptual | None,
    rows: _Rows,
    notes: list[str],
    progress: Progress,
) -> None:
    assert case.truth is not None
    truth = open_stream(case.truth, f"true view of {case.name}")
    size = (truth.width, truth.height)
    if (result.width, result.height) != size:
        if not resize:
            raise InputError(
                f"The result of {case.name} has {result.width}x{result.height} pixels and the true view"
                f" {size[0]}x{size[1]}: make it in that size, or ask for it to be resized."
            )
        _check_shape(case.name, "result", result, size)
        notes.append(f"The result was resized from {result.width}x{result.height} to {size[0]}x{size[1]}.")
    if min(size) < SIZE:
        raise InputError(f"The true view of {case.name} has {size[0]}x{size[1]} pixels: {SIZE} a side are the least.")
    at, shown = _pairing(case, result, truth)
    visible = _masks(case, result, shown)
    covisible: Iterator[NDArray[np.bool_] | None] = repeat(None)
    if case.covisible is not None:
        seen = open_stream(case.covisible, f"co-visible mask of {case.name}")
        if len(seen) != len(truth):
            _refuse_lengths(case.name, truth, "co-visible masks", len(seen))
        covisible = seen.masks()
    pairs = zip(at, result.at(shown), truth, visible, covisible, strict=False)
    for done, (t, made, true, mask, both) in enumerate(pairs, 1):
        made = resized(made, *size)
        mask = None if mask is None else mask_in_size(mask, *size)
        both = None if both is None else mask_in_size(both, *size)
        rows.put(int(t), **_pair(made, true, mask, both, wanted, perceptual))
        progress("Comparing with the truth", done, len(truth))


def _pair(
    made: NDArray[np.uint8],
    true: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    covisible: NDArray[np.bool_] | None,
    wanted: frozenset[str],
    perceptual: Perceptual | None,
) -> Figures:
    """Figures of one picture compared with the true one."""
    found: Figures = {}
    regions = {} if mask is None else {"visible": mask, "invented": ~mask}
    if "psnr" in wanted:
        found["psnr"] = _capped(psnr(made, true))
        found |= {f"psnr_{name}": _capped(masked_psnr(made, true, where)) for name, where in regions.items()}
    if "ssim" in wanted:
        found["ssim"] = similarity(made, true).of_mask
        found |= {f"ssim_{name}": similarity(made, true, where).of_mask for name, where in regions.items()}
    if "lpips" in wanted and perceptual is not None:
        distance = perceptual(made, true)
        found["lpips"] = float(distance.mean())
        found |= {f"lpips_{n}": float(distance[w].mean()) if w.any() else None for n, w in regions.items()}
    if "dycheck" in wanted and covisible is not None:
        found["mpsnr"] = _capped(masked_psnr(made, true, covisible))
        found["mssim"] = similarity(made, true, covisible).as_dycheck
        if perceptual is not None and covisible.any():
            keep = covisible[..., None].astype(np.uint8)
            found["mlpips"] = float(perceptual(made * keep, true * keep)[covisible].mean())
    return found


def _alone(
    case: Case,
    result: Stream,
    wanted: frozenset[str],
    rows: _Rows,
    notes: list[str],
    progress: Progress,
) -> None:
    """Figures that need no true view."""
    source = None
    if "matches" in wanted and case.source is not None:
        source = open_stream(case.source, f"source of {case.name}")
    originals: Iterator[NDArray[np.uint8] | None] = repeat(None) if source is None else _used(case, result, source)
    masks = _masks(case, result, np.arange(len(result)))
    steady, before = Steadiness(), None
    moving = bool(wanted & {"warp", "flicker"})
    for t, (made, original, mask) in enumerate(zip(result, originals, masks, strict=False)):
        figures: Figures = {}
        if "invented" in wanted and mask is not None:
            figures["invented"] = float((~mask).mean())
        if "matches" in wanted and original is not None:
            figures["matches"] = matches(original, made)
        rows.put(t, **figures)
        if moving and (changes := steady.next(made)) is not None:
            rows.put(t - 1, **_changes(changes, before, wanted))
        before = None if mask is None else mask_in_size(mask, result.width, result.height)
        progress("Looking at the result", t + 1, len(result))


def _used(case: Case, result: Stream, source: Stream) -> Iterator[NDArray[np.uint8]]:
    """The pictures of the clip that the result was made from, out of the whole clip or a file with only these."""
    if len(source) == len(result):
        return iter(source)
    if case.source_at is None or len(case.source_at) != len(result) or case.source_at[-1] >= len(source):
        _refuse_lengths(case.name, result, "source", len(source))
    assert case.source_at is not None
    return source.at(case.source_at)


def _changes(changes: Changes, mask: NDArray[np.bool_] | None, wanted: frozenset[str]) -> Figures:
    regions: Mapping[str, NDArray[np.bool_] | None] = {"": None}
    if mask is not None:
        regions = {"": None, "_visible": mask, "_invented": ~mask}
    found: Figures = {}
    for name, where in regions.items():
        if "warp" in wanted:
            found[f"warp_error{name}"] = changes.warp_error(where)
        if "flicker" in wanted:
            found[f"flicker{name}"] = changes.flickering(where)
    return found


def _camera(case: Case, result: Stream, notes: list[str], progress: Progress) -> Figures:
    """Errors of the camera in the result and, if it exists, in the true view, which is the estimator's own error."""
    assert case.path is not None
    path, found = case.path.in_size(result.width, result.height), Figures()
    for name, stream in (("", result), ("_of_truth", _whole_truth(case))):
        if stream is None:
            continue
        size = (stream.width, stream.height)
        looked = find_camera(stream, len(stream), size, path.in_size(*size).intrinsics, progress)
        what = f"The camera in the {'true view' if name else 'result'} of {case.name}"
        if looked.note:
            notes.append(f"{what}: {looked.note}")
        error = _error(looked, path.camera_to_world)
        if error is not None:
            found |= {f"rot_err{name}": error.rot_err, f"trans_err{name}": error.trans_err}
            found[f"cam_mc{name}"] = error.cam_mc
    return found


def _error(looked: FoundCamera, true: NDArray[np.float64]) -> CameraError | None:
    if looked.poses is None or len(looked.at) < 2:
        return None
    return camera_error(looked.poses, true[looked.at])


def _whole_truth(case: Case) -> Stream | None:
    """The true view if it has a picture for each frame of the path, otherwise None."""
    if case.truth is None or case.path is None:
        return None
    truth = open_stream(case.truth, f"true view of {case.name}")
    return truth if len(truth) == len(case.path) and case.truth_at is None else None


def _pairing(case: Case, result: Stream, truth: Stream) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The frame of the source that each true picture belongs to, and the number of the corresponding result picture."""
    if case.truth_at is None:
        if len(result) != len(truth):
            _refuse_lengths(case.name, result, "true view", len(truth))
        every = np.arange(len(truth))
        return every, every
    at = case.truth_at
    if len(at) != len(truth) or not ascending(at):
        raise InputError(
            f"The true view of {case.name} has {len(truth)} pictures for {len(at)} moments: check the data."
        )
    if len(result) == len(truth):  # made for these moments only
        return at, np.arange(len(truth))
    if len(result) <= at[-1]:
        raise InputError(
            f"The result of {case.name} has {len(result)} frames, but the true view shows frame {at[-1]}, counted from"
            f" 0: give a result of the whole clip, or of the {len(truth)} moments that the truth shows."
        )
    return at, at


def _masks(case: Case, result: Stream, shown: NDArray[np.int64]) -> Iterator[NDArray[np.bool_] | None]:
    if case.mask is None:
        return repeat(None)
    stream = open_stream(case.mask, f"mask of {case.name}")
    if len(stream) != len(result):
        _refuse_lengths(case.name, result, "mask", len(stream))
    _check_shape(case.name, "mask", stream, (result.width, result.height))
    wanted = set(shown.tolist())
    return (mask for t, mask in enumerate(stream.masks()) if t in wanted)


def _check_shape(name: str, what: str, stream: Stream, size: tuple[int, int]) -> None:
    """Refuse pictures of another aspect, because they show something else."""
    width, height = size
    if not 1 / MOST_PULLED < (stream.width * height) / (stream.height * width) < MOST_PULLED:
        raise InputError(
            f"The {what} of {name} has {stream.width}x{stream.height} pixels, a shape that does not fit"
            f" {width}x{height}: give the {what} of this shot."
        )


def _refuse_lengths(name: str, stream: Stream, what: str, count: int) -> None:
    raise InputError(
        f"{stream.name}, for {name}, has {len(stream)} frames and the {what} {count}: give files of the same frames."
    )


def _capped(value: float | None) -> float | None:
    return None if value is None else min(value, BEST_DB)
