"""What moves a camera besides its own keys. Such a camera is only ever read, as evaluated, never written to."""

from pathlib import Path

import bpy

from ex4d.errors import InputError

from ..scene import compat, objects
from ..translations import told
from ..words import listed

_ROTATIONS = ("rotation_euler", "rotation_quaternion", "rotation_axis_angle", "rotation_mode")
_DELTAS = ("delta_location", "delta_rotation_euler", "delta_rotation_quaternion", "delta_scale")
PLACE_CHANNELS = frozenset(("location", *_ROTATIONS, "scale", *_DELTAS))
LENS_CHANNELS = frozenset(
    ("type", "lens", "lens_unit", "angle", "shift_x", "shift_y", "sensor_fit", "sensor_width", "sensor_height")
)
MOVE_CHANNELS = PLACE_CHANNELS | LENS_CHANNELS
"""Channels that make up a move; other keyed channels of a camera, such as its focus, are left alone."""


def movers(scene: bpy.types.Scene, camera: bpy.types.Object) -> list[str]:
    """What moves a camera or its lens besides its own keys, in words; empty if keys alone move it.

    The shot's root does not count as a parent, because keys are relative to it.
    """
    keyed = [curve.data_path for curve in compat.fcurves(camera)]
    if camera.animation_data is not None:
        keyed += [driver.data_path for driver in camera.animation_data.drivers if not driver.mute]
    found = [
        told("its constraint {constraint}", constraint=constraint.name)
        for constraint in camera.constraints
        if not constraint.mute and (constraint.influence > 0 or f"{constraint.path_from_id()}.influence" in keyed)
    ]
    if camera.parent is not None and camera.parent != objects.find(scene, objects.ROOT):
        found.append(told("its parent {parent}", parent=camera.parent.name))
    for owner in (camera, camera.data):
        animation = owner.animation_data
        if animation is not None:
            if any(driver.data_path in MOVE_CHANNELS and not driver.mute for driver in animation.drivers):
                found.append(told("a driver"))
            tracks = [track for track in animation.nla_tracks if not track.mute] if animation.use_nla else []
            if any(not strip.mute for track in tracks for strip in track.strips):
                found.append(told("a track of the Nonlinear Animation editor"))
        if any(curve.data_path in MOVE_CHANNELS and _is_modified(curve) for curve in compat.fcurves(owner)):
            found.append(told("a modifier of its animation curves"))
        if owner.library is not None:
            found.append(told("the file {file}, which it is linked from", file=Path(owner.library.filepath).name))
    return list(dict.fromkeys(found))


def _is_modified(curve: bpy.types.FCurve) -> bool:
    """Whether modifiers, such as Noise, change a curve beyond its keys."""
    return not curve.mute and any(not modifier.mute for modifier in curve.modifiers)


def refuse(scene: bpy.types.Scene, camera: bpy.types.Object) -> None:
    """Refuse to write to a camera that would not follow its new keys.

    Raises:
        InputError: see `movers`.
    """
    if found := movers(scene, camera):
        raise InputError(
            told(
                "{camera} is moved by {movers}, so keys alone cannot place it: press Bake to New Camera in"
                " the Camera panel, or choose another camera.",
                camera=camera.name,
                movers=listed(found),
            )
        )
