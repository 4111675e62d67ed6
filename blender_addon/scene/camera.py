"""Cameras: the locked source camera, presets as ordinary keys, and reading any camera as a `CameraPath`."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import presets
from ex4d.geometry.camera_path import CameraPath

from ..scene import axes, backdrop, compat, objects, rig
from ..shot import part
from ..translations import told, word

KEY_TOLERANCE = 5e-4
"""Keys are added until the curve is this close to the path, in radians and as a fraction of the path's extent."""

ON_SOURCE = 1e-4
"""A camera this close to the source view counts as being there, see `sees_as`."""

LENS_NAMES = {"ORTHO": "orthographic", "PANO": "panoramic", "CUSTOM": "custom"}

ROTATIONS = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}
"""The rotation channel of each rotation mode other than Euler angles."""

CHANNELS = tuple((path, index) for path in ("location", "rotation_euler") for index in range(3))


def matrix_of(thing: bpy.types.Object) -> NDArray[np.float64]:
    """`matrix_world` (4,4) as numpy."""
    return np.array(thing.matrix_world, np.float64)


def picture_of(scene: bpy.types.Scene) -> axes.Picture:
    """Size and pixel aspect at which `scene` renders."""
    render = scene.render
    share = render.resolution_percentage
    return axes.Picture(
        render.resolution_x * share // 100,
        render.resolution_y * share // 100,
        render.pixel_aspect_y / render.pixel_aspect_x,
    )


def fitting_picture(scene: bpy.types.Scene) -> axes.Picture:
    """The working picture, in whose pixels a path's intrinsics are, if the scene renders the same aspect ratio.

    The render may be larger or smaller, and its aspect ratio may differ by 1 %, as with takes at the clip's own size.

    Raises:
        InputError: the aspect ratio differs by more.
    """
    picture, facts = picture_of(scene), scene.ex4d
    _lens, aspect = axes.lens_from_intrinsics(facts.intrinsics, facts.width, facts.height)
    working = axes.Picture(facts.width, facts.height, aspect)
    shape, wanted = (p.height * p.pixel_aspect / p.width for p in (picture, working))
    if abs(shape / wanted - 1) > 0.01:
        across, down = part.take_size(facts)
        raise InputError(
            told(
                "The scene renders {width}x{height} px, but the clip is {clip_width}x{clip_height} px: press Match"
                " Scene.",
                width=picture.width,
                height=picture.height,
                clip_width=across,
                clip_height=down,
            )
        )
    return working


def lens_of(data: bpy.types.Camera) -> axes.Lens:
    """The lens of a (possibly evaluated) camera.

    Raises:
        InputError: the camera is not perspective.
    """
    if data.type != "PERSP":
        raise InputError(
            told(
                "The camera is {lens}: set its lens type to Perspective.",
                lens=word(LENS_NAMES.get(data.type, data.type)),
            )
        )
    return axes.Lens(data.lens, data.sensor_fit, data.sensor_width, data.sensor_height, data.shift_x, data.shift_y)


def apply_lens(data: bpy.types.Camera, lens: axes.Lens) -> None:
    """Give a camera `lens`."""
    data.type = "PERSP"
    data.lens_unit = "MILLIMETERS"
    data.sensor_fit = lens.sensor_fit
    data.sensor_width, data.sensor_height = lens.sensor_width, lens.sensor_height
    data.shift_x, data.shift_y = lens.shift_x, lens.shift_y
    data.lens = lens.focal_mm


def make_cameras(scene: bpy.types.Scene, root: bpy.types.Object) -> None:
    """Make the locked source camera, and the camera for artists to key, at the source view of the first frame."""
    facts = scene.ex4d
    place_source(scene, root)
    lens, _aspect = axes.lens_from_intrinsics(facts.intrinsics, facts.width, facts.height)
    data = bpy.data.cameras.new("EX-4D Camera")
    apply_lens(data, lens)
    data.display_size = facts.radius / 8
    made = objects.make(scene, objects.CAMERA, "EX-4D Camera", data, root)
    made.matrix_basis = Matrix(axes.pose_to_blender(np.eye(4)).tolist())
    see_all(data, facts)
    backdrop.tint(data)
    facts.camera = made


def place_source(scene: bpy.types.Scene, root: bpy.types.Object) -> None:
    """Give the locked source camera, made if missing, the lens and motion of the clip's own camera."""
    facts, source = scene.ex4d, objects.find(scene, objects.SOURCE_CAMERA)
    if source is None:
        data = bpy.data.cameras.new("EX-4D Source Camera")
        source = objects.make(scene, objects.SOURCE_CAMERA, "EX-4D Source Camera", data, root)
        source.lock_location = source.lock_rotation = source.lock_scale = (True, True, True)
        data.display_size = facts.radius / 8
    source.animation_data_clear()
    source.data.animation_data_clear()
    source.rotation_mode = "XYZ"
    source.matrix_basis = Matrix(axes.pose_to_blender(facts.poses[0]).tolist())
    if facts.path:
        for t, channels in enumerate(_channel_values(facts.poses)):
            _key(source, channels, facts.start + t)
        for curve in compat.fcurves(source):  # nothing is known between two frames, and nothing may overshoot
            _straighten(curve)
    lenses = [axes.lens_from_intrinsics(k, facts.width, facts.height)[0] for k in facts.every_intrinsics]
    _key_lenses(source.data, lenses, facts.start)
    see_all(source.data, facts)


def see_all(data: bpy.types.Camera, facts: bpy.types.PropertyGroup, scale: float = 1.0) -> None:
    """Widen a camera's clipping range to the shot's extent, with room to move back; never narrows it."""
    data.clip_end = max(data.clip_end, facts.reach * scale * 4)
    data.clip_start = min(data.clip_start, facts.radius * scale / 20)


def follow_lens(scene: bpy.types.Scene, before: NDArray, size: tuple[int, int]) -> None:
    """Give the chosen camera the source's lens if it still has the source's previous lens and no lens keys.

    `before` (3,3) is the source's previous lens, in pixels of a picture of `size` (width, height).
    """
    facts = scene.ex4d
    chosen = facts.camera
    if chosen is None or any(True for _curve in compat.fcurves(chosen.data)) or chosen.data.type != "PERSP":
        return
    k = axes.intrinsics_from_lens(lens_of(chosen.data), axes.Picture(*size))
    if math.isclose(k[0, 0], before[0, 0], rel_tol=1e-4):
        apply_lens(chosen.data, axes.lens_from_intrinsics(facts.intrinsics, facts.width, facts.height)[0])


def frame_facts(scene: bpy.types.Scene) -> tuple[int, int]:
    """First and last scene frame of the shot.

    Raises:
        InputError: the scene has no shot.
    """
    if not scene.ex4d.shot:
        raise InputError(told("The scene has no clip: press Open Clip."))
    return scene.ex4d.start, scene.ex4d.last


def path_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    """The chosen camera.

    Raises:
        InputError: no camera is chosen, or it is not in the scene.
    """
    chosen = scene.ex4d.camera
    if chosen is None or chosen.name not in scene.objects or chosen.type != "CAMERA":
        raise InputError(told("No camera is chosen: choose one in the Camera panel."))
    return chosen


def choose(scene: bpy.types.Scene, camera: bpy.types.Object) -> None:
    """Choose `camera` for the shot, and make it the scene's camera if that was unset or the camera chosen before."""
    before, scene.ex4d.camera = scene.ex4d.camera, camera
    if scene.camera in (None, before):
        scene.camera = camera


def own_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    """The shot's own camera for artists; recreated at the source view if it was deleted."""
    found = objects.find(scene, objects.CAMERA)
    if found is not None:
        return found
    source = objects.find(scene, objects.SOURCE_CAMERA)
    data = source.data.copy() if source else bpy.data.cameras.new("EX-4D Camera")
    data.animation_data_clear()
    data.name = "EX-4D Camera"
    made = objects.make(scene, objects.CAMERA, "EX-4D Camera", data, objects.find(scene, objects.ROOT))
    backdrop.tint(data)
    bpy.context.view_layer.update()
    snap_to_source(scene, made, scene.ex4d.start)
    return made


def preset_path(
    scene: bpy.types.Scene,
    name: str,
    amount: float | None = None,
    rise: float = presets.ORBIT_RISE,
    frames: int | None = None,
    **more: Any,
) -> CameraPath:
    """A preset for the scene's shot, in library axes; for the parameters, see `presets.preset`.

    Raises:
        InputError: the scene has no shot, or see `presets.preset`.
    """
    facts = scene.ex4d
    frame_facts(scene)
    numbers = np.minimum(np.arange(frames or facts.frames), facts.frames - 1)
    k = facts.every_intrinsics[numbers]
    size, walked = (facts.width, facts.height), facts.poses[numbers]
    return presets.preset(name, facts.radius, k, *size, len(numbers), amount, rise, source_to_world=walked, **more)


def key_path(
    scene: bpy.types.Scene, camera: bpy.types.Object, poses: NDArray, start: int, every: bool = False
) -> list[int]:
    """Write library poses (T,4,4) as keys of `camera`, as few as the curve needs; returns the scene frames of the keys.

    With `every`, each frame has a key and interpolation is linear, so every pose is exact.

    The camera becomes a plain child of the shot's root, so that the keys hold wherever the shot is placed.
    """
    camera.parent = objects.find(scene, objects.ROOT)
    camera.matrix_parent_inverse.identity()
    camera.rotation_mode = "XYZ"
    camera.delta_location, camera.delta_rotation_euler = (0, 0, 0), (0, 0, 0)
    camera.scale = (1, 1, 1)
    values = _channel_values(poses)
    slopes = np.gradient(values, axis=0) if len(values) > 1 else np.zeros_like(values)
    keys = list(range(len(values))) if every else _needed_keys(values, slopes)
    compat.remove_fcurves(camera, rig.PLACE_CHANNELS)  # remove the old move entirely: a mix of both would be neither
    for k in keys:
        _key(camera, values[k], start + k)
    for curve in compat.fcurves(camera):
        if (curve.data_path, curve.array_index) not in CHANNELS:
            continue
        if every:
            _straighten(curve)
            continue
        channel = CHANNELS.index((curve.data_path, curve.array_index))
        _shape(curve, [int(k) for k in keys], slopes[:, channel])
    return [start + int(k) for k in keys]


def _key(thing: bpy.types.Object, channels: NDArray, frame: int) -> None:
    """Key a location and XYZ Euler angles (6,)."""
    thing.location, thing.rotation_euler = channels[:3], channels[3:]
    thing.keyframe_insert("location", frame=frame)
    thing.keyframe_insert("rotation_euler", frame=frame)


def _channel_values(poses: NDArray) -> NDArray[np.float64]:
    """Location and XYZ Euler angles in radians (T,6), as Blender keys them, of library poses (T,4,4).

    The angles do not jump from frame to frame.
    """
    values, previous = np.zeros((len(poses), 6)), None
    for t, pose in enumerate(axes.pose_to_blender(poses)):
        matrix = Matrix(pose.tolist()).to_3x3()
        euler = matrix.to_euler("XYZ", previous) if previous else matrix.to_euler("XYZ")
        values[t], previous = [*pose[:3, 3], *euler], euler
    return values


def _hermite(values: NDArray, slopes: NDArray, a: int, b: int) -> NDArray[np.float64]:
    """Values (b-a+1, C) of the cubic curve between keys at frames `a` and `b`, given values and slopes (T,C)."""
    s = np.linspace(0, 1, b - a + 1)[:, None]
    h = b - a
    return (
        (2 * s**3 - 3 * s**2 + 1) * values[a]
        + (s**3 - 2 * s**2 + s) * h * slopes[a]
        + (3 * s**2 - 2 * s**3) * values[b]
        + (s**3 - s**2) * h * slopes[b]
    )


def _needed_keys(values: NDArray, slopes: NDArray) -> list[int]:
    """Frames to key so that the curve stays within `KEY_TOLERANCE` everywhere; spans are halved until it does."""
    reach = max(float(np.ptp(values[:, :3], axis=0).max()), 1e-6)
    scale = np.array([reach] * 3 + [1.0] * 3)
    keys, spans = {0, len(values) - 1}, [(0, len(values) - 1)]
    while spans:
        a, b = spans.pop()
        if b - a < 2:
            continue
        error = np.abs(_hermite(values, slopes, a, b) - values[a : b + 1]) / scale
        if error.max() > KEY_TOLERANCE:
            middle = (a + b) // 2
            keys.add(middle)
            spans += [(a, middle), (middle, b)]
    return sorted(keys)


def _shape(curve: bpy.types.FCurve, keys: list[int], slopes: NDArray) -> None:
    """Give the keys Bezier handles a third of the way to their neighbours, which makes the curve that of `_hermite`."""
    for number, (point, k) in enumerate(zip(curve.keyframe_points, keys, strict=True)):
        left = (k - keys[number - 1]) / 3 if number else 1.0
        right = (keys[number + 1] - k) / 3 if number + 1 < len(keys) else 1.0
        point.interpolation = "BEZIER"
        # FREE first: setting one aligned handle would turn the other.
        point.handle_left_type = point.handle_right_type = "FREE"
        frame, value = point.co
        point.handle_left = (frame - left, value - left * slopes[k])
        point.handle_right = (frame + right, value + right * slopes[k])
        point.handle_left_type = point.handle_right_type = "ALIGNED"
    curve.update()


def _straighten(curve: bpy.types.FCurve) -> None:
    """Make a curve linear between its keys."""
    for point in curve.keyframe_points:
        point.interpolation = "LINEAR"


def snap_to_source(scene: bpy.types.Scene, camera: bpy.types.Object, frame: int) -> None:
    """Put `camera` at the source view of a scene frame, with the source's lens; adds keys if it is animated.

    Raises:
        InputError: there is no shot, or something other than keys moves the camera, see `rig.movers`.
    """
    facts = scene.ex4d
    frame_facts(scene)
    rig.refuse(scene, camera)
    number = facts.frame_of(frame)
    lens, _aspect = axes.lens_from_intrinsics(facts.every_intrinsics[number], facts.width, facts.height)
    animated, animated_lens = (any(True for _curve in compat.fcurves(owner)) for owner in (camera, camera.data))
    with free_to_play(scene, camera):
        scene.frame_set(frame)
        root = objects.find(scene, objects.ROOT)
        placed = (matrix_of(root) if root else np.eye(4)) @ axes.pose_to_blender(facts.poses[number])
        # A scaled root must not scale the camera: the scale would show up in the camera's own values.
        placed[:3, :3] /= np.linalg.norm(placed[:3, :3], axis=0)
        scale = camera.scale.copy()
        camera.matrix_world = Matrix(placed.tolist())
        camera.scale = scale
        apply_lens(camera.data, lens)
        if animated:
            camera.keyframe_insert("location", frame=frame)
            camera.keyframe_insert(ROTATIONS.get(camera.rotation_mode, "rotation_euler"), frame=frame)
        if animated_lens:
            _key_lens(camera.data, frame)


@contextmanager
def free_to_play(scene: bpy.types.Scene, camera: bpy.types.Object) -> Iterator[None]:
    """A context in which any frame may be set and `camera` moves; the scene is restored at the end.

    The mesh caches are off inside, because reading a big one in every frame would take seconds. `camera` is the scene's
    camera inside, because Blender always evaluates that, even if it is switched off.
    """
    meshes = [objects.find(scene, role) for role in (objects.MESH, objects.CATCHER)]
    hidden = [m for mesh in meshes if mesh for m in mesh.modifiers if m.show_viewport]
    before, subframe, own = scene.frame_current, scene.frame_subframe, scene.camera
    try:
        scene.camera = camera
        for modifier in hidden:
            modifier.show_viewport = False
        yield
    finally:
        for modifier in hidden:
            modifier.show_viewport = True
        scene.camera = own
        scene.frame_set(before, subframe=subframe)


def sample(scene: bpy.types.Scene) -> CameraPath:
    """The chosen camera as evaluated in every frame of the shot, relative to the shot's root, in library axes.

    Constraints, parents, drivers and animated lenses need no special handling, since Blender has applied them.

    Raises:
        InputError: there is no shot or no camera, the camera is not perspective, the camera or root is scaled unevenly,
            or the scene renders another aspect ratio.
    """
    first, last = frame_facts(scene)
    camera, facts = path_camera(scene), scene.ex4d
    picture = fitting_picture(scene)
    poses, lenses = [], []
    with free_to_play(scene, camera):
        for frame in range(first, last + 1):
            scene.frame_set(frame)
            depsgraph = bpy.context.evaluated_depsgraph_get()
            evaluated = camera.evaluated_get(depsgraph)
            to_shot = np.linalg.inv(origin_of(scene, depsgraph))
            poses.append(rigid(to_shot @ matrix_of(evaluated), told("The camera or EX-4D Source")))
            lenses.append(axes.intrinsics_from_lens(lens_of(evaluated.data), picture))
    return CameraPath(
        _without_rounding(np.stack(poses), facts.poses),
        _without_rounding(np.stack(lenses), facts.every_intrinsics),
        facts.width,
        facts.height,
    )


def origin_of(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> NDArray[np.float64]:
    """Evaluated matrix (4,4) of the shot's root; the identity if it was deleted.

    Raises:
        InputError: the root is scaled to zero.
    """
    root = objects.find(scene, objects.ROOT)
    return with_size(root.evaluated_get(depsgraph)) if root else np.eye(4)


def with_size(thing: bpy.types.Object) -> NDArray[np.float64]:
    """World matrix (4,4) of an object, guaranteed to be invertible.

    Raises:
        InputError: the object is scaled to zero.
    """
    matrix = matrix_of(thing)
    if np.linalg.det(matrix) == 0:
        raise InputError(told("{name} has a scale of zero: set another scale on all axes.", name=thing.name))
    return matrix


def rigid(matrix: NDArray, whose: str) -> NDArray[np.float64]:
    """The pose (4,4), in library axes, of a Blender camera with this matrix (4,4), without its scale.

    Raises:
        InputError: the matrix is mirrored or scaled unevenly; the message names its owner, `whose`.
    """
    rotation = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.allclose(rotation.T @ rotation, np.eye(3), atol=1e-4) or np.linalg.det(rotation) < 0:
        raise InputError(told("{whose} is scaled unevenly: set the same scale on all axes.", whose=whose))
    u, _s, vt = np.linalg.svd(rotation)  # Blender stores float32: restore an exact rotation
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = u @ vt, matrix[:3, 3]
    return axes.pose_from_blender(pose)


def _without_rounding(found: NDArray, source: NDArray) -> NDArray:
    """Values `found` (T,M,N), with the source's exact ones where they differ only by Blender's float32 rounding.

    Frame 0 of a path has to be exactly the source view.
    """
    same = np.isclose(found, source, rtol=1e-6, atol=1e-6).all(axis=(-2, -1))
    return np.where(same[..., None, None], source, found)


def pose_now(scene: bpy.types.Scene) -> NDArray[np.float64] | None:
    """Library pose (4,4) of the chosen camera right now; None if there is no valid one. Evaluates nothing."""
    root = objects.find(scene, objects.ROOT)
    origin = matrix_of(root) if root else np.eye(4)
    try:
        return rigid(np.linalg.inv(origin) @ matrix_of(path_camera(scene)), told("The camera"))
    except (InputError, np.linalg.LinAlgError):
        return None


def sees_as(pose: NDArray, k: NDArray, source: NDArray, source_k: NDArray, radius: float, near: float) -> bool:
    """Whether a camera with pose (4,4) and lens (3,3), in pixels, sees what the source camera sees.

    `near` is the tolerance: in radians, and as a fraction of the shot's `radius` and of the focal length.
    """
    return bool(
        np.allclose(pose[:3, 3], source[:3, 3], rtol=0, atol=near * radius)
        and np.allclose(pose[:3, :3], source[:3, :3], rtol=0, atol=near)
        and np.allclose(k[0], source_k[0], rtol=0, atol=near * source_k[0, 0])
    )


def off_source(scene: bpy.types.Scene) -> bool:
    """Whether the chosen camera is currently away from the first frame's source view. Evaluates nothing.

    Raises:
        InputError: the camera is not perspective.
    """
    facts, pose = scene.ex4d, pose_now(scene)
    if pose is None:
        return True
    k = axes.intrinsics_from_lens(lens_of(path_camera(scene).data), axes.Picture(facts.width, facts.height))
    return not sees_as(pose, k, np.eye(4), facts.intrinsics, facts.radius, ON_SOURCE)


def restore(
    scene: bpy.types.Scene,
    camera: bpy.types.Object,
    path: CameraPath,
    start: int | None = None,
    every: bool = False,
) -> list[int]:
    """Write a path as keys of `camera`, and its lens, keyed in every frame if it changes; returns the keys' frames.

    Replaces the keys that were there. The path begins at scene frame `start`, or at the shot's first if None. With
    `every`, each frame has a key, see `key_path`.

    Raises:
        InputError: something other than keys moves the camera, see `rig.movers`.
    """
    rig.refuse(scene, camera)
    start = scene.ex4d.start if start is None else start
    keys = key_path(scene, camera, path.camera_to_world, start, every)
    compat.remove_fcurves(camera.data, rig.LENS_CHANNELS)
    lenses = [axes.lens_from_intrinsics(k, path.width, path.height)[0] for k in path.intrinsics]
    _key_lenses(camera.data, lenses, start)
    return keys


def _key_lenses(data: bpy.types.Camera, lenses: list[axes.Lens], start: int) -> None:
    """Give a camera one lens per frame, with keys only if they differ."""
    if any(lens != lenses[0] for lens in lenses):
        for t, lens in enumerate(lenses):
            apply_lens(data, lens)
            _key_lens(data, start + t)
    apply_lens(data, lenses[0])


def _key_lens(data: bpy.types.Camera, frame: int) -> None:
    for channel in ("lens", "shift_x", "shift_y"):
        data.keyframe_insert(channel, frame=frame)
