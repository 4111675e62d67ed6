"""NumPy arrays: our own .npz, those of other tools and of the EX-4D release, and plain .npy.

Ours hold `camera_to_world` (T,4,4) and its inverse `extrinsics`, in OpenCV axes, and `intrinsics` (3,3) or (T,3,3) in
pixels of `width` x `height`, as written by `ex4d.geometry.camera_path.save`. Files with only one of the two, with rows
(T,3,4), or with another common name for them (`c2w`, `w2c`, `K`, ...) are read as well. `points` (M,3), `frame_numbers`
and `times` (T,) are optional, and so are `format` and `notes`, which describe what a converted track was before.

The release's `camera_<cam>.npz` holds OpenGL view matrices (x right, y up, z back) in a world with OpenCV axes: the
second and third rows are negated. It is recognised by its first camera, the source camera: diag(1, -1, -1). Measured on
output of the released renderer; certain. An .npy file does not say what it holds; camera-to-world is what most tools
write.

MegaSaM's `_sgd_cvd_hr.npz` holds `cam_c2w` and one `intrinsic` (3,3) in pixels of its `depths`. Vista4D's cameras hold
`cam_c2w`, and rows of fx, fy, cx, cy as `intrinsics`. ViPE writes `pose/NAME.npz` with `data`, camera-to-world in
OpenCV axes, and `inds`, the frames they belong to, and next to it `intrinsics/NAME.npz` with rows of fx, fy, cx, cy as
`data`. Such rows have the centre of their picture as principal point, which gives its size. Taken from their code;
certain.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras.rotations import FLIP
from ex4d.cameras.text import TEXT_BYTES
from ex4d.cameras.track import MOST_POSES, CameraTrack, Lens
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.camera_path import size_of
from ex4d.storage.npy import open_array
from ex4d.storage.npz import Arrays, open_arrays, write_arrays

CAMERA_TO_WORLD = ("camera_to_world", "c2w", "cam2world", "cam_c2w", "camera_poses")
WORLD_TO_CAMERA = ("extrinsics", "extrinsic", "w2c", "world2cam", "world_to_camera")
UNSAID = ("poses", "pose", "data")
INTRINSICS = ("intrinsics", "intrinsic", "K", "Ks")
NUMBERS = ("frame_numbers", "inds")
PICTURES = ("depths", "depth")
"""Arrays (T,H,W) with the size of the pictures that the lens refers to, used if nothing else gives it."""

CENTRED_PX = 0.01
"""How far a principal point may be from the centre of a picture and still count as centred, in pixels."""

MOST_POINTS = 100_000
"""Maximum number of points in a file."""

MOST_TEXT_BYTES = 64 << 10
"""Maximum size of a file's sentences in bytes."""

OPENGL = "The cameras look along -z with y up, as those of the EX-4D release do: their axes were converted to OpenCV's."


def read(path: Path) -> CameraTrack:
    """Read the track of an .npz or .npy file.

    Raises:
        InputError: damaged, without poses or with two kinds that disagree, or with unusable values; says which.
    """
    if path.suffix.lower() == ".npy":
        return _read_npy(path)
    lens_file = vipes_lens(path)
    with open_arrays(path, "camera file") as arrays:
        notes: list[str] = []
        poses = _poses(arrays, notes, ("data",) if lens_file else ())
        format_name = (*_texts(arrays, "format"), ".npz")[0]
        numbers = next((key for key in NUMBERS if key in arrays.headers), NUMBERS[0])
        return CameraTrack(
            format_name,
            poses,
            _lens(arrays, len(poses)) if lens_file is None else _vipes_lens(lens_file, arrays, len(poses)),
            _numbers(arrays, numbers, len(poses)),
            _numbers(arrays, "times", len(poses)),
            _points(arrays, path),
            own_unit=format_name != ".npz",
            notes=(*_texts(arrays, "notes"), *notes),
        )


def write(path: Path, track: CameraTrack) -> tuple[str, ...]:
    """Write an .npz file with everything in the track; return notes on what it cannot hold."""
    arrays: dict[str, NDArray] = {
        "camera_to_world": track.camera_to_world,
        "extrinsics": transforms.inverse(track.camera_to_world),
    }
    notes: tuple[str, ...] = ()
    if track.lens is None:
        notes = ("The track has no lens, so the file holds none.",)
    else:
        k, (width, height) = track.pixels()
        arrays |= {"intrinsics": k, "width": np.array(width), "height": np.array(height)}
    if track.points is not None and len(track.points):
        arrays["points"] = track.points
    if track.frames is not None:
        arrays["frame_numbers"] = track.frames
    if track.times is not None:
        arrays["times"] = track.times
    if track.own_unit:
        arrays |= {"format": np.array(track.format), "notes": np.array(track.notes, np.str_)}
    write_arrays(path, arrays)
    return notes


def vipes_lens(path: Path) -> Path | None:
    """The lens file that ViPE writes next to its poses; None for any other file of poses."""
    beside = path.parent.parent / "intrinsics" / path.name
    return beside if path.parent.name == "pose" and path.suffix.lower() == ".npz" and beside.is_file() else None


def _poses(arrays: Arrays, notes: list[str], to_world: tuple[str, ...]) -> NDArray[np.float64]:
    """Camera-to-world (N,4,4) in OpenCV axes; `to_world` names further keys that are known to be camera-to-world."""
    path, keys = arrays.path, set(arrays.headers)
    for key in keys & {*CAMERA_TO_WORLD, *WORLD_TO_CAMERA, *UNSAID}:
        if (arrays.headers[key].shape or (0,))[0] > MOST_POSES:
            raise InputError(
                f"{key} in {path} holds more than {MOST_POSES} poses, the most that can be read: shorten it."
            )
    if {"camera_to_world", "extrinsics"} <= keys:  # ours: nobody else writes both
        return transforms.read(arrays)
    if keys & {"camera_to_world", "extrinsics"}:
        poses = transforms.read(arrays)
    elif found := [key for key in (*CAMERA_TO_WORLD, *to_world) if key in keys]:
        poses = transforms.check(transforms.completed(arrays.read(found[0])), name=f"{found[0]} in {path}")
    elif found := [key for key in WORLD_TO_CAMERA if key in keys]:
        extrinsics = transforms.completed(arrays.read(found[0]))
        poses = transforms.inverse(transforms.check(extrinsics, name=f"{found[0]} in {path}"))
    elif found := [key for key in UNSAID if key in keys]:
        poses = _unsaid(transforms.completed(arrays.read(found[0])), f"{found[0]} in {path}", notes)
    else:
        return transforms.read(arrays)  # says what is missing
    return _without_opengl(poses, notes)


def _unsaid(found: NDArray, what: str, notes: list[str]) -> NDArray[np.float64]:
    """Camera-to-world from matrices that do not say what they are."""
    if found.ndim == 3 and found.shape[1:] == (4, 4) and np.allclose(found[0], np.diag([-1, 1, 1, 1]), atol=1e-4):
        notes.append(
            f"{what} are the view matrices of the EX-4D release's renderer, mirrored in x; the mirroring was undone."
        )
        return transforms.inverse(transforms.check(np.diag([-1.0, 1, 1, 1]) @ found, name=what))
    notes.append(
        f"{what} were read as camera-to-world; if they are world-to-camera, save them as .npz with the key extrinsics."
    )
    return transforms.check(found, name=what)


def _without_opengl(poses: NDArray[np.float64], notes: list[str]) -> NDArray[np.float64]:
    if not np.allclose(poses[0, :3, :3], FLIP[:3, :3], atol=1e-4):
        return poses
    notes.append(OPENGL)
    return poses @ FLIP


def _vipes_lens(path: Path, poses: Arrays, count: int) -> Lens:
    with open_arrays(path, "camera file") as arrays:
        lens = _lens(arrays, count, ("data",))
        of_poses, of_lens = (_numbers(each, "inds", count) for each in (poses, arrays))
        if of_poses is not None and of_lens is not None and not np.array_equal(of_poses, of_lens):
            raise InputError(f"{path} is for other frames than {poses.path}: have ViPE write both again.")
    if lens is None:
        raise InputError(f"{path} holds no data, the lens of every frame: have ViPE write it again.")
    return lens


def _lens(arrays: Arrays, count: int, keys: tuple[str, ...] = INTRINSICS) -> Lens | None:
    key = next((key for key in keys if key in arrays.headers), None)
    if key is None:
        return None
    shape = arrays.headers[key].shape
    if shape not in {(3, 3), (count, 3, 3), (4,), (count, 4)}:
        raise InputError(
            f"{key} in {arrays.path} must have the shape (3, 3), ({count}, 3, 3), (4,) or ({count}, 4), not {shape}."
        )
    if shape[-1] == 3:
        return Lens(np.broadcast_to(arrays.read(key), (count, 3, 3)), "pixels", size_of(arrays) or _picture(arrays))
    rows = np.broadcast_to(arrays.read(key).astype(np.float64), (count, 4))
    k = np.zeros((count, 3, 3))
    k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2], k[:, 2, 2] = *rows.T, 1.0
    return Lens(k, "pixels", size_of(arrays) or _picture(arrays) or _about_centre(rows))


def _picture(arrays: Arrays) -> tuple[int, int] | None:
    """Width and height of the pictures in the file; None if there are none."""
    for key in PICTURES:
        header = arrays.headers.get(key)
        if header is not None and len(header.shape) == 3:
            return header.shape[2], header.shape[1]
    return None


def _about_centre(rows: NDArray[np.float64]) -> tuple[int, int] | None:
    """Picture size that puts the principal point of rows (N,4) of fx, fy, cx, cy at the centre; None if none does."""
    sides = 2 * rows[0, 2:]
    whole = np.isfinite(sides).all() and (sides > 1).all() and np.abs(sides - np.round(sides)).max() <= 2 * CENTRED_PX
    return (round(float(sides[0])), round(float(sides[1]))) if whole and (rows[:, 2:] == rows[0, 2:]).all() else None


def _numbers(arrays: Arrays, key: str, count: int) -> NDArray | None:
    """Ascending numbers (N,) of the poses; None if the file has none, or not one per pose.

    Raises:
        InputError: not numbers, or not ascending.
    """
    if key not in arrays.headers or arrays.headers[key].shape != (count,):
        return None
    values = arrays.read(key)
    if values.dtype.kind not in ("iu" if key in NUMBERS else "fiu") or not (np.diff(values) > 0).all():
        raise InputError(f"{key} in {arrays.path} must be ascending numbers, one for each pose.")
    return values.astype(np.int64 if key in NUMBERS else np.float64)


def _texts(arrays: Arrays, key: str) -> tuple[str, ...]:
    """Sentences in a file; empty if it has none, or too many."""
    header = arrays.headers.get(key)
    if header is None or header.dtype.kind != "U" or len(header.shape) > 1 or header.nbytes > MOST_TEXT_BYTES:
        return ()
    return tuple(str(one) for one in np.atleast_1d(arrays.read(key)))


def _points(arrays: Arrays, path: Path) -> NDArray[np.float64] | None:
    """Points (M,3) in a file; None if it has none."""
    if "points" not in arrays.headers:
        return None
    shape, kind = arrays.headers["points"].shape, arrays.headers["points"].dtype.kind
    if len(shape) != 2 or shape[1] != 3 or shape[0] > MOST_POINTS or kind != "f":
        raise InputError(f"The points in {path} must be numbers of the shape (M, 3), M at most {MOST_POINTS}.")
    points = arrays.read("points").astype(np.float64)
    if not np.isfinite(points).all():
        raise InputError(f"The points in {path} hold values that are not finite: remove those points.")
    return points


def _read_npy(path: Path) -> CameraTrack:
    with open_array(path, "camera file") as array:
        if array.header.nbytes > TEXT_BYTES:
            raise InputError(
                f"{path} holds {array.header.nbytes >> 20} MB, and {TEXT_BYTES >> 20} MB is the most that can be read."
            )
        found = array.read()
    notes: list[str] = []
    poses = _unsaid(transforms.completed(found), f"The matrices of {path}", notes)
    return CameraTrack(".npy", _without_opengl(poses, notes), own_unit=False, notes=tuple(notes))
