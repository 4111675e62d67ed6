"""Which pixels of a view are filled from other frames: one rule for rendering and for live coverage.

Surfaces of other frames fill what a frame itself leaves open, unless something that the frame knows contradicts it,
see `Frame`; `ex4d.render.world` explains why.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.mesh import DWMesh
from ex4d.render import looked_through, movers
from ex4d.render.scene import Surface, View

SAME_DISTANCE = 0.02
"""Distances are the same if their ratio differs from 1 by less than this."""

FINER = 1.05
"""Of the frames that saw a surface, those whose pixels on it are at most this much larger than the finest may lend it;
of these, the nearest in time does."""

RIM = 3
"""Side in pixels of the square that erodes masks where their rim does not count, because it is least certain."""

NEAREST = 0.999
"""Fraction of a view that is farther away than what counts as its nearest surface."""


@dataclass(frozen=True)
class Frame:
    """What contradicts filling a frame, from wherever it is seen.

    - In front of its own mesh everything is empty, because the frame looked through that space.
    - Right behind something that moves is its far side, which no frame saw.
    - No line of sight leads through space that no frame looked into, or where something moves that this frame cannot
      see, see `ex4d.render.looked_through`.

    Attributes:
        seen: (H,W) float32, the distance up to which everything in front of the frame's mesh is empty.
        reach: how far the frame looked along lines of sight, at its full size (H,W).
        moving: the space that moving things occupy, at its full size; None if nothing moves in the whole frame.
        nearby: the space that they occupy shortly before and after, in the axes of the frame's source camera.
    """

    seen: NDArray[np.float32]
    reach: looked_through.Reach
    moving: movers.Extent | None
    nearby: movers.Occupied

    @staticmethod
    def of(mesh: DWMesh, t: int, moving: NDArray[np.bool_], nearby: movers.Occupied = movers.NOTHING) -> "Frame":
        """What frame `t` of a mesh knows, given what moves in it (H,W), and `nearby` in the axes of the world."""
        extent = movers.extent(moving, mesh.depth[t], mesh.intrinsics[t]) if moving.any() else None
        # A pixel shows one depth of a slope and of an edge: next to it, nearer ones may be there.
        seen = np.asarray(cv2.erode(mesh.depth[t], _square(RIM)), np.float32)
        reach = looked_through.reach(mesh.depth[t], mesh.intrinsics[t])
        return Frame(seen, reach, extent, nearby.from_axes(mesh.source_to_world[t]))

    def has_looked_through(self, camera: "Camera", at: "Pixels", inverse: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether points (n,m) lie in front of what the frame sees there.

        Args:
            camera: sees the points.
            at: the m pixels.
            inverse: (n,m) 1 / distance from the camera; 0 where there is no point.
        """
        height, width = self.seen.shape
        to_source = self.reach.intrinsics @ camera.to_source[:3]
        along = (to_source[:, :3] @ camera.rays(at)).astype(np.float32)
        from_eye = to_source[:, 3:].astype(np.float32)
        empty = np.zeros(inverse.shape, np.bool_)
        for one, into in zip(inverse, empty, strict=True):
            there = np.flatnonzero(one)
            x, y, z = along[:, there] / one[there] + from_eye
            z = np.where(z > 0, z, np.float32(np.nan))
            with np.errstate(invalid="ignore"):
                inside = (x >= 0) & (x < width * z) & (y >= 0) & (y < height * z)
            there, x, y, z = there[inside], x[inside], y[inside], z[inside]
            # A point just inside may be rounded to the edge by the division.
            row, column = np.minimum((y / z).astype(int), height - 1), np.minimum((x / z).astype(int), width - 1)
            into[there] = z * (1 + SAME_DISTANCE) < self.seen[row, column]
        return empty

    def own(self, camera: "Camera") -> looked_through.Own:
        """What the frame knows about the space in front of a camera."""
        back = np.zeros_like(self.seen) if self.moving is None else self.moving.back
        to_pixels = self.reach.intrinsics @ camera.to_source[:3]
        return looked_through.Own(self.reach, back, to_pixels, self.nearby.from_axes(camera.to_source))

    def beside_movers(self, camera: "Camera", surface: Surface, sure: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where (h,w) the far side of a moving thing may be visible, among what the frame is not `sure` of.

        There the camera looks between the thing and its background, so the first face that it meets is one of those
        that bridge the two.
        """
        beside = np.zeros(sure.shape, np.uint8)
        if self.moving is None:
            return beside > 0
        height, width = self.seen.shape
        rows, columns = np.nonzero(~sure & (surface.ids >= 0))
        row, column = np.divmod(np.minimum(surface.ids[rows, columns] >> 1, self.seen.size - 1), width)
        below, right = np.minimum(row + 1, height - 1), np.minimum(column + 1, width - 1)
        corners = [(row, column), (below, column), (row, right), (below, right)]
        nearest = np.minimum.reduce([self.moving.front[at] for at in corners])
        deepest = np.maximum.reduce([self.moving.back[at] for at in corners])
        # Distances of the faces from the source camera.
        x, y, _ = camera.rays((rows, columns))
        along = camera.to_source[2, 0] * x + camera.to_source[2, 1] * y + camera.to_source[2, 2]
        depth = along / surface.inverse_distance[rows, columns] + camera.to_source[2, 3]
        inside = np.isfinite(nearest) & (depth < deepest)
        beside[rows[inside], columns[inside]] = 1
        return cv2.dilate(beside, _square(5)) > 0


Pixels = tuple[NDArray[np.int_], NDArray[np.int_]]
"""Rows (m,) and columns (m,)."""


@dataclass(frozen=True)
class Camera:
    """The camera that looks at a frame.

    Attributes:
        to_source: (4,4) from its axes to those of the frame's source camera.
        intrinsics: (3,3), pixels.
    """

    to_source: NDArray[np.float64]
    intrinsics: NDArray[np.float64]

    def rays(self, at: Pixels) -> NDArray[np.float64]:
        """Directions (3,m) through the centres of pixels, scaled to 1 along the optical axis."""
        (rows, columns), k = at, self.intrinsics
        return np.stack([(columns + 0.5 - k[0, 2]) / k[0, 0], (rows + 0.5 - k[1, 2]) / k[1, 1], np.ones(len(rows))])


@dataclass(frozen=True)
class Lenders:
    """The source cameras of n other views.

    Attributes:
        places: (n,3) in the axes of the camera that looks.
        focals: (n,) pixels.
    """

    places: NDArray[np.float64]
    focals: NDArray[np.float64]

    def pixel_sizes(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        """The size (n,m) of each view's pixels at points (3,m), in the unit of the depth."""
        at, places, focals = (array.astype(np.float32) for array in (points, self.places, self.focals))
        away = [np.sqrt(np.square(at - place[:, None]).sum(axis=0)) for place in places]
        return np.asarray(np.stack(away) / focals[:, None], np.float32)


@dataclass(frozen=True)
class Filled:
    """Which pixels are filled, and from which views.

    Attributes:
        at: the m pixels.
        by: (m,) numbers of the views that fill them.
    """

    at: Pixels
    by: NDArray[np.int_]


def filled(
    own: View,
    sure: NDArray[np.bool_],
    others: Sequence[View],
    frame: Frame | None,
    camera: Camera,
    sight: looked_through.Sight,
    lenders: Lenders | None = None,
) -> Filled | None:
    """Which pixels of a frame's own view are filled from views of other frames.

    Args:
        own: the frame's own view, with its surface.
        sure: (h,w) bool, what the frame itself shows for certain, see `eroded`.
        others: from the same camera, with their surfaces; the nearest in time first.
        frame: what contradicts filling; None fills with everything that the others saw.
        camera: of all these views.
        sight: how far other frames saw, from that camera.
        lenders: the other views' source cameras; None if it does not matter which of several frames lends a surface.

    Returns:
        None if there is nothing to fill, or no view to fill it from.
    """
    assert own.surface is not None
    wanted = ~sure if frame is None else ~sure & ~frame.beside_movers(camera, own.surface, sure)
    if not others or not wanted.any():
        return None
    surfaces = [view.surface.inverse_distance for view in others if view.surface]
    rows, columns = np.nonzero(wanted)
    inverse = np.stack([surface[rows, columns] for surface in surfaces])
    # Where the frame shows its own rim, only pixels that are not at a rim themselves are better.
    rim = own.mask[rows, columns] > 0
    for seen, view in zip(inverse, others, strict=True):
        seen[~np.where(rim, eroded(view.mask)[rows, columns], view.mask[rows, columns] > 0)] = 0
    if frame is not None:
        inverse[frame.has_looked_through(camera, (rows, columns), inverse)] = 0
    nearest = inverse.max(axis=0)
    fills = nearest > 0
    at = rows[fills], columns[fills]
    # Of the frames that show the nearest surface, those with the finest pixels; of these, the nearest in time.
    lends = inverse[:, fills] >= nearest[fills] * np.float32(1 - SAME_DISTANCE)
    if lenders is not None:
        size = np.where(lends, lenders.pixel_sizes(camera.rays(at) / nearest[fills]), np.inf)
        lends = size <= FINER * size.min(axis=0)
    by = lends.argmax(axis=0)
    if frame is not None:
        in_view = float(np.quantile(own.surface.inverse_distance, NEAREST))
        crosses = looked_through.crosses_unseen(camera.rays(at), nearest[fills], in_view, frame.own(camera), sight)
        at, by = (at[0][~crosses], at[1][~crosses]), by[~crosses]
    return Filled(at, by)


def eroded(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a mask (h,w) is set, without its rim; bool."""
    return cv2.erode(mask, _square(RIM)) > 0


def _square(side: int) -> NDArray[np.uint8]:
    return np.ones((side, side), np.uint8)
