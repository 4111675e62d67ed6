"""Where the camera of a second clip of the same place was: a clean plate of one picture or many.

Features of a few frames of the clip are lifted into its world by its depth, features of the plate are matched to them
(SIFT, Lowe 2004), and each frame of the plate is placed by the matches that agree (PnP with RANSAC). The frames of the
plate need not overlap. Figures from generated scenes: correct placements have 21 to 530 points in 12 to 55 of 64 parts
of the picture, wrong ones at most 12 in 5.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.transforms import inverse
from ex4d.progress import LOCATING_PLATE, Progress, silent

KEY_FRAMES = 8
"""Frames of the clip whose features are matched with the plate."""

FEATURES, RATIO = 4000, 0.75
"""Maximum number of features per frame; a match must be nearer than the second best by this factor."""

PIXELS, TRIES = 4.0, 5000
"""Reprojection error in pixels up to which a point agrees, and number of poses that are tried."""

ROUNDS, BEST_PIXELS = 4, 1.0
"""Number of times that the pose is refined by the points within 1.5 times the median residual, or this many pixels."""

LEAST_POINTS, LEAST_PARTS, PARTS = 20, 10, 8
"""Minimum number of points that place a frame, and of the `PARTS` x `PARTS` parts of its picture that have some."""

MOST_SPREAD = 0.25
"""The depth of a frame fits the points if the median deviation of the logarithm of their ratio is at most this."""

_SMOOTH, _AROUND = 1.1, 9
"""Points do not count at edges, where depth differs by this factor within 5 pixels, or where a square of this side in
pixels around them reaches moving things."""


@dataclass(frozen=True)
class Frames:
    """Pictures with known depth.

    Attributes:
        pictures: (T,H,W,3) uint8 RGB.
        depth: (T,H,W) float32.
        intrinsics: (T,3,3) in pixels.
        camera_to_world: (T,4,4); None if it has to be found, or is still.
        moving: (T,H,W) bool, independently moving things; None if unknown.
    """

    pictures: NDArray[np.uint8]
    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    camera_to_world: NDArray[np.float64] | None = None
    moving: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Placed:
    """A frame of the plate in the world of the clip.

    Attributes:
        frame: its number in the plate.
        camera_to_world: (4,4), in the unit of the clip's depth.
        scale: factor that brings its depth to that unit.
        points: number of points that agree.
    """

    frame: int
    camera_to_world: NDArray[np.float64]
    scale: float
    points: int


def register(clip: Frames, plate: Frames, progress: Progress = silent) -> list[Placed]:
    """The frames of a plate that could be placed in the world of a clip; none if it shows another place.

    Args:
        clip: with its camera; None is at the origin.
        plate: without a camera.
        progress: called after each frame of either.
    """
    keys = np.unique(np.linspace(0, len(clip.pictures) - 1, KEY_FRAMES).round().astype(int))
    steps = len(keys) + len(plate.pictures)
    known = []
    for done, t in enumerate(keys, 1):
        known.append(_points(clip, int(t)))
        progress(LOCATING_PLATE, done, steps)
    placed = []
    for t in range(len(plate.pictures)):
        one = _placed(plate, t, known)
        if one is not None:
            placed.append(one)
        progress(LOCATING_PLATE, len(keys) + t + 1, steps)
    return placed


_Points = tuple[NDArray[np.float64], NDArray[np.float32]]
"""Positions (n,3) in the world, and their descriptors (n,128)."""


def _features(picture: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Pixels (n,2), with centres at +0.5, and their descriptors (n,128)."""
    grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
    found, looks = cv2.SIFT.create(FEATURES, contrastThreshold=0.02).detectAndCompute(grey, None)
    if looks is None:
        return np.zeros((0, 2)), np.zeros((0, 128), np.float32)
    return np.array([point.pt for point in found], np.float64) + 0.5, np.asarray(looks, np.float32)


def _points(clip: Frames, t: int) -> _Points:
    """Static features of a frame of the clip, in the world."""
    at, looks = _features(clip.pictures[t])
    depth, square = clip.depth[t], np.ones((5, 5), np.uint8)
    good = cv2.dilate(depth, square) < _SMOOTH * cv2.erode(depth, square)
    if clip.moving is not None:
        around = np.ones((_AROUND, _AROUND), np.uint8)
        good &= cv2.dilate(clip.moving[t].astype(np.uint8), around) == 0
    rows, columns = _pixels(at, depth.shape)
    kept = good[rows, columns]
    rays = np.hstack([at[kept], np.ones((np.count_nonzero(kept), 1))]) @ np.linalg.inv(clip.intrinsics[t]).T
    there = rays * depth[rows[kept], columns[kept]][:, None]
    if clip.camera_to_world is not None:
        pose = clip.camera_to_world[t]
        there = there @ pose[:3, :3].T + pose[:3, 3]
    return there, looks[kept]


def _placed(plate: Frames, t: int, known: list[_Points]) -> Placed | None:
    """The placement of a frame of the plate; None if too little agrees."""
    at, looks = _features(plate.pictures[t])
    matcher, pixels, places = cv2.BFMatcher(cv2.NORM_L2), [], []
    for points, theirs in known:
        if len(looks) == 0 or len(theirs) < 2:
            continue
        for best, second in matcher.knnMatch(looks, theirs, k=2):
            if best.distance < RATIO * second.distance:
                pixels.append(best.queryIdx)
                places.append(points[best.trainIdx])
    if len(pixels) < LEAST_POINTS:
        return None
    pixel, place, lens = np.array(pixels), np.array(places), plate.intrinsics[t]
    cv2.setRNGSeed(0)
    found, turn, shift, agree = cv2.solvePnPRansac(
        place, at[pixel], lens, None, iterationsCount=TRIES, reprojectionError=PIXELS, confidence=0.9999,
        flags=cv2.SOLVEPNP_EPNP,
    )  # fmt: skip
    if not found or agree is None:
        return None
    pixel, place = pixel[agree[:, 0]], place[agree[:, 0]]
    height, width = plate.depth.shape[1:]
    parts = np.unique((at[pixel] * PARTS // (width, height)).astype(int), axis=0)
    agreeing = len(np.unique(pixel))
    if agreeing < LEAST_POINTS or len(parts) < LEAST_PARTS:
        return None
    for _ in range(ROUNDS):  # the points that agree best decide
        off = np.linalg.norm(cv2.projectPoints(place, turn, shift, lens, None)[0][:, 0] - at[pixel], axis=1)
        best = off <= max(BEST_PIXELS, 1.5 * float(np.median(off)))
        turn, shift = cv2.solvePnPRefineLM(place[best], at[pixel[best]], lens, None, turn, shift)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3], world_to_camera[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
    distance = place @ world_to_camera[2, :3] + world_to_camera[2, 3]
    if (distance <= 0).any():
        return None
    ratio = distance / plate.depth[t][_pixels(at[pixel], (height, width))]
    scale = float(np.median(ratio))
    if np.median(np.abs(np.log(ratio / scale))) > MOST_SPREAD:
        return None
    return Placed(t, inverse(world_to_camera), scale, agreeing)


def _pixels(at: NDArray[np.float64], shape: tuple[int, ...]) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
    """Rows and columns of positions (n,2) in a picture."""
    columns, rows = at.astype(int).T
    return np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1)
