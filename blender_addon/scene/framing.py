"""Which 3D View shows a new shot, and from where."""

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from ex4d.geometry import presets

from ..scene import axes, camera, mesh_object, objects

AIM = 1.5
"""What the view turns about, in distances to what presets turn around: behind what stands nearest, for that hardly ever
is the middle of what the clip shows."""

BESIDE_DEGREES = 10.0
"""How far the view stands beside the source camera, on the way that orbits go: from its own place the shot would look
as flat as the clip."""

SENSOR_MM = 72.0
"""Width of what a 3D View shows of its longer side: Blender shows twice a camera's sensor of 36 mm."""

MARGIN = 1.08
"""How much room the shot gets, as a part of what it needs."""

SHARE = 0.96
"""So much of the shot's points have to be in sight, on each axis: a few may lie far out."""

FAR = 2.5
"""What is farther from the source camera than this, in distances of what the view turns about, may be cut: going back
hardly makes it smaller, and from the side it lies far out."""

STEPS_BACK = np.geomspace(1.0, 4.0, 15)
"""Distances that are tried, in those of the source camera, until the shot fits."""


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
    eye, pivot = ((to_world @ [*axes.points_to_blender(point), 1])[:3] for point in (eye, pivot))
    away = eye - pivot
    rotation = Vector(away).to_track_quat("Z", "Y")
    turned.view_perspective, turned.view_rotation = "PERSP", rotation
    near = _near(mesh_object.shown_points(scene), to_world[:3, 3], float(np.linalg.norm(pivot - to_world[:3, 3])))
    fitted = _fit(near, pivot, away, np.array(rotation.to_matrix()), clear_part(area, space.lens))
    turned.view_location, turned.view_distance = fitted


def _near(points: NDArray[np.float64], source: NDArray[np.float64], aim: float) -> NDArray[np.float64]:
    """Those of points (n,3) that a view should show: `FAR`, or the nearer half if that is more."""
    distances = np.linalg.norm(points - source, axis=1)
    half = float(np.quantile(distances, 0.5)) if len(points) else 0.0
    return points[distances <= max(FAR * aim, half)]


def _fit(
    points: NDArray[np.float64],
    pivot: NDArray[np.float64],
    away: NDArray[np.float64],
    rotation: NDArray[np.float64],
    clear: NDArray[np.float64],
) -> tuple[Vector, float]:
    """What a 3D View turns about and how far away it stands, so that it shows points (n,3) in its clear part.

    The view stays where it looks from, seen from the pivot, but goes back along that line until all fits, and is
    shifted so that the points are in the middle of the clear part.

    Args:
        points: in the world.
        pivot: (3,) what the view turns about.
        away: (3,) from there to the eye.
        rotation: (3,3) the view's axes in the world, as columns: right, up, back.
        clear: (2,2) least and greatest x and y of the clear part at a distance of 1, from the view's middle.
    """
    near = float(np.linalg.norm(away))
    local = (points - pivot) @ rotation
    wanted, room = clear.mean(0), (clear[1] - clear[0]) / MARGIN
    for distance in near * STEPS_BACK:
        middle = np.zeros(2)
        for _again in range(3):  # a shift moves near points more than far ones
            depth = distance - local[:, 2]
            at = (local[depth > 0, :2] - middle) / depth[depth > 0, None]
            if not len(at):
                return Vector(pivot), near
            ends = np.quantile(at, [(1 - SHARE) / 2, (1 + SHARE) / 2], axis=0)
            middle = middle + (ends.mean(0) - wanted) * distance
        if (ends[1] - ends[0] <= room).all():
            break
    return Vector(pivot + rotation[:, :2] @ middle), float(distance)


def clear_part(area: bpy.types.Area, lens: float) -> NDArray[np.float64]:
    """The part of a 3D View that no sidebar lies over: least and greatest x and y (2,2) at a distance of 1.

    Measured from the middle of the view. What lies over more than three quarters of it is taken for nothing.
    """
    window = next(region for region in area.regions if region.type == "WINDOW")
    left, right = window.x, window.x + window.width
    for region in area.regions:
        if region.type in ("UI", "TOOLS") and region.width > 1:
            if window.x + window.width / 2 < region.x < right:
                right = region.x
            elif left < region.x + region.width < window.x + window.width / 2:
                left = region.x + region.width
    if right - left < window.width / 4:
        left, right = window.x, window.x + window.width
    middle, half = window.x + window.width / 2, window.height / 2
    pixels = np.array([[left - middle, -half], [right - middle, half]])
    return pixels * SENSOR_MM / lens / max(window.width, window.height)
