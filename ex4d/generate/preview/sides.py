"""How things continue beyond what the source saw of them.

The mesh has faces between a thing and what is behind it. If the camera sees such a face close to the thing, it is
looking at the thing's side, its rim, or a surface that the source saw at a grazing angle, so the thing's own colour
continues there. Farther along the face it looks past the thing, at the background.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.transforms import inverse
from ex4d.render.scene import Engine, Scene, View

DEEP = 0.03
"""A thing extends by this fraction of its distance; measured best on generated scenes, see docs/performance.md."""

_LONGER_SIDE = 512
"""Sides are found on a mesh of about this many pixels on its longer side, in pictures with half as many, because they
have no detail."""

_SMOOTH = (5, 5)
"""Square of mesh pixels over which a thing's colour is averaged, because its edges are noisy."""

_STEP = 1.1
"""If distances in that square differ by this factor there is a step, and its two sides are not mixed."""

_TOGETHER = 16
"""Number of frames drawn together."""

_AROUND = 5
"""Side in mesh pixels of the square that widens what moves, because masks are never exact."""

_LEAST = 3
"""Specks narrower than this many of those pixels are depth errors along an edge."""


@dataclass(frozen=True)
class Sides:
    """What a view shows of things, with their sides.

    Attributes:
        colour: (h,w,3) uint8, meaningless where the weight is 0.
        weight: (h,w) float32 from 0 to 1, the thing's share of a pixel.
        static_inverse_distance: (h,w) float32, of the mesh where it stands still, 0 where it moves; None if it is not
            known what moves.
    """

    colour: NDArray[np.uint8]
    weight: NDArray[np.float32]
    static_inverse_distance: NDArray[np.float32] | None


def sides(scene: Scene, engine: Engine, cameras: Sequence[int]) -> Iterator[Sides]:
    """Yield the sides of things seen by these cameras of the path, in order."""
    path = scene.path
    for first in range(0, len(cameras), _TOGETHER):
        light, smaller = _light(scene, cameras[first : first + _TOGETHER])
        size = (smaller * light.path.width, smaller * light.path.height)
        within = (slice(path.height), slice(path.width))
        pairs = [(t, t) for t in range(len(light.mesh))]
        for (t, _), view in zip(pairs, engine.views(light, pairs, surfaces=True), strict=True):
            colour, is_thing = _things(light, t, view)
            static = _static(light, t, view)
            if static is not None:
                static = np.asarray(cv2.resize(static, size, interpolation=cv2.INTER_NEAREST)[within], np.float32)
            further = cv2.resize(_two_pixels_further(colour, is_thing), size)[within]
            weight = cv2.resize(cv2.blur(is_thing.astype(np.float32), (3, 3)), size)[within]
            yield Sides(np.asarray(further, np.uint8), np.asarray(weight, np.float32), static)


def _light(scene: Scene, cameras: Sequence[int]) -> tuple[Scene, int]:
    """The scene of these cameras with fewer vertices and smaller pictures, and the factor by which they are smaller."""
    mesh, path, frames = scene.mesh, scene.path, [scene.frame_of(camera) for camera in cameras]
    apart = max(1, round(max(mesh.width, mesh.height) / _LONGER_SIDE))
    depth = np.stack([mesh.depth[t, ::apart, ::apart] for t in frames])
    depth[:, [0, -1], :] = mesh.shell
    depth[:, :, [0, -1]] = mesh.shell
    k = mesh.intrinsics[frames].copy()
    k[:, :2] /= apart
    k[:, :2, 2] += 0.5 - 0.5 / apart  # of each apart x apart block, the top left pixel is kept
    poses = mesh.source_to_world[frames]
    few = replace(mesh, depth=depth, intrinsics=k, source_to_world=poses, left_out=None)
    smaller = max(1, round(2 * max(path.width, path.height) / _LONGER_SIDE))
    lens = path.intrinsics[cameras].copy()
    lens[:, :2] /= smaller
    size = (-(-path.width // smaller), -(-path.height // smaller))
    # Up to half a mesh pixel beside the vertices if the size is no multiple, which smoothing hides.
    size_of_mesh = depth.shape[2], depth.shape[1]
    small = (cv2.resize(scene.pictures[t], size_of_mesh, interpolation=cv2.INTER_AREA) for t in frames)
    pictures = np.stack([_smoothed(picture, of_frame) for picture, of_frame in zip(small, depth, strict=True)])
    moving = None if scene.moving is None else np.stack([_any_of(scene.moving[t], apart) for t in frames])
    return Scene(few, pictures, CameraPath(path.camera_to_world[cameras], lens, *size), moving=moving), smaller


def _any_of(mask: NDArray[np.bool_], apart: int) -> NDArray[np.bool_]:
    """Whether anything is set in each `apart` x `apart` block of a mask (h,w)."""
    block = np.ones((apart, apart), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), block, anchor=(0, 0))[::apart, ::apart] > 0


def _smoothed(colour: NDArray, depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Average the colour (h,w,3), but never across a step of the depth (h,w)."""
    square = np.ones(_SMOOTH, np.uint8)
    nearest, farthest = cv2.erode(depth, square), cv2.dilate(depth, square)
    is_step, is_near = farthest > _STEP * nearest, depth * depth < nearest * farthest
    result = cv2.blur(colour, _SMOOTH)
    for side in (is_step & is_near, is_step & ~is_near):
        weight = side.astype(np.uint8)
        sums = cv2.boxFilter(cv2.copyTo(colour, weight), cv2.CV_16S, _SMOOTH, normalize=False)[side]
        result[side] = sums / cv2.boxFilter(weight, cv2.CV_16S, _SMOOTH, normalize=False)[side][:, None]
    return np.asarray(result, np.uint8)


def _things(scene: Scene, t: int, view: View) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Colour (h,w,3) of the nearest corner of the faces seen, and where (h,w) it is real or continues."""
    assert view.surface is not None
    mesh, path, ids = scene.mesh, scene.path, view.surface.ids
    row, column = np.divmod(ids >> 1, mesh.width)
    # The outermost quads lead to the shell and the last two faces close it; the source saw none of them.
    inside = (row > 0) & (column > 0) & (row < mesh.height - 2) & (column < mesh.width - 2)
    corner = np.where(inside, ids >> 1, 0)
    depth, nearest = mesh.depth[t].ravel(), corner
    near = depth[corner]
    for other in (1, mesh.width, mesh.width + 1):
        at_other = depth[corner + other]
        nearest = np.where(at_other < near, corner + other, nearest)
        near = np.minimum(near, at_other)
    to_source = inverse(mesh.source_to_world[t]) @ path.camera_to_world[t]
    k = path.intrinsics[t]
    x = (np.arange(path.width) + 0.5 - k[0, 2]) / k[0, 0] * to_source[2, 0]
    y = (np.arange(path.height) + 0.5 - k[1, 2]) / k[1, 1] * to_source[2, 1]
    # depth = to_source[2, :3] @ (x, y, 1) * distance + to_source[2, 3], with distance = 1 / inverse_distance
    slope = (x + (y + to_source[2, 2])[:, None]).astype(np.float32)
    limit = near * np.float32(1 + DEEP) - np.float32(to_source[2, 3])
    is_side = inside & (slope < limit * view.surface.inverse_distance)
    is_thing = ((view.mask > 0) | is_side).astype(np.uint8)
    is_thing = cv2.morphologyEx(is_thing, cv2.MORPH_OPEN, np.ones((_LEAST, _LEAST), np.uint8))
    return scene.pictures[t].reshape(-1, 3)[nearest], is_thing > 0


def _static(scene: Scene, t: int, view: View) -> NDArray[np.float32] | None:
    """`Sides.static_inverse_distance` in the size of the view."""
    if scene.moving is None:
        return None
    assert view.surface is not None
    ids = view.surface.ids
    moving = cv2.dilate(scene.moving[t].astype(np.uint8), np.ones((_AROUND, _AROUND), np.uint8)).ravel()
    moves = (ids >= 0) & (moving[np.minimum(np.maximum(ids, 0) >> 1, moving.size - 1)] > 0)
    around = cv2.dilate(moves.astype(np.uint8), np.ones((_LEAST, _LEAST), np.uint8)) > 0
    return np.where(around, np.float32(0), view.surface.inverse_distance)


def _two_pixels_further(colour: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Extend the colour (h,w,3) of known pixels (h,w) to those around them, because it is about to be enlarged."""
    weight = known.astype(np.float32)[..., None]
    sums = cv2.boxFilter(np.dstack([colour * weight, weight]), -1, (5, 5), normalize=False)
    return np.where(known[..., None], colour, sums[..., :3] / np.maximum(sums[..., 3:], 1)).astype(np.uint8)
