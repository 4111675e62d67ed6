"""Which 3D View shows a new shot, and from where."""

import math

import bpy
import numpy as np
from mathutils import Vector

from ex4d.geometry import presets

from ..scene import axes, camera, objects

AIM = 1.5
"""What the view turns about, in distances to what presets turn about: behind what stands nearest, for that hardly ever
is the middle of what the clip shows."""

BESIDE_DEGREES = 10.0
"""How far the view stands beside the source camera, on the way that orbits go: from its own place the shot would look
as flat as the clip."""

SENSOR_MM = 72.0
"""Width of what a 3D View shows of its longer side: Blender shows twice a camera's sensor of 36 mm."""

MARGIN = 1.1


def view_to_use(pointer: int) -> bpy.types.Area | None:
    """The 3D View with this address, else the largest on the screen; None without a window."""
    areas = [a for w in bpy.context.window_manager.windows for a in w.screen.areas if a.type == "VIEW_3D"]
    asked = [area for area in areas if area.as_pointer() == pointer]
    return max(asked or areas, key=lambda area: area.width * area.height, default=None)


def frame_shot(scene: bpy.types.Scene, area: bpy.types.Area) -> None:
    """Let a 3D View look at a scene's new shot from beside the source camera, all of it clear of the sidebars.

    One that looks through a camera is left as it is: the shot's own
    camera begins at the source view.
    """
    facts, root, space = scene.ex4d, objects.find(scene, objects.ROOT), area.spaces.active
    turned = space.region_3d
    if root is None or turned is None or turned.view_perspective == "CAMERA":
        return
    aim = AIM * facts.radius
    eye = presets.preset_eyes("30", aim, 2, BESIDE_DEGREES)[-1]
    to_world = camera.matrix_of(root)
    pivot = np.array([0.0, 0.0, aim])
    eye, pivot = (Vector((to_world @ [*axes.points_to_blender(point), 1])[:3]) for point in (eye, pivot))
    away = eye - pivot
    turned.view_perspective = "PERSP"
    turned.view_location, turned.view_rotation = pivot, away.to_track_quat("Z", "Y")
    turned.view_distance = max(away.length, MARGIN * away.length * _too_wide(facts, area, space.lens))


def _too_wide(facts: bpy.types.PropertyGroup, area: bpy.types.Area, lens: float) -> float:
    """How many times as wide or high as the clear part of a 3D View the shot is, seen from the source's distance."""
    window = next(region for region in area.regions if region.type == "WINDOW")
    clear = clear_width(area)
    k, longer = facts.intrinsics, max(window.width, window.height)
    shown = SENSOR_MM / lens  # of the longer side, at a distance of 1
    wide, high = facts.width / k[0, 0], facts.height / k[1, 1]
    return max(wide * longer / (shown * clear), high * longer / (shown * window.height))


def clear_width(area: bpy.types.Area) -> int:
    """Pixels about the middle of a 3D View that no sidebar lies over; half of it at least."""
    window = next(region for region in area.regions if region.type == "WINDOW")
    middle, half = window.x + window.width / 2, window.width / 2
    for region in area.regions:
        if region.type in ("UI", "TOOLS") and region.width > 1:
            inner = region.x - middle if region.x > middle else middle - (region.x + region.width)
            half = min(half, inner) if inner > 0 else half
    return math.floor(2 * max(half, window.width / 4))
