"""Choosing the 3D View that shows a new shot, and its point of view."""

import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

from ex4d.geometry import presets

from ..scene import axes, camera, mesh_object, objects

AIM = 1.5
"""Distance of the view's pivot, in multiples of the distance to the presets' pivot. That is the nearest surface, which
is hardly ever in the middle of the scene."""

BESIDE_DEGREES = 10.0
"""How far the view is from the source camera, along the path of orbits: from the source camera's own position the shot
would look as flat as the clip."""

SENSOR_MM = 72.0
"""Sensor size of a 3D View along its longer side: Blender shows twice the 36 mm sensor of a camera."""

MARGIN = 1.08
"""Room that the shot gets, relative to what it needs."""

SHARE = 0.96
"""Fraction of the shot's points that have to be in view on each axis: a few may be far out."""

FAR = 2.5
"""Anything farther from the source camera than this, in multiples of the pivot's distance, may be out of view: moving
back hardly makes it smaller, and from the side it is far out."""

STEPS_BACK = np.geomspace(1.0, 4.0, 15)
"""Distances to try until the shot fits, in multiples of the source camera's."""


def view_to_use(pointer: int) -> bpy.types.Area | None:
    """The 3D View with this address, else the largest one open; None if there is none."""
    areas = [a for w in bpy.context.window_manager.windows for a in w.screen.areas if a.type == "VIEW_3D"]
    asked = [area for area in areas if area.as_pointer() == pointer]
    return max(asked or areas, key=lambda area: area.width * area.height, default=None)


def frame_shot(scene: bpy.types.Scene, area: bpy.types.Area) -> None:
    """Turn a 3D View to a scene's new shot from beside the source camera, with all of it clear of the sidebars.

    A view through a camera is left unchanged, because the shot's own camera begins at the source view.
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
    """The points (n,3) that a view should show: those within `FAR`, or the nearer half if that is more."""
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
    """Pivot and distance with which a 3D View shows points (n,3) in its clear part.

    The view keeps its direction from the pivot, but moves back along that line until everything fits, and is shifted
    to centre the points in the clear part.

    Args:
        points: in the world.
        pivot: (3,) point that the view turns around.
        away: (3,) from the pivot to the eye.
        rotation: (3,3) the view's axes in the world, as columns: right, up, back.
        clear: (2,2) least and greatest x and y of the clear part at a distance of 1, from the view's centre.
    """
    near = float(np.linalg.norm(away))
    local = (points - pivot) @ rotation
    wanted, room = clear.mean(0), (clear[1] - clear[0]) / MARGIN
    for distance in near * STEPS_BACK:
        middle = np.zeros(2)
        for _again in range(3):  # a shift moves near points more than far ones, so iterate
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
    """The part of a 3D View that no sidebar covers: least and greatest x and y (2,2) at a distance of 1.

    Measured from the centre of the view. Sidebars that leave less than a quarter of the width clear are ignored.
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
