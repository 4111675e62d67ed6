"""Baking a camera with constraints, parents or drivers to a new camera that has only keys."""

import re

import bpy

from ..scene import backdrop, camera, objects, rig


def bake(scene: bpy.types.Scene) -> bpy.types.Object:
    """Make a camera that moves as the chosen one does during the shot, lens included, and choose it.

    The camera chosen before is left unchanged.

    Raises:
        InputError: see `camera.sample`.
    """
    chosen, path = camera.path_camera(scene), camera.sample(scene)
    data = chosen.data.copy()
    data.name = _baked(chosen.data.name)
    if data.animation_data is not None:
        for driver in [d for d in data.animation_data.drivers if d.data_path in rig.MOVE_CHANNELS]:
            data.animation_data.drivers.remove(driver)
        for track in list(data.animation_data.nla_tracks):
            data.animation_data.nla_tracks.remove(track)
    backdrop.tint(data)
    made = objects.make(scene, objects.BAKED, _baked(chosen.name), data, objects.find(scene, objects.ROOT))
    camera.restore(scene, made, path)
    camera.choose(scene, made)
    return made


def _baked(name: str) -> str:
    """`name` with " Baked" at the end, only once even if it was baked before; Blender numbers duplicates."""
    return re.sub(r" Baked(\.\d+)?$", "", name) + " Baked"
