"""Moving keyed cameras along with the source camera if its motion turns out to be other than assumed when keying."""

import bpy
import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry.transforms import inverse

from .. import translations
from ..scene import camera, compat, objects, rig
from ..words import listed

OURS = (objects.CAMERA, objects.ANOTHER, objects.BAKED)


def go_along(scene: bpy.types.Scene, start: int, before: NDArray[np.float64]) -> str:
    """Rekey the shot's keyed cameras so that, in every frame, they keep their place relative to the source camera.

    The keys of a preset are relative to the source camera of each frame, and so are keys set by hand against the
    playing footage. Cameras without keys stay where they are. Frames that were not open before use the correction of
    the nearest one that was.

    Args:
        scene: with the shot, whose source camera already has its new motion.
        start: scene frame of `before[0]`.
        before: (T,4,4) camera-to-world poses that the source camera was thought to have, in the world of today's shot.

    Returns:
        A message for the artist; "" if no camera had to move.
    """
    moved = _moved(scene.ex4d, start, before)
    if np.allclose(moved, np.eye(4), atol=1e-6):
        return ""
    went, stayed = [], []
    for thing in [thing for thing in scene.objects if _is_keyed(scene, thing)]:
        if rig.movers(scene, thing):
            stayed.append(thing.name)
            continue
        try:
            _rekey(scene, thing, moved)
        except InputError:
            stayed.append(thing.name)
        else:
            went.append(thing.name)
    told = (
        [translations.told("The keys of {names} were moved along with the source camera.", names=listed(went))]
        if went
        else []
    )
    if len(stayed) == 1:
        told.append(
            translations.told(
                "{camera} is not moved by keys alone and was left as it is: check that it is where you want it.",
                camera=stayed[0],
            )
        )
    elif stayed:
        told.append(
            translations.told(
                "{cameras} are not moved by keys alone and were left as they are: check that they are where you want"
                " them.",
                cameras=listed(stayed),
            )
        )
    return " ".join(told)


def _moved(facts: bpy.types.PropertyGroup, start: int, before: NDArray[np.float64]) -> NDArray[np.float64]:
    """Transforms (T,4,4) that carry poses along from the old source camera to the new one, for every frame."""
    now = facts.poses
    then = before[np.clip(np.arange(len(now)) + facts.start - start, 0, len(before) - 1)]
    return now @ inverse(then)


def _is_keyed(scene: bpy.types.Scene, thing: bpy.types.Object) -> bool:
    facts = scene.ex4d
    ours = thing.get("ex4d_role") in OURS and thing.get("ex4d_shot") == facts.shot
    if thing.type != "CAMERA" or not (ours or thing == facts.camera):
        return False
    return any(curve.data_path in rig.PLACE_CHANNELS for curve in compat.fcurves(thing))


def _rekey(scene: bpy.types.Scene, thing: bpy.types.Object, moved: NDArray[np.float64]) -> None:
    """Rekey a camera over the frames of the shot and any keys before or after them.

    Raises:
        InputError: the camera or the root is scaled unevenly.
    """
    facts = scene.ex4d
    curves = [curve for curve in compat.fcurves(thing) if curve.data_path in rig.PLACE_CHANNELS]
    keys = sorted({round(point.co.x) for curve in curves for point in curve.keyframe_points})
    first, last = min(facts.start, *keys[:1]), max(facts.last, *keys[-1:])
    poses = []
    with camera.free_to_play(scene, thing):
        for frame in range(first, last + 1):
            scene.frame_set(frame)
            depsgraph = bpy.context.evaluated_depsgraph_get()
            to_shot = np.linalg.inv(camera.origin_of(scene, depsgraph))
            pose = camera.rigid(to_shot @ camera.matrix_of(thing.evaluated_get(depsgraph)), thing.name)
            poses.append(moved[facts.frame_of(frame)] @ pose)
    camera.key_path(scene, thing, np.stack(poses), first, every=len(keys) >= len(poses))
