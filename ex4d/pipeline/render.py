"""A shot along a camera path: mesh, path, colour and mask."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ex4d.cameras import fitting, registry
from ex4d.geometry import presets
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.occlusion import FILTERS
from ex4d.pipeline.open import Shot
from ex4d.pipeline.settings import Fit, PathSettings, RenderSettings
from ex4d.progress import Progress, silent
from ex4d.render.conditioning import Conditioning, render, render_stereo
from ex4d.render.engines import engine
from ex4d.render.scene import Earlier, Plate, Scene
from ex4d.source_camera import masks
from ex4d.source_camera.pose_files import clip_frames


def mesh_of(shot: Shot, settings: RenderSettings) -> DWMesh:
    """The depth watertight mesh of a shot."""
    limits = FILTERS[settings.occlusion] if settings.occlusion else None
    return DWMesh.from_depth(shot.depth, shot.source_to_world, settings.release_compat, limits)


def path_of(
    mesh: DWMesh, shot: Shot, path: CameraPath | Path | None, preset: PathSettings, settings: RenderSettings
) -> CameraPath:
    """A camera path as given, read from a file, or made by a preset if there is none.

    Raises:
        InputError: the file cannot be read or does not fit the shot, or the preset's amount is out of range.
    """
    size = (mesh.width, mesh.height)
    if isinstance(path, CameraPath):
        return path
    if path is not None:
        return _from_file(path, mesh, shot, preset)
    return presets.preset(
        preset.cam,
        preset.pivot_distance or presets.pivot_distance(mesh.depth[0]),
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


def _from_file(path: Path, mesh: DWMesh, shot: Shot, settings: PathSettings) -> CameraPath:
    """A camera path from a file of any format, see `ex4d.cameras.registry`, with notes on how it was read."""
    read = registry.read(path)
    track, notes = fitting.path_track(read, clip_frames(shot.clip), str(path))
    poses = fitting.placed(track, settings.camera_scale, settings.camera_world, shot.from_file)
    where = fitting.placing_notes(read, poses, settings.camera_scale)
    cameras = fitting.with_lens(track, poses, shot.depth.intrinsics, mesh.width, mesh.height)
    return replace(cameras, notes=(*notes, *where, *cameras.notes))


def scene_of(shot: Shot, path: CameraPath | Path | None, preset: PathSettings, settings: RenderSettings) -> Scene:
    """Mesh, pictures and path of a shot, ready to draw.

    Raises:
        InputError: as `path_of`.
    """
    mesh = mesh_of(shot, settings)
    cameras = path_of(mesh, shot, path, preset, settings)
    if settings.release_compat:
        return Scene(mesh, shot.clip.frames, cameras, release_compat=True)
    moving = None if shot.moving is None else masks.resized(shot.moving, (mesh.width, mesh.height))
    if settings.persistence == "off":  # the preview wants to know what moves all the same
        return Scene(mesh, shot.clip.frames, cameras, persistence="off", moving=moving)
    plate, earlier = _plate_of(shot, mesh), _earlier_of(shot, mesh)
    return Scene(
        mesh, shot.clip.frames, cameras, persistence=settings.persistence, moving=moving, plate=plate, earlier=earlier
    )


def _plate_of(shot: Shot, mesh: DWMesh) -> Plate | None:
    """The mesh of a clean plate, with the occlusion filter of the shot's own mesh."""
    if shot.plate is None:
        return None
    made = DWMesh.from_depth(shot.plate.depth, shot.plate.camera_to_world, occlusion=mesh.occlusion)
    return Plate(made, shot.plate.pictures)


def _earlier_of(shot: Shot, mesh: DWMesh) -> Earlier | None:
    """The mesh of an earlier take, without what moves."""
    if shot.earlier is None:
        return None
    made = DWMesh.from_depth(shot.earlier.depth, shot.earlier.camera_to_world, occlusion=mesh.occlusion)
    return Earlier(replace(made, left_out=shot.earlier.moves), shot.earlier.pictures, shot.earlier.frames)


def resized(scene: Scene, width: int, height: int, fit: Fit) -> tuple[Scene, tuple[str, ...]]:
    """The same cameras with a picture of another size, and a sentence if its aspect changes.

    Args:
        scene: at the working size.
        width, height: of the result, in pixels.
        fit: "crop" fills the result and cuts the excess evenly; "squeeze" scales each side by its own factor.
    """
    path = scene.path
    across, down = width / path.width, height / path.height
    notes = note_on_aspect((path.width, path.height), (width, height), fit)
    if fit == "crop":
        across = down = max(across, down)
    left, top = (path.width * across - width) / 2, (path.height * down - height) / 2
    to_size = np.array([[across, 0, -left], [0, down, -top], [0, 0, 1]])
    path = replace(path, intrinsics=to_size @ path.intrinsics, width=width, height=height)
    return replace(scene, path=path), notes


def note_on_aspect(old: tuple[int, int], new: tuple[int, int], fit: Fit) -> tuple[str, ...]:
    """A sentence about a picture (width, height) that was brought to another aspect; none if the aspect is the same."""
    across, down = new[0] / old[0], new[1] / old[1]
    kept = min(across, down) / max(across, down)
    if kept > 1 - 1e-9:
        return ()
    said = f"The result is {new[0]}x{new[1]} and the clip {old[0]}x{old[1]}, another aspect: "
    if fit == "squeeze":
        return (f"{said}the picture was squeezed to {kept:.0%} of its {'width' if across < down else 'height'}.",)
    sides = "at the sides" if across < down else "above and below"
    return (f"{said}{1 - kept:.0%} of the picture was cropped {sides}.",)


def view(scene: Scene, settings: RenderSettings, progress: Progress = silent) -> Conditioning:
    """Colour and mask along the path, with both eyes side by side if the settings say so.

    Raises:
        InputError: the engine cannot run here, or the parts of the scene do not belong together.
    """
    drawn_by = engine(settings.engine)
    if settings.stereo is not None:
        return render_stereo(scene, settings.stereo, drawn_by, progress)
    return render(scene, drawn_by, progress)
