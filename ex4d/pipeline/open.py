"""Opening a source: its frames, its depth, and how its camera moved."""

import itertools
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.depth import lens, registry
from ex4d.depth.detail import DepthEdges
from ex4d.depth.estimate import Estimate
from ex4d.errors import InputError
from ex4d.geometry import intrinsics
from ex4d.geometry.depth_video import DepthVideo
from ex4d.media.clip import Clip, open_source, read_clip
from ex4d.pipeline import earlier
from ex4d.pipeline.earlier import EarlierFiles, EarlierFrames
from ex4d.pipeline.pictures import frames_to_use, note_on_crop, note_on_length
from ex4d.pipeline.plate import Plate, joined
from ex4d.pipeline.requests import Blob, EarlierTake, Fill, Job, Reconstruct
from ex4d.pipeline.settings import SourceSettings
from ex4d.progress import Progress, silent
from ex4d.schema import AUTO
from ex4d.source_camera import kept, masks, pose_files
from ex4d.source_camera.find import find
from ex4d.source_camera.found import GIVEN, OF_CAMERA_FILE, UNCHANGED, WITH_CAMERA, Steadying, Wish
from ex4d.source_camera.given import compared
from ex4d.source_camera.steadying import steadied
from ex4d.storage.names import CLIP_ENDINGS, DEPTH_ENDINGS, beside, natural_order
from ex4d.storage.sequence import Numbering, unnumbered

ANEW = "The lens zooms, so it was found again for all frames, including those that were open before."

NOT_COMPARED = (
    "The camera given was not compared with the clip, because the lens in use is not its own. Its unit, what moves and"
    " the depth were left alone."
)

Locate = Callable[[Blob], Path]
"""Finds the content of a blob on this machine; the file's name may differ from the blob's."""


@dataclass(frozen=True)
class SourceFiles:
    """Where the files of a source are.

    Attributes:
        clip: a video file, a folder of images, or one image that stands for its sequence.
        depth: a depth file or folder; None looks for it next to the clip, or estimates it.
        camera: a file that says how the clip's own camera moved; None if it stood still.
        numbering: of the whole sequence, if the folder holds all or only the needed images of it; None if the names of
            the images tell.
        moving: a mask of moving things; None finds them.
        standing: a file with the depth of a part of the clip, which is kept; only that of other frames is estimated.
        plate: a clean plate, see `ex4d.pipeline.plate`; None if there is none.
        earlier: an earlier take, see `ex4d.pipeline.earlier`; None if there is none.
    """

    clip: Path
    depth: Path | None = None
    camera: Path | None = None
    numbering: Numbering | None = None
    moving: Path | None = None
    standing: Path | None = None
    plate: Path | None = None
    earlier: EarlierFiles | None = None


@dataclass(frozen=True)
class JobFiles:
    """Where the files of a job are.

    Attributes:
        source: for jobs that have one.
        path: the camera path; None uses the job's preset.
        colour, mask: for `Fill`.
    """

    source: SourceFiles | None = None
    path: Path | None = None
    colour: Path | None = None
    mask: Path | None = None


@dataclass(frozen=True)
class Shot:
    """An open source.

    Attributes:
        clip: frames at the working size.
        estimate: its depth.
        source_to_world: (T,4,4) poses of the clip's own camera; None if it does not move.
        notes: sentences about all three that stay true wherever the result goes.
        from_file: (4,4) from the world of the source camera's file to that of the shot; None if there is no file.
        found: the camera as found from the frames, in the unit of the depth; None otherwise.
        moving: (T,h,w) bool, independently moving things, at any size; None if unknown.
        about_camera: sentences about the search for the camera, or the comparison with it, for the user only.
        steadied: whether the depth has just been steadied, rather than before, or not at all.
        plate: frames of a clean plate, in the world of the clip; None if there are none.
        earlier: frames of an earlier take, in the same world; None if there are none.
        points: (M,3) static points of the clip, in the same world; M may be 0.
    """

    clip: Clip
    estimate: Estimate
    source_to_world: NDArray[np.float64] | None = None
    notes: tuple[str, ...] = ()
    from_file: NDArray[np.float64] | None = None
    found: pose_files.SourceCamera | None = None
    moving: NDArray[np.bool_] | None = None
    about_camera: tuple[str, ...] = ()
    steadied: bool = False
    plate: Plate | None = None
    earlier: EarlierFrames | None = None
    points: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))

    @property
    def choice_notes(self) -> tuple[str, ...]:
        """Why a better estimator did not make the depth, and whether the camera is still. For the user only, not for
        files that have to be the same when remade."""
        return (*((self.estimate.choice_note,) if self.estimate.choice_note else ()), *self.about_camera)

    @property
    def depth(self) -> DepthVideo:
        """The depth alone."""
        return self.estimate.depth

    @property
    def about_depth(self) -> dict[str, str]:
        """Where the depth came from, for people and records."""
        return {
            "provider": self.depth.provider[:100],
            "scale": self.estimate.scale_note,
            "licence": self.estimate.licence,
            "caution": self.estimate.caution,
        }


def open_shot(
    files: SourceFiles,
    settings: SourceSettings,
    *,
    look_beside: bool = False,
    again: bool = False,
    release_lens: bool = False,
    fills_nothing: str = "",
    device: str = "auto",
    progress: Progress = silent,
) -> Shot:
    """Read a clip, and find its depth, its lens and how its camera moved.

    Args:
        files: where the files are.
        settings: see `ex4d.pipeline.settings`.
        look_beside: use the depth file beside the clip if none is given.
        again: estimate depth and camera again, even if they are cached.
        release_lens: assume the EX-4D release's focal length if no other is given.
        fills_nothing: why neither a clean plate nor an earlier take is opened, see `ex4d.pipeline.plate.why_not`; if
            empty, they are opened.
        device: on which a depth model runs; "auto" uses a GPU if there is one.
        progress: called after each step.

    Raises:
        InputError: something cannot be read, does not fit, or cannot be estimated here.
    """
    fps = Fraction(settings.fps) if settings.fps else None
    frames = settings.frames
    if frames is None:
        frames = frames_to_use(open_source(files.clip, fps, settings.gaps, files.numbering).info.frames, settings)
    clip = read_clip(
        files.clip,
        start=settings.start,
        frames=frames,
        step=settings.step,
        longest_side=settings.longest_side,
        fps=fps,
        gaps=settings.gaps,
        numbering=files.numbering,
        progress=progress,
    )
    focal_px = settings.focal_px
    if settings.field_of_view is not None:
        focal_px = intrinsics.focal_of(settings.field_of_view, clip.fit.source_width)
    elif focal_px is None and release_lens:
        focal_px = intrinsics.RELEASE_FOCAL_PX * clip.fit.source_width / clip.fit.scaled_width
    moving = pose_files.load(files.camera, clip) if files.camera is not None else None
    if moving is not None and settings.camera_motion not in ("file", AUTO):
        raise InputError(
            "A camera file was given together with a camera motion that does not use it: leave one of them out."
        )
    searches = settings.camera_motion not in ("file", "still") and not release_lens
    given = moving if moving is not None and not moving.found and searches else None
    has_depth = files.depth or files.standing or (look_beside and beside(files.clip))
    its_lens = given.lens if given is not None and focal_px is None and not has_depth else None
    if its_lens is not None:
        focal_px = float(its_lens[0, 0, 0]) * clip.fit.source_width / clip.fit.scaled_width
    edges: DepthEdges = "off" if release_lens else settings.depth_edges
    estimate = registry.estimate(
        settings.estimator,
        clip,
        video=files.clip if look_beside else None,
        file=files.depth,
        reading=settings.encoding,
        focal_px=focal_px,
        accept_licence=settings.accept_licence,
        again=again,
        device=device,
        detail=settings.depth_detail,
        standing=files.standing,
        edges=edges,
        progress=progress,
    )
    mask = None if files.moving is None else masks.read(files.moving, clip, progress)
    about_camera: tuple[str, ...] = ()
    steady = UNCHANGED if moving is None else moving.steady
    if given is not None and (its_lens is not None or _assumes_lens(estimate.depth)):
        estimate = _with_given_lens(estimate, given, clip)
    if searches and (moving is None or given is not None):
        moving, mask, steady, about_camera = _looked_at(clip, estimate, given, settings, mask, again, device, progress)
    if moving is not None and moving.found:
        estimate = _with_found_lens(estimate, moving)
    before = estimate.depth
    has_points = moving is not None and (moving.found or moving.followed) and len(moving.points) > 0
    if settings.steady_depth and (has_points or steady):
        estimate = _steadied(estimate, steady, mask)
    was_steadied = estimate.depth is not before
    length = note_on_length(clip.source, len(clip.frames), clip.source_frames, settings)
    notes = (*length, *clip.notes, *note_on_crop(clip.fit), *estimate.depth.notes)
    if moving is None:
        shot = Shot(clip, estimate, None, notes, moving=mask, about_camera=about_camera, steadied=was_steadied)
        return _with_others(shot, files, settings, fills_nothing, edges, device, progress)
    moving, said = pose_files.in_unit_of(moving, estimate.depth, settings.camera_scale)
    moving = replace(moving, notes=(*moving.notes, *((said,) if said else ())))  # stored with a camera that was found
    notes = (*notes, *(note for note in moving.notes if note not in notes), *_other_lens(moving, estimate.depth, clip))
    found = moving if moving.found else None
    poses, from_file = moving.camera_to_world, moving.from_file
    shot = Shot(clip, estimate, poses, notes, from_file, found, mask, about_camera, was_steadied, points=moving.points)
    return _with_others(shot, files, settings, fills_nothing, edges, device, progress)


def _with_others(
    shot: Shot,
    files: SourceFiles,
    settings: SourceSettings,
    without: str,
    edges: DepthEdges,
    device: str,
    progress: Progress,
) -> Shot:
    """The shot with what a clean plate and an earlier take show of the same place, if there are any."""
    notes, plate, taken = list(shot.notes), None, None
    known = shot.clip, shot.estimate, shot.source_to_world, shot.moving
    how = settings, edges, device, progress
    if files.plate is not None:
        plate, said = (
            (None, (f"The clean plate was not used: {without}",)) if without else joined(files.plate, *known, *how)
        )
        notes += said
    if files.earlier is not None:
        taken, said = (
            (None, (f"The earlier take was not used: {without}",))
            if without
            else earlier.joined(files.earlier, *known, *how)
        )
        notes += said
    return replace(shot, plate=plate, earlier=taken, notes=tuple(notes))


def _looked_at(
    clip: Clip,
    estimate: Estimate,
    given: pose_files.SourceCamera | None,
    settings: SourceSettings,
    mask: NDArray[np.bool_] | None,
    again: bool,
    device: str,
    progress: Progress,
) -> tuple[pose_files.SourceCamera | None, NDArray[np.bool_] | None, Steadying, tuple[str, ...]]:
    """The camera found from the frames, None if it is still, or the one `given`, with points if it has none; moving
    things; what steadies the depth, see `ex4d.source_camera.steadying`; and sentences for the user only."""
    depth, frames = estimate.depth, clip.frames
    wish = _wish(depth, settings, mask, device)
    if given is not None:
        if _other_lens(given, depth, clip):
            return given, mask, UNCHANGED, (NOT_COMPARED,)
        wish, poses = replace(wish, method=GIVEN), given.camera_to_world
        key, make = kept.key(frames, depth.depth, wish, poses), partial(compared, frames, depth.depth, poses)
    else:
        key, make = kept.key(frames, depth.depth, wish), partial(find, frames, depth.depth)
    found = kept.kept(key, partial(make, wish, progress), again)
    if found.camera_to_world is None:
        return None, found.moving, found.steady, found.choice_notes
    points = np.zeros((0, 3)) if found.points is None else found.points
    if given is not None:
        keeps_its_own = len(given.points) or not len(points) or depth.is_guess
        camera = given if keeps_its_own else replace(given, points=points, followed=True)
        return camera, found.moving, found.steady, found.choice_notes
    lens_note = (found.lens_note,) if found.lens_note else ()
    camera = pose_files.SourceCamera(
        found.camera_to_world,
        points,
        lens=found.lens,
        notes=(*found.notes, *lens_note),
        found=True,
        steady=found.steady,
    )
    return camera, found.moving, found.steady, found.choice_notes


def _wish(depth: DepthVideo, settings: SourceSettings, mask: NDArray[np.bool_] | None, device: str) -> Wish:
    """What is known about a clip with this depth, and what is wanted."""
    lens_known = not _assumes_lens(depth)
    return Wish(settings.camera_motion, depth.intrinsics, lens_known, depth.is_guess, settings.zooms, mask, device)


def _assumes_lens(depth: DepthVideo) -> bool:
    """Whether the lens of a depth is only assumed, in all or some of its frames."""
    return lens.ASSUMED in depth.notes or lens.GOES_ON in depth.notes


def _with_found_lens(estimate: Estimate, camera: pose_files.SourceCamera) -> Estimate:
    """The depth with the lens that was found with the camera, unless the lens is already known.

    Its notes say so from then on, because other frames of the clip will have that lens too.
    """
    depth = estimate.depth
    if camera.lens is None or not _assumes_lens(depth):
        return estimate
    stay = (note for note in depth.notes if note not in (lens.ASSUMED, lens.GOES_ON, ANEW) and WITH_CAMERA not in note)
    found = [note for note in camera.notes if WITH_CAMERA in note]
    anew = (ANEW,) if lens.GOES_ON in depth.notes else ()
    return replace(estimate, depth=replace(depth, intrinsics=camera.lens, notes=(*stay, *found, *anew)))


def _with_given_lens(estimate: Estimate, camera: pose_files.SourceCamera, clip: Clip) -> Estimate:
    """The depth with the lens of the camera's file, if it has one, instead of an assumed one or that of the first
    frame."""
    depth = estimate.depth
    if camera.lens is None:
        return estimate
    width = clip.fit.scaled_width  # of the whole picture, to which the option refers
    first, last = (intrinsics.field_of_view_of(float(k[0, 0]), width) for k in (camera.lens[0], camera.lens[-1]))
    zooms = "" if abs(first - last) < 0.1 else f" It zooms to {last:.1f} degrees."
    said = f"The field of view of {first:.1f} degrees is {OF_CAMERA_FILE}.{zooms}"
    stay = (n for n in depth.notes if n not in (lens.ASSUMED, lens.GOES_ON) and not n.startswith(lens.GIVEN))
    return replace(estimate, depth=replace(depth, intrinsics=camera.lens, notes=(*stay, said)))


def _steadied(estimate: Estimate, steady: Steadying, moving: NDArray[np.bool_] | None) -> Estimate:
    """The depth fitted to what stands still, as far as its frames are not already."""
    depth = steadied(estimate.depth, steady, already=estimate.steady, moving=moving)
    return replace(estimate, depth=depth, steady=range(len(depth.depth)))


def _other_lens(moving: pose_files.SourceCamera, depth: DepthVideo, clip: Clip) -> tuple[str, ...]:
    """A sentence if the source camera's file has another lens than the depth, because the poses then do not fit it."""
    if moving.lens is None or np.allclose(moving.lens[:, 0, 0], depth.intrinsics[:, 0, 0], rtol=0.01):
        return ()
    width = clip.fit.scaled_width  # of the whole picture, to which the option refers
    theirs, ours = (intrinsics.field_of_view_of(float(k[0, 0, 0]), width) for k in (moving.lens, depth.intrinsics))
    return (
        f"The source camera's file has a lens of {theirs:.1f} degrees, and {ours:.1f} are used: if the file is right,"
        f" set the field of view to {theirs:.2f} degrees.",
    )


def gather(job: Job, locate: Locate, folder: Path, *, in_place: bool = False) -> JobFiles:
    """Give the files of a job their original names, so that readers see the extensions and errors show those names.

    If `folder` is the working directory, `Path()`, errors show the bare names of files, as the user knows them.

    Args:
        job: with its files by content.
        locate: finds the files.
        folder: an empty folder for links (or copies, if the system does not allow links).
        in_place: use files that still have their names where they are; errors then show their full paths.
    """
    gathered = partial(_gathered, locate=locate, folder=folder, in_place=in_place)
    if isinstance(job, Fill):
        colour, mask = (
            gathered(blobs, what=what, as_folder=_are_pictures(blobs, CLIP_ENDINGS))
            for what, blobs in (("colour", job.colour), ("mask", job.mask))
        )
        return JobFiles(colour=colour, mask=mask)
    source = job.source
    numbering = None if source.folder is None else source.numbering or unnumbered(len(source.clip))
    depth_is_folder = bool(source.depth) and _are_pictures(source.depth, DEPTH_ENDINGS)
    files = SourceFiles(
        gathered(source.clip, what=source.folder or "clip", as_folder=source.folder is not None),
        gathered(source.depth, what="depth", as_folder=depth_is_folder) if source.depth else None,
        gathered((source.camera,), what="camera") if source.camera else None,
        numbering,
        gathered(source.moving, what="moving", as_folder=len(source.moving) > 1) if source.moving else None,
        gathered((source.standing,), what="standing") if source.standing else None,
        gathered(source.plate, what="plate", as_folder=len(source.plate) > 1) if source.plate else None,
        _earlier(source.earlier, gathered),
    )
    if isinstance(job, Reconstruct) or job.path is None:
        return JobFiles(files)
    return JobFiles(files, gathered((job.path,), what="path"))


def _earlier(taken: EarlierTake | None, gathered: Callable[..., Path]) -> EarlierFiles | None:
    """The files of an earlier take."""
    if taken is None:
        return None
    depth = None if taken.depth is None else gathered((taken.depth,), what="earlier_depth")
    result, camera = gathered((taken.result,), what="earlier"), gathered((taken.camera,), what="earlier_camera")
    return EarlierFiles(result, camera, depth, taken.is_preview)


def _are_pictures(blobs: tuple[Blob, ...], endings: tuple[str, ...]) -> bool:
    """Whether files are from a folder of images, even if only one of them is needed."""
    return Path(blobs[0].name).suffix.lower() in endings


def _gathered(
    blobs: tuple[Blob, ...], *, locate: Locate, folder: Path, in_place: bool, what: str, as_folder: bool = False
) -> Path:
    """The file under its blob's name, or a folder of images in order."""
    names = [blob.name for blob in blobs]
    as_folder |= len(blobs) > 1
    if in_place and (found := _in_place([locate(blob) for blob in blobs], names, what if as_folder else None)):
        return found
    if as_folder or (folder / names[0]).exists():  # also for the second of two files of the same name
        folder = _free(folder, what)
        folder.mkdir(parents=True)
    if len(set(names)) < len(names) or sorted(names, key=lambda name: natural_order(Path(name))) != names:
        names = [f"{number:06d}{Path(name).suffix}" for number, name in enumerate(names)]
    for name, blob in zip(names, blobs, strict=True):
        content = locate(blob).resolve()
        _put(content, folder / name)
    return folder if as_folder else folder / names[0]


def _free(folder: Path, name: str) -> Path:
    """An unused path of this name in a folder or below it: the user's files may have any name, even one of ours.

    The name itself is kept: notes of a take contain it and must be the same whatever else is in the folder.
    """
    if not (folder / name).exists():
        return folder / name
    return next(below / name for number in itertools.count(2) if not (below := folder / str(number)).exists())


def _put(content: Path, place: Path) -> None:
    """Make a file appear at another path, as cheaply as the system allows."""
    for link in (os.symlink, os.link):  # Windows needs a privilege for symlinks; hard links stay on one disk
        try:
            link(content, place)
        except OSError:
            continue
        return
    shutil.copyfile(content, place)


def _in_place(places: list[Path], names: list[str], folder: str | None) -> Path | None:
    """The file, or the folder of this name, if files of these names are there with nothing else beside them."""
    if [place.name for place in places] != names:
        return None
    if folder is None:
        return places[0]
    parent = places[0].parent
    return parent if parent.name == folder and set(parent.iterdir()) == set(places) else None
