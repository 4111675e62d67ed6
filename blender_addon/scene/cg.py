"""Setting up a scene to render its own objects into a take, and undoing that."""

import json
from pathlib import Path
from typing import Any

import bpy

from ex4d.errors import InputError

from ..scene import backdrop, catcher, objects, over_take
from ..shot import files
from ..translations import told

ROLE = "cg_take"
"""Role of the image that holds the take."""

RENDER = ("film_transparent", "use_sequencer", "use_compositing")


def is_set_up(scene: bpy.types.Scene) -> bool:
    """Whether the scene renders its own objects into a take."""
    return bool(scene.ex4d.cg)


def is_rendered_into(scene: bpy.types.Scene, folder: Path) -> bool:
    """Whether the scene renders its own objects into the take in this folder."""
    shown = [image for image in bpy.data.images if _is_ours(scene, image)] if is_set_up(scene) else []
    return any(files.absolute(image.filepath).parent == folder for image in shown)


def set_up(scene: bpy.types.Scene, chosen: bpy.types.Object, movie: Path, title: str, first: int, frames: int) -> None:
    """Set up `scene` to render the view of `chosen` over a movie of `frames` frames that begins at scene frame `first`.

    The catcher replaces the mesh, and the movie becomes the background of the camera and, in the compositor, of
    renders. An earlier setup for another take is undone first.

    Raises:
        InputError: the mesh was deleted.
    """
    mesh = objects.find(scene, objects.MESH)
    if mesh is None:
        raise InputError(told("The mesh of the shot was deleted: press Open Again."))
    remove(scene)
    catcher.make(scene, mesh)
    known: dict[str, Any] = {
        "mesh": (mesh.hide_viewport, mesh.hide_render),
        "scene_camera": scene.camera.name if scene.camera is not None else "",
        "tinted": backdrop.show(chosen.data, False),
        "shows_backgrounds": chosen.data.show_background_images,
        **{name: getattr(scene.render, name) for name in RENDER},
    }
    mesh.hide_viewport = mesh.hide_render = True
    image = bpy.data.images.load(str(movie))
    image.name, image.filepath = f"EX-4D {title}", files.as_blender_writes(movie)
    objects.mark(image, ROLE, scene.ex4d.shot)
    _show_behind(chosen.data, image, first, frames)
    known["nodes"] = over_take.put(scene, image, first, frames)
    scene.render.film_transparent, scene.render.use_sequencer, scene.render.use_compositing = True, False, True
    scene.camera = chosen
    scene.ex4d.cg = json.dumps(known)


def remove(scene: bpy.types.Scene) -> None:
    """Undo everything that `set_up` did, except for things that the artist has deleted or renamed since."""
    if not is_set_up(scene):
        return
    known, mesh = json.loads(scene.ex4d.cg), objects.find(scene, objects.MESH)
    scene.ex4d.cg = ""
    over_take.remove(scene, known["nodes"])
    catcher.remove(scene)
    for data in {thing.data for thing in scene.objects if thing.type == "CAMERA"} | _unused_cameras():
        ours = [background for background in data.background_images if _is_ours(scene, background.image)]
        for background in ours:
            data.background_images.remove(background)
        if ours:
            backdrop.show(data, known["tinted"])
            data.show_background_images = known["shows_backgrounds"]
    for image in [image for image in bpy.data.images if _is_ours(scene, image)]:
        if not bpy.data.user_map(subset={image})[image]:  # a copy of the scene may show it; `users` may be too high
            bpy.data.images.remove(image)
    if mesh is not None:
        mesh.hide_viewport, mesh.hide_render = known["mesh"]
    for name in RENDER:
        setattr(scene.render, name, known[name])
    scene.camera = scene.objects.get(known["scene_camera"], scene.camera)


def _show_behind(data: bpy.types.Camera, image: bpy.types.Image, first: int, frames: int) -> None:
    background = data.background_images.new()
    background.image = image
    background.display_depth, background.frame_method, background.alpha = "BACK", "STRETCH", 1.0
    user = background.image_user
    user.frame_start, user.frame_duration, user.frame_offset, user.use_auto_refresh = first, frames, 0, True
    data.show_background_images = True


def _unused_cameras() -> set[bpy.types.Camera]:
    """Cameras that are in no scene, because they were deleted."""
    used = {thing.data for scene in bpy.data.scenes for thing in scene.objects if thing.type == "CAMERA"}
    return set(bpy.data.cameras) - used


def _is_ours(scene: bpy.types.Scene, image: bpy.types.Image | None) -> bool:
    return image is not None and image.get("ex4d_role") == ROLE and image.get("ex4d_shot") == scene.ex4d.shot
