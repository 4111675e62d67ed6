"""Registering everything in order, and unregistering it in reverse order."""

import bpy

from . import translations
from .shot import drawn_mask, homes, proxies
from .ui import (
    camera_operators,
    cg,
    clip_operators,
    compare,
    detail,
    details,
    disk,
    drop,
    export_shot,
    find_camera,
    find_clip,
    floor,
    generate_operators,
    get_model,
    hosts,
    menu,
    others,
    panels,
    preferences,
    properties,
    result,
    saved_moves,
    scene_operators,
    server_operators,
    server_setup,
    shots,
    source_strip,
    status_bar,
    take_list,
    take_operators,
    take_queue,
    view,
)
from .work import handlers, session

CLASSES = (
    preferences.EX4DPreferences,
    properties.EX4DTake,
    properties.EX4DScene,
    *clip_operators.CLASSES,
    *details.CLASSES,
    *camera_operators.CLASSES,
    *saved_moves.CLASSES,
    *generate_operators.CLASSES,
    *scene_operators.CLASSES,
    *server_operators.CLASSES,
    *take_operators.CLASSES,
    *find_camera.CLASSES,
    *others.CLASSES,
    *floor.CLASSES,
    *find_clip.CLASSES,
    *drop.CLASSES,
    *detail.CLASSES,
    *disk.CLASSES,
    *export_shot.CLASSES,
    *cg.CLASSES,
    *take_list.CLASSES,
    *take_queue.CLASSES,
    *compare.CLASSES,
    *source_strip.CLASSES,
    *shots.CLASSES,
    *server_setup.CLASSES,
    *get_model.CLASSES,
    *hosts.CLASSES,
    *view.CLASSES,
    *result.CLASSES,
    *menu.CLASSES,
    *panels.CLASSES,
)


def register() -> None:
    """Called by Blender when the extension is enabled."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.ex4d = bpy.props.PointerProperty(type=properties.EX4DScene)
    translations.register()
    menu.register()
    status_bar.register()
    session.begin()
    homes.tidy()
    homes.take_over()
    drawn_mask.tidy()
    proxies.tidy()
    handlers.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled, and when Blender ends."""
    handlers.unregister()
    session.end()
    status_bar.unregister()
    menu.unregister()
    translations.unregister()
    del bpy.types.Scene.ex4d
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
