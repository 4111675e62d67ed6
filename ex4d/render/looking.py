"""Which pixels are real in one view of a shot, from its depth file; fast enough to follow a camera that is being moved.

Frames of depth are read when they are first looked at, and only the most recent ones are kept, so memory use does not
grow with the shot. What other frames saw is kept for a few shots, see `ex4d.render.neighbours`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.frame_numbers import in_shot
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo, open_depth
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.occlusion import FILTERS, OcclusionName
from ex4d.geometry.posed_depth import open_posed
from ex4d.geometry.transforms import inverse
from ex4d.render import classes, filling, looked_through, movers
from ex4d.render import scene as drawn
from ex4d.render.conditioning import coincides
from ex4d.render.donors import PLATE_FRAMES, donors, nearby, nearest_first
from ex4d.render.engines import engine, missing
from ex4d.render.neighbours import Moving, coarse_meshes, coarse_plate, farthest
from ex4d.render.scene import Persistence, Scene

KEPT_BYTES = 256 << 20
"""Maximum memory for depth that is kept, across all shots."""

MOST_PIXELS = 1 << 26
"""Maximum size of one frame of depth; its mesh, and what is derived from it, take about 35 bytes per pixel."""

MOST_PLATE_PIXELS = 1 << 23
"""Maximum size of one frame of a clean plate, all frames of which are read for the first look."""

KEPT_SHOTS = 4
"""Number of shots whose other frames are kept; each takes about 12 MB, and its moving mask at most `MOST_BYTES`.
As many clean plates are kept, which take about 16 MB each."""

KEPT_EXTENTS = 256
"""Number of frames of which is kept where things move, across all shots; each takes at most 0.5 MB."""


@dataclass(frozen=True)
class PlateFile:
    """A clean plate in a shot's world: a file of `ex4d.geometry.posed_depth`, and what identifies its content."""

    key: str
    path: Path


@dataclass(frozen=True)
class Others:
    """Other frames of a shot that may lend what they saw.

    Attributes:
        key: identifies the content of the moving mask.
        path: the moving mask, a movie that is white where things move.
        source_to_world: (n,4,4) poses of the source camera in the frames given by `ex4d.render.donors.donors`.
        nearby_to_world: (m,4,4) the same in those given by `ex4d.render.donors.nearby` for the frame that is looked at.
        persistence: "fill" or "all", see `ex4d.pipeline.settings.RenderSettings`.
        plate: a clean plate that lends what it saw; None if there is none.
    """

    key: str
    path: Path
    source_to_world: NDArray[np.float64]
    nearby_to_world: NDArray[np.float64]
    persistence: Persistence = "fill"
    plate: PlateFile | None = None


@dataclass(frozen=True)
class View:
    """One camera looking at one frame of a shot.

    Attributes:
        frame: of the shot, counted from 0.
        camera: a path of this one camera, with the size of the picture.
        source_to_world: (4,4) pose of the source camera in that frame.
        occlusion, release_compat: which faces are not surfaces, and whether to do everything as the release does; see
            `ex4d.pipeline.settings.RenderSettings`.
        others: the other frames to use; None uses none. With `release_compat`, none are used.
    """

    frame: int
    camera: CameraPath
    source_to_world: NDArray[np.float64]
    occlusion: OcclusionName | None = None
    release_compat: bool = False
    others: Others | None = None


@dataclass(frozen=True)
class _Neighbours:
    """What is kept of a shot's other frames: their numbers, their meshes, how far they saw, and what moves in all
    frames."""

    frames: Sequence[int]
    mesh: DWMesh
    reaches: Sequence[looked_through.Reach]
    moving: Moving


@dataclass(frozen=True)
class _Plate:
    """What is kept of a clean plate: its mesh, and how far the shot's other frames and the plate saw."""

    mesh: DWMesh
    looks: looked_through.Looks


class Looker:
    """Looks at shots by their depth files, and keeps what it is likely to need again.

    Args:
        kept_bytes: maximum memory for depth that is kept.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._engine = engine("numba" if not missing("numba") else "numpy")
        self._kept_bytes = kept_bytes
        self._shells: dict[str, float] = {}
        self._meshes: OrderedDict[tuple, DWMesh] = OrderedDict()
        self._neighbours: OrderedDict[tuple, _Neighbours] = OrderedDict()
        self._plates: OrderedDict[tuple, _Plate] = OrderedDict()
        self._extents: OrderedDict[tuple, movers.Extent | None] = OrderedDict()
        self._frame: tuple[tuple, filling.Frame | None] = ((), None)
        self._latest_looks: tuple[tuple, looked_through.Looks] | None = None
        self._latest_at_rest: tuple[tuple, looked_through.Looks] | None = None
        self._black: dict[int, NDArray[np.uint8]] = {}

    def look(self, key: str, path: Path, view: View) -> NDArray[np.uint8]:
        """Classes (h,w) uint8 of the pixels of a view, see `ex4d.render.classes`; they match what `render` gives.

        What the frame itself saw is exact. What others saw is exact except at the rims of surfaces, because their
        meshes are coarse. From the source's own view nothing is missing, however small the picture.

        Args:
            key: identifies the content of the depth file.
            path: the depth file, as written by `ex4d.geometry.depth_video.save_depth`.
            view: frame and camera.

        Raises:
            InputError: a file cannot be read, does not have this frame, or is too large, or the number of poses differs
                from the number of other frames.
        """
        mesh = self._mesh(key, path, view)
        mesh = replace(mesh, source_to_world=view.source_to_world[None])
        is_source = (
            view.frame == 0
            if view.release_compat
            else coincides(mesh, view.camera.in_size(mesh.width, mesh.height), 0, 0)
        )
        if is_source:
            return np.full((view.camera.height, view.camera.width), classes.OWN, np.uint8)
        (own,) = self._draw(mesh, view, [0])
        found = classes.of_mask(own.mask)
        if view.others is None or view.release_compat:
            return found
        known = self._known(key, path, view, view.others)
        near, poses = nearest_first(known.frames, view.frame), view.others.source_to_world
        lent = self._draw(
            replace(known.mesh, source_to_world=poses, see_through=view.others.persistence == "fill"),
            view,
            [known.frames.index(t) for t in near],
        )
        camera = filling.Camera(
            inverse(view.source_to_world) @ view.camera.camera_to_world[0], view.camera.intrinsics[0]
        )
        against = None if view.others.persistence == "all" else self._against(key, path, view, view.others, mesh, known)
        if view.others.plate is None:
            looks = self._looks(key, view.others, known)
        else:
            plate = self._placed(key, view, view.others.plate, view.others, known)
            mesh_of_plate = replace(plate.mesh, see_through=view.others.persistence == "fill")
            lent += self._draw(mesh_of_plate, view, range(len(plate.mesh)))
            looks = plate.looks
        sight = looks.from_camera(view.camera.camera_to_world[0], view.frame)
        filled = filling.filled(own, filling.eroded(own.mask), lent, against, camera, sight)
        if filled is not None:
            found[filled.at] = classes.BORROWED
        return found

    def _draw(self, mesh: DWMesh, view: View, frames: Sequence[int]) -> list[drawn.View]:
        """Views of frames of a mesh from the camera of a view, with their surfaces; their colours are black."""
        black = self._black.get(len(mesh))
        if black is None or black.shape[:-1] != mesh.depth.shape:
            black = self._black[len(mesh)] = np.zeros((*mesh.depth.shape, 3), np.uint8)
        scene = Scene(mesh, black, view.camera, view.release_compat)
        return list(self._engine.views(scene, [(t, 0) for t in frames], surfaces=True))

    def _known(self, key: str, path: Path, view: View, others: Others) -> _Neighbours:
        """The other frames of the shot, read at the first look."""
        wanted = (key, others.key, view.occlusion)
        if wanted not in self._neighbours:
            with open_depth(path) as file:
                count, height, width = file.shape
                moving, frames = Moving(others.path, count, width, height), donors(count)
                mesh, reaches = coarse_meshes(
                    file, frames, moving.of, self._shells[key], FILTERS[view.occlusion or "default"]
                )
            self._neighbours[wanted] = _Neighbours(frames, mesh, reaches, moving)
            _keep_latest(self._neighbours)
        self._neighbours.move_to_end(wanted)
        known = self._neighbours[wanted]
        if len(others.source_to_world) != len(known.frames):
            raise InputError(
                f"Live Coverage was asked with {len(others.source_to_world)} other frames where the shot has"
                f" {len(known.frames)}: press Open Again."
            )
        return known

    def _placed(self, key: str, view: View, file: PlateFile, others: Others, known: _Neighbours) -> _Plate:
        """The frames of a clean plate, read at the first look; what is gone from them depends on the shot's cameras."""
        wanted = (key, file.key, others.source_to_world.tobytes(), view.occlusion)
        if wanted not in self._plates:
            with open_posed(file.path, PLATE_FRAMES) as (depth, poses):
                _count, height, width = depth.shape
                if height * width > MOST_PLATE_PIXELS:
                    raise InputError(
                        f"The clean plate is {width}x{height}, which is too large for Live Coverage: choose a smaller"
                        " working size, or clear the plate."
                    )
                looks, limits = self._looks(key, others, known), FILTERS[view.occlusion or "default"]
                self._plates[wanted] = _Plate(*coarse_plate(depth, poses, looks, limits))
            _keep_latest(self._plates)
        self._plates.move_to_end(wanted)
        return self._plates[wanted]

    def _looks(self, key: str, others: Others, known: _Neighbours) -> looked_through.Looks:
        """How far the other frames saw; kept for the latest shot, because stacking the frames takes time."""
        wanted = (key, others.source_to_world.tobytes())
        if self._latest_looks is None or self._latest_looks[0] != wanted:
            looks = looked_through.looks(known.frames, known.reaches, others.source_to_world)
            self._latest_looks = wanted, looks
        return self._latest_looks[1]

    def _at_rest(self, key: str, others: Others, known: _Neighbours) -> looked_through.Looks:
        """How far the other frames saw, only where nothing moves in them; kept as `_looks` does."""
        wanted = (key, others.key, others.source_to_world.tobytes())
        if self._latest_at_rest is None or self._latest_at_rest[0] != wanted:
            at_rest = self._looks(key, others, known).at_rest([known.moving.of(t) for t in known.frames])
            self._latest_at_rest = wanted, at_rest
        return self._latest_at_rest[1]

    def _against(
        self, key: str, path: Path, view: View, others: Others, mesh: DWMesh, known: _Neighbours
    ) -> filling.Frame:
        """What contradicts filling the frame; kept for the latest frame only, because one camera is moved at a time."""
        wanted = (key, others.key, view.frame, view.source_to_world.tobytes(), others.nearby_to_world.tobytes())
        if self._frame[0] != wanted:
            occupied = self._occupied(key, path, view, others, known)
            things = self._things(key, mesh, view, others, known)
            self._frame = wanted, filling.Frame.of(mesh, 0, things, occupied)
        assert self._frame[1] is not None
        return self._frame[1]

    def _occupied(self, key: str, path: Path, view: View, others: Others, known: _Neighbours) -> movers.Occupied:
        """The space that moving things occupy shortly before and after the frame, in the axes of the world."""
        frames = nearby(view.frame, len(known.moving))
        if len(others.nearby_to_world) != len(frames):
            raise InputError(
                f"Live Coverage got the camera of {len(others.nearby_to_world)} frames nearby, but the shot has"
                f" {len(frames)}: press Open Again."
            )
        views = [
            replace(view, frame=t, source_to_world=pose) for t, pose in zip(frames, others.nearby_to_world, strict=True)
        ]
        extents = [self._extent(key, path, one, others, known) for one in views]
        there = [(one, pose) for one, pose in zip(extents, others.nearby_to_world, strict=True) if one is not None]
        return movers.occupied([one for one, _pose in there], np.array([pose for _one, pose in there]))

    def _extent(self, key: str, path: Path, view: View, others: Others, known: _Neighbours) -> movers.Extent | None:
        """The space that moving things occupy in one frame; None if nothing moves there."""
        poses = view.source_to_world.tobytes(), others.source_to_world.tobytes()
        wanted = (key, others.key, view.frame, *poses)
        if wanted not in self._extents:
            mesh = self._mesh(key, path, view)
            there, found = self._things(key, mesh, view, others, known), None
            if there.any():
                found = movers.coarse(movers.extent(there, mesh.depth[0], mesh.intrinsics[0]))
            self._extents[wanted] = found
            while len(self._extents) > KEPT_EXTENTS:
                self._extents.popitem(last=False)
        self._extents.move_to_end(wanted)
        return self._extents[wanted]

    def _things(self, key: str, mesh: DWMesh, view: View, others: Others, known: _Neighbours) -> NDArray[np.bool_]:
        """What moves (H,W) in the frame of a view, without shadows, given the frame's mesh."""
        moving = known.moving.of(view.frame)
        if not moving.any():
            return moving
        at_rest = self._at_rest(key, others, known)
        return looked_through.things(moving, mesh.depth[0], mesh.intrinsics[0], view.source_to_world, at_rest)

    def _mesh(self, key: str, path: Path, view: View) -> DWMesh:
        """The mesh of one frame, with its source camera at the origin."""
        wanted = (key, view.frame, view.occlusion, view.release_compat)
        if wanted not in self._meshes:
            self._meshes[wanted] = self._read(key, path, view)
            while len(self._meshes) > 1 and sum(m.depth.nbytes for m in self._meshes.values()) > self._kept_bytes:
                self._meshes.popitem(last=False)
        self._meshes.move_to_end(wanted)
        return self._meshes[wanted]

    def _read(self, key: str, path: Path, view: View) -> DWMesh:
        with open_depth(path) as file:
            frames, height, width = file.shape
            if height * width > MOST_PIXELS:
                raise InputError(f"The depth of this shot is {width}x{height}, which is too large for Live Coverage.")
            if not 0 <= view.frame < frames:
                raise InputError(f"The depth of this shot has {frames} frames and no {in_shot(view.frame)}.")
            if key not in self._shells:
                self._shells[key] = DWMesh.shell_behind(farthest(file))
            at = slice(view.frame, view.frame + 1)
            depth = DepthVideo(file.frames(at.start, at.stop), file.intrinsics[at], file.provider)
        limits = FILTERS[view.occlusion] if view.occlusion else None
        return DWMesh.from_depth(depth, None, view.release_compat, limits, self._shells[key])


def _keep_latest(kept: OrderedDict[tuple, Any]) -> None:
    while len(kept) > KEPT_SHOTS:
        kept.popitem(last=False)
