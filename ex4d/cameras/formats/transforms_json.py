"""transforms.json of NeRF, Instant-NGP and nerfstudio.

`frames`, each with `transform_matrix` (4,4) or (3,4): camera-to-world; cameras look along -z with y up (OpenGL,
Blender). The lens is given for all frames or in each: either `fl_x`, `fl_y`, `cx`, `cy` in pixels of a picture `w` x
`h`, or `camera_angle_x`, `camera_angle_y`, the full field of view in radians. Pixel centres at +0.5. `k1` to `k4`,
`p1`, `p2` are distortion. nerfstudio adds `applied_transform` (3,4) and `applied_scale`, the rotation and scale it
applied to the world of COLMAP, whose axes are OpenCV's. As in nerfstudio's "Data conventions" and Instant-NGP's
nerf_dataset_tips.md; certain.

The format does not define the world's axes. If there is an `applied_transform`, it is undone, which restores COLMAP's
world. Otherwise y is taken as up, as for the cameras, so a camera at the identity looks along our z.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras import rotations
from ex4d.cameras.names import number_of, picture_order
from ex4d.cameras.track import MOST_POSES, CameraTrack, Lens, centred
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.storage.atomic import check_there, replacing

JSON_BYTES = 16 << 20
"""Maximum file size in bytes, some 30,000 frames. JSON of nothing but brackets takes 20 times as much memory."""

LARGEST = 1e12
"""Largest number that can mean anything here."""

DISTORTION = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")
PINHOLE = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")


def read(path: Path) -> CameraTrack:
    """Read the track of a transforms.json.

    Raises:
        InputError: not JSON, no frames, an invalid matrix or an invalid lens; names the frame of a wrong matrix.
    """
    data = _load(path)
    frames = data.get("frames") if isinstance(data, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f"{path} is not a transforms.json: it has no list of frames with their transform_matrix.")
    if len(frames) > MOST_POSES:
        raise InputError(
            f"{path} has {len(frames)} frames, and {MOST_POSES} are the most that can be read: shorten it."
        )
    names = [str(frame.get("file_path", "")) for frame in frames]
    if len(set(names)) == len(names):
        frames = [frame for _name, frame in sorted(zip(names, frames, strict=True), key=lambda p: picture_order(p[0]))]
        names = sorted(names, key=picture_order)
    matrices = np.stack([_matrix(path, frame, name) for frame, name in zip(frames, names, strict=True)])
    matrices = transforms.check(matrices, name=f"transform_matrix in {path}")
    notes: list[str] = []
    poses = _in_our_axes(path, data, matrices, notes)
    lens = _lens(path, data, frames, notes)
    return CameraTrack("transforms.json", poses, lens, number_of(names), notes=tuple(notes))


def write(path: Path, track: CameraTrack) -> tuple[str, ...]:
    """Write a transforms.json; images are named frame_00001.png and so on, after the track's frame numbers.

    Returns notes on what to rename, and on what the file cannot hold.
    """
    poses = rotations.FLIP @ track.camera_to_world @ rotations.FLIP
    frames: list[dict[str, Any]] = [
        {"file_path": f"images/frame_{int(number):05d}.png", "transform_matrix": pose.tolist()}
        for number, pose in zip(track.numbered(1), poses, strict=True)
    ]
    data: dict[str, Any] = {}
    notes = ["Images are named images/frame_00001.png and so on: name yours the same, or change file_path."]
    if track.lens is None:
        notes.append("The track has no lens, so the file holds none.")
    else:
        k, (width, height) = track.pixels()
        lenses = [
            {"fl_x": float(one[0, 0]), "fl_y": float(one[1, 1]), "cx": float(one[0, 2]), "cy": float(one[1, 2])}
            for one in k
        ]
        data = {"camera_model": "OPENCV", "w": width, "h": height}
        if all(lens == lenses[0] for lens in lenses):
            # Instant-NGP and the original NeRF read the angle if present, nerfstudio the focal length.
            data |= {"camera_angle_x": 2 * math.atan(width / 2 / lenses[0]["fl_x"]), **lenses[0]}
        else:
            frames = [frame | lens | {"w": width, "h": height} for frame, lens in zip(frames, lenses, strict=True)]
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({**data, "frames": frames}, indent=1), encoding="utf-8")
    return tuple(notes)


def _load(path: Path) -> Any:
    check_there(path, "camera file")
    if path.stat().st_size > JSON_BYTES:
        raise InputError(
            f"{path} has {path.stat().st_size >> 20} MB, and {JSON_BYTES >> 20} MB is the most that can be read."
        )
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise InputError(f"Line {error.lineno} of {path} is not JSON ({error.msg}): the file is damaged.") from None
    except (ValueError, RecursionError):  # not text, or a number with thousands of digits
        raise InputError(f"{path} is not JSON: the file is damaged or of another kind.") from None


def _matrix(path: Path, frame: dict[str, Any], name: str) -> NDArray[np.float64]:
    try:
        matrix = np.array(frame.get("transform_matrix"), np.float64)
    except (TypeError, ValueError, OverflowError):
        matrix = np.zeros(0)
    if matrix.shape not in {(4, 4), (3, 4)}:
        raise InputError(f"The frame {name[:80]!r} of {path} has no transform_matrix of 4 x 4 numbers: correct it.")
    return np.vstack([matrix[:3], [0, 0, 0, 1]])


def _in_our_axes(
    path: Path, data: dict[str, Any], matrices: NDArray[np.float64], notes: list[str]
) -> NDArray[np.float64]:
    """Camera-to-world (N,4,4) in OpenCV axes, with any transform of the world that the file declares undone."""
    scale = _number(path, data, "applied_scale") or 1.0
    matrices[:, :3, 3] /= scale
    if data.get("applied_transform") is None:
        return rotations.FLIP @ matrices @ rotations.FLIP
    applied = _matrix(path, {"transform_matrix": data["applied_transform"]}, "applied_transform")
    applied = transforms.check(applied[None], name=f"applied_transform in {path}")
    notes.append("applied_transform was undone: the world is that of the solve before it.")
    return transforms.inverse(applied) @ matrices @ rotations.FLIP


def _lens(path: Path, data: dict[str, Any], frames: list[dict[str, Any]], notes: list[str]) -> Lens | None:
    """The lens of each frame: in pixels if the file has them, otherwise from an angle."""
    model = str(data.get("camera_model", "OPENCV"))
    distorted = any(_number(path, one, key) for one in (data, *frames) for key in DISTORTION)
    if model not in PINHOLE and "FISHEYE" not in model:
        raise InputError(f"{path} is for cameras of the model {model[:40]}: only perspective cameras can be read.")
    if "FISHEYE" in model or data.get("is_fisheye"):
        notes.append("The lens is a fisheye: only its focal length was used; undistort the images first.")
    elif distorted:
        notes.append("The distortion of the lens was left out; undistort the images first.")
    every = [{**data, **frame} for frame in frames]
    if all(_number(path, one, "fl_x") or _number(path, one, "fl_y") for one in every):
        return _in_pixels(path, every)
    for key, unit in (("camera_angle_x", "width"), ("camera_angle_y", "height")):
        angles = [_number(path, one, key) for one in every]
        if all(angle is not None for angle in angles):
            if not all(0.017 < float(angle or 0) < 2.97 for angle in angles):
                raise InputError(f"{key} in {path} is not a field of view: it must be in radians, 0.017 to 2.97.")
            focal = 0.5 / np.tan(np.array(angles, np.float64) / 2)
            return Lens(centred(focal, 1, 1), "width" if unit == "width" else "height")
    return None


def _in_pixels(path: Path, every: list[dict[str, Any]]) -> Lens:
    sizes = {(_number(path, one, "w"), _number(path, one, "h")) for one in every}
    if len(sizes) > 1:
        raise InputError(f"The frames of {path} have images of different sizes: only one size can be read.")
    width, height = sizes.pop()
    k = np.zeros((len(every), 3, 3))
    for t, one in enumerate(every):
        fx, fy = _number(path, one, "fl_x"), _number(path, one, "fl_y")
        cx, cy = _number(path, one, "cx"), _number(path, one, "cy")
        if (cx is None or cy is None) and (width is None or height is None):
            raise InputError(f"{path} has a focal length in pixels, but neither w and h nor cx and cy: add w and h.")
        k[t, 0, 0], k[t, 1, 1] = fx or fy or 0, fy or fx or 0
        k[t, 0, 2] = (width or 0) / 2 if cx is None else cx
        k[t, 1, 2] = (height or 0) / 2 if cy is None else cy
        k[t, 2, 2] = 1
    if width is None or height is None:  # the principal point of an uncropped picture is near its centre
        width, height = round(2 * k[0, 0, 2]), round(2 * k[0, 1, 2])
    if not (1 <= width <= 65536 and 1 <= height <= 65536):
        raise InputError(f"{path} is for pictures of {width:g}x{height:g}, which is not a valid size: correct w and h.")
    return Lens(k, "pixels", (int(width), int(height)))


def _number(path: Path, data: dict[str, Any], key: str) -> float | None:
    value = data.get(key)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -LARGEST < value < LARGEST:
        raise InputError(f"{key} in {path} is {str(value)[:40]!r} which is not a usable number: correct it.")
    return float(value)
