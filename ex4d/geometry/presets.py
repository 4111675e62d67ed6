"""The camera moves of EX-4D that are known by name."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import intrinsics, transforms
from ex4d.geometry.camera_path import CameraPath

Preset = Literal["30", "60", "90", "180", "zoom_in", "zoom_out"]
PRESETS: tuple[str, ...] = get_args(Preset)
"""Orbits by their greatest angle in degrees ("180" swings +45, 0, -45), and moves along the axis."""

RELEASE_FRAMES = 49
"""Number of frames that the release's presets were written for."""

ORBIT_MARGIN = 0.15
"""Distance from the nearest surface to the pivot of an orbit (release, recon.py)."""

ORBIT_RISE = 0.2
"""How far an orbit rises, as a part of its radius (release, recon.py)."""

SWING_DEGREES = 45.0
"""Yaw that the preset "180" reaches on either side (release, recon.py: eye at one radius sideways)."""

ZOOM_FRACTION = 0.5
"""Part of the distance to the pivot by which zoom_in goes forward and zoom_out back; ours."""


def pivot_distance(mesh_depth_of_frame_0: NDArray) -> float:
    """Distance from the source camera to the point that presets turn about, in the depth's unit.

    The release's radius: the smallest depth of the mesh in frame 0, whose border is at the shell, plus 0.15
    (recon.py).
    """
    return float(np.min(mesh_depth_of_frame_0)) + ORBIT_MARGIN


def usual_amount(name: str) -> float:
    """What a preset does where nobody says how much: degrees, or for zooms the part of the way to the pivot."""
    if name in ("zoom_in", "zoom_out"):
        return ZOOM_FRACTION
    return SWING_DEGREES if name == "180" else float(name)


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
        part = usual_amount(name) if amount is None else amount
        if not 0 <= part < 1:
            raise InputError(f"A zoom moves by 0 to 1 times the distance to the pivot, not {part}.")
        eyes[:, 2] = (1 if name == "zoom_in" else -1) * part * radius * way
    elif name == "180":
        yaw = usual_amount(name) if amount is None else amount
        if not -90 < yaw < 90:
            raise InputError(f"A swing goes to less than 90 degrees on each side, not {yaw}.")
        a = 2 * np.pi * way
        eyes[:, 0] = np.sin(a) * radius * np.tan(np.radians(yaw))
        eyes[:, 1] = rise * radius * (np.cos(a) - 1)
    else:
        degrees = usual_amount(name) if amount is None else amount
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
