"""A camera with constraints, parents or drivers as a new one with keys alone."""

import re

import bpy

from ..scene import backdrop, camera, objects, rig


def bake(scene: bpy.types.Scene) -> bpy.types.Object:
    """A new camera that moves as the chosen one does during the shot, lens included; it becomes the chosen one.

    The camera that was chosen stays as it is.

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
    """The name of what was baked, said once: Blender numbers those that have the same."""
    return re.sub(r" Baked(\.\d+)?$", "", name) + " Baked"
