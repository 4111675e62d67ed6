"""The named camera moves of EX-4D."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import intrinsics, pivots, transforms
from ex4d.geometry.camera_path import CameraPath

Preset = Literal["30", "60", "90", "180", "zoom_in", "zoom_out", "dolly", "truck", "crane", "arc", "dolly_zoom", "hold"]
PRESETS: tuple[str, ...] = get_args(Preset)
"""Orbits by their maximum angle in degrees ("180" swings +45, 0, -45), and moves along and across the axis."""

RISING = frozenset({"30", "60", "90", "180"})
"""Presets that have a rise."""

STRAIGHT = frozenset({"zoom_in", "zoom_out", "dolly", "truck", "dolly_zoom", "hold"})
"""Presets that do not turn; only the distance of their pivot along the axis counts."""

Easing = Literal["even", "in_out", "in", "out"]
"""How the speed changes along the way."""

RELEASE_FRAMES = 49
"""Number of frames that the release's presets were written for."""

ORBIT_MARGIN = 0.15
"""Distance from the nearest surface to the pivot of an orbit (release, recon.py)."""

ORBIT_RISE = 0.2
"""How far an orbit rises, as a fraction of its radius (release, recon.py)."""

SWING_DEGREES = 45.0
"""Yaw that the preset "180" reaches on either side (release, recon.py: eye at one radius sideways)."""

USUAL_AMOUNTS = {
    **{"30": 30.0, "60": 60.0, "90": 90.0, "180": SWING_DEGREES, "zoom_in": 0.5, "zoom_out": 0.5},
    **{"dolly": 0.25, "truck": 0.2, "crane": 0.3, "arc": 25.0, "dolly_zoom": 0.3, "hold": 0.0},
}
"""How far a preset moves by default: degrees for orbits, swing and arc, otherwise fractions of the distance to the
pivot. The values are ours, except those of the release's orbits and swing."""

FARTHEST = 10.0
"""Limit for every preset's motion along or across the axis, in distances to the pivot."""


def pivot_distance(mesh_depth_of_frame_0: NDArray) -> float:
    """Distance from the source camera to the point that presets turn around, in the depth's unit.

    The release's radius: the smallest depth of the mesh in frame 0, whose border is at the shell, plus 0.15 (recon.py).
    """
    return float(np.min(mesh_depth_of_frame_0)) + ORBIT_MARGIN


def usual_amount(name: str) -> float:
    """How far a preset moves by default; see `USUAL_AMOUNTS`."""
    return USUAL_AMOUNTS[name]


def eased(way: NDArray[np.float64], easing: Easing) -> NDArray[np.float64]:
    """Ease the progress 0 to 1 of an even move: slow at its start, its end, or both (smoothstep)."""
    if easing == "in_out":
        return way**2 * (3 - 2 * way)
    if easing == "in":
        return way**2
    return 1 - (1 - way) ** 2 if easing == "out" else way


def preset_eyes(
    name: str,
    radius: float,
    frames: int,
    amount: float | None = None,
    rise: float = ORBIT_RISE,
    release_compat: bool = False,
    easing: Easing = "even",
) -> NDArray[np.float64]:
    """Camera positions (T,3) of a preset around the pivot (0, 0, `radius`), starting at the origin.

    "30", "60" and "90" sweep to that angle on a circle; "180" swings sideways until the pivot is seen 45 degrees from
    the right, back, and the same on the left (recon.py). All rise by `rise` times the radius times (1 - cos a). "arc"
    sweeps on a level circle. zoom_in, zoom_out, dolly and dolly_zoom move along the optical axis, truck to the right,
    crane up; hold stays.

    Args:
        name: one of `PRESETS`.
        radius: distance of the pivot, in the depth's unit.
        frames: T.
        amount: replaces `usual_amount`: the maximum angle in degrees, or the fraction of the radius to move by.
        rise: height of the arc as a fraction of the radius.
        release_compat: as released, sweeps are max(49/T, T/49) times as long if T is not 49, and an orbit beyond 90
            degrees comes back in depth, with |cos a| in place of cos a.
        easing: how the speed changes.

    Raises:
        InputError: unknown preset, an amount out of range, or fewer than one frame.
    """
    if name not in PRESETS:
        raise InputError(f"There is no camera preset {name!r}: choose one of {', '.join(PRESETS)}.")
    if frames < 1:
        raise InputError("A camera path needs at least one frame.")
    _check_radius(radius)
    far = usual_amount(name) if amount is None else amount
    _check_amount(name, far)
    eyes, way = np.zeros((frames, 3)), eased(np.linspace(0, 1, frames), easing)
    if release_compat:
        way *= max(RELEASE_FRAMES / frames, frames / RELEASE_FRAMES)
    if name in ("zoom_in", "zoom_out", "dolly", "dolly_zoom"):
        eyes[:, 2] = (-1 if name == "zoom_out" else 1) * far * radius * way
    elif name == "truck":
        eyes[:, 0] = far * radius * way
    elif name == "crane":
        eyes[:, 1] = -far * radius * way
    elif name == "180":
        a = 2 * np.pi * way
        eyes[:, 0] = np.sin(a) * radius * np.tan(np.radians(far))
        eyes[:, 1] = rise * radius * (np.cos(a) - 1)
    elif name != "hold":
        a = np.radians(far) * way
        cos = np.abs(np.cos(a)) if release_compat else np.cos(a)
        eyes[:, 0] = np.sin(a) * radius
        eyes[:, 1] = (rise if name in RISING else 0.0) * radius * (cos - 1)
        eyes[:, 2] = radius * (1 - cos)
    return eyes


def _check_radius(radius: float) -> None:
    if not (np.isfinite(radius) and radius > 0):
        raise InputError(f"The pivot must be in front of the camera, not at a distance of {radius}.")


def _check_amount(name: str, far: float) -> None:
    """Refuse an amount that a preset cannot use."""
    if name in ("zoom_in", "zoom_out"):
        if not 0 <= far < 1:
            raise InputError(f"A zoom moves by 0 to 1 times the distance to the pivot, not {far}.")
    elif name in ("dolly", "dolly_zoom"):
        if not -FARTHEST <= far < 1:
            raise InputError(
                f"A dolly moves by less than the distance to the pivot, and back by at most {FARTHEST:g} times that:"
                f" choose an amount from {-FARTHEST:g} to 1, not {far}."
            )
    elif name in ("truck", "crane"):
        if not -FARTHEST <= far <= FARTHEST:
            raise InputError(
                f"A {name} moves by at most {FARTHEST:g} times the distance to the pivot:"
                f" choose an amount from {-FARTHEST:g} to {FARTHEST:g}, not {far}."
            )
    elif name == "180":
        if not -90 < far < 90:
            raise InputError(f"A swing goes to less than 90 degrees on each side, not {far}.")
    elif not -360 <= far <= 360:
        raise InputError(f"An orbit goes to at most 360 degrees, not {far}.")


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
    easing: Easing = "even",
    shake: float = 0.0,
    shake_seed: int = 0,
    pivot: NDArray[np.float64] | None = None,
) -> CameraPath:
    """Build the path of a preset around a pivot, upright, with the lens `k` (3,3) or (T,3,3).

    Presets in `STRAIGHT` always look straight ahead; all others turn so that the pivot stays where the source camera
    sees it in the picture. A dolly zoom changes the lens so that things at the distance of the pivot keep their size.
    Each frame is relative to the source camera of that frame, `source_to_world` (T,4,4), None if it stands still: if
    the clip was shot walking, the preset walks.

    The pivot is on the axis of each frame's source camera, `radius` away. If `pivot` (3,) is given, it is that point of
    the world instead, which stays in place even if the source camera walks.

    `shake` and `shake_seed` are those of `hand_held`.

    Raises:
        InputError: see `preset_eyes`, or `pivot` is not in front of the source camera in every frame.
    """
    _check_radius(radius)
    unit = preset_eyes(name, 1.0, frames, amount, rise, release_compat, easing)
    points = np.broadcast_to(np.array([0, 0, radius], np.float64), (frames, 3))
    if pivot is not None:
        points = pivots.seen(pivot, np.eye(4)[None].repeat(frames, 0) if source_to_world is None else source_to_world)
    if name in STRAIGHT:
        poses = np.repeat(np.eye(4)[None], frames, axis=0)
        poses[:, :3, 3] = unit * points[:, 2:]
    else:
        poses = pivots.turning_about(points, unit)
    if shake:
        poses = poses @ hand_held(frames, float(np.linalg.norm(points[0])), shake, shake_seed)
    if source_to_world is not None:
        poses = source_to_world @ poses
    lenses = intrinsics.per_frame(k, frames)
    if name == "dolly_zoom":
        lenses = lenses.copy()
        lenses[:, [0, 1], [0, 1]] *= 1 - unit[:, 2:]
    return CameraPath(poses, lenses, width, height)


SHAKE_PERIODS = (97.0, 43.0, 19.0, 9.0)
"""Period in frames of each component of hand-held motion: breathing, swaying, and two kinds of trembling; ours."""

SHAKE_WEIGHTS = (1.0, 0.6, 0.25, 0.08)
"""Strength of each component; the slow ones are the strongest, as in footage from the shoulder; ours."""

SHAKE_AXES = (1.0, 1.0, 0.4, 0.5, 0.5, 0.25)
"""Strength in pitch, yaw and roll, then in position along x, y and z; ours."""


def hand_held(frames: int, radius: float, strength: float, seed: int) -> NDArray[np.float64]:
    """Small motions (T,4,4) of a hand-held camera, in the camera's own axes; the first is the identity.

    Sums of sines whose phases and exact periods are drawn from the seed; the same seed gives the same motion in every
    shot, whatever its length.

    Args:
        frames: T.
        radius: distance of the pivot; positions are scaled by it to have as much effect as angles.
        strength: root mean square of the motion in pitch and in yaw, in degrees.
        seed: another seed gives another motion.

    Raises:
        InputError: a strength that is negative or above 45 degrees.
    """
    if not 0 <= strength <= 45:
        raise InputError(f"The hand-held sway must be 0 to 45 degrees, not {strength}.")
    random = np.random.default_rng(seed)
    phases = random.uniform(0, 2 * np.pi, (len(SHAKE_AXES), len(SHAKE_PERIODS)))
    periods = np.array(SHAKE_PERIODS) * random.uniform(0.85, 1.15, phases.shape)
    weights = np.array(SHAKE_WEIGHTS) / np.sqrt(np.sum(np.square(SHAKE_WEIGHTS)) / 2)
    turns = 2 * np.pi * np.arange(frames)[:, None, None] / periods + phases
    moved = (np.sin(turns) * weights).sum(axis=-1) * SHAKE_AXES * np.radians(strength)
    moved -= moved[0]
    poses = np.repeat(np.eye(4)[None], frames, axis=0)
    turned = transforms.turned
    poses[:, :3, :3] = turned(moved[:, 1], 0, 2) @ turned(moved[:, 0], 2, 1) @ turned(moved[:, 2], 1, 0)
    poses[:, :3, 3] = moved[:, 3:] * radius
    return poses
