"""The current lens of the clip, in words."""

import json
import math

import bpy

from ex4d.depth.lens import ASSUMED
from ex4d.source_camera.found import OF_CAMERA_FILE, WITH_CAMERA

from ..translations import told


def in_use(facts: bpy.types.PropertyGroup) -> str:
    """The horizontal field of view of the shot, in degrees, and where it comes from: "54.0°, assumed"."""
    every = facts.every_intrinsics[:, 0, 0]
    first, last = (math.degrees(2 * math.atan(facts.width / 2 / focal)) for focal in (every[0], every[-1]))
    angle = f"{first:.1f}°" if abs(first - last) < 0.05 else f"{first:.1f}° to {last:.1f}°"
    if dict(zip(facts.settings, json.loads(facts.asked or "[]"), strict=False)).get("field_of_view"):
        return told("{angle}, as set", angle=angle)
    if ASSUMED in facts.notes:
        return told("{angle}, assumed", angle=angle)
    if WITH_CAMERA in facts.notes:
        return told("{angle}, found", angle=angle)
    if OF_CAMERA_FILE in facts.notes:
        return told("{angle}, from the camera file", angle=angle)
    return told("{angle}, from the depth", angle=angle)
