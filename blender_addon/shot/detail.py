"""Viewport detail of a shot's mesh, changed on the open shot from its existing depth.

Takes are always rendered from the full depth, on the server.
"""

import bpy

from ex4d.errors import InputError
from ex4d.geometry.light_mesh import kept

from .. import translations
from ..scene import mesh_object, objects
from ..shot import files, source
from ..words import size
from ..work.requests import DetailRequest


def step_asked(facts: bpy.types.PropertyGroup) -> int:
    """The step between the rows and columns of the shot's picture that the chosen detail keeps."""
    return mesh_object.step_of(facts.detail, facts.width, facts.height)


def grid(facts: bpy.types.PropertyGroup, step: int) -> tuple[int, int]:
    """Number of vertices across and down."""
    return len(kept(facts.width, step)), len(kept(facts.height, step))


def cache_size(facts: bpy.types.PropertyGroup, step: int) -> str:
    """Disk space of the mesh cache, in words."""
    across, down = grid(facts, step)
    return size(mesh_object.pc2_bytes(across * down, facts.frames))


def told(facts: bpy.types.PropertyGroup) -> str:
    """The current detail, in words."""
    across, down = grid(facts, facts.mesh_step)
    if facts.mesh_step == 1:
        return translations.told("Full: {across} x {down} points", across=across, down=down)
    return translations.told("1/{step}: {across} x {down} points", step=facts.mesh_step, across=across, down=down)


def change(request: DetailRequest) -> source.Steps:
    """Change the detail of the shot's mesh as requested; returns a message for the artist.

    Raises:
        InputError: the shot, its mesh or its depth is gone, the clip was opened again in the meantime, or the disk is
            full.
    """
    facts = _facts(request)
    folder = files.absolute(facts.image.filepath).parent
    mesh = yield from source.write_mesh(folder, request.detail, facts.poses if facts.path else None)
    scene, facts = objects.scene_of(request), _facts(request)  # look up again: there may have been an undo
    if files.absolute(facts.image.filepath).parent != folder:
        raise InputError(translations.told("The clip was opened again in the meantime: set the detail again."))
    mesh_object.stand(scene, mesh, folder, objects.find(scene, objects.ROOT))
    return translations.told(
        "The viewport mesh has changed. It is {detail}; takes always use all of the depth.", detail=told(facts)
    )


def _facts(request: DetailRequest) -> bpy.types.PropertyGroup:
    scene = objects.scene_of(request)
    facts = scene.ex4d
    if facts.shot != request.shot or facts.image is None or objects.find(scene, objects.MESH) is None:
        raise InputError(
            translations.told(
                "The mesh of this shot is no longer in the scene: press Undo until it is back, or press Open Again."
            )
        )
    return facts
