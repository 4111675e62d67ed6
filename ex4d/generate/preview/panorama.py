"""A picture of everything around a point, with distances: an environment map with parallax."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_RAYS = 128
"""Number of rays traced for each row of a view, or a few more."""

_STEPS = 5
"""How often a ray is extended to the panorama's distance in its direction."""


@dataclass(frozen=True)
class Grid:
    """Pixels of an equirectangular panorama with 2n columns and n rows.

    Columns are azimuths from -pi to pi, from z towards x; rows are angles from straight up (-y) to straight down.

    Attributes:
        rows: n.
    """

    rows: int

    @property
    def columns(self) -> int:
        """2n."""
        return 2 * self.rows

    def places(self, points: NDArray[np.float32], middle: float = 0.0) -> NDArray[np.float32]:
        """Column and row (...,2) of the directions of points (...,3), in pixels from the top left corner.

        Columns extend from `middle`, an azimuth, by at most half a turn to the left and right.
        """
        sine, cosine, scale = np.float32(np.sin(middle)), np.float32(np.cos(middle)), np.float32(self.rows / np.pi)
        x, y, z = points[..., 0], points[..., 1], points[..., 2]
        azimuth = np.arctan2(x * cosine - z * sine, x * sine + z * cosine) + np.float32(middle + np.pi)
        return np.stack([azimuth, np.arctan2(np.hypot(x, z), -y)], axis=-1) * scale


@dataclass(frozen=True)
class Panorama:
    """The view from a point, coarse all around and fine in one part.

    Attributes:
        colour: (n,2n,3) uint8, see `Grid`.
        inverse_distance: (n,2n) float32 above 0, 1 / distance from the point.
        part: (h,w,3) uint8, a part of the same in finer pixels.
        corner: column and row of the part's top left pixel.
        fine: the panorama that `part` is a part of.
        world_to_panorama: (4,4), into the panorama's axes, with the point at 0.
    """

    colour: NDArray[np.uint8]
    inverse_distance: NDArray[np.float32]
    part: NDArray[np.uint8]
    corner: tuple[int, int]
    fine: Grid
    world_to_panorama: NDArray[np.float64]

    def view(
        self, camera_to_world: NDArray[np.float64], intrinsics: NDArray[np.float64], width: int, height: int
    ) -> NDArray[np.uint8]:
        """Render a picture (height,width,3) from a camera (4,4) with a lens (3,3).

        The point where a ray meets the surface is found by fixed-point iteration: follow the ray to the last distance
        looked up, look up the distance in the direction of that point, and repeat.
        """
        pose = self.world_to_panorama @ camera_to_world
        # One ray for the centre of each square block, with one more block on each side.
        block = max(1, width // _RAYS)
        rows, columns = -(-height // block) + 2, -(-width // block) + 2
        x = ((np.arange(columns) - 0.5) * block - intrinsics[0, 2]) / intrinsics[0, 0]
        y = ((np.arange(rows) - 0.5) * block - intrinsics[1, 2]) / intrinsics[1, 1]
        rays = np.stack(np.broadcast_arrays(x, y[:, None], 1.0), axis=-1) @ pose[:3, :3].T
        rays = (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).astype(np.float32)
        # The camera sees less than half a turn, so columns centred on its own azimuth have no seam.
        middle = float(np.arctan2(pose[0, 2], pose[2, 2]))
        places = self.fine.places(self._met(rays, pose[:3, 3].astype(np.float32)), middle)
        size = (columns * block, rows * block)
        within = (slice(block, block + height), slice(block, block + width))
        coarse = looked_up(self.colour, places * np.float32(len(self.colour) / self.fine.rows))
        picture = np.array(cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)[within], np.uint8)
        first, last = float(places[..., 0].min()), float(places[..., 0].max())
        for turn in (-self.fine.columns, 0, self.fine.columns):
            left = self.corner[0] + turn
            if first < left + self.part.shape[1] and last > left:
                at = cv2.resize(places - np.array((left + 0.5, self.corner[1] + 0.5), np.float32), size)[within]
                # Outside the part, the picture stays as it is.
                column, row = cv2.split(at)
                cv2.remap(self.part, column, row, cv2.INTER_LINEAR, picture, cv2.BORDER_TRANSPARENT)
        return picture

    def _met(self, rays: NDArray[np.float32], start: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points (h,w,3) where unit rays (h,w,3) from `start` (3,) meet the panorama's surface."""
        grid, along, square = Grid(len(self.colour)), rays @ start, start @ start
        points = rays
        for _step in range(_STEPS):
            distance = 1 / looked_up(self.inverse_distance, grid.places(points))
            # A camera beyond the surface looks at it from just in front.
            way = np.sqrt(np.maximum(along**2 - square + distance**2, 0)) - along
            points = start + rays * np.maximum(way, np.float32(1e-3) * distance)[..., None]
        return points


def looked_up(panorama: NDArray, places: NDArray[np.float32]) -> NDArray:
    """Look up values (h,w,...) of a panorama at places (h,w,2) of its `Grid`, interpolated and wrapped around."""
    column, row = cv2.split(places - np.float32(0.5))
    return np.asarray(cv2.remap(panorama, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))
