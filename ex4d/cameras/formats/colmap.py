"""COLMAP's text model: a folder with cameras.txt, images.txt and points3D.txt.

images.txt: `IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME`, followed by a line with the image's points, which may be
blank but still counts. World-to-camera, Hamilton quaternion with the real part first; x right, y down, z forward.
Images come in any order and have IDs of their own, so they are sorted by name.

cameras.txt: `CAMERA_ID MODEL WIDTH HEIGHT PARAMS[]` in pixels, the centre of the upper left pixel at (0.5, 0.5).
points3D.txt: `POINT3D_ID X Y Z R G B ERROR ...`. The unit is that of the reconstruction. As in "Output Format" of
COLMAP's documentation, with the parameters in its src/colmap/sensor/models.h; certain.
"""

from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras import rotations, text
from ex4d.cameras.names import number_of, picture_order
from ex4d.cameras.track import MOST_POSES, CameraTrack, Lens
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.storage.atomic import replacing

IMAGES, CAMERAS, POINTS = "images.txt", "cameras.txt", "points3D.txt"
WHERE = ("", "0", "sparse", "sparse/0", "text")
"""Subfolders in which tools leave the model."""

MODEL_BYTES = 2 << 30
"""Maximum size of images.txt and points3D.txt, in bytes; they are read line by line."""

MOST_POINTS = 100_000

MODELS = {
    "SIMPLE_PINHOLE": 3,
    "PINHOLE": 4,
    "SIMPLE_RADIAL": 4,
    "RADIAL": 5,
    "OPENCV": 8,
    "OPENCV_FISHEYE": 8,
    "FULL_OPENCV": 12,
    "FOV": 5,
    "SIMPLE_RADIAL_FISHEYE": 4,
    "RADIAL_FISHEYE": 5,
    "THIN_PRISM_FISHEYE": 12,
    "RAD_TAN_THIN_PRISM_FISHEYE": 16,
}
"""Number of parameters of each model."""

ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
"""Models with parameters f, cx, cy, ...; all others have fx, fy, cx, cy, ..."""


def folder_of(path: Path) -> Path | None:
    """The model folder that a path stands for: a model file's parent, the folder itself or a subfolder; else None."""
    if path.name in (IMAGES, CAMERAS, POINTS):
        return path.parent
    return next((path / below for below in WHERE if (path / below / IMAGES).is_file()), None)


def read(path: Path) -> CameraTrack:
    """Read the track of a model, with its lens if cameras.txt is there, and its points if points3D.txt is.

    Raises:
        InputError: no images.txt, or an unusable line, which is named.
    """
    folder = folder_of(path)
    if folder is None or not (folder / IMAGES).is_file():
        raise InputError(_missing(path))
    images = _images(folder / IMAGES)
    names = [name for name, _camera, _values in images]
    values = np.array([one for _name, _camera, one in images])
    extrinsics = text.poses_of(rotations.from_quaternions(values[:, :4]), values[:, 4:])
    notes: list[str] = []
    lens = None
    if (folder / CAMERAS).is_file():
        lens = _lens(folder / CAMERAS, [camera for _name, camera, _values in images], notes)
    else:
        notes.append(f"There is no {CAMERAS} beside {IMAGES}, so the lens is not known.")
    points = _points(folder / POINTS) if (folder / POINTS).is_file() else None
    return CameraTrack(
        "COLMAP", transforms.inverse(extrinsics), lens, number_of(names), points=points, notes=tuple(notes)
    )


def write(path: Path, track: CameraTrack) -> tuple[str, ...]:
    """Write a folder with a model; images are named frame_00001.png and so on, after the track's frame numbers.

    Returns notes on what the model cannot hold.

    Raises:
        InputError: the track has no lens, or the folder contains files other than a model's, or cannot be written.
    """
    if path.is_dir() and not {file.name for file in path.iterdir()} <= {IMAGES, CAMERAS, POINTS}:
        raise InputError(f"{path} is a folder that holds files other than a COLMAP model: choose another name.")
    if track.lens is None:
        raise InputError("A COLMAP model needs a lens, and the track has none: give its field of view.")
    k, (width, height) = track.pixels()
    lenses = np.stack([k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2]], axis=1)
    one = bool((lenses == lenses[0]).all())
    cameras = [
        f"{t + 1} PINHOLE {width} {height} {line}" for t, line in enumerate(text.as_lines(lenses[: 1 if one else None]))
    ]
    extrinsics = transforms.inverse(track.camera_to_world)
    quaternions = np.array([rotations.to_quaternion(pose[:3, :3]) for pose in extrinsics])
    lines = text.as_lines(np.concatenate([quaternions, extrinsics[:, :3, 3]], axis=1))
    images = [
        f"{t + 1} {line} {1 if one else t + 1} frame_{int(number):05d}.png\n"
        for t, (line, number) in enumerate(zip(lines, track.numbered(1), strict=True))
    ]
    points = track.points if track.points is not None else np.zeros((0, 3))
    dots = [f"{at + 1} {line} 128 128 128 0" for at, line in enumerate(text.as_lines(points))]
    with replacing(path) as temporary:
        temporary.mkdir()
        for name, head, content in (
            (CAMERAS, "CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]", cameras),
            (IMAGES, "IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME, and a line of POINTS2D[]", images),
            (POINTS, "POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[]", dots),
        ):
            (temporary / name).write_text("\n".join([f"# {head}", *content]) + "\n", encoding="utf-8")
    return ("Images are named frame_00001.png and so on: name yours the same, or change images.txt.",)


def _missing(path: Path) -> str:
    if path.is_dir() and any((path / below / "images.bin").is_file() for below in WHERE):
        return f"The COLMAP model in {path} is binary: in COLMAP, open it and choose File > Export model as text."
    return f"There is no {IMAGES} of a COLMAP model in {path if path.is_dir() else path.parent}: check the folder."


def _images(path: Path) -> list[tuple[str, str, list[float]]]:
    """Name, camera ID and the numbers QW to TZ of each image, sorted by name."""
    found = []
    for row in _every_second(path):
        if len(row.words) < 10:
            raise InputError(
                f"Line {row.number} of {path} has {len(row.words)} values instead of 10 (number, quaternion, shift,"
                " camera, name): correct the line."
            )
        values = text.numbers(path, row, 1, 8)
        if not 0.98 < float(np.linalg.norm(values[:4])) < 1.02:
            raise InputError(f"Line {row.number} of {path} has a quaternion whose length is not 1: correct the line.")
        found.append((" ".join(row.words[9:]), row.words[8], values))
        if len(found) > MOST_POSES:
            raise InputError(f"{path} holds more than {MOST_POSES} images, the most that can be read.")
    if not found:
        raise InputError(f"{path} holds no images.")
    found.sort(key=lambda image: picture_order(image[0]))
    again = next((one for (one, *_), (other, *_) in pairwise(found) if one == other), None)
    if again is not None:
        raise InputError(f"The image {again} appears twice in {path}: remove one of the two.")
    return found


def _every_second(path: Path) -> Iterator[text.Row]:
    """The lines of images; each is followed by a line of points, which may be empty."""
    points_follow = False
    for number, line in text.lines(path, MODEL_BYTES):
        if points_follow:
            points_follow = False
        elif line and not line.startswith("#"):
            points_follow = True
            yield text.Row(number, tuple(line.split()))


def _lens(path: Path, wanted: list[str], notes: list[str]) -> Lens | None:
    """The lens of each image, by its camera ID."""
    cameras: dict[str, tuple[tuple[int, int], NDArray[np.float64]]] = {}
    bent: set[str] = set()
    for row in text.rows(path):
        model = row.words[1] if len(row.words) > 1 else ""
        if model not in MODELS or len(row.words) != 4 + MODELS[model]:
            raise InputError(
                f"Line {row.number} of {path} is not a camera: number, model, width, height, and the parameters of"
                f" the model; models are {', '.join(MODELS)}."
            )
        width, height, *parameters = text.numbers(path, row, 2)
        if not (1 <= width <= 65536 and 1 <= height <= 65536) or min(parameters[:2]) <= 0:
            raise InputError(f"Line {row.number} of {path} has an invalid size or focal length: correct the line.")
        fx, fy, cx, cy = (parameters[0], *parameters[:3]) if model in ONE_FOCAL else parameters[:4]
        if any(parameters[3 if model in ONE_FOCAL else 4 :]):
            bent.add(model)
        if len(cameras) > MOST_POSES:
            raise InputError(f"{path} holds more than {MOST_POSES} cameras, the most that can be read.")
        cameras[row.words[0]] = ((int(width), int(height)), np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]]))
    missing = next((camera for camera in wanted if camera not in cameras), None)
    if missing is not None:
        raise InputError(f"{path} has no camera {missing}, which an image names: the files do not belong together.")
    sizes = {cameras[camera][0] for camera in wanted}
    if len(sizes) > 1:
        raise InputError(f"The cameras in {path} have images of different sizes: only one size can be read.")
    if bent:
        notes.append(
            f"The distortion of the lens ({', '.join(sorted(bent))}) was left out; undistort the images first, with"
            " COLMAP's Extras > Undistortion."
        )
    return Lens(np.stack([cameras[camera][1] for camera in wanted]), "pixels", sizes.pop())


def _points(path: Path) -> NDArray[np.float64]:
    """The first points (M,3) of a model."""
    found = [text.numbers(path, row, 1, 4) for row in islice(text.rows(path, MODEL_BYTES), MOST_POINTS)]
    points = np.array(found, np.float64).reshape(-1, 3) if all(len(one) == 3 for one in found) else None
    if points is None:
        raise InputError(f"{path} has a line that is not a point: number, x, y, z, and more.")
    return points
