"""A shot along a camera path: mesh, path, colour and mask."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ex4d.geometry import camera_path, presets
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.occlusion import FILTERS
from ex4d.pipeline.open import Shot
from ex4d.pipeline.settings import PathSettings, RenderSettings
from ex4d.progress import Progress, silent
from ex4d.render.conditioning import Conditioning, render, render_stereo
from ex4d.render.engines import engine
from ex4d.render.scene import Scene


def mesh_of(shot: Shot, settings: RenderSettings) -> DWMesh:
    """The depth watertight mesh of a shot."""
    limits = FILTERS[settings.occlusion] if settings.occlusion else None
    return DWMesh.from_depth(shot.depth, shot.source_to_world, settings.release_compat, limits)


def path_of(
    mesh: DWMesh, shot: Shot, path: CameraPath | Path | None, preset: PathSettings, settings: RenderSettings
) -> CameraPath:
    """A camera path as it is, from a file, or of a preset where there is none.

    Raises:
        InputError: the file cannot be read or does not fit the shot, or the preset's amount is out of range.
    """
    size = (mesh.width, mesh.height)
    if isinstance(path, CameraPath):
        return path
    if path is not None:
        return camera_path.load(path, len(mesh), *size)
    return presets.preset(
        preset.cam,
        presets.pivot_distance(mesh.depth[0]),
        shot.depth.intrinsics,
        *size,
        len(mesh),
        preset.amount,
        preset.rise,
        release_compat=settings.release_compat,
        source_to_world=shot.source_to_world,
        easing=preset.easing,
        shake=preset.shake,
        shake_seed=preset.shake_seed,
    )


def scene_of(shot: Shot, path: CameraPath | Path | None, preset: PathSettings, settings: RenderSettings) -> Scene:
    """Mesh, pictures and path of a shot, ready to be drawn.

    Raises:
        InputError: as `path_of`.
    """
    mesh = mesh_of(shot, settings)
    cameras = path_of(mesh, shot, path, preset, settings)
    return Scene(mesh, shot.clip.frames, cameras, settings.release_compat)


def resized(scene: Scene, width: int, height: int) -> Scene:
    """The same cameras with a picture of another size, squeezed where the aspect differs, as the release does."""
    path = scene.path
    scale = np.diag([width / path.width, height / path.height, 1])
    return replace(scene, path=CameraPath(path.camera_to_world, scale @ path.intrinsics, width, height))


def view(scene: Scene, settings: RenderSettings, progress: Progress = silent) -> Conditioning:
    """Colour and mask along the path; both eyes side by side where the settings say so.

    Raises:
        InputError: the engine cannot run here, or the parts of the scene do not belong together.
    """
    drawn_by = engine(settings.engine)
    if settings.stereo is not None:
        return render_stereo(scene, settings.stereo, drawn_by, progress)
    return render(scene, drawn_by, progress)
