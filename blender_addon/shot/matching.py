"""Matching the scene to the clip: frame range, frame rate, picture size, colours and shading."""

import math
from collections.abc import Iterable
from fractions import Fraction

import bpy
import numpy as np

from ..scene import axes
from ..shot import part
from ..translations import told

FAITHFUL = "Standard"
"""The view transform that shows footage unchanged."""


def colours(scene: bpy.types.Scene, may_change: bool) -> str:
    """Set the scene's view transform to `FAITHFUL` if it may be changed; returns a message for the artist."""
    settings = scene.view_settings
    if settings.view_transform == FAITHFUL:
        return ""
    if not may_change:
        return " " + told(
            "The view transform is still {now}, which shows the footage in other colours: Match Scene changes it.",
            now=settings.view_transform,
        )
    settings.view_transform = FAITHFUL
    return " " + told("The view transform is now {name}, so the footage keeps its colours.", name=FAITHFUL)


def show_footage(workspaces: Iterable[bpy.types.WorkSpace]) -> None:
    """Switch the 3D Views of these workspaces from Wireframe or Solid to a shading that shows the footage."""
    for workspace in workspaces:
        for screen in workspace.screens:
            for space in (a.spaces.active for a in screen.areas if a.type == "VIEW_3D"):
                if space.shading.type in ("WIREFRAME", "SOLID"):
                    space.shading.type = "MATERIAL"


def match_scene(scene: bpy.types.Scene) -> None:
    """Give the scene the clip's range, rate and colours, the chosen camera, and the size of takes."""
    facts, render = scene.ex4d, scene.render
    scene.view_settings.view_transform = FAITHFUL
    set_range(scene)
    set_rate(scene, facts.fraction)
    render.resolution_x, render.resolution_y = part.take_size(facts)
    render.resolution_percentage = 100
    _lens, aspect = axes.lens_from_intrinsics(facts.intrinsics, facts.width, facts.height)
    render.pixel_aspect_x, render.pixel_aspect_y = max(1.0, 1 / aspect), max(1.0, aspect)
    if facts.camera is not None:
        scene.camera = facts.camera


def follow_result_size(scene: bpy.types.Scene) -> None:
    """After Result Size has changed, update the scene's render size if it was that of takes."""
    facts, render = scene.ex4d, scene.render
    if (render.resolution_x, render.resolution_y) in (part.take_size(facts, "clip"), part.take_size(facts, "model")):
        render.resolution_x, render.resolution_y = part.take_size(facts)


def set_range(scene: bpy.types.Scene) -> None:
    """Set the scene's range to the shot's frames and go to the first."""
    scene.frame_start, scene.frame_end = scene.ex4d.start, scene.ex4d.last
    scene.frame_set(scene.ex4d.start)


def rate_of(scene: bpy.types.Scene) -> Fraction:
    """Frames per second of the scene, with the simplest fraction that Blender's float32 divisor can represent."""
    divisor = np.float32(scene.render.fps_base)
    for limit in (1, 10, 100, 1001, 10_000, 1_000_000):
        fraction = Fraction(float(divisor)).limit_denominator(limit)
        if np.float32(float(fraction)) == divisor:
            break
    return Fraction(scene.render.fps) / fraction


def set_rate(scene: bpy.types.Scene, rate: Fraction) -> None:
    """Give the scene exactly `rate` frames per second."""
    scene.render.fps = max(1, math.ceil(rate))
    scene.render.fps_base = float(scene.render.fps / rate)
