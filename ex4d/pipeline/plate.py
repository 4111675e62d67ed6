"""A clean plate: a second clip or an image of the same place as a shot. It fills what the shot did not see.

Its depth is estimated like the shot's, and its camera is found in the shot's world, see `ex4d.source_camera.plate`. A
few of its frames are enough.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.depth import registry
from ex4d.depth.detail import DepthEdges
from ex4d.depth.estimate import Estimate
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.posed_depth import save_posed
from ex4d.media.clip import Clip, open_source, read_clip
from ex4d.pipeline.settings import RenderSettings, SourceSettings
from ex4d.progress import Progress, silent
from ex4d.render.donors import PLATE_FRAMES
from ex4d.schema import AUTO
from ex4d.source_camera.masks import resized
from ex4d.source_camera.plate import Frames, register


@dataclass(frozen=True)
class Plate:
    """Frames of a clean plate in the world of a shot.

    Attributes:
        pictures: (n,H,W,3) uint8, of a size of their own.
        depth: of the n frames, in the unit of the shot's depth.
        camera_to_world: (n,4,4) float64.
    """

    pictures: NDArray[np.uint8]
    depth: DepthVideo
    camera_to_world: NDArray[np.float64]


def why_not(settings: RenderSettings) -> str:
    """Why a shot rendered with these settings has no use for a plate or an earlier take; empty if it has."""
    if settings.release_compat:
        return "the EX-4D release fills nothing from elsewhere."
    if settings.persistence == "off":
        return "Other Frames is off."
    return ""


def save(path: Path, plate: Plate) -> None:
    """Write where a plate's frames are and how far they saw, for `ex4d.render.looking`, which needs no pictures.

    Raises:
        InputError: the file cannot be written.
    """
    save_posed(path, plate.depth, plate.camera_to_world)


def joined(
    path: Path,
    clip: Clip,
    known: Estimate,
    source_to_world: NDArray[np.float64] | None,
    moving: NDArray[np.bool_] | None,
    settings: SourceSettings,
    edges: DepthEdges = "off",
    device: str = "auto",
    progress: Progress = silent,
) -> tuple[Plate | None, tuple[str, ...]]:
    """The frames of a plate that could be placed in the world of a shot, or None, and sentences about them.

    The plate is assumed to be shot with the lens of the shot's first frame.

    Args:
        path: a video, a folder of images, or one image that stands for itself only.
        clip, known, source_to_world, moving: of the shot, see `ex4d.pipeline.open.Shot`; `known` is its depth.
        settings: of the shot.
        edges: as for `ex4d.depth.registry.estimate`.
        device, progress: as for `ex4d.pipeline.open.open_shot`.

    Raises:
        InputError: the plate cannot be read, or its depth cannot be estimated here.
    """
    depth, unused = known.depth, f"The clean plate {path.name} was not used:"
    if moving is None:
        return None, (f"{unused} what moves in the clip is not known.",)
    count = open_source(path, alone=True).info.frames
    used = min(count, PLATE_FRAMES)
    plate = read_clip(
        path,
        frames=used,
        step=max(1, (count - 1) // max(used - 1, 1)),
        longest_side=settings.longest_side,
        alone=True,
        progress=progress,
    )
    across = float(depth.intrinsics[0, 0, 0]) / clip.fit.scaled_width  # the focal length in picture widths
    estimate = registry.estimate(
        estimator_like(depth.provider),
        plate,
        focal_px=across * plate.fit.source_width,
        accept_licence=settings.accept_licence,
        device=device,
        detail=settings.depth_detail,
        edges=edges,
        progress=progress,
    )
    if depth.is_guess or estimate.depth.is_guess:
        return None, (f"{unused} both the clip and the plate need real depth, and one of them has only a guess.",)
    moves = resized(moving, (depth.depth.shape[2], depth.depth.shape[1]))
    placed = register(
        Frames(clip.frames, depth.depth, depth.intrinsics, source_to_world, moves),
        Frames(plate.frames, estimate.depth.depth, estimate.depth.intrinsics),
        progress,
    )
    if not placed:
        return None, (
            f"{unused} it shows another place, or too little of what the clip shows, or was shot with another lens.",
        )
    at = [one.frame for one in placed]
    scales = np.array([one.scale for one in placed], np.float32)[:, None, None]
    made = DepthVideo(estimate.depth.depth[at] * scales, estimate.depth.intrinsics[at], estimate.depth.provider)
    said = (
        f"The clean plate {path.name} shows the same place in {len(at)} of {used} frames, which fill what no frame saw."
    )
    if len(at) == used == 1:
        said = f"The clean plate {path.name} shows the same place and fills what no frame of the clip saw."
    poses = np.stack([one.camera_to_world for one in placed])
    return Plate(plate.frames[at], made, poses), (said, *_about_depth(estimate, known))


def _about_depth(estimate: Estimate, of_clip: Estimate) -> list[str]:
    """Notes on a plate's depth that differ from the clip's; its scale is the clip's by now."""
    told = {*of_clip.depth.notes, estimate.scale_note}
    said = [f"Clean plate: {note}" for note in estimate.depth.notes if note not in told]
    provider, licence = estimate.depth.provider, estimate.licence
    if (provider, licence) != (of_clip.depth.provider, of_clip.licence):
        spec = registry.estimators().get(provider)
        by = provider if spec is None else spec.title
        terms = "" if licence in estimate.depth.notes else f" Its licence: {licence.rstrip('.')}."
        said.insert(0, f"The clean plate's depth is by {by}.{terms}")
    return said


def estimator_like(provider: str) -> str:
    """The estimator that made the shot's depth if it is available; else the best available."""
    spec = registry.estimators().get(provider)
    return AUTO if spec is None or spec.reads_file or registry.missing(spec) else provider
