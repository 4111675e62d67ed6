"""Export of the shot's camera and mesh as Alembic or USD by Blender's own exporters."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy

from ex4d.errors import InputError

from ..scene import camera, mesh_object, objects
from ..translations import told
from ..words import size

ALEMBIC, USD = "ALEMBIC", "USD"
ITEMS = (
    (ALEMBIC, "Alembic (.abc)", "For Nuke, Houdini, Maya, Cinema 4D, Fusion and others"),
    (USD, "USD (.usdc)", "For Houdini, Maya, Nuke, Omniverse, Unreal and others"),
)
ENDINGS = {ALEMBIC: (".abc",), USD: (".usdc", ".usd", ".usda")}
"""File extensions of each format, the usual one first."""

FILTER = "*.abc;*.usdc;*.usd;*.usda"

VERTEX_BYTES = 12
"""Size of a vertex in a frame: three float32. Faces and UV coordinates are written only once."""


def format_of_name(file: Path) -> str:
    """The format that a file name's extension stands for; "" if it stands for none."""
    return next((kind for kind, endings in ENDINGS.items() if file.suffix.lower() in endings), "")


def file_for(file: Path, kind: str) -> Path:
    """`file` with an extension of this format: its own if it is one, else the usual one instead."""
    if file.suffix.lower() in ENDINGS[kind]:
        return file
    named = file.with_suffix("") if format_of_name(file) else file
    return named.with_name(named.name + ENDINGS[kind][0])


def is_built_in(kind: str) -> bool:
    """Whether this Blender can write the format; some Linux distributions build it without."""
    return bool(getattr(bpy.app.build_options, {ALEMBIC: "alembic", USD: "usd"}[kind]))


def expected_bytes(scene: bpy.types.Scene) -> int:
    """Approximate size of the file: that of the mesh's vertices in every frame."""
    return mesh_object.points(scene) * VERTEX_BYTES


def write(scene: bpy.types.Scene, file: Path, kind: str) -> str:
    """Write the chosen camera, lens included, and the mesh in all frames of the shot; returns a message for the artist.

    Raises:
        InputError: there is no shot, no perspective camera is chosen, the mesh was deleted, this Blender lacks the
            exporter, the disk is too full, or the file cannot be written.
    """
    first, last = camera.frame_facts(scene)
    chosen, mesh = camera.path_camera(scene), objects.find(scene, objects.MESH)
    camera.lens_of(chosen.data)
    if mesh is None:
        raise InputError(told("The mesh of the shot was deleted: press Open Again."))
    if not is_built_in(kind):
        name, other, its_name = ("Alembic", USD, "USD") if kind == ALEMBIC else ("USD", ALEMBIC, "Alembic")
        if is_built_in(other):
            raise InputError(
                told(
                    "This Blender was built without {format}: choose {other}, or use a Blender from blender.org.",
                    format=name,
                    other=its_name,
                )
            )
        raise InputError(
            told(
                "This Blender was built without Alembic and USD: use a Blender from blender.org, whose builds have"
                " both."
            )
        )
    if not file.parent.is_dir():
        raise InputError(told("There is no folder {folder}: choose another place.", folder=file.parent))
    needed, free = expected_bytes(scene), shutil.disk_usage(file.parent).free
    if needed > free:
        raise InputError(
            told(
                "The file needs about {needed}, but only {free} are free: choose another disk.",
                needed=size(needed),
                free=size(free),
            )
        )
    part = file.with_name(f"{file.stem}.part{file.suffix}")
    try:
        with _alone(scene, [mesh, chosen], first, last) as holder:
            (_alembic if kind == ALEMBIC else _usd)(part, holder, first, last)
        os.replace(part, file)
    except (RuntimeError, OSError) as error:
        raise InputError(
            told("Blender could not write {file}: choose a folder that you may write to.", file=file.name)
        ) from error
    finally:
        part.unlink(missing_ok=True)
    written = told(
        "{file} has {camera} and {mesh} in frames {first} to {last} ({size}).",
        file=file.name,
        camera=chosen.name,
        mesh=mesh.name,
        first=first,
        last=last,
        size=size(file.stat().st_size),
    )
    image = scene.ex4d.image
    texture = told("Its texture is the clip in the shot's folder.")
    if image is not None:
        movie = Path(bpy.path.abspath(image.filepath)).name
        texture = told("Its texture is {movie} in the shot's folder.", movie=movie)
    return f"{written} {texture} {mesh_object.coarse_note(scene.ex4d)}".rstrip()


def _alembic(file: Path, holder: bpy.types.Collection, first: int, last: int) -> None:
    bpy.ops.wm.alembic_export(
        filepath=str(file),
        collection=holder.name,
        start=first,
        end=last,
        flatten=True,  # all objects in world space: the shot's root is not needed
        normals=False,  # normals of every corner in every frame take six times the space of the vertices
        evaluation_mode="RENDER",
        export_custom_properties=False,
        as_background_job=False,
    )


def _usd(file: Path, holder: bpy.types.Collection, first: int, last: int) -> None:
    bpy.ops.wm.usd_export(
        filepath=str(file),
        collection=holder.name,
        export_animation=True,
        export_normals=False,
        export_materials=False,  # ours plays a movie and mixes shaders; a USD preview surface can do neither
        evaluation_mode="RENDER",
        export_custom_properties=False,
        convert_world_material=False,
    )


@contextmanager
def _alone(
    scene: bpy.types.Scene, things: list[bpy.types.Object], first: int, last: int
) -> Iterator[bpy.types.Collection]:
    """A context with these objects in a collection of their own, shown in renders, and with these scene frames.

    Exporting a collection instead of the selection leaves the selection alone, and also writes hidden objects, which
    could not be selected.
    """
    hidden = [thing for thing in things if thing.hide_render]
    frames, shown, subframe = (scene.frame_start, scene.frame_end), scene.frame_current, scene.frame_subframe
    holder = bpy.data.collections.new("EX-4D Export")
    try:
        scene.collection.children.link(holder)
        for thing in things:
            holder.objects.link(thing)
        for thing in hidden:
            thing.hide_render = False
        scene.frame_start, scene.frame_end = first, last
        yield holder
    finally:
        bpy.data.collections.remove(holder)
        for thing in hidden:
            thing.hide_render = True
        scene.frame_start, scene.frame_end = frames
        scene.frame_set(shown, subframe=subframe)
