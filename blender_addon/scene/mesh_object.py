"""The source as geometry: a mesh that changes in every frame (PC2 cache) and shows the footage."""

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry.light_mesh import LightMesh

from ..scene import axes, footage, objects
from ..shot import files
from ..translations import told

DEPTH = "depth.npz"
"""File with the depth of a shot, next to its movies."""

CACHES = "mesh*.pc2"
"""Name pattern of a shot's mesh caches at any detail."""

ACROSS = {"LIGHT": 256, "MEDIUM": 512}
"""Approximate number of vertices along the longer side; FULL has one per pixel."""

SHOWN_POINTS = 4000
"""About how many of the mesh's points are enough to tell where the shot is."""

PC2_HEADER = struct.Struct("<12siiffi")
PC2_SIGN = b"POINTCACHE2\0"


def shown_points(scene: bpy.types.Scene) -> NDArray[np.float64]:
    """A sample of the mesh's points (n,3), in world coordinates, in the current frame; empty without a mesh."""
    mesh = objects.find(scene, objects.MESH)
    if mesh is None:
        return np.zeros((0, 3))
    shown = mesh.evaluated_get(bpy.context.evaluated_depsgraph_get())
    corners = np.empty(3 * len(shown.data.vertices), np.float32)
    shown.data.vertices.foreach_get("co", corners)
    some = corners.reshape(-1, 3)[:: max(1, len(corners) // (3 * SHOWN_POINTS))]
    to_world = np.array(shown.matrix_world)
    return np.asarray(some @ to_world[:3, :3].T + to_world[:3, 3])


def step_of(detail: str, width: int, height: int) -> int:
    """The step between the rows and columns that a detail level keeps, for a picture of this size in pixels."""
    return max(1, round(max(width, height) / ACROSS[detail])) if detail in ACROSS else 1


def cache_name(step: int) -> str:
    """Name of the cache with every `step`-th row and column; `mesh.pc2`, with all, keeps its name from old versions."""
    return "mesh.pc2" if step == 1 else f"mesh_{step}.pc2"


def coarse_note(facts: bpy.types.PropertyGroup) -> str:
    """A note for renders and exports of the mesh itself that it is coarse; "" if it has full detail."""
    if facts.mesh_step == 1:
        return ""
    return told(
        "The mesh has one point in {step} in each direction: set Viewport Detail to Full for all of them.",
        step=facts.mesh_step,
    )


def points(scene: bpy.types.Scene) -> int:
    """Number of vertices of the current mesh, summed over all frames; 0 if it was deleted."""
    mesh = objects.find(scene, objects.MESH)
    return scene.ex4d.frames * len(mesh.data.vertices) if mesh is not None else 0


def pc2_bytes(count: int, frames: int) -> int:
    """Size in bytes of a cache with `count` vertices per frame."""
    return PC2_HEADER.size + 12 * count * frames


def write_pc2(path: Path, mesh: LightMesh) -> Iterator[int]:
    """Write the vertices of every frame, float32 in Blender axes, and yield after each to keep Blender responsive.

    The file gets its name only once it is complete.

    Raises:
        InputError: the disk is full or the folder is not writable.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(PC2_HEADER.pack(PC2_SIGN, 1, mesh.count, 0.0, 1.0, len(mesh)))
            for t in range(len(mesh)):
                file.write(axes.points_to_blender(mesh.vertices(t)).astype("<f4").tobytes())
                yield t + 1
        os.replace(part, path)
    except OSError as error:
        raise InputError(
            told("The mesh cache {file} cannot be written: {why}.", file=path.name, why=error.strerror)
        ) from error
    finally:
        part.unlink(missing_ok=True)


def pc2_size(path: Path) -> tuple[int, int]:
    """Numbers of vertices and frames according to the header of a PC2 file."""
    with path.open("rb") as file:
        _sign, _version, vertices, _start, _rate, frames = PC2_HEADER.unpack(file.read(PC2_HEADER.size))
    return vertices, frames


def stand(scene: bpy.types.Scene, mesh: LightMesh, folder: Path, parent: bpy.types.Object) -> None:
    """Show the mesh in `folder` with the shot's mesh object, made if missing, from the shot's first frame on.

    An existing object keeps its material, which the artist may have changed, and all other changes.

    Raises:
        InputError: the cache belongs to another mesh (Blender itself would only log a line).
    """
    facts, cache = scene.ex4d, folder / cache_name(mesh.step)
    data = _mesh_data(mesh)
    if pc2_size(cache) != (len(data.vertices), len(mesh)):
        raise InputError(told("The mesh cache {file} belongs to another mesh: open the clip again.", file=cache.name))
    made = objects.find(scene, objects.MESH)
    if made is None or facts.image is None:
        material = footage.make_material(facts, folder / footage.FOOTAGE, folder / footage.RELIABLE)
        data.materials.append(material)
    else:
        old, others = files.absolute(facts.image.filepath).parent, _shown_elsewhere(scene)
        for image in bpy.data.images:
            place = files.absolute(image.filepath)
            if not image.filepath or image.library is not None or image in others:
                continue
            if place.parent == old and (folder / place.name).is_file():
                image.filepath = files.as_blender_writes(folder / place.name)
        for material in made.data.materials:
            data.materials.append(material)
            if material is not None:
                footage.drop_solid(material)
                footage.renew(material, facts)
                footage.play(material, folder, facts)
                footage.place_source(material, facts)
    if made is None:
        made = objects.make(scene, objects.MESH, "EX-4D Mesh", data, parent)
    else:
        before, made.data = made.data, data
        if not before.users:
            bpy.data.meshes.remove(before)
    modifier = next((m for m in made.modifiers if m.type == "MESH_CACHE"), None)
    modifier = modifier or made.modifiers.new("EX-4D Cache", "MESH_CACHE")
    modifier.cache_format = "PC2"
    modifier.filepath = files.as_blender_writes(cache)
    modifier.forward_axis, modifier.up_axis = "POS_Y", "POS_Z"
    modifier.interpolation = "NONE"
    modifier.frame_start = facts.start
    for material in data.materials:
        if material is not None:
            footage.show_detail(material, mesh.step)
    facts.mesh_step = mesh.step


def _shown_elsewhere(scene: bpy.types.Scene) -> set[bpy.types.Image]:
    """Images of shots in other scenes: a copy of this scene shares its images and has to keep showing the old files."""
    found = set()
    for other in bpy.data.scenes:
        if other != scene and other.ex4d.shot:
            mesh = objects.find(other, objects.MESH)
            materials = [m for m in mesh.data.materials if m is not None and m.node_tree] if mesh is not None else []
            found |= {node.image for m in materials for node in m.node_tree.nodes if node.type == "TEX_IMAGE"}
            found.add(other.ex4d.image)
    return found


def _mesh_data(mesh: LightMesh) -> bpy.types.Mesh:
    data = bpy.data.meshes.new("EX-4D Mesh")
    faces = mesh.faces
    data.vertices.add(mesh.count)
    data.vertices.foreach_set("co", axes.points_to_blender(mesh.vertices(0)).ravel())
    data.loops.add(faces.size)
    data.loops.foreach_set("vertex_index", faces.ravel())
    data.polygons.add(len(faces))
    data.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    data.uv_layers.new(name="UVMap").uv.foreach_set("vector", mesh.uv[faces.ravel()].ravel())
    data.update(calc_edges=True)
    return data
