"""The estimators of camera motion. Each returns a candidate, or a sentence that says why there is none."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras.rotations import between
from ex4d.errors import InputError
from ex4d.frame_numbers import in_shot
from ex4d.progress import Progress
from ex4d.source_camera import da3, from_depth, solver
from ex4d.source_camera.candidate import Candidate
from ex4d.source_camera.distortion import at_corner, of_turn, undistorted
from ex4d.source_camera.pictures import Pictures
from ex4d.source_camera.rotation import FOCAL_KNOWN, Turning, turning
from ex4d.source_camera.structure import triangulated
from ex4d.source_camera.tracks import Tracks

HELD = 5
"""Every n-th point is withheld from the estimators, to judge them by."""

SHORTEST = 3
"""Points seen in fewer frames reveal nothing about a camera."""


KEYFRAMES = 60
"""Maximum number of frames for structure from motion; those in between are solved from tracked points."""

FEATURES, OVERLAP = 2048, 8


@dataclass(frozen=True)
class Round:
    """A bundle adjustment.

    Attributes:
        loss: scale of its Cauchy loss in pixels.
        stray: residual in pixels; points that exceed it in most of their sightings move on their own, and are left out
            of the next round.
        most: maximum number of sightings; more make it slower and hardly better.
        distorts: whether it solves for the distortion of the lens.
    """

    loss: float
    stray: float
    most: int
    distorts: bool = False


COARSE, FINE = Round(1.0, 6.0, 25_000), Round(0.3, 2.0, 80_000)
"""The first rounds, and the last one, with refined points."""

BENT = Round(0.3, 2.0, 80_000, distorts=True)
"""One more, which solves for the distortion of the lens..."""

LEAST_BENT_PX = 1.5
"""...and is kept if that shifts the corners by this many pixels of the clip. Without any: 0.8 at most, measured."""


@dataclass(frozen=True)
class Task:
    """Input of the estimators.

    Attributes:
        pictures: of the clip.
        tracks: points tracked through them.
        depth: (N,) distance at each sighting, from the clip's depth.
        sure: (N,) whether that is reliable, away from edges.
        intrinsics: (T,3,3) in pixels of the pictures, known or initially assumed.
        lens_known: whether they are known.
        zooms: whether the focal length changes during the shot.
        moving: (T,h,w) mask of what moves on its own, of the pictures' size; None if not known yet.
    """

    pictures: Pictures
    tracks: Tracks
    depth: NDArray[np.float64]
    sure: NDArray[np.bool_]
    intrinsics: NDArray[np.float64]
    lens_known: bool
    zooms: bool
    moving: NDArray[np.bool_] | None = None

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.intrinsics)

    @property
    def held(self) -> NDArray[np.bool_]:
        """Sightings (N,) of the points withheld from the estimators."""
        return self.of_held(self.tracks)

    def of_held(self, tracks: Tracks) -> NDArray[np.bool_]:
        """The withheld ones among the sightings (N,) of any tracks."""
        return tracks.track % HELD == 0

    @property
    def long(self) -> NDArray[np.bool_]:
        """Sightings (N,) of the points that are seen for long enough to judge a camera by."""
        return self.tracks.lengths()[self.tracks.track] >= SHORTEST + 1

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Sightings (N,) of withheld points that are seen for long enough to judge a camera by."""
        return self.held & self.long

    def with_tracks(self, tracks: Tracks, depth: NDArray[np.float32]) -> "Task":
        """The task with other tracks, for a clip with this depth (T,H,W)."""
        at, sure = from_depth.depth_at(tracks, depth, self.pictures.scale)
        return replace(self, tracks=tracks, depth=at, sure=sure)

    def candidate(
        self,
        name: str,
        poses: NDArray[np.float64],
        intrinsics: NDArray[np.float64],
        *,
        moves: bool,
        lens_found: bool,
        distortion: float = 0.0,
    ) -> Candidate:
        """A candidate with the structure triangulated from all points."""
        poses = np.linalg.inv(poses[0]) @ poses
        structure = triangulated(undistorted(self.tracks, intrinsics, distortion), poses, intrinsics)
        return Candidate(name, poses, intrinsics, moves, structure, lens_found=lens_found, distortion=distortion)


def still(task: Task) -> Candidate:
    """A still camera."""
    return task.candidate(
        "still", np.tile(np.eye(4), (task.count, 1, 1)), task.intrinsics, moves=False, lens_found=False
    )


def rotation(
    task: Task,
    zooms: bool | None = None,
    loss: float = COARSE.loss,
    bent: tuple[NDArray[np.float64], float] | None = None,
) -> Candidate | str:
    """A camera that turns in place.

    Args:
        task: see `Task`.
        zooms: whether its lens zooms; None uses the task's.
        loss: scale of the loss in pixels.
        bent: intrinsics (T,3,3), and the lens's distortion for them; None if there is no distortion.
    """
    fitted = task.tracks.kept(~task.held)
    if bent is not None:
        fitted = undistorted(fitted, *bent)
    zooms = task.zooms if zooms is None else zooms
    found = _turning(task, fitted, float(task.intrinsics[0, 0, 0]), task.lens_known, zooms, loss)
    if found is None:
        return "too few points can be followed from frame to frame"
    # A zoom reveals the ratio of the focal lengths, not the focal lengths themselves.
    lens_found = zooms or (not task.lens_known and found.focal_sd < FOCAL_KNOWN)
    intrinsics = task.intrinsics
    if lens_found:
        intrinsics = _with_focal(intrinsics, found.focal)
    elif not task.lens_known:  # turning does not reveal it: solve again with the assumed one
        found = _turning(task, fitted, float(intrinsics[0, 0, 0]), True, False, loss)
        assert found is not None
    # The same shift in pixels, for another focal length.
    distortion = 0.0 if bent is None else bent[1] * float(intrinsics[0, 0, 0] / bent[0][0, 0, 0]) ** 2
    return task.candidate(
        "rotation", found.camera_to_world, intrinsics, moves=False, lens_found=lens_found, distortion=distortion
    )


def _turning(task: Task, fitted: Tracks, focal: float, known: bool, zooms: bool, loss: float) -> Turning | None:
    return turning(fitted, task.count, focal, task.intrinsics[0, :2, 2], known=known, zooms=zooms, loss=loss)


def _bends(task: Task, intrinsics: NDArray[np.float64], distortion: float) -> bool:
    """Whether a distortion exceeds the noise; intrinsics (3,3)."""
    reach = float(np.hypot(*intrinsics[:2, 2])) / task.pictures.scale
    return abs(at_corner(distortion, intrinsics)) * reach > LEAST_BENT_PX


def _sharp_turn(task: Task) -> Candidate | str:
    """A camera that turns, with refined points, and the distortion of its lens if the turn reveals it."""
    straight = rotation(task, loss=FINE.loss)
    if isinstance(straight, str) or task.zooms or not (task.lens_known or straight.lens_found):
        return straight
    k, fitted = straight.intrinsics, task.tracks.kept(~task.held)
    found = of_turn(fitted, straight.camera_to_world, k, lens_known=task.lens_known, loss=FINE.loss)
    if not _bends(task, k[0], found):
        return straight
    return rotation(task, loss=FINE.loss, bent=(k, found))


def depth(task: Task, progress: Progress) -> Candidate | str:
    """A moving camera from points and depth, bundle-adjusted with free points if pycolmap is installed."""
    fitted = task.tracks.kept(~task.held)
    begun = from_depth.chain(fitted, task.depth[~task.held], task.sure[~task.held], task.intrinsics, progress)
    if begun is None:
        return "the points that can be followed do not agree with the depth"
    if not solver.PYCOLMAP.is_there:
        return task.candidate("depth", begun.camera_to_world, task.intrinsics, moves=True, lens_found=False)
    return _adjusted(task, "depth", begun.camera_to_world, task.intrinsics, progress, (COARSE, COARSE))


def again(task: Task, before: Candidate, progress: Progress) -> Candidate | str:
    """Solve a moving candidate again with other points, the static ones, starting from its poses."""
    if not solver.PYCOLMAP.is_there:
        return task.candidate(before.name, before.camera_to_world, before.intrinsics, moves=True, lens_found=False)
    found = _adjusted(task, before.name, before.camera_to_world, before.intrinsics, progress, (COARSE,))
    return found if isinstance(found, str) else replace(found, registered=before.registered)


def sharpened(task: Task, before: Candidate, progress: Progress) -> Candidate | str:
    """Solve a candidate again with refined points, starting from its poses."""
    if not before.moves:
        return _sharp_turn(task)
    found = _adjusted(task, before.name, before.camera_to_world, before.intrinsics, progress, (COARSE, FINE))
    if isinstance(found, str):
        return found
    if not task.zooms:
        bent = _adjusted(task, before.name, found.camera_to_world, found.intrinsics, progress, (BENT,))
        if not isinstance(bent, str) and _bends(task, bent.intrinsics[0], bent.distortion):
            found = bent
    return replace(found, registered=before.registered)


def sfm(task: Task, progress: Progress) -> Candidate | str:
    """Structure from motion: features, global mapping, and tracked points for the frames in between."""
    import cv2

    if not solver.PYCOLMAP.is_there:
        return f"it needs the Python package pycolmap: {solver.PYCOLMAP.install}"
    keys = _keys(task.count, KEYFRAMES)
    with tempfile.TemporaryDirectory(prefix="ex4d-") as folder:
        pictures, masks = Path(folder, "pictures"), Path(folder, "masks")
        pictures.mkdir()
        masks.mkdir()
        for number, t in enumerate(keys):
            cv2.imwrite(str(pictures / f"{number:06d}.png"), task.pictures.grey[t], [cv2.IMWRITE_PNG_COMPRESSION, 1])
            if task.moving is not None:
                cv2.imwrite(str(masks / f"{number:06d}.png.png"), (~task.moving[t]).astype(np.uint8) * 255)
        try:
            solved = solver.mapped(
                pictures,
                len(keys),
                masks if task.moving is not None else None,
                float(task.intrinsics[0, 0, 0]),
                task.pictures.size,
                refine=not task.lens_known,
                features=FEATURES,
                overlap=OVERLAP,
                progress=progress,
            )
        except InputError as error:
            return str(error).rstrip(".")
    there = np.isfinite(solved.camera_to_world[:, 0, 0])
    if there.sum() < max(3, 0.5 * len(keys)):
        return f"only {there.sum()} of {len(keys)} frames could be placed"
    intrinsics = _with_focal(task.intrinsics, np.full(task.count, solved.focal[0]))
    poses = _between(solved.camera_to_world[there], keys[there], task.count)
    if there.all() and len(keys) == task.count:
        return task.candidate("sfm", poses, intrinsics, moves=True, lens_found=not task.lens_known)
    found = _adjusted(task, "sfm", poses, intrinsics, progress, (COARSE,))
    return found if isinstance(found, str) else replace(found, registered=float(there.mean()))


def model(task: Task, frames: NDArray[np.uint8], device: str, progress: Progress) -> Candidate | str:
    """Cameras that Depth Anything 3 predicts for some frames, made exact and completed by tracked points.

    Args:
        task: see `Task`.
        frames: (T,H,W,3) uint8 RGB.
        device: of torch, or "auto".
        progress: called after each step.
    """
    if lacks := da3.missing():
        return lacks.rstrip(".")
    keys = _keys(task.count, da3.most_frames(device))
    try:
        seen = da3.seen(frames[keys], device, progress)
    except InputError as error:
        return str(error).rstrip(".")
    if not np.isfinite(seen.camera_to_world).all():
        return "its cameras are not finite"
    poses, intrinsics = _between(seen.camera_to_world, keys, task.count), task.intrinsics
    tells = ~np.isnan(seen.focal_px)
    if not task.lens_known and tells.any():
        focal = seen.focal_px * task.pictures.size[0] / frames.shape[2]
        each = np.interp(np.arange(task.count), keys[tells], focal[tells])
        intrinsics = _with_focal(intrinsics, each if task.zooms else np.full(task.count, np.median(focal[tells])))
    if not solver.PYCOLMAP.is_there:
        found = not task.lens_known and bool(tells.any())
        return task.candidate("da3", poses, intrinsics, moves=True, lens_found=found)
    return _adjusted(task, "da3", poses, intrinsics, progress, (COARSE, COARSE))


def _adjusted(
    task: Task,
    name: str,
    poses: NDArray[np.float64],
    intrinsics: NDArray[np.float64],
    progress: Progress,
    rounds: tuple[Round, ...],
) -> Candidate | str:
    """Bundle adjustment from initial poses; each round leaves out the points that did not fit in the one before."""
    fitted = task.tracks.kept(~task.held)
    fitted, distortion = fitted.kept(fitted.lengths()[fitted.track] >= SHORTEST), 0.0
    for one in rounds:
        structure = triangulated(fitted, poses, intrinsics)
        try:
            solved = solver.adjusted(
                fitted,
                poses,
                structure.points,
                intrinsics[:, 0, 0],
                task.pictures.size,
                refine=not task.lens_known,
                zooms=task.zooms,
                distorts=one.distorts,
                loss=one.loss,
                most=one.most,
                progress=progress,
            )
        except InputError as error:
            return str(error).rstrip(".")
        poses, intrinsics = solved.camera_to_world, _with_focal(intrinsics, solved.focal)
        if not np.isfinite(poses).all() or not (intrinsics[:, 0, 0] > 0).all():
            return "the bundle adjustment did not converge"
        distortion = solved.distortion
        straight = undistorted(fitted, intrinsics, distortion)
        fitted = _without_strays(fitted, triangulated(straight, poses, intrinsics).residual, one.stray)
        if len(np.unique(fitted.frame)) < task.count:
            lost = int(np.setdiff1d(np.arange(task.count), fitted.frame)[0])
            return f"no point fits in {in_shot(lost)}"
    return task.candidate(name, poses, intrinsics, moves=True, lens_found=not task.lens_known, distortion=distortion)


def _without_strays(tracks: Tracks, residual: NDArray[np.float64], stray: float) -> Tracks:
    """The tracks without points that do not fit in most of their sightings."""
    bad = np.bincount(tracks.track, residual > stray, tracks.count) * 2 > tracks.lengths()
    return tracks.kept(~bad[tracks.track])


def _keys(count: int, most: int) -> NDArray[np.intp]:
    """Every n-th of `count` frames and the last one, about `most` in all."""
    every = int(np.ceil(count / most))
    return np.unique([*range(0, count, every), count - 1])


def _with_focal(intrinsics: NDArray[np.float64], focal: NDArray[np.float64]) -> NDArray[np.float64]:
    k = intrinsics.copy()
    k[:, 1, 1] *= focal / k[:, 0, 0]
    k[:, 0, 0] = focal
    return k


def _between(poses: NDArray[np.float64], numbers: NDArray[np.intp], count: int) -> NDArray[np.float64]:
    """Interpolate the poses of all frames from those of some; held before the first and after the last."""
    made = np.empty((count, 4, 4))
    for t in range(count):
        after = int(np.clip(np.searchsorted(numbers, t), 1, len(numbers) - 1))
        first, second = numbers[after - 1], numbers[after]
        share = float(np.clip((t - first) / (second - first), 0, 1))
        made[t] = between(poses[after - 1], poses[after], share)
    return made
