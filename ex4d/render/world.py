"""The static parts of the world that other frames saw, shown where the frame itself saw nothing.

A frame's own mesh is drawn first, then the meshes of other frames, without what moves, from the same camera. Their
surfaces fill what the frame itself leaves open, unless something that the frame knows contradicts it:

- In front of its own mesh everything is empty, because the frame looked through that space.
- Right behind a moving thing is its far side, which no frame saw, so nothing is filled there to a depth equal to its
  width or height, whichever is smaller.
- Someone whom the frame cannot see hides what is behind them, which the frames shortly before and after tell.

Figures are in docs/performance.md. The idea is the "4D persistence" of Vista4D (2026) and CamDirector (arXiv
2603.02256), on meshes instead of points.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import transforms
from ex4d.geometry.mesh import DWMesh
from ex4d.render import filling, looked_through, movers
from ex4d.render.donors import donors, nearby, nearest_first
from ex4d.render.scene import Earlier, Engine, Lent, Plate, Scene, View

_ACROSS, _LEAST_OVERLAP = 128, 100
"""Number of sample points per row for comparing exposures, and how many of all points must show the same surface."""

_AT_ONCE = 4
"""Frames that are filled at the same time; each takes about 60 MB of views at 1024x576."""

_GAIN = 1.5
"""Maximum factor by which a frame is brightened or darkened to match the exposure of the frame that it fills."""


@dataclass(frozen=True)
class _Lenders:
    """Views that lend to a frame, the nearest in time first, their numbers in `Lent.frames`, and the poses (n,4,4) and
    focal lengths (n,) in pixels of the cameras that saw what they show."""

    views: Sequence[View]
    numbers: Sequence[int]
    poses: NDArray[np.float64]
    focals: NDArray[np.float64]

    def and_those_of(self, others: "_Lenders") -> "_Lenders":
        """These and others."""
        return _Lenders(
            [*self.views, *others.views],
            [*self.numbers, *others.numbers],
            np.concatenate([self.poses, others.poses]),
            np.concatenate([self.focals, others.focals]),
        )


class World:
    """The static parts of a shot, as its other frames saw them.

    Args:
        scene: the shot, what moves in it, and the path.
        engine: draws the views.

    Raises:
        ValueError: it is not known what moves.
    """

    def __init__(self, scene: Scene, engine: Engine) -> None:
        if scene.moving is None:
            raise ValueError("what moves is not known")
        self._scene, self._moving, self._engine = scene, scene.moving, engine
        self._donors = donors(len(scene.mesh))
        left_out = np.zeros(self._moving.shape, np.bool_)
        for t in self._donors:
            left_out[t] = movers.widened(self._moving[t])
        mesh = scene.mesh
        self._still = replace(scene, mesh=replace(mesh, left_out=left_out, see_through=scene.persistence == "fill"))
        self._looks = looks_of(mesh, self._donors, self._donors)
        if scene.persistence == "fill":
            self._at_rest = self._looks.at_rest([self._moving[t] for t in self._donors])
        self._extents: dict[int, movers.Extent | None] = {}
        self._packed_things: dict[int, NDArray[np.uint8]] = {}
        self._plate = None
        if scene.plate is not None:
            count = len(scene.plate.mesh)
            looks = looks_of(scene.plate.mesh, range(count), [looked_through.ANY_TIME] * count)
            self._plate = self._without_gone(scene.plate, self._looks, looks)
            self._looks = self._looks.and_those_of(looks)
        self._earlier, self._imagined = None, self._looks
        if scene.earlier is not None:
            looks = looks_of(scene.earlier.mesh, range(len(scene.earlier.mesh)), scene.earlier.frames)
            self._earlier = self._without_gone(scene.earlier, self._looks, looks)
            self._imagined = self._looks.and_those_of(looks)

    def _without_gone(self, other: Plate | Earlier, *looks: looked_through.Looks) -> Scene:
        """The scene of a plate or earlier take, without surfaces that other frames have looked through."""
        left_out = np.zeros(other.mesh.depth.shape, np.bool_)
        for t in range(len(other.mesh)):
            left_out[t] = movers.widened(
                np.logical_or.reduce([looked_through.is_gone(other.mesh, t, one) for one in looks])
            )
        if other.mesh.left_out is not None:
            left_out |= other.mesh.left_out
        mesh = replace(other.mesh, left_out=left_out, see_through=self._still.mesh.see_through)
        return Scene(mesh, other.pictures, self._scene.path, lead_in=self._scene.lead_in)

    def views(self, cameras: Sequence[int]) -> Iterator[View]:
        """Views of these cameras of the path at their own frames, filled, in their order.

        Only a few are in memory at a time, each with the views that fill it.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for first in range(0, len(cameras), _AT_ONCE):
                some = [(self._scene.frame_of(camera), camera) for camera in cameras[first : first + _AT_ONCE]]
                waiting = []
                for (t, camera), own in zip(some, self._engine.views(self._scene, some, True), strict=True):
                    asked = nearest_first(self._donors, t)
                    others = self._lenders(self._still, asked, camera)
                    if self._plate is not None:
                        plates, first = range(len(self._plate.mesh)), len(self._scene.mesh)
                        others = others.and_those_of(self._lenders(self._plate, plates, camera, first))
                    kept = None
                    if self._earlier is not None:
                        kept = self._lenders(self._earlier, self._of_take_nearest_first(t), camera)
                    waiting.append(pool.submit(self._filled, t, camera, own, others, kept))
                for filled in waiting:
                    yield filled.result()

    def _lenders(self, scene: Scene, frames: Sequence[int], camera: int, first: int = 0) -> _Lenders:
        """Frames of a scene, seen from a camera of the path; frame 0 has the number `first` in `Lent.frames`."""
        views, mesh, chosen = (
            self._engine.views(scene, [(n, camera) for n in frames], surfaces=True),
            scene.mesh,
            list(frames),
        )
        focals = mesh.intrinsics[chosen, 0, 0]
        return _Lenders(list(views), [first + n for n in frames], mesh.source_to_world[chosen], focals)

    def _of_take_nearest_first(self, t: int) -> list[int]:
        """Numbers of the earlier take's frames, the nearest in time to frame `t` first."""
        assert self._scene.earlier is not None
        frames = self._scene.earlier.frames
        return sorted(range(len(frames)), key=lambda n: abs(frames[n] - t))

    def _filled(self, t: int, camera: int, own: View, others: _Lenders, kept: _Lenders | None) -> View:
        """The view of frame `t` from a camera of the path, filled from views of other frames,
        then from those of an earlier take."""
        colour, mask, borrowed = own.colour.copy(), own.mask.copy(), np.zeros(own.mask.shape, np.bool_)
        frame = None
        if self._scene.persistence != "all":
            frame = filling.Frame.of(self._scene.mesh, t, self._things(t), self._occupied_near(t))
        sure = filling.eroded(own.mask)
        lent = self._lent(t, camera, own, sure, others, frame, self._looks, colour)
        if lent is not None:
            mask[lent.rows, lent.columns], borrowed[lent.rows, lent.columns] = 255, True
        earlier = None
        if kept is not None:
            earlier = self._lent(t, camera, own, mask > 0, kept, frame, self._imagined, colour)
        return View(colour, mask, borrowed=borrowed, lent=lent, earlier=earlier)

    def _things(self, t: int) -> NDArray[np.bool_]:
        """What moves (H,W) in frame `t`, without shadows."""
        moving, mesh = self._moving[t], self._scene.mesh
        if not moving.any():
            return moving
        if t not in self._packed_things:
            lens, pose = mesh.intrinsics[t], mesh.source_to_world[t]
            self._packed_things[t] = np.packbits(
                looked_through.things(moving, mesh.depth[t], lens, pose, self._at_rest)
            )
        return np.unpackbits(self._packed_things[t], count=moving.size).reshape(moving.shape) > 0

    def _extent(self, t: int) -> movers.Extent | None:
        """The space that moving things occupy in frame `t`; None if nothing moves there."""
        if t not in self._extents:
            things, mesh = self._things(t), self._scene.mesh
            found = movers.extent(things, mesh.depth[t], mesh.intrinsics[t]) if things.any() else None
            self._extents[t] = None if found is None else movers.coarse(found)
        return self._extents[t]

    def _occupied_near(self, t: int) -> movers.Occupied:
        """The space that moving things occupy shortly before and after frame `t`, in the axes of the world."""
        mesh = self._scene.mesh
        there = [(n, extent) for n in nearby(t, len(mesh)) if (extent := self._extent(n)) is not None]
        return movers.occupied([extent for _, extent in there], mesh.source_to_world[[n for n, _ in there]])

    def _lent(
        self,
        t: int,
        camera: int,
        own: View,
        known: NDArray[np.bool_],
        lenders: _Lenders,
        frame: filling.Frame | None,
        looks: looked_through.Looks,
        colour: NDArray[np.uint8],
    ) -> Lent | None:
        """What other views lend to a frame where (h,w) it is not `known`; writes their colours into `colour`."""
        views, numbers, path = lenders.views, lenders.numbers, self._scene.path
        pose = path.camera_to_world[camera]
        to_source = transforms.inverse(self._scene.mesh.source_to_world[t]) @ pose
        eye = filling.Camera(to_source, path.intrinsics[camera])
        cameras = filling.Lenders((transforms.inverse(pose) @ lenders.poses)[:, :3, 3], lenders.focals)
        filled = filling.filled(own, known, views, frame, eye, looks.from_camera(pose, t), cameras)
        if filled is None:
            return None
        sure = filling.eroded(own.mask)
        rows, columns = filled.at
        inverse_distance, gains = np.empty(len(rows), np.float32), {}
        for number in np.unique(filled.by):
            by = filled.by == number
            at, view = (rows[by], columns[by]), views[number]
            assert view.surface is not None
            gains[numbers[number]] = gain = _gain(own, sure, view)
            colour[at] = np.clip(view.colour[at] * gain + 0.5, 0, 255).astype(np.uint8)
            inverse_distance[by] = view.surface.inverse_distance[at]
        frames = np.asarray(numbers, np.uint16)[filled.by]
        return Lent(rows.astype(np.uint16), columns.astype(np.uint16), frames, inverse_distance, gains)


def looks_of(mesh: DWMesh, frames: Sequence[int], numbers: Sequence[int]) -> looked_through.Looks:
    """How far some frames of a mesh saw, under these numbers."""
    reaches = [looked_through.coarse(mesh.depth[t], mesh.intrinsics[t]) for t in frames]
    return looked_through.looks(numbers, reaches, mesh.source_to_world[list(frames)])


def _gain(own: View, sure: NDArray[np.bool_], other: View) -> NDArray[np.float64]:
    """Factors (3,) for another frame's channels that match its exposure to this frame's, from surfaces both see."""
    assert own.surface is not None
    assert other.surface is not None
    every = (slice(None, None, max(1, own.mask.shape[1] // _ACROSS)),) * 2
    ours, theirs = own.surface.inverse_distance[every], other.surface.inverse_distance[every]
    both = sure[every] & (other.mask[every] > 0) & (np.abs(theirs - ours) < filling.SAME_DISTANCE * ours)
    if np.count_nonzero(both) < _LEAST_OVERLAP:
        return np.ones(3)
    ratio = np.median((own.colour[every][both] + 1.0) / (other.colour[every][both] + 1.0), axis=0)
    return np.asarray(np.clip(ratio, 1 / _GAIN, _GAIN))
