"""Depth for a clip from a file of any kind: what its numbers mean, and what is wrong with them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.depth import doubt
from ex4d.depth.alignment import relative_depth
from ex4d.depth.encoding import MILLIMETRE, DepthEncoding
from ex4d.depth.estimate import ASSUMED_METRES, METRES, NO_UNIT, UNKNOWN, Estimate
from ex4d.depth.files import matching, repair
from ex4d.depth.files.arrays import open_npy, open_npz
from ex4d.depth.files.pictures import EXR, PNG, open_pictures
from ex4d.depth.files.stored import Stored
from ex4d.depth.files.video import open_video
from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.intrinsics import FrameFit
from ex4d.progress import READING_DEPTH, Progress, silent
from ex4d.storage.atomic import check_there

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

NOTHING_THERE = 1e9
"""Values from here on are a renderer's mark for "nothing there" (Blender writes 1e10), not distances."""

COARSE = 1024
"""Disparity with fewer levels than this makes visible steps."""

AS_DISPARITY = "read it as relative disparity (in Blender: Depth > Values)"
AS_DISTANCE = "read it as distances (in Blender: Depth > Values)"
"""What to do about numbers that were not read as what they are."""


def read_depth(
    path: Path,
    clip: "Clip",
    *,
    reading: DepthEncoding | None = None,
    focal_px: float | None = None,
    progress: Progress = silent,
) -> DepthVideo:
    """Like `read_estimate`, but return only the depth."""
    return read_estimate(path, clip, reading=reading, focal_px=focal_px, progress=progress).depth


def read_estimate(
    path: Path,
    clip: "Clip",
    *,
    reading: DepthEncoding | None = None,
    focal_px: float | None = None,
    progress: Progress = silent,
) -> Estimate:
    """Read depth for a clip from a file, at the clip's size.

    - .npz: one of `arrays.DEPTH_KEYS`, of the shape (T,H,W), (T,H,W,1) or (T,1,H,W), any numbers; optional `intrinsics`
      (3,3) or (T,3,3) in pixels of that depth. What EX-4D itself wrote about provider, notes, unit and licence is kept
      with the depth. .npy: the same array alone.
    - PNG: 16-bit grey, in millimetres, where 0 means unknown; 8-bit grey, which is relative disparity.
    - EXR, also with several layers or parts: the channel named in `reading`; else that of a depth pass
      (ViewLayer.Depth.Z); else the only one whose name is Z, V or Y or ends that way and that is not part of a vector;
      else the only one.
    - Grey video of any bit depth, which is relative disparity.

    The frames are those of the whole source, of the clip's range, or enough frames from the start of the source to
    reach beyond it; from a file that names its `part` of the source, any in that part.
    The size is the clip's, or has the aspect ratio of the source's displayed picture, or nearly so if a tool rounded
    it: every pixel then takes the depth nearest to its centre, never a mixture of foreground and background. Empty sky
    (+infinity or `NOTHING_THERE`, as in a rendered sky, or a large invalid area at the upper edge) gets the farthest
    depth of the shot. Other values that are NaN, not above 0 or more than `repair.FARTHEST_OVER_MEDIAN` times the
    median are replaced by the nearest valid value in their frame.

    Args:
        path: file or folder.
        clip: the clip that the depth belongs to.
        reading: what the numbers mean; None follows the kind of file.
        focal_px: focal length in pixels of the source's displayed picture (`clip.fit.source_width` wide). None takes
            the file's intrinsics or, if it has none, a typical lens (`lens.FOCAL_OVER_SIDE`).
        progress: called after each frame.

    Raises:
        InputError: missing, damaged, of another kind, number of frames or size, mostly invalid, or not readable this
            way.
    """
    asked = reading or DepthEncoding()
    path = check_there(path, "depth file or folder")
    with _open(path, asked, alone=clip.source_frames == 1) as stored:
        reading, told = _settled(path, asked, stored)
        distances = reading.convention != "disparity"
        chosen, frames_note = matching.chosen_frames(path, stored, clip)
        k, lens_note = matching.lens_of(stored, chosen, clip, focal_px)
        if reading.distance == "ray" and focal_px is None and stored.intrinsics is None:
            raise InputError(
                f"The distances along the rays in {path} cannot be turned into depth without a lens: give the focal"
                " length too."
            )
        millimetres = stored.in_millimetres and reading.unit is None and reading.convention == "depth"
        convert = _distances(reading, MILLIMETRE if millimetres else reading.unit or 1.0)
        rows, columns, size_note = matching.sampling(path, (stored.width, stored.height), clip.fit)
        depth = np.empty((len(chosen), clip.fit.height, clip.fit.width), np.float32)
        levels = np.zeros(stored.levels, np.bool_)
        for number, frame in enumerate(stored.read(int(chosen[0]), int(chosen[-1]) + 1), int(chosen[0])):
            shown_by = np.flatnonzero(chosen == number)
            if len(shown_by) == 0:
                continue  # a picture of a variable-rate source that is shown too briefly to be seen
            if stored.levels:
                levels[frame] = True
            numbers = frame[rows[:, None], columns]
            sampled = convert(numbers if stored.scale == 1 else numbers * stored.scale)
            if reading.distance == "ray":
                sampled = sampled / _ray_lengths(k[shown_by[0]], clip.fit)
            depth[shown_by] = sampled
            progress(READING_DEPTH, int(shown_by[-1]) + 1, len(chosen))
    is_stretched = distances and stored.means == "depth" and reading.unit is None and doubt.is_full_range(levels)
    doubts = []
    if asked.convention == "auto" and not stored.is_ours:
        doubts = _doubts(path, depth, distances) or ([_stretched(path)] if is_stretched else [])
    elif is_stretched:
        told.append(f"The numbers in {path.name} span the whole range of 16 bits: their unit is unknown.")
    notes = [*stored.notes, *told, *stored.told, *(note for note in (frames_note, size_note) if note)]
    if millimetres and not is_stretched:
        notes.append(f"The 16-bit depth in {path.name} was read as millimetres, although nothing in it says so.")
    if stored.is_picture and not distances and 0 < (count := int(levels.sum())) < COARSE:
        notes.append(
            f"{path.name} distinguishes near from far in only {count} levels, so distant things appear in steps."
        )

    is_metric = reading.unit is not None or (millimetres and not is_stretched)
    is_room = distances and is_metric and _farthest(depth) < repair.INDOORS
    repaired, more = _repaired(depth, path, chosen, distances, is_room)
    notes += more
    if not distances:
        if not depth.min() < depth.max():
            raise InputError(f"The disparity {path} is the same everywhere: write it again.")
        depth = relative_depth(depth)
        if not told:
            notes.append(f"The disparity in {path.name} was read as relative: its distances have no unit.")
    if asked == DepthEncoding() and distances and not doubts and depth.max() == 1 and depth.min() < 0.5:
        doubts.append(
            f"The depth in {path.name} ends at exactly 1, as relative inverse depth often does; it was read as"
            f" distances: if near and far are swapped, {AS_DISPARITY}."
        )
    if lens_note:
        notes.append(lens_note)
    caution = " ".join([*doubts, *([stored.caution] if stored.caution else [])])
    made = DepthVideo(depth, k, stored.provider, (*doubts, *notes), repaired, stored.is_guess)
    scale_note = _scale_note(reading, stored, millimetres, is_stretched)
    steady = range(len(depth) if stored.steady else 0)
    return Estimate(made, scale_note, stored.licence, caution=caution, steady=steady)


def _open(path: Path, reading: DepthEncoding, alone: bool) -> AbstractContextManager[Stored]:
    """Open a file with the module for its kind."""
    ending = path.suffix.lower()
    if path.is_dir() or ending in (PNG, EXR):
        return open_pictures(path, reading, alone)
    if ending == ".npz":
        return open_npz(path, reading)
    if ending == ".npy":
        return open_npy(path, reading)
    if ending == ".zip":
        raise InputError(f"{path} is a packed folder: unpack it, and name the folder of images in it.")
    return open_video(path, reading)


def _settled(path: Path, reading: DepthEncoding, stored: Stored) -> tuple[DepthEncoding, list[str]]:
    """Decide how to read the file if that was left open, with a sentence if it is not the usual way."""
    told = []
    if reading.convention == "auto":
        # A unit, or distances along rays, implies distances.
        of_distances = stored.means == "depth" or reading.unit is not None or reading.distance == "ray"
        reading = replace(reading, convention="depth" if of_distances else "disparity")
        if not of_distances:
            told.append(
                f"{path.name} holds {stored.why}: it was read as relative disparity, where large or light means"
                " near, and its distances have no unit."
            )
    if reading.convention == "inverse" and reading.unit is None and stored.whole:
        raise InputError(
            f"The inverse depth in {path} is stored as integers, whose unit is unknown: give it as the distance"
            " where the number is 1."
        )
    return reading, told


def _doubts(path: Path, depth: NDArray[np.float32], distances: bool) -> list[str]:
    """A sentence if the numbers do not look like what they are read as."""
    seen = doubt.evidence(depth, distances=distances)
    if distances and seen.is_disparity:
        return [
            f"Near and far look swapped: the numbers in {path.name} grow towards the camera, as relative disparity"
            f" does, and were read as distances. If the shot appears inside out, {AS_DISPARITY}."
        ]
    if not distances and seen.is_distance:
        return [
            f"Near and far look swapped: what is light in {path.name} seems to be far, and was read as near. If the"
            f" shot appears inside out, {AS_DISTANCE}."
        ]
    return []


def _stretched(path: Path) -> str:
    return (
        f"The numbers in {path.name} span the whole range of 16 bits, as relative depth stretched to that range"
        f" does; they were read as distances, in an unknown unit. If large is near, {AS_DISPARITY}; if they are"
        " true distances, say their unit (in Blender: Depth > Unit)."
    )


def _scale_note(reading: DepthEncoding, stored: Stored, millimetres: bool, is_stretched: bool) -> str:
    if reading.convention == "disparity":
        return NO_UNIT
    if reading.unit is not None:
        return METRES
    if is_stretched or (stored.is_picture and not millimetres):
        return UNKNOWN
    return ASSUMED_METRES if millimetres else stored.scale_note


def _repaired(
    depth: NDArray[np.float32], path: Path, chosen: NDArray[np.int64], distances: bool, is_room: bool
) -> tuple[float, list[str]]:
    """Make all values of a shot (T,H,W) finite, in place; return the fraction that took a neighbour's, and notes."""
    notes = []
    bad = np.stack([repair.invalid(frame, distances) for frame in depth])
    nothing = np.float32(np.inf if distances else -np.inf)
    marked = not is_room and repair.mark_sky(depth, bad, float(nothing))
    for number, frame, wrong in zip(chosen, depth, bad, strict=True):
        frame[:] = repair.fill_holes(frame, wrong, path, int(number), distances)
    sky = depth == nothing
    if sky.any():
        if sky.all():
            raise InputError(f"The depth {path} shows nothing anywhere: every value is infinite or above 1e9.")
        depth[sky] = depth[~sky].max() if distances else depth[~sky].min()
        why = ", for which a large invalid area at the upper edge was taken" if marked else ""
        notes.append(
            f"{100 * sky.mean():.2g}% of the depth in {path.name} is empty sky{why}; it was placed at the farthest"
            " depth."
        )
    part = float(bad.mean())
    if part:
        notes.append(
            f"{max(100 * part, 0.01):.2f}% of the depth in {path.name} was invalid and was given the nearest valid"
            " value."
        )
    return part, notes


def _farthest(depth: NDArray[np.float32]) -> float:
    """The largest valid distance; infinite if there is none, or if something is infinitely far away."""
    return max(float(frame.max(initial=0, where=frame > 0)) for frame in depth) or np.inf


def _distances(reading: DepthEncoding, unit: float) -> Callable[[NDArray], NDArray[np.float32]]:
    """The conversion from stored numbers of any type to distances, float32; infinite where there is nothing."""

    def depth(values: NDArray) -> NDArray[np.float32]:
        values = np.where(values >= NOTHING_THERE, np.float32(np.inf), values.astype(np.float64))
        return (values * unit).astype(np.float32)

    def inverse(values: NDArray) -> NDArray[np.float32]:
        values = np.where(values == 0, 0.0, values.astype(np.float64))  # -0.0 is as far away as 0.0
        return (unit / values).astype(np.float32)

    def disparity(values: NDArray) -> NDArray[np.float32]:
        return values.astype(np.float32)

    conversions = {"depth": depth, "inverse": inverse, "disparity": disparity}
    convert = conversions[reading.convention]

    def quietly(values: NDArray) -> NDArray[np.float32]:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # the results are repaired
            return convert(values)

    return quietly


def _ray_lengths(k: NDArray[np.float64], fit: FrameFit) -> NDArray[np.float32]:
    """Length of the ray to each pixel's centre (H,W) at depth 1."""
    x = (np.arange(fit.width) + 0.5 - k[0, 2]) / k[0, 0]
    y = (np.arange(fit.height) + 0.5 - k[1, 2]) / k[1, 1]
    return np.sqrt(1 + x**2 + y[:, None] ** 2).astype(np.float32)
