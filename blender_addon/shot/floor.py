"""Making the shot upright: its ground becomes the floor of Blender's world."""

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import ground

from ..scene import axes, camera, compat, mesh_object, objects
from ..shot import source
from ..translations import told
from ..words import listed

UP = Vector((0.0, 0.0, 1.0))


def set_floor(context: bpy.types.Context) -> str:
    """Turn and lift the shot so that its ground is at Z = 0 and faces up; returns a sentence about what was done.

    In Edit Mode, which this leaves, the ground goes through the selected vertices, with the camera above it; otherwise
    it is found among the points of the mesh. The source camera keeps its position above the ground and its heading; the
    3D cursor moves along.

    Raises:
        InputError: the shot's root was deleted or cannot be moved freely, too few vertices are selected, or no ground
            is found.
    """
    scene = context.scene
    root = objects.find(scene, objects.ROOT)
    if root is None:
        raise InputError(told("EX-4D Source was deleted: press Undo until it is back, or open the clip again."))
    if movers := _movers(root):
        raise InputError(
            told("EX-4D Source is moved by {movers}: remove that, then press Set Floor again.", movers=listed(movers))
        )
    eye, up = _eye(scene, camera.with_size(root))
    chosen = _selected(context)
    if chosen is not None:
        bpy.ops.object.mode_set(mode="OBJECT")  # an undo step in Edit Mode would not include the shot's transform
        plane, where = (
            ground.through(chosen, eye - chosen.mean(0)),
            told("through {number} selected vertices", number=len(chosen)),
        )
    else:
        sought = ground.found(mesh_object.shown_points(scene), eye, up)
        if sought is None:
            raise InputError(
                told(
                    "No ground was found in this frame: go to a frame that shows it, or select three vertices of"
                    " it in Edit Mode, in EX-4D Points or in another mesh."
                )
            )
        plane, where = sought, told("where the mesh is flattest below the camera")
    turn = Vector(plane.normal).rotation_difference(UP)
    _move(scene, root, turn, Vector(eye), float(plane.heights(eye[None])[0]))
    source.see_all(scene)
    return told("The floor is {where}; the shot was turned by {angle:.1f}°.", where=where, angle=np.degrees(turn.angle))


def _movers(root: bpy.types.Object) -> list[str]:
    """What would override changes to the root's transform, in words."""
    found = [
        told("its constraint {constraint}", constraint=constraint.name)
        for constraint in root.constraints
        if not constraint.mute
    ]
    animation = root.animation_data  # remains after the last key was removed
    if animation is not None:
        found += [told("a driver")] if animation.drivers else []
        found += [told("a track of the Nonlinear Animation editor")] if animation.nla_tracks else []
    return found + ([told("its keys")] if any(True for _curve in compat.fcurves(root)) else [])


def _eye(scene: bpy.types.Scene, to_world: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position (3,) of the source camera in the current frame, and its up direction (3,), in the world."""
    facts = scene.ex4d
    pose = to_world @ axes.pose_to_blender(facts.poses[facts.frame_of(scene.frame_current)])
    return pose[:3, 3], pose[:3, 1] / np.linalg.norm(pose[:3, 1])


def _selected(context: bpy.types.Context) -> NDArray[np.float64] | None:
    """The selected vertices (N,3) of all meshes in Edit Mode, in the world; None outside Edit Mode.

    Raises:
        InputError: fewer than three are selected.
    """
    edited = [thing for thing in context.objects_in_mode if thing.type == "MESH"] if context.mode == "EDIT_MESH" else []
    if not edited:
        return None
    found = [
        thing.matrix_world @ vertex.co
        for thing in edited
        for vertex in bmesh.from_edit_mesh(thing.data).verts
        if vertex.select
    ]
    if len(found) < 3:
        raise InputError(
            told("Select three or more vertices of the ground, not {number}, or leave Edit Mode.", number=len(found))
        )
    return np.array([tuple(point) for point in found])


def _move(scene: bpy.types.Scene, root: bpy.types.Object, turn: Quaternion, eye: Vector, height: float) -> None:
    """Turn the shot about the eye, and put the eye at `height` above the floor."""
    to_floor = Matrix.Translation((eye.x, eye.y, height)) @ turn.to_matrix().to_4x4() @ Matrix.Translation(-eye)
    root.matrix_world = to_floor @ root.matrix_world
    scene.cursor.location = to_floor @ scene.cursor.location
