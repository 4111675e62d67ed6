"""Camera paths: the presets of EX-4D, and any path from a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import intrinsics, transforms
from ex4d.storage.npz import open_arrays

Preset = Literal["30", "60", "90", "180", "zoom_in", "zoom_out"]
PRESETS: tuple[str, ...] = get_args(Preset)
"""Orbits by their greatest angle in degrees ("180" swings +45, 0, -45), and moves along the axis."""

RELEASE_FRAMES = 49
"""Number of frames that the release's presets were written for."""

MOST_PIXELS_A_SIDE = 16384
"""Largest side of a picture that can be rendered."""

ORBIT_MARGIN = 0.15
"""Distance from the nearest surface to the pivot of an orbit (release, recon.py)."""

ORBIT_RISE = 0.2
"""How far an orbit rises, as a part of its radius (release, recon.py)."""

SWING_DEGREES = 45.0
"""Yaw that the preset "180" reaches on either side (release, recon.py: eye at one radius sideways)."""

ZOOM_FRACTION = 0.5
"""Part of the distance to the pivot by which zoom_in goes forward and zoom_out back; ours."""


@dataclass(frozen=True)
class CameraPath:
    """One camera a frame.

    Attributes:
        camera_to_world: (T,4,4) float64, OpenCV axes; world is the source camera of frame 0.
        intrinsics: (T,3,3) float64 in pixels of the picture below, pixel centres at +0.5.
        width, height: size of the picture in pixels.
    """

    camera_to_world: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    width: int
    height: int

    def __post_init__(self) -> None:
        poses = transforms.check(self.camera_to_world, name="camera_to_world")
        object.__setattr__(self, "camera_to_world", poses)
        object.__setattr__(self, "intrinsics", intrinsics.per_frame(self.intrinsics, len(poses)))
        if not (1 <= self.width <= MOST_PIXELS_A_SIDE and 1 <= self.height <= MOST_PIXELS_A_SIDE):
            raise InputError(
                f"A camera's picture cannot be {self.width}x{self.height} pixels: each side is 1 to"
                f" {MOST_PIXELS_A_SIDE}."
            )

    def __len__(self) -> int:
        return len(self.camera_to_world)

    @property
    def extrinsics(self) -> NDArray[np.float64]:
        """World-to-camera (T,4,4)."""
        return transforms.inverse(self.camera_to_world)


def pivot_distance(mesh_depth_of_frame_0: NDArray) -> float:
    """Distance from the source camera to the point that presets turn about, in the depth's unit.

    The release's radius: the smallest depth of the mesh in frame 0, whose border is at the shell, plus 0.15
    (recon.py).
    """
    return float(np.min(mesh_depth_of_frame_0)) + ORBIT_MARGIN


def preset_eyes(
    name: str,
    radius: float,
    frames: int,
    amount: float | None = None,
    rise: float = ORBIT_RISE,
    release_compat: bool = False,
) -> NDArray[np.float64]:
    """Camera positions (T,3) of a preset about the pivot (0, 0, `radius`), starting at the origin.

    "30", "60" and "90" sweep to that angle on a circle; "180" swings sideways until the pivot is seen
    45 degrees from the right, back, and the same on the left (recon.py). All rise by `rise` times the
    radius times (1 - cos a). zoom_in and zoom_out move evenly along the optical axis.

    Args:
        name: one of `PRESETS`.
        radius: distance of the pivot, in the depth's unit.
        frames: T.
        amount: instead of the preset's own: the greatest angle in degrees, or for zooms the part of
            the radius to move by.
        rise: height of the arc as a part of the radius.
        release_compat: as released, sweeps are max(49/T, T/49) times as long when T is not 49, and an
            orbit beyond 90 degrees comes back in depth, |cos a| standing for cos a.

    Raises:
        InputError: unknown preset, an amount out of range, or fewer than one frame.
    """
    if name not in PRESETS:
        raise InputError(f"There is no camera preset {name!r}: choose one of {', '.join(PRESETS)}.")
    if frames < 1:
        raise InputError("A camera path needs at least one frame.")
    if not (np.isfinite(radius) and radius > 0):
        raise InputError(f"The pivot must be in front of the camera, not at a distance of {radius}.")
    eyes = np.zeros((frames, 3))
    way = np.linspace(0, 1, frames)
    if release_compat:
        way *= max(RELEASE_FRAMES / frames, frames / RELEASE_FRAMES)
    if name in ("zoom_in", "zoom_out"):
        part = ZOOM_FRACTION if amount is None else amount
        if not 0 <= part < 1:
            raise InputError(f"A zoom moves by 0 to 1 times the distance to the pivot, not {part}.")
        eyes[:, 2] = (1 if name == "zoom_in" else -1) * part * radius * way
    elif name == "180":
        yaw = SWING_DEGREES if amount is None else amount
        if not -90 < yaw < 90:
            raise InputError(f"A swing goes to less than 90 degrees on each side, not {yaw}.")
        a = 2 * np.pi * way
        eyes[:, 0] = np.sin(a) * radius * np.tan(np.radians(yaw))
        eyes[:, 1] = rise * radius * (np.cos(a) - 1)
    else:
        degrees = float(name) if amount is None else amount
        if not -360 <= degrees <= 360:
            raise InputError(f"An orbit goes to at most 360 degrees, not {degrees}.")
        a = np.radians(degrees) * way
        cos = np.abs(np.cos(a)) if release_compat else np.cos(a)
        eyes[:, 0] = np.sin(a) * radius
        eyes[:, 1] = rise * radius * (cos - 1)
        eyes[:, 2] = radius * (1 - cos)
    return eyes


def preset(
    name: str,
    radius: float,
    k: NDArray,
    width: int,
    height: int,
    frames: int,
    amount: float | None = None,
    rise: float = ORBIT_RISE,
    release_compat: bool = False,
    source_to_world: NDArray[np.float64] | None = None,
) -> CameraPath:
    """`preset_eyes` looking at the pivot, upright, with the lens `k` (3,3) or (T,3,3).

    Each frame is relative to the source camera of that frame, `source_to_world` (T,4,4), None where it stands still:
    where the clip was shot walking, the preset walks.
    """
    eyes = preset_eyes(name, radius, frames, amount, rise, release_compat)
    poses = np.stack([transforms.look_at(eye, np.array([0, 0, radius])) for eye in eyes])
    if source_to_world is not None:
        poses = source_to_world @ poses
    return CameraPath(poses, intrinsics.per_frame(k, frames), width, height)


def stereo(cameras: CameraPath, eye_distance: float) -> tuple[CameraPath, CameraPath]:
    """The paths of a left and a right eye: parallel cameras, `eye_distance` apart in the depth's unit.

    Raises:
        InputError: the distance is not a positive number.
    """
    if not (np.isfinite(eye_distance) and eye_distance > 0):
        raise InputError(f"The distance of the eyes must be a positive number, not {eye_distance}.")
    paths = []
    for side in (-0.5, 0.5):
        poses = cameras.camera_to_world.copy()
        poses[:, :3, 3] += side * eye_distance * poses[:, :3, 0]
        paths.append(CameraPath(poses, cameras.intrinsics, cameras.width, cameras.height))
    return paths[0], paths[1]


def save(path: Path, cameras: CameraPath) -> None:
    """Write `extrinsics` (T,4,4) world-to-camera and `intrinsics` (T,3,3), with the picture's size."""
    np.savez_compressed(
        path,
        extrinsics=cameras.extrinsics,
        intrinsics=cameras.intrinsics,
        width=cameras.width,
        height=cameras.height,
    )


def load(path: Path, frames: int, width: int, height: int) -> CameraPath:
    """Read a camera file for a clip of `frames` frames of `width` x `height` pixels.

    Keys: `extrinsics` (T,4,4) world-to-camera in our axes; `intrinsics` (3,3) or (T,3,3) in pixels;
    optional `width` and `height` of the picture, the clip's where they are missing.

    Raises:
        InputError: not an .npz file, a key is missing, or a value cannot be used; names which and why.
    """
    with open_arrays(path, "camera file") as arrays:
        for key in ("extrinsics", "intrinsics"):
            if key not in arrays.headers:
                raise InputError(
                    f"The camera file {path} has no key {key!r}: it needs extrinsics (T,4,4) and intrinsics."
                )
        w2c, k = arrays.read("extrinsics"), arrays.read("intrinsics")
        if {"width", "height"} <= set(arrays.headers):
            size = [arrays.read(key) for key in ("width", "height")]
            if any(s.shape != () or s.dtype.kind not in "iu" for s in size):
                raise InputError(f"width and height in {path} must be single whole numbers.")
            width, height = int(size[0]), int(size[1])
    if w2c.ndim == 3 and w2c.shape[1:] == (4, 4) and np.allclose(w2c[0, :3, :3], np.diag([1, -1, -1]), atol=1e-4):
        raise InputError(
            f"extrinsics in {path} look along -z with y up, as OpenGL's and the EX-4D release's own camera files do:"
            " multiply their second and third rows by -1 first."
        )
    w2c = transforms.check(w2c, frames, f"extrinsics in {path}")
    k = intrinsics.per_frame(k, frames, f"intrinsics in {path}")
    return CameraPath(transforms.inverse(w2c), k, width, height)
