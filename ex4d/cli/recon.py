"""`ex4d recon`: colour and mask along a camera path, written as by the EX-4D release's command of this name."""

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ex4d.cli.options import (
    CameraFile,
    DepthFile,
    Format,
    InputVideo,
    MovingMask,
    OutputDir,
    OutputFormat,
    PlateClip,
    SourceCamera,
    estimator_names,
    source_files,
    with_settings,
)
from ex4d.cli.output import bars, refuse_overwriting, result_folder, results, say
from ex4d.pipeline.settings import PathSettings, RenderSettings, SourceSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ex4d.geometry.mesh import DWMesh


@with_settings(
    choices={"estimator": estimator_names()}, source=SourceSettings, preset=PathSettings, render=RenderSettings
)
def recon(
    *,
    input_video: InputVideo = None,
    output_dir: OutputDir = Path("out"),
    preset: PathSettings,
    camera: CameraFile = None,
    depth: DepthFile = None,
    source_camera: SourceCamera = None,
    moving: MovingMask = None,
    plate: PlateClip = None,
    source: SourceSettings,
    save_mesh: Annotated[
        bool, typer.Option("--save_mesh", help="Also write the mesh of frame 0, as DW-Mesh.ply.")
    ] = False,
    save_camera: Annotated[
        bool, typer.Option("--save_camera", help="Also write the camera path, as camera_<cam>.npz.")
    ] = False,
    output_format: Format = "mp4",
    render: RenderSettings,
) -> None:
    """Render colour and mask along a camera path.

    Colour is the clip's mesh seen from the new camera; the mask marks the pixels that are real.
    """
    from ex4d.geometry import camera_path
    from ex4d.media.movie import check_frames_folder
    from ex4d.pipeline import render as rendering
    from ex4d.pipeline.open import open_shot
    from ex4d.pipeline.plate import why_not
    from ex4d.storage.atomic import replacing

    files = source_files(input_video, depth, source_camera, moving, plate)
    name = preset.cam if camera is None else camera.stem
    ending = "" if output_format == "png" else ".mp4"
    outputs = [output_dir / f"{what}_{name}{ending}" for what in ("color", "mask")]
    camera_file = output_dir / f"camera_{name}.npz"
    refuse_overwriting(
        [*outputs, *([camera_file] if save_camera else [])], input_video, depth, camera, source_camera, moving, plate
    )
    for folder in outputs if output_format == "png" else ():
        check_frames_folder(folder)
    with bars() as progress:
        shot = open_shot(
            files,
            source,
            look_beside=True,
            release_lens=render.release_compat,
            fills_nothing=why_not(render),
            progress=progress,
        )
        scene = rendering.scene_of(shot, camera, preset, render)
        seen = rendering.view(scene, render, progress)
        notes = (*shot.choice_notes, *shot.notes, *scene.path.notes, *seen.notes)
        with result_folder(output_dir):
            written = [
                _write(output_dir / f"color_{name}", seen.colour, shot.clip.fps, output_format, notes),
                _write(output_dir / f"mask_{name}", seen.mask, shot.clip.fps, output_format, notes),
            ]
            if save_mesh:
                written.append(_write_ply(output_dir / "DW-Mesh.ply", scene.mesh, scene.pictures[0]))
            if save_camera:
                written.append(camera_file)
                with replacing(camera_file) as temporary:
                    camera_path.save(temporary, scene.path)
    say(*notes, f"Real part of the picture: {seen.coverage.real.min():.0%} in the emptiest frame.")
    results(*written)


def _write(
    name: Path, frames: "NDArray[np.uint8]", fps: Fraction, output_format: OutputFormat, notes: tuple[str, ...]
) -> Path:
    """Write frames as name.mp4, with the notes in it, or as the folder name/."""
    from ex4d.media.movie import write_movie, write_png_frames

    if output_format == "png":
        write_png_frames(name, frames)
        return name
    file = name.with_name(name.name + ".mp4")
    write_movie(file, frames, fps, lossless=frames.ndim == 3, metadata={"comment": " ".join(notes)})
    return file


def _write_ply(file: Path, mesh: "DWMesh", picture: "NDArray[np.uint8]") -> Path:
    """Write frame 0 of the mesh with the picture's colours; alpha is 0 at unreliable vertices."""
    import numpy as np
    import trimesh

    from ex4d.storage.atomic import replacing

    alpha = mesh.reliable_vertices(0).astype(np.uint8) * 255
    colours = np.concatenate([picture, alpha[..., None]], axis=-1).reshape(-1, 4)
    surface = trimesh.Trimesh(mesh.vertices(0), mesh.faces, vertex_colors=colours, process=False)
    with replacing(file) as temporary:
        surface.export(str(temporary), file_type="ply")
    return file
