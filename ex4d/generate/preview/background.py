"""The background of a shot: a panorama of what a camera would see if nothing stood in front of it.

One for the whole shot, so that whatever is filled from it stays still. `benchmarks/invented.py` measures it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.generate.preview.panorama import Grid, Panorama, looked_up
from ex4d.geometry import ground
from ex4d.geometry.transforms import inverse
from ex4d.render.scene import Scene

FRAMES = 8
"""Number of frames examined, evenly spread over the shot."""

SAME = 1.1
"""Surfaces whose inverse distances differ by less than this factor are the same; models' depth pumps by that much."""

NEARER, PARALLAX_DEGREES = 1.2, 8.0
"""Something is in front if its inverse distance is this many times that of the background, and if it visibly moves
against it by more than this along the path; mountains in front of the sky are background."""

WIDEST_THING = 25.0
"""Anything nearer than both its neighbours in its row and narrower than this, in degrees, is in front."""

LEAST_DEGREES = 1.0
"""Background between things in front that is narrower than this is more likely their rim."""

_FINEST = 1440
"""Maximum number of rows of the panorama, 0.125 degrees each."""

_ROWS, _CELL = 180, 0.25
"""Rows of the coarse panorama, and size in degrees of the cells in which things are judged to be in front."""

_HALF_WEIGHT = 4.0
"""Azimuth in degrees at which seen pixels have half the weight of those right next to it."""

_ACROSS, _FAINTER = (1.0, 4.0), 0.01
"""Widths in degrees over which neighbouring rows count, and the factor by which each counts less than the last."""


@dataclass(frozen=True)
class _Seen:
    """A part of the fine panorama that was seen.

    Attributes:
        colour: (h,w,3) float32.
        inverse_distance: (h,w) float32.
        known: (h,w) bool.
        corner: column and row of its top left pixel.
        grid: of the panorama.
    """

    colour: NDArray[np.float32]
    inverse_distance: NDArray[np.float32]
    known: NDArray[np.bool_]
    corner: tuple[int, int]
    grid: Grid


def background(scene: Scene) -> Panorama:
    """Build the background of a shot from its pictures and their depth; the same shot always gives the same background.

    Each direction gets the mean of the farthest surface that the frames saw there, without moving things if these are
    known. Things in front are removed. In their place, and where no frame looked, the background continues at the same
    elevation.
    """
    mesh = scene.mesh
    frames = np.unique(np.linspace(0, len(mesh) - 1, min(FRAMES, len(mesh))).round().astype(int))
    to_panorama = inverse(_pose(scene, frames))
    pixel = 1.5 / float(mesh.intrinsics[:, 0, 0].max())
    grid = Grid(int(np.clip(np.pi / pixel, _ROWS, _FINEST)))
    seen = _farthest(scene, frames, to_panorama, grid)
    cameras = scene.path.camera_to_world[scene.lead_in :, :3, 3] @ to_panorama[:3, :3].T + to_panorama[:3, 3]
    behind, farther_half = _without_things(seen, float(np.linalg.norm(cameras, axis=1).max()))
    return _completed(replace(seen, known=behind), farther_half, to_panorama)


def _pose(scene: Scene, frames: NDArray[np.int_]) -> NDArray[np.float64]:
    """Pose (4,4) of the panorama in the world: in the middle of the cameras, upright if a ground is found."""
    poses = scene.mesh.source_to_world[frames]
    plane = ground.found(_points(scene, int(frames[0])), poses[0, :3, 3], -poses[0, :3, 1])
    down = poses[:, :3, 1].mean(axis=0) if plane is None else -plane.normal
    down = down / max(float(np.linalg.norm(down)), 1e-9)
    # The camera's direction; if the camera looks straight down or all around, any other will do.
    ways = (poses[:, :3, 2].mean(axis=0), *np.eye(3))
    right = next(side for side in (np.cross(down, way) for way in ways) if np.linalg.norm(side) > 0.1)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 3] = right / np.linalg.norm(right), down, poses[:, :3, 3].mean(axis=0)
    pose[:3, 2] = np.cross(pose[:3, 0], pose[:3, 1])
    return pose


def _points(scene: Scene, t: int) -> NDArray[np.float64]:
    """A sample of points (N,3) of frame `t` in the world."""
    mesh = scene.mesh
    apart = max(1, mesh.width // 64)
    rows, columns = np.mgrid[1 : mesh.height - 1 : apart, 1 : mesh.width - 1 : apart]
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(rows.shape)], axis=-1)
    points = pixels @ np.linalg.inv(mesh.intrinsics[t]).T * mesh.depth[t, rows, columns][..., None]
    pose = mesh.source_to_world[t]
    return np.asarray((points @ pose[:3, :3].T + pose[:3, 3]).reshape(-1, 3))


@dataclass(frozen=True)
class _Pixels:
    """Pixels of one frame: their positions in the panorama (N,), their inverse distances (N,) and colours (N,3)."""

    row: NDArray[np.int32]
    column: NDArray[np.int32]
    inverse_distance: NDArray[np.float32]
    colour: NDArray[np.uint8]


def _pixels(scene: Scene, t: int, to_panorama: NDArray[np.float64], grid: Grid) -> _Pixels:
    """Static pixels of frame `t`, about as dense as the panorama's; not the border, whose depth is the shell's."""
    mesh, k = scene.mesh, scene.mesh.intrinsics[t]
    apart = max(1, int(np.pi / grid.rows * float(k[0, 0])))
    within = (slice(1, -1, apart), slice(1, -1, apart))
    pose = (to_panorama @ mesh.source_to_world[t]).astype(np.float32)
    x = ((np.arange(mesh.width)[within[1]] + 0.5 - k[0, 2]) / k[0, 0]).astype(np.float32)
    y = ((np.arange(mesh.height)[within[0]] + 0.5 - k[1, 2]) / k[1, 1]).astype(np.float32)
    points = np.stack(np.broadcast_arrays(x, y[:, None], np.float32(1)), axis=-1) @ pose[:3, :3].T
    points = points * mesh.depth[t][within][..., None] + pose[:3, 3]
    still = np.ones(points.shape[:2], np.bool_) if scene.moving is None else ~scene.moving[t][within]
    points, colour = points[still], scene.pictures[t][within][still]
    column, row = grid.places(points).astype(np.int32).T
    inverse_distance = 1 / np.maximum(np.linalg.norm(points, axis=1), np.float32(1e-6))
    return _Pixels(np.minimum(row, grid.rows - 1), column % grid.columns, inverse_distance, colour)


def _farthest(scene: Scene, frames: NDArray[np.int_], to_panorama: NDArray[np.float64], grid: Grid) -> _Seen:
    """The farthest surface in each direction, averaged over the frames that saw it."""
    with ThreadPoolExecutor() as pool:  # numpy releases the interpreter lock
        pixels = list(pool.map(lambda t: _pixels(scene, int(t), to_panorama, grid), frames))
    if not any(len(of_frame.row) for of_frame in pixels):  # everything moves, so there is nothing else to use
        pixels = [_pixels(replace(scene, moving=None), int(t), to_panorama, grid) for t in frames]
    pixels = [of_frame for of_frame in pixels if len(of_frame.row)]
    margin = _pixels_of(2 * LEAST_DEGREES, grid)
    top = max(min(int(of_frame.row.min()) for of_frame in pixels) - margin, 0)
    left = max(min(int(of_frame.column.min()) for of_frame in pixels) - margin, 0)
    height = min(max(int(of_frame.row.max()) for of_frame in pixels) + margin + 1, grid.rows) - top
    width = min(max(int(of_frame.column.max()) for of_frame in pixels) + margin + 1, grid.columns) - left
    places = [(of_frame.row - top) * width + of_frame.column - left for of_frame in pixels]
    first, second = np.full((2, height * width), np.inf, np.float32)
    for of_frame, place in zip(pixels, places, strict=True):
        farthest = np.full(height * width, np.inf, np.float32)
        np.minimum.at(farthest, place, of_frame.inverse_distance)
        second = np.minimum(second, np.maximum(first, farthest))
        first = np.minimum(first, farthest)
    # A surface that only one frame saw may have been passing by.
    limit = np.where(np.isfinite(second), second, first) * np.float32(SAME)
    sums = np.zeros((5, height * width), np.float32)
    for of_frame, place in zip(pixels, places, strict=True):
        far = of_frame.inverse_distance <= limit[place]
        values = (*of_frame.colour[far].T, of_frame.inverse_distance[far], None)
        for total, weights in zip(sums, values, strict=True):
            total += np.bincount(place[far], weights, total.size)
    means = (sums[:4] / np.maximum(sums[4], 1)).reshape(4, height, width)
    known = (sums[4] > 0).reshape(height, width)
    return _Seen(np.moveaxis(means[:3], 0, -1), means[3], known, (left, top), grid)


def _pixels_of(degrees: float, grid: Grid) -> int:
    """The number of panorama pixels in this many degrees, at least one."""
    return max(1, round(degrees * grid.rows / 180))


def _without_things(seen: _Seen, travel: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which seen pixels (h,w) are background, and which of those belong to the farther half of their row.

    A morphological opening along the rows removes narrow things in front from the inverse distances; a floor stays, and
    so does an approaching wall.

    Args:
        seen: the farthest surfaces of all frames.
        travel: how far the path's cameras move from the panorama's centre.
    """
    known, inverse_distance, apart = seen.known, seen.inverse_distance, _pixels_of(_CELL, seen.grid)
    cells = cv2.dilate(np.where(known, inverse_distance, 0), _rectangle(apart, apart))[::apart, ::apart]
    side = round(WIDEST_THING / 180 * seen.grid.rows / apart) | 1
    padded = cv2.copyMakeBorder(cells, 0, 0, side, side, cv2.BORDER_CONSTANT, value=0)
    opened = cv2.morphologyEx(padded, cv2.MORPH_OPEN, _rectangle(1, side))[:, side:-side]
    unseen = np.float32(np.radians(PARALLAX_DEGREES) / max(travel, 1e-9))
    limit = opened * np.float32(NEARER) + unseen
    middle = np.array([np.median(row[row > 0]) if (row > 0).any() else 0 for row in np.where(cells <= limit, cells, 0)])
    size = (known.shape[1], known.shape[0])
    in_front = inverse_distance > cv2.resize(limit, size, interpolation=cv2.INTER_NEAREST)
    front = cv2.dilate((known & in_front).astype(np.uint8), _rectangle(3, 3)) > 0
    whole = cv2.morphologyEx((known & ~front).astype(np.uint8), cv2.MORPH_CLOSE, _rectangle(3, 3))
    least = _pixels_of(LEAST_DEGREES, seen.grid)
    behind = known & ~front & (cv2.morphologyEx(whole, cv2.MORPH_OPEN, _rectangle(least, least)) > 0)
    if not behind.any():  # for example if only one narrow thing was seen
        return known, known
    far = np.repeat(middle, apart)[: known.shape[0], None] * np.float32(NEARER) + unseen
    return behind, behind & (inverse_distance <= far)


def _rectangle(height: int, width: int) -> NDArray[np.uint8]:
    return np.ones((height, width), np.uint8)


def _completed(seen: _Seen, farther_half: NDArray[np.bool_], to_panorama: NDArray[np.float64]) -> Panorama:
    """Complete the panorama without gaps.

    Normalised convolution (Knutsson and Westin 1993), wide along the azimuth and narrow across. The kernel falls off
    with the square of the angle: near seen pixels the background continues as it is there, farther away it becomes the
    mean of its elevation.

    Args:
        seen: the background.
        farther_half: (h,w) which part of it continues elsewhere.
        to_panorama: for the result.
    """
    values = np.dstack([seen.colour, seen.inverse_distance, np.ones_like(seen.inverse_distance)])
    values *= seen.known[..., None]
    sums = _spread(_coarse(values * farther_half[..., None], seen))
    coarse = (sums[..., :4] / sums[..., 4:]).astype(np.float32)
    colour, distance, own = coarse[..., :3].copy(), coarse[..., 3], _coarse(values, seen)
    distance = np.where(own[..., 4] > 0.5, own[..., 3] / np.maximum(own[..., 4], 1e-9), distance)
    height, width = seen.known.shape
    u = (np.arange(width, dtype=np.float32) + seen.corner[0] + 0.5) * np.float32(_ROWS / seen.grid.rows)
    v = (np.arange(height, dtype=np.float32) + seen.corner[1] + 0.5) * np.float32(_ROWS / seen.grid.rows)
    part = looked_up(colour, np.stack(np.broadcast_arrays(u, v[:, None]), axis=-1))
    side = _pixels_of(LEAST_DEGREES, seen.grid) | 1
    around = cv2.blur(values, (side, side), borderType=cv2.BORDER_CONSTANT)
    # Cracks between pixels take their surroundings; towards gaps the picture blends into the coarse panorama.
    sharp = np.where(seen.known[..., None], seen.colour, around[..., :3] / np.maximum(around[..., 4:], 1e-6))
    part += np.clip(2 * around[..., 4:] - 0.5, 0, 1) * (sharp - part)
    return Panorama(_bytes(colour), distance, _bytes(part), seen.corner, seen.grid, to_panorama)


def _bytes(colour: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.clip(colour + 0.5, 0, 255).astype(np.uint8)


def _coarse(values: NDArray[np.float32], seen: _Seen) -> NDArray[np.float32]:
    """Means (n,2n,5) of values (h,w,5) of a part of the fine panorama over the pixels of the coarse one, else 0."""
    left, top = seen.corner
    height, width = seen.known.shape
    scale = _ROWS / seen.grid.rows
    # Both only grow, by less than 1 per step, so values are summed between the places where they do.
    row = ((np.arange(height) + top + 0.5) * scale).astype(int)
    column = ((np.arange(width) + left + 0.5) * scale).astype(int)
    by_row = np.add.reduceat(values, np.r_[0, np.nonzero(np.diff(row))[0] + 1], axis=0)
    by_both = np.add.reduceat(by_row, np.r_[0, np.nonzero(np.diff(column))[0] + 1], axis=1)
    result = np.zeros((_ROWS, 2 * _ROWS, values.shape[2]), np.float32)
    result[row[0] : row[-1] + 1, column[0] : column[-1] + 1] = by_both * np.float32(scale**2)
    return result


def _spread(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Weighted sums (n,2n,5) of values (n,2n,5) around each pixel of the coarse panorama; the last is the weight."""
    across = np.zeros_like(values)
    for number, degrees in enumerate(_ACROSS):
        sigma = degrees * _ROWS / 180
        gauss = cv2.getGaussianKernel(2 * int(3 * sigma + 0.5) + 1, sigma, cv2.CV_32F)
        along = np.ones(1, np.float32)
        blurred = cv2.sepFilter2D(values, -1, along, gauss, borderType=cv2.BORDER_CONSTANT)
        across += np.float32(_FAINTER**number) * blurred
    # Above and below everything that was seen, its outermost rows continue.
    known = np.nonzero(across[..., 4].max(axis=1) > 1e-9)[0]
    across = across[known[np.abs(np.arange(_ROWS)[:, None] - known).argmin(axis=1)]]
    column = np.arange(2 * _ROWS)
    angle = np.minimum(column, 2 * _ROWS - column) * 180 / _ROWS
    kernel = np.fft.rfft(1 / (1 + (angle / _HALF_WEIGHT) ** 2))
    return np.fft.irfft(np.fft.rfft(across, axis=1) * kernel[None, :, None], n=2 * _ROWS, axis=1)
