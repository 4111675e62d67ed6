"""`ex4d camera`: convert a camera track from one format to another."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ex4d.cameras import registry
from ex4d.cli.output import results, say
from ex4d.errors import InputError

if TYPE_CHECKING:
    from ex4d.cameras.track import CameraTrack

FormatName = Literal["npz", "chan", "transforms", "colmap", "tum", "kitti", "rows16", "re10k"]


def camera(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="Camera file in any of these formats, or the folder of a COLMAP model in text format."
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="File to write: .npz, .chan or .json; without an extension, the folder of a COLMAP model.",
        ),
    ],
    format_name: Annotated[
        FormatName | None, typer.Option("--format", help="Format of OUT, if its extension does not determine it.")
    ] = None,
    width: Annotated[int | None, typer.Option("--width", min=1, help="Width of the picture in pixels.")] = None,
    height: Annotated[int | None, typer.Option("--height", min=1, help="Height of the picture in pixels.")] = None,
    fov: Annotated[
        float | None, typer.Option("--fov", help="Horizontal field of view in degrees, if IN has no lens.")
    ] = None,
    scale: Annotated[float, typer.Option("--scale", help="Factor by which all distances are multiplied.")] = 1.0,
    first_frame: Annotated[
        int | None, typer.Option("--first_frame", help="Number of the first frame in OUT, such as 1001.")
    ] = None,
    from_first: Annotated[
        bool, typer.Option("--from_first", help="Make the first camera the origin of the world.")
    ] = False,
) -> None:
    """Convert a camera path or a solved camera to another format.

    Reads and writes .npz, Nuke's .chan, transforms.json, COLMAP, TUM, KITTI, rows of 16 (InSpatio-World) and
    RealEstate10K, and reads the output of ViPE, MegaSaM and Vista4D. Other programs can then read a take's camera.npz,
    or the file that `ex4d recon --save_camera` writes.
    """
    _refuse(source, target)
    into = registry.format_for(target, format_name)
    read = registry.read(source)
    track = _changed(_sized(read, width, height, fov), scale, first_frame, from_first)
    notes = into.write(target, track)
    numbered = f", frames {track.frames[0]} to {track.frames[-1]}" if track.frames is not None else ""
    say(f"{len(track)} cameras of {read.format}{numbered}.", *track.notes, *notes)
    results(target)


def _refuse(source: Path, target: Path) -> None:
    """Refuse to overwrite the input."""
    own = registry.inside(source).resolve()
    if own == target.resolve() or own.is_relative_to(target.resolve()) or target.resolve().is_relative_to(own):
        raise InputError(f"{target} is the input: choose another name for the result.")


def _sized(track: "CameraTrack", width: int | None, height: int | None, fov: float | None) -> "CameraTrack":
    """Give the track a lens in pixels of a picture of this size, if a size is given."""
    from ex4d.cameras.fitting import in_pixels
    from ex4d.geometry.intrinsics import focal_of

    if fov is not None and track.lens is not None:
        raise InputError("The camera file has a lens: leave out --fov.")
    if width is None and height is None and fov is None:
        return track
    if width is None or height is None:
        raise InputError("Give --width and --height together, because a lens belongs to a picture size.")
    return in_pixels(track, width, height, None if fov is None else focal_of(fov, width))


def _changed(track: "CameraTrack", scale: float, first_frame: int | None, from_first: bool) -> "CameraTrack":
    """Scale the track, make it start at its first camera, and renumber it."""
    import numpy as np

    from ex4d.geometry import transforms

    if not (np.isfinite(scale) and scale > 0):
        raise InputError(f"--scale must be a positive number, not {scale}.")
    to_world = transforms.inverse(track.camera_to_world[0]) if from_first else np.eye(4)
    poses, points = to_world @ track.camera_to_world, track.points
    poses[:, :3, 3] *= scale
    if points is not None:
        points = (points @ to_world[:3, :3].T + to_world[:3, 3]) * scale
    frames = track.frames
    if first_frame is not None:
        frames = track.numbered(0) - track.numbered(0)[0] + first_frame
    return replace(track, camera_to_world=poses, points=points, frames=frames)
