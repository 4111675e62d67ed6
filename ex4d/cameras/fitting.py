"""Fit a track to the frames of a clip, and a path to its lens and world."""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras.track import CameraTrack, Lens, centred
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.camera_path import CameraPath

World = Literal["source", "first", "source_camera"]
"""What a path is relative to; see `placed`."""


@dataclass(frozen=True)
class ClipFrames:
    """Which frames of a clip are used.

    Attributes:
        used: number of frames used.
        start: the first of them, counted from 0.
        step: number of source frames that each of them stands for.
        whole: number of frames in the whole source.
        stored: (used,) index of the stored picture that each frame shows, if known.
        stored_pictures: number of stored pictures.
        places: (stored_pictures,) frame number of each stored picture with gaps counted, if gaps are left out.
        rate: frame rate of the whole source.
        name: of the clip, for messages.
    """

    used: int
    start: int = 0
    whole: int = 0
    stored: NDArray[np.int64] | None = None
    stored_pictures: int = 0
    rate: Fraction | None = None
    name: str = "the clip"
    step: int = 1
    places: NDArray[np.int64] | None = None

    @property
    def numbers(self) -> NDArray[np.int64]:
        """The source frame (used,) behind each frame used, at the source's constant rate."""
        return self.start + self.step * np.arange(self.used)

    def counted_in(self, count: int) -> NDArray[np.int64] | None:
        """The position (used,) of each frame used if `count` covers the whole source; None if it does not.

        `count` may be the number of its frames, of its stored pictures, or of its pictures with the missing ones
        counted.
        """
        if count == self.whole:
            return self.numbers
        if self.stored is not None and count == self.stored_pictures:
            return self.stored
        if self.stored is not None and self.places is not None and count == self.places[-1] + 1:
            return self.places[self.stored]
        return None


def source_track(track: CameraTrack, clip: ClipFrames, what: str) -> tuple[CameraTrack, tuple[str, ...]]:
    """Select the poses of the camera that shot the clip, one for each frame used, with notes for the user.

    Poses are taken in order if there is one for each frame of the whole source, for each of its pictures, or for each
    frame used. Otherwise frame numbers or times decide. Missing poses between two others are interpolated. Missing
    poses at an end are refused, because the camera could be anywhere there.

    Args:
        track: as read.
        clip: its frames.
        what: the file, for messages.

    Raises:
        InputError: the poses do not cover the frames; gives both counts.
    """
    found = (
        _by_picture(track, clip)
        or _by_count(track, clip)
        or _by_number(track, clip, what)
        or _by_time(track, clip, what)
    )
    if found is None:
        raise InputError(
            f"The camera file {what} has {len(track)} poses, but {clip.name} has {clip.whole or clip.used} frames, of"
            f" which {clip.used} are used: give one pose for each frame."
        )
    at, notes = found
    return track.at(at), (*track.notes, *notes)


def path_track(track: CameraTrack, clip: ClipFrames, what: str) -> tuple[CameraTrack, tuple[str, ...]]:
    """Select the poses of a camera path, one for each frame used, with notes for the user.

    Like `source_track`, but if a path has more poses than frames, the first ones are used.

    Raises:
        InputError: there are fewer poses than frames; gives both counts.
    """
    found = _by_count(track, clip) or _by_number(track, clip, what, path=True) or _by_time(track, clip, what)
    if found is None and len(track) > clip.used:
        said = (
            f"The camera file has {len(track)} poses; the first {clip.used} were used, one for each frame of the clip."
        )
        found = np.arange(clip.used, dtype=np.float64), (said,)
    if found is None:
        raise InputError(
            f"The camera file {what} has {len(track)} poses but the clip has {clip.used} frames: give one pose for each"
            f" frame, or use {len(track)} frames of the clip."
        )
    at, notes = found
    if len(track) == clip.whole != clip.used:
        notes = (
            f"The camera file has {len(track)} poses, one for each frame of the whole clip; those of the"
            f" {clip.used} frames that are used were kept.",
        )
    return track.at(at), (*track.notes, *notes)


def begun_path(track: CameraTrack, clip: ClipFrames, what: str) -> tuple[CameraTrack, tuple[str, ...]]:
    """Like `path_track`, but a path that ends before the clip is used as far as it goes, with a note.

    Raises:
        InputError: see `path_track`.
    """
    if track.frames is not None:
        reach = int(track.frames[-1] - track.frames[0]) + 1
    elif track.times is not None and clip.rate is not None:
        reach = int(float(track.times[-1] - track.times[0]) * float(clip.rate) + 0.5) + 1
    else:
        reach = len(track)
    if len(track) >= clip.used or reach >= clip.used:
        return path_track(track, clip, what)
    found, notes = path_track(track, replace(clip, used=reach), what)
    said = f"The camera file has poses for {reach} of {clip.used} frames: the camera stands still after them."
    return found, (*notes, said)


def placed(
    track: CameraTrack, scale: float = 1.0, world: World = "source", source_world: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Place the poses (T,4,4) of a path in the world of the shot, which is the source camera of frame 0.

    Args:
        track: one pose per frame.
        scale: length of one unit of the file in the depth's units.
        world: "source": the file's world is the shot's. "first": the first pose is at the source view.
            "source_camera": the file shares its world with the source camera's file.
        source_world: (4,4) from that world into the shot's, including the scale found for it.

    Raises:
        InputError: "source_camera" without a file for the source camera.
    """
    poses = track.camera_to_world.copy()
    if world == "first":
        poses = transforms.inverse(poses[0]) @ poses
    elif world == "source_camera":
        if source_world is None:
            raise InputError(
                "The path should be in the world of the source camera's file, but there is no such file: give it too."
            )
        size = float(np.cbrt(np.linalg.det(source_world[:3, :3])))
        turned = source_world @ poses
        turned[:, :3, :3] /= size
        poses = turned
    poses[:, :3, 3] *= scale
    return poses


def with_lens(
    track: CameraTrack, poses: NDArray[np.float64], lens: NDArray[np.float64], width: int, height: int
) -> CameraPath:
    """Make a path with the track's lens, or else with the clip's `lens` (T,3,3) in pixels of `width` x `height`.

    Our own files name the size to render at, so with a lens from one of them the path takes that size.
    """
    if track.lens is None:
        said = f"The {track.format} file has no lens for the path: the clip's was used."
        return CameraPath(poses, lens, width, height, (said,))
    if track.format == ".npz" and track.lens.size is not None:
        return CameraPath(poses, track.lens.intrinsics, *track.lens.size)
    k, notes = track.lens.in_pixels(width, height)
    return CameraPath(poses, k, width, height, notes)


def placing_notes(track: CameraTrack, poses: NDArray[np.float64], scale: float) -> tuple[str, ...]:
    """Notes about the unit and the world of a path whose file has its own.

    Args:
        track: as read.
        poses: (T,4,4) as placed.
        scale: factor applied to its distances.
    """
    notes: list[str] = []
    if scale != 1:
        notes.append(f"The distances of the camera path were scaled by {scale:g}.")
    elif track.own_unit:
        notes.append(
            f"The distances of the {track.format} file were used as they are, in the unit of the depth: if the path"
            " goes too far or not far enough, scale it."
        )
    if track.own_unit and not np.allclose(poses[0], np.eye(4), atol=1e-3):
        notes.append(
            f"The first camera of the {track.format} file is not at the source view: if its world is its own, put"
            " its first pose there, or use the world of the source camera's file if both share one."
        )
    return tuple(notes)


_Found = tuple[NDArray[np.float64], tuple[str, ...]]
"""Positions of the frames between the poses, and notes."""


def _by_picture(track: CameraTrack, clip: ClipFrames) -> _Found | None:
    """Match by stored picture: one pose for each, and as many frames used, in a source with more frames.

    Trackers see the pictures. In .npz the poses are those of the frames used, as Blender records them.
    """
    if not len(track) == clip.stored_pictures == clip.used != clip.whole or clip.stored is None:
        return None
    if track.format == ".npz":
        said = f"The camera file has as many poses as frames of {clip.name} are used: they were matched in order."
        return np.arange(clip.used, dtype=np.float64), (said,)
    said = (
        f"The camera file has as many poses as {clip.name} has images: each frame uses that of the image which it"
        " shows."
    )
    return clip.stored.astype(np.float64), (said,)


def _by_count(track: CameraTrack, clip: ClipFrames) -> _Found | None:
    """Match in order, if the number of poses fits."""
    every, count = np.arange(clip.used, dtype=np.float64), len(track)
    span = count if track.frames is None else int(track.frames[-1] - track.frames[0]) + 1
    gaps = span != count and clip.counted_in(span) is not None
    if count == clip.used and count != clip.whole and not gaps:
        return every, ()
    numbers = clip.counted_in(count)
    return None if numbers is None else (numbers.astype(np.float64), ())


def _by_number(track: CameraTrack, clip: ClipFrames, what: str, path: bool = False) -> _Found | None:
    """Match by frame number, gaps allowed.

    If the numbers span the clip, the first is the clip's first frame; otherwise 0 or 1 is. If neither works, a `path`
    begins at its first pose.
    """
    if track.frames is None:
        return None
    first, last = int(track.frames[0]), int(track.frames[-1])
    span = last - first + 1
    wanted = first + np.arange(clip.used)
    if (numbers := clip.counted_in(span)) is not None:
        wanted = first + numbers
    elif span != clip.used:
        if first in (0, 1) and first + clip.numbers[-1] <= last:
            wanted = first + clip.numbers
        elif not (path and span >= clip.used):
            if len(track) == span:
                return None
            raise InputError(
                f"The camera file {what} has {len(track)} poses for the frames {first} to {last}, but {clip.name}"
                f" has {clip.whole or clip.used} frames, of which {clip.used} are used: poses are missing at one"
                " end. Use only frames of the clip that have a pose."
            )
    at = np.interp(wanted, track.frames, np.arange(len(track)))
    missing = int((~np.isin(wanted, track.frames)).sum())
    notes = []
    if (wanted[0], wanted[-1]) != (first, last):
        notes.append(
            f"The camera file has {len(track)} poses for the frames {first} to {last}; those from {wanted[0]} to"
            f" {wanted[-1]} were used."
        )
    if missing:
        notes.append(
            f"{missing} of {clip.used} frames have no pose in the camera file: their poses were interpolated from"
            " their neighbours."
        )
    return at, tuple(notes)


def _by_time(track: CameraTrack, clip: ClipFrames, what: str) -> _Found | None:
    """Match by time at the clip's rate, taking the first pose as that of the source's first frame."""
    if track.times is None or clip.rate is None:
        return None
    times = track.times - track.times[0]
    wanted = clip.numbers / float(clip.rate)
    if wanted[-1] > times[-1] + 0.5 / float(clip.rate):
        raise InputError(
            f"The camera file {what} has {len(track)} poses over {times[-1]:.3g} s, but the frames of {clip.name}"
            f" reach to {wanted[-1]:.3g} s at {float(clip.rate):.5g} frames per second: give one pose for each frame,"
            " or use fewer frames."
        )
    note = (
        f"The camera file has {len(track)} poses over {times[-1]:.3g} s for {clip.used} frames: they were matched"
        f" by their times, at {float(clip.rate):.5g} frames per second."
    )
    return np.interp(wanted, times, np.arange(len(track))), (note,)


def in_pixels(track: CameraTrack, width: int, height: int, focal_px: float | None = None) -> CameraTrack:
    """Give the track a lens in pixels of a picture of this size; `focal_px` is the lens if the file has none."""
    if track.lens is None:
        if focal_px is None:
            return track
        return replace(
            track, lens=Lens(centred(np.full(len(track), focal_px), width, height), "pixels", (width, height))
        )
    k, notes = track.lens.in_pixels(width, height)
    return replace(track, lens=Lens(k, "pixels", (width, height)), notes=(*track.notes, *notes))
