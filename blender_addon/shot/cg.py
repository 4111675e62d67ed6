"""CG in a take: choosing the take's movie, and what the artist should know."""

import bpy
import numpy as np

from ex4d.errors import InputError
from ex4d.geometry.camera_path import CameraPath
from ex4d.pipeline import take

from ..scene import camera, cg, mesh_object
from ..shot import matching, part, takes
from ..translations import told

SAME = 2e-3
"""Camera and take count as the same up to this fraction of the shot's radius, and this angle in radians: a path
restored from a few keys is that accurate, see `camera.KEY_TOLERANCE`."""


def set_up(scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> list[str]:
    """Set up the scene to render its own objects into a take, see `scene.cg.set_up`; returns messages for the artist.

    Raises:
        InputError: see `camera.sample`, or there is no mesh, or the take's movie is gone.
    """
    facts, chosen = scene.ex4d, camera.path_camera(scene)
    path = camera.sample(scene)
    folder = takes.take_folder(scene, entry.number, entry.view)
    movie = folder / (take.VIEW if entry.view else take.RESULT) if folder is not None else None
    if movie is None or not movie.is_file():
        raise InputError(told("The movie of {title} is gone: choose another take.", title=entry.title))
    first = part.scene_frame(facts, entry.start) if entry.frames else facts.start
    cg.set_up(scene, chosen, movie, entry.title, first, entry.frames or facts.frames)
    said = [coarse] if (coarse := mesh_object.coarse_note(facts)) else []
    if _moves_otherwise(scene, entry, path):
        said.append(
            told(
                "{camera} does not move as in {title}: Restore Camera brings that move back.",
                camera=chosen.name,
                title=entry.title,
            )
        )
    if scene.render.engine != "CYCLES":
        said.append(told("Objects behind the mesh are hidden; for shadows on the take, render with Cycles."))
    if scene.view_settings.view_transform != matching.FAITHFUL:
        said.append(
            told(
                "The view transform is {now}, which also changes the colours of the take: Match Scene sets {other}.",
                now=scene.view_settings.view_transform,
                other=matching.FAITHFUL,
            )
        )
    return said


def _moves_otherwise(scene: bpy.types.Scene, entry: bpy.types.PropertyGroup, path: CameraPath) -> bool:
    """Whether a camera moves differently from that of a take; False if their frames cannot be compared."""
    try:
        taken = takes.camera_of(scene, entry.number, entry.view)
    except InputError:
        return False
    if len(taken) != len(path):
        return False
    apart = np.abs(taken.camera_to_world - path.camera_to_world)
    return bool(apart[:, :3, 3].max() > SAME * scene.ex4d.radius or apart[:, :3, :3].max() > SAME)
