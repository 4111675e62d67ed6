"""Files that say where the camera that shot the clip was in every frame: static things then stay put in the world."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras import registry
from ex4d.cameras.fitting import ClipFrames, source_track
from ex4d.cameras.formats.arrays import MOST_POINTS
from ex4d.cameras.track import CameraTrack
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.depth_video import DepthVideo
from ex4d.source_camera.found import MOVES, UNCHANGED, Steadying, checked
from ex4d.storage.npz import open_arrays, write_arrays

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

__all__ = ["MOST_POINTS", "SourceCamera", "in_unit_of", "load", "save"]

FOUND = "found_from_the_clip"
"""Name of the entry that marks a file whose camera was found from the clip's own pictures."""

STEADY, FIELD = "steady_depth", "depth_field"
"""Names of the entries of `Steadying`, in such a file beside the original depth."""

SAME = 2e-3
"""A scale this near to 1 counts as 1, so that a camera scaled to a depth stays as it is after the depth was packed."""

ALIKE = 0.02
"""A file without points is in the unit of the depth if points followed through the clip differ by less than this."""

OFF_CENTRE = 0.25
"""If a lens is in pixels of an unknown size, and its principal point is off the centre by this part of the picture, it
is in pixels of another one."""

LEAST_SEEN = 8
"""Minimum number of times that points must be seen in front of the camera to determine a scale."""


@dataclass(frozen=True)
class SourceCamera:
    """Poses of the camera that shot the clip.

    Attributes:
        camera_to_world: (T,4,4) float64, OpenCV axes; the first is the identity.
        points: (M,3) float64, static points that the clip shows, in the same world, such as a tracker's bundles; M may
            be 0.
        from_file: (4,4) float64, from the world of the file to that of the shot, scale included; None if it came from
            no file.
        lens: (T,3,3) float64, the lens given by the file, in pixels of the working picture; None if it gives none.
        notes: sentences about how the file was read.
        found: whether it was found from the clip's own pictures.
        steady: what fits the depth that it was found with to what stands still.
        followed: whether the points were followed through the clip, because the file has none.
    """

    camera_to_world: NDArray[np.float64]
    points: NDArray[np.float64]
    from_file: NDArray[np.float64] | None = None
    lens: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    found: bool = False
    steady: Steadying = UNCHANGED
    followed: bool = False


def save(path: Path, camera: SourceCamera) -> None:
    """Write .npz with the fields of `SourceCamera`; all or nothing.

    Raises:
        InputError: the file cannot be written.
    """
    arrays: dict[str, NDArray] = {"camera_to_world": camera.camera_to_world, "points": camera.points}
    if camera.found:
        arrays |= {FOUND: np.array(True), "notes": np.array(camera.notes, np.str_)}
    for name, part in ((STEADY, camera.steady.frames), (FIELD, camera.steady.field)):
        if part is not None:
            arrays[name] = part
    if camera.lens is not None:
        # The principal point of a working picture is its centre.
        width, height = (round(float(side)) for side in 2 * camera.lens[0, :2, 2])
        arrays |= {"intrinsics": camera.lens, "width": np.array(width), "height": np.array(height)}
    write_arrays(path, arrays)


def load(path: Path, clip: "Clip") -> SourceCamera:
    """The source camera from a file.

    Args:
        path: of any format in `ex4d.cameras.registry`. Its world may be any: it is transformed so that the pose of the
            clip's first frame is the identity. It may contain static points, see `SourceCamera`; without them,
            `in_unit_of` needs points that were followed through the clip, or a scale.
        clip: whose camera it is. The file has a pose for each of its frames, or for each of the whole source, or for
            each of the source's pictures if its rate is variable; or else frame numbers or times, see
            `cameras.fitting`.

    Raises:
        InputError: the file is missing or damaged, has no poses or two kinds that disagree, has another number of them,
            or they are not rigid.
    """
    read = registry.read(path)
    track, notes = source_track(read, clip_frames(clip), str(path))
    to_first = transforms.inverse(track.camera_to_world[0])
    points = track.points if track.points is not None else np.zeros((0, 3))
    lens, about_lens = _lens_of(track, clip)
    return SourceCamera(
        to_first @ track.camera_to_world,
        points @ to_first[:3, :3].T + to_first[:3, 3],
        to_first,
        lens,
        (*notes, *about_lens),
        *_when_found(path, len(clip.frames)),
    )


def _lens_of(track: CameraTrack, clip: "Clip") -> tuple[NDArray[np.float64] | None, tuple[str, ...]]:
    """The lens (T,3,3) of a track in pixels of the working picture, None if it has none, and notes about it."""
    lens, fit = track.lens, clip.fit
    if lens is None:
        return None, ()
    if lens.unit != "pixels":  # fractions of the whole picture, before the working picture was cropped
        return fit.apply_to_intrinsics(lens.in_pixels(fit.source_width, fit.source_height)[0]), ()
    k = lens.in_pixels(fit.width, fit.height)[0]
    off_centre = np.abs(k[:, :2, 2] / (fit.width, fit.height) - 0.5).max()
    if lens.size is None and off_centre > OFF_CENTRE:
        return None, (
            "The lens in the source camera's file was ignored: it is for pictures of another size, and the file does"
            " not give their width and height.",
        )
    return k, ()


def _when_found(path: Path, frames: int) -> tuple[bool, Steadying]:
    """Whether the camera was found from the clip, and what steadies the depth if it covers as many frames."""
    if path.suffix.lower() != ".npz":
        return False, UNCHANGED
    with open_arrays(path, "camera file") as arrays:
        steady, field = (arrays.read(name) if name in arrays.headers else None for name in (STEADY, FIELD))
        found = FOUND in arrays.headers
    try:
        steadying = checked(steady, field)
    except ValueError:
        raise InputError(
            f"What steadies the depth in the camera file {path} is damaged: find the camera again."
        ) from None
    part = steadying.frames if steadying.frames is not None else steadying.field
    return found, steadying if part is not None and len(part) == frames else UNCHANGED


def clip_frames(clip: "Clip") -> ClipFrames:
    """The frames of a clip that are used, for `ex4d.cameras.fitting`."""
    return ClipFrames(
        used=len(clip.frames),
        start=clip.start,
        step=clip.step,
        places=clip.places,
        whole=clip.source_frames,
        stored=clip.stored,
        stored_pictures=clip.stored_pictures,
        rate=clip.fps * clip.step,
        name=clip.source,
    )


def in_unit_of(camera: SourceCamera, depth: DepthVideo, scale: float | None = None) -> tuple[SourceCamera, str]:
    """The camera with its distances in the unit of the depth, and a sentence about how the scale is known.

    A `scale`, in units of the depth per unit of the file, takes precedence over points.

    A tracker's unit is arbitrary. Wherever its points are visible, the depth gives their distance in the other unit;
    the scale is the median of depth over distance, over all points and frames. Points that are hidden or move are
    outvoted.
    """
    if scale is not None:
        return _scaled(camera, scale), f"{MOVES}; its distances were scaled by {scale:g}, as requested."
    if camera.found and not camera.camera_to_world[:, :3, 3].any():
        return camera, ""
    guessed = " That unit is a guess, so the two are unlikely to match." if depth.is_guess else ""
    as_it_is = f"{MOVES}, in the unit of the depth.{guessed}"
    if not len(camera.points):
        return camera, as_it_is
    _, height, width = depth.depth.shape
    ratios = []
    for pose, k, frame in zip(camera.camera_to_world, depth.intrinsics, depth.depth, strict=True):
        seen = (camera.points - pose[:3, 3]) @ pose[:3, :3]
        seen = seen[seen[:, 2] > 0]
        column, row = (seen @ k.T)[:, :2].T // seen[:, 2]
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        there = frame[row[inside].astype(np.intp), column[inside].astype(np.intp)]
        ratios.append(there / seen[inside, 2])
    found = np.concatenate(ratios)
    if len(found) < LEAST_SEEN:
        return camera, (
            f"{MOVES} in the unit of the depth: the points of its file are not in the picture, so they give no scale."
        )
    scale = float(np.median(found))
    if abs(scale - 1) < SAME:
        return camera, "" if camera.found else as_it_is
    if camera.followed and abs(scale - 1) < ALIKE:
        return camera, as_it_is
    which = "points that were followed through the clip" if camera.followed else "of its points"
    said = f"{MOVES}; its distances were scaled by {scale:.4g}, using {len(camera.points)} {which}."
    return _scaled(camera, scale), said


def _scaled(camera: SourceCamera, scale: float) -> SourceCamera:
    poses = camera.camera_to_world.copy()
    poses[:, :3, 3] *= scale
    from_file = None if camera.from_file is None else np.diag([scale, scale, scale, 1.0]) @ camera.from_file
    return replace(camera, camera_to_world=poses, points=camera.points * scale, from_file=from_file)
