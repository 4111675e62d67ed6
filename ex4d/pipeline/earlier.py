"""An earlier take of a shot as a source of pixels: everything static that it invented is shown again.

Its camera path is known, and its depth is the shot's wherever the shot's own surfaces are visible. The rest is
estimated by the estimator that made the shot's depth, and fitted to it. An earlier take ranks below everything real,
see `ex4d.render.world`.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.depth import beside_known, registry
from ex4d.depth.detail import DepthEdges
from ex4d.depth.estimate import Estimate
from ex4d.errors import InputError
from ex4d.geometry import camera_path
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo, load_depth_npz, save_depth
from ex4d.geometry.full_size import FullSize
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import Clip, clip_info, read_clip
from ex4d.pipeline import take
from ex4d.pipeline.plate import estimator_like
from ex4d.pipeline.requests import Fill, Source
from ex4d.pipeline.settings import SourceSettings
from ex4d.progress import Progress, silent
from ex4d.render.earlier import known
from ex4d.render.engines import engine
from ex4d.source_camera.masks import resized_mask

MOST_FRAMES = 8
"""Maximum number of frames used of a take."""


@dataclass(frozen=True)
class EarlierFiles:
    """Where the files of an earlier take are.

    Attributes:
        result: its video.
        camera: its camera path.
        depth: of its frames, if a take was made with it before, see `save`; None if it has to be estimated.
        is_preview: whether the preview made it, without a model.
        made_from: the source of that take; None if unknown.
    """

    result: Path
    camera: Path
    depth: Path | None = None
    is_preview: bool = False
    made_from: Source | None = None


@dataclass(frozen=True)
class EarlierFrames:
    """Frames of an earlier take in the world of a shot.

    Attributes:
        pictures: (n,H,W,3) uint8, of a size of their own.
        depth: of the n frames, in the unit of the shot's depth.
        camera_to_world: (n,4,4) float64.
        frames: (n) numbers of the shot's frames that they show.
        moves: (n,H,W) bool, what moves in them and where its far side may be visible.
        estimated: (N,H,W) depth of all frames that were read, before fitting, with sentences about it; kept so that the
            take can be remade exactly.
    """

    pictures: NDArray[np.uint8]
    depth: DepthVideo
    camera_to_world: NDArray[np.float64]
    frames: list[int]
    moves: NDArray[np.bool_]
    estimated: DepthVideo


def of_folder(folder: Path) -> EarlierFiles:
    """The files of a take.

    Raises:
        InputError: there is no take, it has no camera or no video, or it was made from colour and mask.
    """
    if not (folder / take.SIDECAR).is_file():
        raise InputError(f"{folder} is not the folder of a take: name one that holds {take.SIDECAR}.")
    record = take.read_record(folder / take.SIDECAR)
    if isinstance(record.job, Fill):
        raise InputError(
            f"The earlier take {folder} was made from colour and mask: choose one that was made from a clip."
        )
    for name in (take.RESULT, take.CAMERA):
        if not (folder / name).is_file():
            raise InputError(f"The earlier take {folder} has no {name}: choose another take, or remake it.")
    return EarlierFiles(folder / take.RESULT, folder / take.CAMERA, None, record.is_preview, record.job.source)


def check_same_part(then: Source, now: Source) -> None:
    """Refuse an earlier take of another clip, or of another part of the clip.

    Raises:
        InputError: says which of the two.
    """
    if [blob.sha256 for blob in then.clip] != [blob.sha256 for blob in now.clip]:
        raise InputError(f"The earlier take is of another clip, {then.clip[0].name}: choose a take of this one.")
    _check_begins_alike(then.settings, now.settings)


def _check_begins_alike(then: SourceSettings, now: SourceSettings) -> None:
    of_then, of_now = ((settings.start, settings.step) for settings in (then, now))
    if of_then != of_now:
        raise InputError(
            f"The earlier take begins at frame {of_then[0]} with a step of {of_then[1]}, and the shot at frame"
            f" {of_now[0]} with {of_now[1]}: choose a take of the same part of the clip."
        )


def save(path: Path, frames: EarlierFrames) -> None:
    """Write the depth of a take's frames as it was estimated.

    Raises:
        InputError: the file cannot be written.
    """
    save_depth(path, frames.estimated)


def joined(
    files: EarlierFiles,
    clip: Clip,
    estimate: Estimate,
    source_to_world: NDArray[np.float64] | None,
    moving: NDArray[np.bool_] | None,
    settings: SourceSettings,
    edges: DepthEdges = "off",
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[EarlierFrames | None, tuple[str, ...]]:
    """The frames of an earlier take in the world of a shot, or None if they cannot be used, and sentences about them.

    Args:
        files: of the take.
        clip, estimate, source_to_world, moving: of the shot, see `ex4d.pipeline.open.Shot`.
        settings: of the shot.
        edges: as for `ex4d.depth.registry.estimate`.
        device, progress: as for `ex4d.pipeline.open.open_shot`.

    Raises:
        InputError: the take cannot be read, or it covers another part of the clip than the shot.
    """
    unused = "The earlier take was not used:"
    if moving is None:
        return None, (f"{unused} what moves in the clip is not known.",)
    count, info = len(clip.frames), clip_info(files.result)
    if files.made_from is not None:
        _check_begins_alike(files.made_from.settings, settings)
    if info.frames != count:
        raise InputError(
            f"The earlier take has {info.frames} frames and the shot {count}: choose a take of the same part of the"
            " clip."
        )
    full = FullSize.of(clip.fit)
    path = camera_path.load(files.camera, count, clip.fit.width, clip.fit.height)
    is_full = (path.width, path.height, info.width, info.height) == (
        clip.fit.width, clip.fit.height, full.width, full.height,
    )  # fmt: skip
    if is_full:
        path = full.path(path)
    elif (info.width, info.height) != (path.width, path.height):
        return None, (f"{unused} it was made at another size, {info.width}x{info.height}.",)
    at = _spread(count)
    used = len(at)
    longest = max(clip.fit.width, clip.fit.height)
    shown = read_clip(
        files.result, start=at[0], frames=used, step=at.step, longest_side=longest, alone=True, progress=progress
    )
    height, width = shown.frames.shape[1:3]
    cameras = CameraPath(
        path.camera_to_world[list(at)], shown.fit.apply_to_intrinsics(path.intrinsics[list(at)]), width, height
    )  # fmt: skip
    mesh = DWMesh.from_depth(estimate.depth, source_to_world)
    moves = resized_mask(moving, mesh.width, mesh.height) > 0
    seen = list(known(mesh, clip.frames, moves, cameras, at, engine()))
    fits = [n for n, one in enumerate(seen) if one.is_shown_by(shown.frames[n])]
    if not fits:
        return None, (
            f"{unused} it does not match the shot. It is of another clip, or the depth or the source camera has changed"
            " since it was made: choose a later take.",
        )
    depth = _estimated(files, shown, cameras, estimate, settings, edges, device, progress)
    made, notes = {}, list(depth.notes)
    for n in fits if not depth.is_guess else ():
        fitted = beside_known.fitted(depth.depth[n], seen[n].inverse_distance, seen[n].sure)
        if fitted is not None:
            made[n] = fitted
    if made:
        fits = list(made)  # a single frame with wrong depth would stand in front of all others
    else:
        made = {n: beside_known.continued(seen[n].inverse_distance, seen[n].sure) for n in fits}
        notes.append(
            "The depth of the earlier take's invented parts could not be estimated: the background was assumed to"
            " continue there."
        )
    if files.is_preview:
        notes.append("The earlier take was made by the preview: its invented parts are soft.")
    if len(fits) < used:
        notes.append(f"Only {len(fits)} of {used} frames of the earlier take match the shot, and only these were used.")
    lens, poses = cameras.intrinsics[fits], cameras.camera_to_world[fits]
    frames = EarlierFrames(
        shown.frames[fits],
        DepthVideo(np.stack(list(made.values())), lens, estimate.depth.provider),
        poses,
        [at[n] for n in fits],
        np.stack([seen[n].moves for n in fits]),
        depth,
    )
    return frames, tuple(notes)


def _spread(count: int) -> range:
    """Numbers of up to `MOST_FRAMES` of `count` frames, equally spaced back from the last, leaving out as few as
    possible at the start."""
    between = (count - 1) / (MOST_FRAMES - 1)
    steps = (max(1, math.floor(between)), max(1, math.ceil(between)))
    return min((range(count - 1, -1, -step)[:MOST_FRAMES] for step in steps), key=lambda back: back[-1])[::-1]


def _estimated(
    files: EarlierFiles,
    shown: Clip,
    cameras: CameraPath,
    known_by: Estimate,
    settings: SourceSettings,
    edges: DepthEdges,
    device: str,
    progress: Progress,
) -> DepthVideo:
    """The depth of a take's frames, with notes: kept from before, or by the shot's estimator; may be a guess."""
    if files.depth is not None:
        depth = load_depth_npz(files.depth)
        if depth.depth.shape != shown.frames.shape[:3]:
            raise InputError(
                "The kept depth of the earlier take has a different size from the take: it has been changed."
            )
        return depth
    made = registry.estimate(
        estimator_like(known_by.depth.provider),
        shown,
        focal_px=float(cameras.intrinsics[0, 0, 0]) * shown.fit.source_width / shown.fit.scaled_width,
        accept_licence=settings.accept_licence,
        device=device,
        detail=settings.depth_detail,
        edges=edges,
        progress=progress,
    )
    said = []
    if not made.depth.is_guess and (made.depth.provider, made.licence) != (known_by.depth.provider, known_by.licence):
        spec = registry.estimators().get(made.depth.provider)
        by = made.depth.provider if spec is None else spec.title
        said = [f"The depth of the earlier take's invented parts is by {by}. Its licence: {made.licence.rstrip('.')}."]
    return replace(made.depth, notes=tuple(said))
