"""The chosen camera for looks: where it is right now, and along its path. Evaluates nothing and sets no frame."""

import json
from dataclasses import dataclass, replace

import bpy
import numpy as np
from mathutils import Euler, Matrix, Quaternion, Vector
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.jobs.messages import Look
from ex4d.pipeline.settings import RenderSettings
from ex4d.render.donors import donors, nearby

from ..scene import axes, camera, compat, objects, rig
from ..shot import placed_plate
from ..translations import told

LONG_SIDE = 256
"""Longer side of a look in pixels: what a server on two cores can render twenty times a second."""

LENS_KEYS = {"lens": "focal_mm", "shift_x": "shift_x", "shift_y": "shift_y"}
"""Lens channels that are commonly keyed, and their names in `axes.Lens`."""


@dataclass(frozen=True)
class Standing:
    """The facts about a shot that looks need, parsed once because the scene stores them as JSON.

    Attributes:
        key: the scene's values that all of this was read from.
        depth: SHA-256 of the shot's depth file, as hexadecimal digits.
        poses: (T,4,4) of the source camera, camera-to-world in library axes.
        width, height: size of a look in pixels.
        render: render settings of takes. Made once, because making it takes longer than the rest of a look.
        moving, others: what looks need to use other frames, see `ex4d.jobs.messages.Look`; None and empty if other
            frames are off, or it is not known what moves.
        plate: hash of the placed clean plate; None if there is none, or other frames are not used.
    """

    key: tuple[str | int, ...]
    depth: str
    poses: NDArray[np.float64]
    width: int
    height: int
    render: RenderSettings
    moving: str | None = None
    others: tuple[float, ...] = ()
    plate: str | None = None


def standing(scene: bpy.types.Scene, before: Standing | None) -> Standing | None:
    """The facts of the scene's shot, or `before` if still valid; None if there is no shot or its depth is unknown."""
    facts = scene.ex4d
    of_plate = (bpy.path.abspath(facts.plate_path), facts.placed_plate)
    key = (facts.source, facts.path, facts.width, facts.height, facts.frames, facts.persistence, *of_plate)
    if before is not None and before.key == key:
        return before
    source = json.loads(facts.source) if facts.shot and facts.source else {}
    depth, moving = source.get("depth", []), source.get("moving", [])
    if len(depth) != 1 or min(facts.width, facts.height) < 1:
        return None
    scale = LONG_SIDE / max(facts.width, facts.height)
    width, height = max(1, round(facts.width * scale)), max(1, round(facts.height * scale))
    render, poses = RenderSettings(persistence=facts.persistence), np.array(facts.poses)
    shot = Standing(key, depth[0]["sha256"], poses, width, height, render)
    if facts.persistence == "off" or len(moving) != 1:
        return shot
    others = _numbers(poses[donors(len(poses))])
    return replace(shot, moving=moving[0]["sha256"], others=others, plate=placed_plate.of(facts) or None)


def look_now(scene: bpy.types.Scene, shot: Standing) -> Look | None:
    """A look through the chosen camera where it is right now; None if a take would be refused."""
    try:
        chosen = camera.path_camera(scene)
        root = _root(scene, chosen)
        pose = _rigid(_to_shot(root) @ chosen.matrix_world)
        frame = scene.ex4d.frame_of(scene.frame_current)
        return _look(shot, camera.fitting_picture(scene), frame, pose, camera.lens_of(chosen.data))
    except InputError:
        return None


class Keyed:
    """The chosen camera in any frame, computed from its keys.

    Raises:
        InputError: no camera is chosen, or something other than keys moves it, so that only its current place is known.
    """

    def __init__(self, scene: bpy.types.Scene) -> None:
        self._start, self._chosen = scene.ex4d.start, camera.path_camera(scene)
        root = _root(scene, self._chosen)
        self._keyed = {(c.data_path, c.array_index): c for c in compat.fcurves(self._chosen) if not c.mute}
        self._lens = {c.data_path: c for c in compat.fcurves(self._chosen.data) if not c.mute}
        rig.refuse(scene, self._chosen)
        root_moves = root is not None and any(True for _curve in compat.fcurves(root))
        if (root_moves and self._chosen.parent is None) or self._lens.keys() & (rig.LENS_CHANNELS - LENS_KEYS.keys()):
            raise InputError(told("The camera's path is more than its keys."))
        self._to_shot = self._chosen.matrix_parent_inverse if self._chosen.parent is not None else _to_shot(root)

    def pose(self, frame: int) -> NDArray[np.float64]:
        """Library pose (4,4) at a frame of the shot, counted from 0.

        Raises:
            InputError: the camera has no valid pose there, for example because the root is scaled unevenly.
        """
        return _rigid(self._to_shot @ _matrix_at(self._chosen, self._keyed, self._start + frame))

    def lens(self, frame: int) -> axes.Lens:
        """The lens at a frame of the shot, counted from 0.

        Raises:
            InputError: the camera is not perspective.
        """
        at = self._start + frame
        keyed = {LENS_KEYS[path]: curve.evaluate(at) for path, curve in self._lens.items() if path in LENS_KEYS}
        return replace(camera.lens_of(self._chosen.data), **keyed)


class Along:
    """Looks along the path of the chosen camera, read from its keys.

    Args:
        scene: with a shot and a chosen camera.
        shot: facts of the scene's shot.

    Raises:
        InputError: a take would be refused, or see `Keyed`.
    """

    def __init__(self, scene: bpy.types.Scene, shot: Standing) -> None:
        self._shot, self._picture = shot, camera.fitting_picture(scene)
        self._keyed = Keyed(scene)

    def look(self, frame: int) -> Look:
        """The look at a frame of the shot, counted from 0.

        Raises:
            InputError: see `Keyed.pose` and `Keyed.lens`.
        """
        pose, lens = self._keyed.pose(frame), self._keyed.lens(frame)
        return _look(self._shot, self._picture, frame, pose, lens)


def _root(scene: bpy.types.Scene, chosen: bpy.types.Object) -> bpy.types.Object | None:
    """The shot's root: usually the camera's parent, otherwise searched for among all objects."""
    parent, shot = chosen.parent, scene.ex4d.shot
    if parent is not None and (parent.get("ex4d_role"), parent.get("ex4d_shot")) == (objects.ROOT, shot):
        return parent
    return objects.find(scene, objects.ROOT)


def _to_shot(root: bpy.types.Object | None) -> Matrix:
    """The matrix from the world to the shot.

    Raises:
        InputError: the root has a scale of zero.
    """
    try:
        return root.matrix_world.inverted() if root is not None else Matrix()
    except ValueError:
        raise InputError(told("EX-4D Source has a scale of zero: set another scale on all axes.")) from None


def _rigid(matrix: Matrix) -> NDArray[np.float64]:
    """Like `camera.rigid`, but with Blender's own arithmetic: numpy may spend milliseconds on waking its threads.

    Raises:
        InputError: the matrix is scaled unevenly or mirrored.
    """
    turned = matrix.to_3x3().normalized()
    if not turned.is_orthogonal_axis_vectors or turned.is_negative:
        raise InputError(told("The camera or EX-4D Source is scaled unevenly: set the same scale on all axes."))
    return axes.pose_from_blender(np.array(Matrix.Translation(matrix.translation) @ turned.to_4x4(), np.float64))


def _look(shot: Standing, picture: axes.Picture, frame: int, pose: NDArray, lens: axes.Lens) -> Look:
    """A look with `lens`, whose intrinsics are converted from `picture` to the size of a look."""
    to_look = np.diag([shot.width / picture.width, shot.height / picture.height, 1.0])
    k = to_look @ axes.intrinsics_from_lens(lens, picture)
    return Look(
        number=0,
        depth=shot.depth,
        frame=frame,
        camera_to_world=_numbers(pose),
        source_to_world=_numbers(shot.poses[frame]),
        intrinsics=_numbers(k),
        width=shot.width,
        height=shot.height,
        render=shot.render,
        moving=shot.moving,
        others=shot.others,
        nearby=_numbers(shot.poses[nearby(frame, len(shot.poses))]) if shot.others else (),
        plate=shot.plate,
    )


def _numbers(matrix: NDArray) -> tuple[float, ...]:
    return tuple(matrix.ravel().tolist())


def _matrix_at(thing: bpy.types.Object, keyed: dict, at: float) -> Matrix:
    """`matrix_basis` of an object at a scene frame, computed from its F-curves, without scale."""

    def values(path: str) -> list[float]:
        now = getattr(thing, path)
        return [keyed[path, i].evaluate(at) if (path, i) in keyed else now[i] for i in range(len(now))]

    if thing.rotation_mode == "QUATERNION":
        more = Quaternion(values("delta_rotation_quaternion")).normalized().to_matrix()
        turn = more @ Quaternion(values("rotation_quaternion")).normalized().to_matrix()
    elif thing.rotation_mode == "AXIS_ANGLE":
        angle, *axis = values("rotation_axis_angle")
        turn = Matrix.Rotation(angle, 3, Vector(axis))
    else:
        more = Euler(values("delta_rotation_euler"), thing.rotation_mode).to_matrix()
        turn = more @ Euler(values("rotation_euler"), thing.rotation_mode).to_matrix()
    place = Vector(values("location")) + Vector(values("delta_location"))
    return Matrix.Translation(place) @ turn.to_4x4()
