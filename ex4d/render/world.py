"""What other frames saw of the world that stands still, brought to where the frame itself saw nothing.

A frame's own mesh is drawn first, then the meshes of other frames, without what moves, from the same camera. Their
surfaces fill what the frame itself leaves open, unless something that the frame knows speaks against it:

- In front of its own mesh all is empty: the frame has looked through there.
- Right behind something that moves is its other side, which nobody has seen: as deep as the thing is wide, nothing is
  filled there.

Figures are in docs/performance.md; the idea is the "4D persistence" of Vista4D (2026) and CamDirector (arXiv
2603.02256), on meshes instead of points.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import transforms
from ex4d.render.scene import Engine, Scene, Surface, View

DONOR_FRAMES = 8
"""So many frames, evenly spread over the shot, are asked what they saw: twice as many show half a percent more."""

SAME_DISTANCE = 0.02
"""Distances whose ratio differs from 1 by less than this are the same."""

RIM = 3
"""Side in pixels of the square by which masks are eroded before anything is filled: rims are the least certain."""

_AROUND = 7
"""Side of the square by which what moves is widened in other frames: its mask is never exact."""

_ACROSS, _LEAST_OVERLAP = 128, 100
"""Exposures are compared at so many places along a row, if so many of all places show the same surface in both."""

_AT_ONCE = 4
"""Frames that are filled at a time; each takes some 60 MB of views at 1024x576."""

_GAIN = 1.5
"""Most that a frame is made brighter or darker, to the exposure of the one that it fills."""


class World:
    """What stands still in a shot, as its other frames saw it.

    Args:
        scene: the shot, what moves in it, and the path.
        engine: what draws.
    """

    def __init__(self, scene: Scene, engine: Engine) -> None:
        if scene.moving is None:
            raise ValueError("what moves is not known")
        self._scene, self._moving, self._engine = scene, scene.moving, engine
        self._donors = donors(len(scene.mesh))
        left_out = np.zeros(self._moving.shape, np.bool_)
        for t in self._donors:
            left_out[t] = cv2.dilate(self._moving[t].astype(np.uint8), _square(_AROUND)) > 0
        self._still = replace(scene, mesh=replace(scene.mesh, left_out=left_out))

    def views(self, frames: Sequence[int]) -> Iterator[View]:
        """What these frames show from their own cameras, filled, in their order.

        A few at a time are in memory, each with those that fill it.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for first in range(0, len(frames), _AT_ONCE):
                some, waiting = frames[first : first + _AT_ONCE], []
                for t, own in zip(some, self._engine.views(self._scene, [(t, t) for t in some], True), strict=True):
                    asked = sorted((donor for donor in self._donors if donor != t), key=lambda donor: abs(donor - t))
                    views = list(self._engine.views(self._still, [(donor, t) for donor in asked], surfaces=True))
                    waiting.append(pool.submit(self._fill, t, own, views))
                for filled in waiting:
                    yield filled.result()

    def _fill(self, t: int, own: View, views: Sequence[View]) -> View:
        """What frame `t` shows from camera `t`, filled from views of other frames, the nearest in time first."""
        assert own.surface is not None
        colour, mask, borrowed = own.colour.copy(), own.mask.copy(), np.zeros(own.mask.shape, np.bool_)
        sure = _eroded(own.mask)
        everywhere = self._scene.persistence == "all"
        wanted = ~sure if everywhere else ~sure & ~self._beside_movers(t, own.surface, sure)
        if not views or not wanted.any():
            return View(colour, mask, borrowed=borrowed)
        surfaces = [view.surface.inverse_distance for view in views if view.surface]
        rows, columns = np.nonzero(wanted)
        inverse = np.stack([surface[rows, columns] for surface in surfaces])
        for seen, view in zip(inverse, views, strict=True):
            seen[~_eroded(view.mask)[rows, columns]] = 0
        if not everywhere:
            inverse[self._is_seen_empty(t, rows, columns, inverse)] = 0
        nearest = inverse.max(axis=0)
        fills = nearest > 0
        # The nearest surface; of frames that show the same one, the nearest in time.
        chosen = (inverse[:, fills] >= nearest[fills] * np.float32(1 - SAME_DISTANCE)).argmax(axis=0)
        rows, columns = rows[fills], columns[fills]
        for number in np.unique(chosen):
            at = rows[chosen == number], columns[chosen == number]
            gain = _gain(own, sure, views[number])
            colour[at] = np.clip(views[number].colour[at] * gain + 0.5, 0, 255).astype(np.uint8)
        mask[rows, columns], borrowed[rows, columns] = 255, True
        return View(colour, mask, borrowed=borrowed)

    def _is_seen_empty(
        self, t: int, rows: NDArray[np.int_], columns: NDArray[np.int_], inverse: NDArray[np.float32]
    ) -> NDArray[np.bool_]:
        """Whether places lie in front of what frame `t` sees there: it has looked through them.

        Args:
            t: frame and camera.
            rows, columns: (m,) of pixels of the camera.
            inverse: (n,m) 1 / distance from it; 0 where there is no place.
        """
        mesh, path = self._scene.mesh, self._scene.path
        to_source = mesh.intrinsics[t] @ (transforms.inverse(mesh.source_to_world[t]) @ path.camera_to_world[t])[:3]
        k = path.intrinsics[t]
        ray = np.stack([(columns + 0.5 - k[0, 2]) / k[0, 0], (rows + 0.5 - k[1, 2]) / k[1, 1], np.ones(len(rows))])
        along, from_eye = (to_source[:, :3] @ ray).astype(np.float32), to_source[:, 3:].astype(np.float32)
        seen = cv2.erode(mesh.depth[t], _square(RIM))  # next to an edge, what is behind either side may be there
        empty = np.zeros(inverse.shape, np.bool_)
        for one, into in zip(inverse, empty, strict=True):
            there = np.flatnonzero(one)
            x, y, z = along[:, there] / one[there] + from_eye
            z = np.where(z > 0, z, np.float32(np.nan))
            with np.errstate(invalid="ignore"):
                inside = (x >= 0) & (x < mesh.width * z) & (y >= 0) & (y < mesh.height * z)
            there, x, y, z = there[inside], x[inside], y[inside], z[inside]
            into[there] = z * (1 + SAME_DISTANCE) < seen[(y / z).astype(int), (x / z).astype(int)]
        return empty

    def _beside_movers(self, t: int, surface: Surface, sure: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where (h,w) the other side of something that moves may be seen, among what the frame is not `sure` of.

        There the camera looks between the thing and what is behind it, so the first face that it meets is one of those
        that bridge both.
        """
        mesh, path = self._scene.mesh, self._scene.path
        beside = np.zeros(sure.shape, np.uint8)
        if not self._moving[t].any():
            return beside > 0
        rows, columns = np.nonzero(~sure & (surface.ids >= 0))
        front, back = _extent(self._moving[t], mesh.depth[t], float(mesh.intrinsics[t, 0, 0]))
        row, column = np.divmod(np.minimum(surface.ids[rows, columns] >> 1, front.size - 1), mesh.width)
        below, right = np.minimum(row + 1, mesh.height - 1), np.minimum(column + 1, mesh.width - 1)
        corners = [(row, column), (below, column), (row, right), (below, right)]
        nearest = np.minimum.reduce([front[at] for at in corners])
        deepest = np.maximum.reduce([back[at] for at in corners])
        # How far the faces are from the source camera.
        to_source = transforms.inverse(mesh.source_to_world[t]) @ path.camera_to_world[t]
        k = path.intrinsics[t]
        x, y = (columns + 0.5 - k[0, 2]) / k[0, 0], (rows + 0.5 - k[1, 2]) / k[1, 1]
        along = to_source[2, 0] * x + to_source[2, 1] * y + to_source[2, 2]
        depth = along / surface.inverse_distance[rows, columns] + to_source[2, 3]
        inside = np.isfinite(nearest) & (depth < deepest)
        beside[rows[inside], columns[inside]] = 1
        return cv2.dilate(beside, _square(5)) > 0


def donors(frames: int) -> Sequence[int]:
    """Numbers of the frames that are asked, of a shot of so many frames."""
    return [int(t) for t in np.unique(np.linspace(0, frames - 1, min(DONOR_FRAMES, frames)).round())]


def _square(side: int) -> NDArray[np.uint8]:
    return np.ones((side, side), np.uint8)


def _eroded(mask: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where a mask (h,w) is set, without its rim."""
    return cv2.erode(mask, _square(RIM)) > 0


def _extent(
    moving: NDArray[np.bool_], depth: NDArray[np.float32], focal: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """From which distance (H,W) to which each thing that moves reaches, taken to be as deep as it is wide or high.

    Infinite and 0 where nothing moves.
    """
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(moving.astype(np.uint8))
    front: NDArray[np.float32] = np.where(moving, depth, np.float32(np.inf))
    back = np.zeros_like(depth)
    for label in range(1, count):
        x, y, width, height, _ = boxes[label]
        box = slice(y, y + height), slice(x, x + width)
        thing = labels[box] == label
        distances = depth[box][thing]
        deep = min(width, height) * float(np.median(distances)) / focal
        back[box][thing] = distances + np.float32(deep)
    # The faces that bridge to the background begin at its rim, which the mask may miss by some pixels.
    square = _square(_AROUND)
    return np.asarray(cv2.erode(front, square), np.float32), np.asarray(cv2.dilate(back, square), np.float32)


def _gain(own: View, sure: NDArray[np.bool_], other: View) -> NDArray[np.float64]:
    """By what the channels (3,) of another frame's colours are multiplied, to this frame's exposure: by the surfaces
    that both see."""
    assert own.surface is not None
    assert other.surface is not None
    every = (slice(None, None, max(1, own.mask.shape[1] // _ACROSS)),) * 2
    ours, theirs = own.surface.inverse_distance[every], other.surface.inverse_distance[every]
    both = sure[every] & (other.mask[every] > 0) & (np.abs(theirs - ours) < SAME_DISTANCE * ours)
    if np.count_nonzero(both) < _LEAST_OVERLAP:
        return np.ones(3)
    ratio = np.median((own.colour[every][both] + 1.0) / (other.colour[every][both] + 1.0), axis=0)
    return np.asarray(np.clip(ratio, 1 / _GAIN, _GAIN))
