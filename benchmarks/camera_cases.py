"""Clips with a known camera, and figures of how wrong another camera is on them; for `source_camera.py`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from placing import Seen, placed, placing
from true_view import Truth

from ex4d.depth.files import read_depth
from ex4d.geometry import camera_path, transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.occlusion import FILTERS
from ex4d.media.clip import Clip, read_clip
from ex4d.metrics.pixels import psnr
from ex4d.render.conditioning import render
from ex4d.render.scene import Scene
from ex4d.source_camera import error, pose_files
from ex4d.source_camera.find import find
from ex4d.source_camera.found import AUTO, Wish
from ex4d.source_camera.steadying import steadied
from ex4d.synthetic import depth_errors, scenes

SAMPLE = Path(__file__).resolve().parents[1] / "sample"
ANCHORS, TARGETS, EVERY = 3, 9, 6
"""Static points are lifted from this many frames and found in this many others, one per square of this many pixels."""


@dataclass(frozen=True)
class View:
    """True pictures (n,H,W,3) of another camera at the frames `at`, and that camera's whole path."""

    pictures: NDArray[np.uint8]
    at: list[int]
    path: CameraPath


@dataclass(frozen=True)
class Case:
    """A clip and its ground truth.

    Attributes:
        name: of the scene.
        clip: the input of estimators.
        depth: true depth.
        poses: (T,4,4) camera-to-world of the true camera.
        moving: (T,H,W) bool, independently moving things; None if unknown.
        view: of another camera; None if there is none.
        cuts: first frames of new shots.
    """

    name: str
    clip: Clip
    depth: DepthVideo
    poses: NDArray[np.float64]
    moving: NDArray[np.bool_] | None
    view: View | None
    cuts: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """Number of frames that count: those before the first cut, because the shots after it are in other worlds."""
        return min(self.cuts, default=len(self.clip.frames))

    @cached_property
    def static(self) -> NDArray[np.bool_]:
        """(T,H,W) bool, what is static, as far as known."""
        return np.ones(self.depth.depth.shape, bool) if self.moving is None else ~self.moving

    @cached_property
    def points(self) -> error.Points:
        """Static points that two frames see, with their true depths."""
        return _points(self)

    def wrong_depth(self, seed: int) -> DepthVideo:
        """The depth as a model would estimate it."""
        made = depth_errors.wrong(self.depth.depth, depth_errors.usual(seed), seed)
        return replace(self.depth, depth=made, provider="wrong")

    def unit(self, depth: DepthVideo) -> float:
        """Units of a depth per unit of the true depth: median over static parts, if there are any."""
        rows = slice(None, None, 4)
        there = self.static[: self.end, rows, rows]
        if not there.any():
            there = ~there
        return float(np.median((depth.depth / self.depth.depth)[: self.end, rows, rows][there]))


@dataclass(frozen=True)
class Found:
    """A camera that an estimator found: poses (T,4,4) in the unit of the depth, lens (T,3,3).

    `depth` is used for the mesh; if None, the mesh uses the depth that the estimator was given.
    """

    poses: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    note: str = ""
    depth: DepthVideo | None = None


@dataclass(frozen=True)
class Take:
    """How generated scenes are shot, see `ex4d.synthetic.scenes.make`; `frames` None uses the usual number."""

    frames: int | None = None
    width: int = 512
    seed: int = 0
    rolling: float = 0.0
    distortion: float = 0.0


def generated(name: str, take: Take) -> Case:
    """A scene of `ex4d.synthetic`."""
    size = take.width, take.width * 9 // 16
    made = scenes.make(name, take.frames, *size, take.seed, rolling=take.rolling, distortion=take.distortion)
    second = View(made.second.frames, list(range(len(made.second))), made.second.cameras)
    return Case(name, made.clip, made.depth, made.source.cameras.camera_to_world, made.source.moving, second, made.cuts)


def sample(name: str, take: Take) -> Case:
    """The rendered sample, whose camera is still."""
    truth = Truth()
    still = np.tile(np.eye(4), (len(truth.clip.frames), 1, 1))
    return Case(name, truth.clip, truth.depth, still, None, View(truth.pictures, truth.at, truth.path))


def moving_sample(name: str, take: Take) -> Case:
    """The rendered sample with a walking camera; it has no second view."""
    clip = read_clip(SAMPLE / "moving" / "clip.mp4", frames=None)
    height, across = clip.frames.shape[1:3]
    cameras = camera_path.load(SAMPLE / "moving" / "camera.npz", len(clip.frames), across, height)
    return Case(name, clip, read_depth(SAMPLE / "moving" / "clip.depth.npz", clip), cameras.camera_to_world, None, None)


CASES: dict[str, Callable[[str, Take], Case]] = {
    "sample": sample,
    "sample/moving": moving_sample,
    **dict.fromkeys(scenes.SCENES, generated),
}


@dataclass(frozen=True)
class Figures:
    """How wrong a camera is.

    Attributes:
        ate: fraction of the path's length; None if the true camera does not change position.
        rpe_shift, rpe_turn: from frame to frame: fraction of the mean step, or None; and degrees.
        end: rotation error at the last frame, in degrees.
        focal: relative error of the focal length.
        drift, drift_95: median and 95th percentile in pixels of the distance of static points from their true
            positions; None if nothing is static.
        way: length of the found path, as a fraction of the median distance of the scene.
        visible: PSNR in dB of the visible pixels compared with the true second view; None if there is none.
        visible_true: the same with the true camera and the given depth.
        placed, placed_true: the same, with the second camera placed by what it shows.
        pumping, pumping_95: median and 95th percentile in pixels of how far static points jump from one frame to the
            next for the second camera; None if there is none, or nothing is static.
        pumping_before: the median with the given depth.
    """

    ate: float | None
    rpe_shift: float | None
    rpe_turn: float
    end: float
    focal: float
    drift: float | None
    drift_95: float | None
    way: float
    visible: float | None
    visible_true: float | None
    placed: float | None
    placed_true: float | None
    pumping: float | None
    pumping_95: float | None
    pumping_before: float | None


def truth(case: Case, depth: DepthVideo) -> Found:
    """The true camera, in the unit of a depth."""
    return Found(_scaled(case.poses, case.unit(depth)), case.depth.intrinsics)


def searched(
    case: Case, depth: DepthVideo, lens_known: bool, zooms: bool = False
) -> tuple[Found, NDArray[np.bool_] | None]:
    """The camera as found when a clip is opened, in the unit of the depth, with the steadied depth; and what moves."""
    made = find(case.clip.frames, depth.depth, Wish(AUTO, depth.intrinsics, lens_known, zooms=zooms))
    lenses = depth.intrinsics if made.lens is None else made.lens
    shown = DepthVideo(depth.depth, lenses, depth.provider)
    shown = steadied(shown, made.steady, moving=made.moving)
    if made.camera_to_world is None:
        still = np.tile(np.eye(4), (len(depth.depth), 1, 1))
        return Found(still, lenses, " ".join((*made.choice_notes, *shown.notes)), shown), made.moving
    points = np.zeros((0, 3)) if made.points is None else made.points
    camera = pose_files.SourceCamera(made.camera_to_world, points, found=True)
    scaled, _ = pose_files.in_unit_of(camera, shown)
    notes = " ".join((made.method, *made.notes, *shown.notes))
    return Found(scaled.camera_to_world, lenses, notes, shown), made.moving


def figures(case: Case, depth: DepthVideo, found: Found) -> Figures:
    """Figures of a camera that was found with a depth."""
    end, true = case.end, case.poses
    shift, turn = error.relative(found.poses[:end], true[:end])
    shown = depth if found.depth is None else found.depth
    lifted = _with_depth(case.points, shown)
    jumps, before = pumping(case, shown, found), pumping(case, depth, found)
    away = error.drift(lifted, found.poses, found.intrinsics)
    return Figures(
        error.absolute(found.poses[:end], true[:end]),
        shift,
        turn,
        error.rotation_at_end(found.poses[:end], true[:end]),
        error.focal(found.intrinsics[:end], case.depth.intrinsics[:end]),
        float(np.median(away)) if len(away) else None,
        float(np.percentile(away, 95)) if len(away) else None,
        error.path_length(found.poses[:end]) / float(np.median(depth.depth[:end, ::4, ::4])),
        visible(case, shown, found),
        visible(case, depth, truth(case, depth)),
        visible(case, shown, found, by_eye=True),
        visible(case, depth, truth(case, depth), by_eye=True),
        float(np.median(jumps)) if len(jumps) else None,
        float(np.percentile(jumps, 95)) if len(jumps) else None,
        float(np.median(before)) if len(before) else None,
    )


def pumping(case: Case, depth: DepthVideo, found: Found) -> NDArray[np.float64]:
    """How far in pixels static points jump (N,) between their positions from two frames, for the second camera."""
    if case.view is None:
        return np.zeros(0)
    height, width = depth.depth.shape[1:]
    rows, columns = np.mgrid[EVERY // 2 : height : EVERY, EVERY // 2 : width : EVERY].reshape(2, -1)
    cameras = _scaled(case.view.path.camera_to_world, case.unit(depth))
    jumps = []
    for a in range(case.end // 2, case.end - 1):
        at, to, _ = _pairs(case, a, a + 1, rows, columns)
        view = transforms.inverse(cameras[a])
        seen = []
        for t, pixels in ((a, at), (a + 1, to)):
            column, row = pixels.astype(int).T
            rays = np.hstack([pixels, np.ones((len(pixels), 1))]) @ np.linalg.inv(found.intrinsics[t]).T
            pose = view @ found.poses[t]
            there = rays * depth.depth[t][row, column][:, None] @ pose[:3, :3].T + pose[:3, 3]
            seen.append((there @ found.intrinsics[a].T)[:, :2] / np.maximum(there[:, 2:], 1e-6))
        jumps.append(np.linalg.norm(seen[1] - seen[0], axis=1))
    return np.concatenate(jumps)


def visible(case: Case, depth: DepthVideo, found: Found, by_eye: bool = False) -> float | None:
    """Mean PSNR of the visible pixels compared with the second view, over the second half of its frames.

    The second camera keeps its path in the unit of the depth and uses the lens that was found, as an artist's camera
    would who trusts it. With `by_eye`, it is placed so that static points appear in the right place, by one scale,
    rotation and translation for its whole path.
    """
    if case.view is None:
        return None
    at = [t for t in case.view.at if case.end / 2 <= t < case.end]
    path = case.view.path
    zoom = found.intrinsics[:, 0, 0] / case.depth.intrinsics[:, 0, 0]
    lenses = path.intrinsics.copy()
    lenses[:, [0, 1], [0, 1]] *= zoom[:, None]
    poses = _scaled(path.camera_to_world, case.unit(depth))
    if by_eye:
        poses = placed(poses, placing(_seen(case, depth, found, at, poses, lenses)))
    cameras = CameraPath(poses[at], lenses[at], path.width, path.height)
    part = replace(depth, depth=depth.depth[at], intrinsics=found.intrinsics[at])
    mesh = DWMesh.from_depth(part, found.poses[at], occlusion=FILTERS["default"])
    seen = render(Scene(mesh, case.clip.frames[at], cameras))
    true = [case.view.pictures[case.view.at.index(t)] for t in at]
    rows = [psnr(c[m > 0], p[m > 0]) for c, m, p in zip(seen.colour, seen.mask, true, strict=True) if (m > 0).any()]
    return float(np.mean(rows)) if rows else None


def _seen(
    case: Case,
    depth: DepthVideo,
    found: Found,
    at: list[int],
    poses: NDArray[np.float64],
    lenses: NDArray[np.float64],
) -> Seen:
    """Static points according to a found camera, and where the second view truly sees them."""
    assert case.view is not None
    height, width = depth.depth.shape[1:]
    rows, columns = np.mgrid[EVERY // 2 : height : EVERY, EVERY // 2 : width : EVERY].reshape(2, -1)
    path, parts = case.view.path, []
    for t in at:
        there = case.static[t][rows, columns] | ~case.static[t].any()
        row, column = rows[there], columns[there]
        pixels = np.stack([column + 0.5, row + 0.5], axis=1)
        true, ours = (
            _world(pixels, d.depth[t][row, column], k[t], pose[t])
            for d, k, pose in (
                (case.depth, case.depth.intrinsics, case.poses),
                (depth, found.intrinsics, found.poses),
            )
        )
        to_camera = transforms.inverse(path.camera_to_world[t])
        local = true @ to_camera[:3, :3].T + to_camera[:3, 3]
        seen = local @ path.intrinsics[t].T
        seen = seen[:, :2] / np.maximum(seen[:, 2:], 1e-6)
        good = (local[:, 2] > 0) & (seen > 0).all(axis=1) & (seen < [path.width, path.height]).all(axis=1)
        shape = (int(good.sum()), 1, 1)
        parts.append((ours[good], seen[good], np.tile(transforms.inverse(poses[t]), shape), np.tile(lenses[t], shape)))
    return Seen(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _world(
    pixels: NDArray[np.float64], z: NDArray[np.float32], lens: NDArray[np.float64], pose: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Positions in the world of pixels (N,2) at distances (N,)."""
    rays = np.hstack([pixels, np.ones((len(pixels), 1))]) @ np.linalg.inv(lens).T
    return np.asarray(rays * z[:, None] @ pose[:3, :3].T + pose[:3, 3])


def _scaled(poses: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    poses = poses.copy()
    poses[:, :3, 3] *= scale
    return poses


def _points(case: Case) -> error.Points:
    height, width = case.depth.depth.shape[1:]
    rows, columns = np.mgrid[EVERY // 2 : height : EVERY, EVERY // 2 : width : EVERY].reshape(2, -1)
    parts = []
    for a in np.unique(np.linspace(0, case.end - 1, ANCHORS, dtype=int)):
        for b in np.unique(np.linspace(0, case.end - 1, TARGETS, dtype=int)):
            if a == b:
                continue
            at, to, z = _pairs(case, a, b, rows, columns)
            parts.append((np.full(len(z), a), np.full(len(z), b), at, to, z))
    return error.Points(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _pairs(
    case: Case, a: int, b: int, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Static points that frames `a` and `b` see: their positions in both (N,2), and their distances in `a` (N,)."""
    depth, lens = case.depth.depth[a], case.depth.intrinsics[a]
    height, width = depth.shape
    # Next to an edge, a tenth of a pixel decides what is visible.
    smooth = cv2.dilate(depth, np.ones((5, 5))) < 1.1 * cv2.erode(depth, np.ones((5, 5)))
    good = (smooth & case.static[a])[rows, columns]
    at = np.stack([columns[good] + 0.5, rows[good] + 0.5], 1)
    z = depth[rows[good], columns[good]].astype(np.float64)
    rays = np.hstack([at, np.ones((len(at), 1))]) @ np.linalg.inv(lens).T
    pose = transforms.inverse(case.poses[b]) @ case.poses[a]
    there = (rays * z[:, None]) @ pose[:3, :3].T + pose[:3, 3]
    with np.errstate(divide="ignore", invalid="ignore"):
        to = (there @ case.depth.intrinsics[b].T)[:, :2] / there[:, 2:]
    inside = (there[:, 2] > 0) & (to > 0).all(axis=1) & (to < [width, height]).all(axis=1)
    column, row = np.where(inside[:, None], to, 0).astype(int).T
    seen = inside & case.static[b][row, column]
    seen &= np.abs(case.depth.depth[b][row, column] / np.maximum(there[:, 2], 1e-9) - 1) < 0.03
    return at[seen], to[seen], z[seen]


def _with_depth(points: error.Points, depth: DepthVideo) -> error.Points:
    column, row = points.at_first.astype(int).T
    return replace(points, depth=depth.depth[points.first, row, column].astype(np.float64))
