"""Importing camera paths of other tools as keys of a camera, and exporting a camera to their formats."""

from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

from ex4d.cameras import fitting, registry
from ex4d.cameras.fitting import ClipFrames, World
from ex4d.cameras.track import CameraTrack, Lens
from ex4d.geometry.camera_path import CameraPath

from ..scene import camera
from ..translations import told
from ..words import count

FILTER = ";".join(f"*{ending}" for ending in registry.ENDINGS)
"""File name pattern for file dialogs."""

EXPORT_ITEMS = (
    ("chan", "Nuke (.chan)", "For Nuke and other compositors; y is up"),
    ("transforms", "transforms.json", "For nerfstudio, Instant-NGP and similar programs"),
    ("colmap", "COLMAP", "A folder with cameras.txt, images.txt and points3D.txt"),
    ("npz", "EX-4D (.npz)", "For EX-4D itself and numpy"),
)
"""Formats that can be written, by their names in `ex4d.cameras.registry`."""

WORLDS = (
    ("source", "Source View", "The origin of the file is the source camera of the first frame", 0),
    ("first", "First Pose", "The first pose is put on the source view", 1),
)
"""What the cameras of a file may be relative to. The shot no longer knows the world of the source camera's file."""


def file_for(file: Path, name: str) -> Path:
    """The file with the extension of a format, which replaces that of another format."""
    ending = registry.FORMATS[name].ending
    if file.suffix.lower() in registry.ENDINGS:
        file = file.with_suffix("")
    return file.with_name(file.name + ending)


def format_of_name(file: Path) -> str:
    """The format that a file name's extension implies; "" if it implies none."""
    ending = file.suffix.lower()
    return next((name for name, *_ in EXPORT_ITEMS if ending and registry.FORMATS[name].ending == ending), "")


def read_path(scene: bpy.types.Scene, file: Path, scale: float, world: World) -> CameraPath:
    """Read a camera file as a path for the scene's shot, in library axes, with notes; it may end before the clip does.

    Raises:
        InputError: the scene has no shot, or the file cannot be read or used.
    """
    camera.frame_facts(scene)
    facts = scene.ex4d
    clip = ClipFrames(facts.frames, rate=facts.fraction, name=Path(facts.opened).name)
    read = registry.read(file)
    track, notes = fitting.begun_path(read, clip, str(file))
    poses = fitting.placed(track, scale, world)
    path = fitting.with_lens(track, poses, facts.every_intrinsics[: len(poses)], facts.width, facts.height)
    # Here, properties of the dialog take the place of options of the command line.
    unit = (
        ()
        if scale != 1 or not read.own_unit
        else (told("Distances of the {format} file are in the unit of the depth.", format=read.format),)
    )
    return replace(path, notes=(*notes, *unit, *path.notes))


def import_path(
    scene: bpy.types.Scene, chosen: bpy.types.Object, file: Path, scale: float, world: World
) -> tuple[int, tuple[str, ...]]:
    """Write the path of a file as keys of a camera, one in every frame; returns their number and notes for the artist.

    Raises:
        InputError: see `read_path` and `camera.restore`.
    """
    path = read_path(scene, file, scale, world)
    keys = camera.restore(scene, chosen, path, every=True)
    if np.allclose(path.intrinsics[:, 0, 0], path.intrinsics[:, 1, 1], rtol=1e-3):
        return len(keys), path.notes
    said = told("Pixels of the file's lens are not square, as Blender's are: the horizontal field of view was kept.")
    return len(keys), (*path.notes, said)


def export_path(scene: bpy.types.Scene, file: Path, name: str) -> tuple[str, ...]:
    """Write the chosen camera in every frame of the shot, numbered as in the scene; returns notes for the artist.

    Poses are relative to the source camera of the first frame, with distances in the unit of the depth, as in a
    take's camera.npz.

    Raises:
        InputError: see `camera.sample`, or the file cannot be written.
    """
    path = camera.sample(scene)
    track = CameraTrack(
        ".npz",
        path.camera_to_world,
        Lens(path.intrinsics, "pixels", (path.width, path.height)),
        scene.ex4d.start + np.arange(len(path)),
        own_unit=False,
    )
    notes = registry.FORMATS[name].write(file, track)
    return (told("{frames} in {file}.", frames=count(len(path), "frame"), file=file.name), *notes)
