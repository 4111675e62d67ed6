"""Shooting a generated world: what a camera records of it, and the ground truth of every pixel."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import intrinsics, transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.intrinsics import fit_frame
from ex4d.media.clip import Clip
from ex4d.synthetic import shading
from ex4d.synthetic.world import Motion, World, solids_at

SHARP_RAY = ((0.0, 0.0, 0.0),)
"""Rays of each pixel: offset to the right and down in pixels, and time in exposures from its middle. Textures are
smooth and need no more rays; edges and motion do."""

BLURRED_RAYS = ((-0.25, 0.125, -0.25), (0.25, -0.125, 0.25))
"""The rays if the exposure takes time."""

EDGE_RAYS = ((0.375, 0.375, -0.375), (-0.375, -0.375, 0.375), (0.125, -0.375, 0.125), (-0.125, 0.25, -0.125))
"""Additional rays where the first ones, or those of neighbouring pixels, hit an edge."""

FPS = Fraction(24)


@dataclass(frozen=True)
class Footage:
    """What one camera saw, and the ground truth.

    Attributes:
        frames: (T,H,W,3) uint8, sRGB.
        depth: (T,H,W) float32, metres along the optical axis, at the pixel centres in the middle of the exposure.
        things: (T,H,W) uint16, the number of the visible thing; 0 is the sky.
        moving: (T,H,W) bool, whether that thing moves.
        cameras: pose of the camera in the middle of each exposure, and its lens; as everywhere, the world is the source
            camera of frame 0, or of the first frame after the last cut.
    """

    frames: NDArray[np.uint8]
    depth: NDArray[np.float32]
    things: NDArray[np.uint16]
    moving: NDArray[np.bool_]
    cameras: CameraPath

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True)
class Example:
    """A generated clip and its ground truth.

    Attributes:
        name: of the scene.
        source: the clip, with motion blur and noise.
        second: the same moments from another camera, sharp and without noise, in the same world.
        cuts: the first frame of each shot except the first; empty if the clip is a single shot.
    """

    name: str
    source: Footage
    second: Footage
    cuts: tuple[int, ...] = ()

    @cached_property
    def clip(self) -> Clip:
        """The source as if it had been read from a file."""
        count, height, width = self.source.depth.shape
        fit = fit_frame(width, height, multiple=1)
        return Clip(self.source.frames, FPS, f"{self.name}.mp4", 0, fit, (), count)

    @cached_property
    def depth(self) -> DepthVideo:
        """The source's true depth and lens."""
        return DepthVideo(self.source.depth, self.source.cameras.intrinsics, "truth")


@dataclass(frozen=True)
class Recording:
    """How a camera records.

    Attributes:
        width, height: in pixels.
        frames: number of frames.
        shutter: exposed fraction of a frame's time; 0 is sharp.
        noise: strength of the sensor noise: standard deviation in levels of 255, at middle grey.
        seed: of the noise.
        rolling: for a rolling shutter, the fraction of a frame's time from the first row to the last; poses are those
            of the middle row, and depth is along the axis of each row's own camera. Things move between frames only.
        distortion: of the lens, see `tracing.undistorted`; intrinsics are those without it.
    """

    width: int = 512
    height: int = 288
    frames: int = 49
    shutter: float = 0.5
    noise: float = 2.0
    seed: int = 0
    rolling: float = 0.0
    distortion: float = 0.0


def shoot(world: World, recording: Recording) -> tuple[Footage, Footage]:
    """The footage of the source camera, and that of the second camera, without blur and noise."""
    clean = Recording(recording.width, recording.height, recording.frames, shutter=0, noise=0)
    to_first = transforms.inverse(world.camera(0.0))
    return film(world, recording), _shot(world, world.second_camera, to_first, clean)


def film(world: World, recording: Recording) -> Footage:
    """The footage of the source camera only."""
    return _shot(world, world.camera, transforms.inverse(world.camera(0.0)), recording)


def _shot(world: World, camera: Motion, to_first: NDArray, recording: Recording) -> Footage:
    count, height, width = recording.frames, recording.height, recording.width
    frames, depth = np.empty((count, height, width, 3), np.uint8), np.empty((count, height, width), np.float32)
    things = np.empty((count, height, width), np.uint16)

    def expose(t: int) -> None:
        random = np.random.default_rng((recording.seed, t))
        frames[t] = _developed(_exposed(world, camera, t, recording), recording.noise, random)
        shading.depth_and_things(
            _rows(camera, t, recording),
            _lens(world, t, recording),
            recording.distortion,
            solids_at(world, t),
            world.light,
            depth[t],
            things[t],
        )

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # compiled kernels release the interpreter lock
        list(pool.map(expose, range(count)))
    poses = to_first @ np.stack([camera(t) for t in range(count)])
    lenses = np.stack([_lens(world, t, recording) for t in range(count)])
    return Footage(frames, depth, things, world.moving[things], CameraPath(poses, lenses, width, height))


def _exposed(world: World, camera: Motion, t: int, recording: Recording) -> NDArray[np.float64]:
    """Linear light (H,W,3) float64."""
    size = (recording.height, recording.width)
    total, count = np.zeros((*size, 3)), np.zeros(size)
    rays = BLURRED_RAYS if recording.shutter else SHARP_RAY
    seen = np.empty((len(rays), *size), np.int64)
    still = solids_at(world, t)

    def add(ray: tuple[float, float, float], where: NDArray[np.bool_], into: NDArray[np.int64]) -> None:
        right, down, when = ray
        moment = t + recording.shutter * when
        solids = still if not recording.shutter else solids_at(world, moment)
        lens = _lens(world, moment, recording)
        poses = _rows(camera, moment, recording)
        shading.add_rays(poses, lens, recording.distortion, solids, world.light, right, down, where, total, into)
        count[where] += 1

    for ray, into in zip(rays, seen, strict=True):
        add(ray, np.ones(size, bool), into)
    edges, spare = _edges(seen), np.empty(size, np.int64)
    for ray in EDGE_RAYS:
        add(ray, edges, spare)
    return total / count[..., None]


def _edges(seen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where (H,W) the solids (n,H,W) that rays hit differ from each other, or from a neighbouring pixel's."""
    edges = seen[0] != seen[-1]
    down, right = seen[0, 1:] != seen[0, :-1], seen[0, :, 1:] != seen[0, :, :-1]
    edges[1:] |= down
    edges[:-1] |= down
    edges[:, 1:] |= right
    edges[:, :-1] |= right
    return edges


def _rows(camera: Motion, time: float, recording: Recording) -> NDArray[np.float64]:
    """The pose of the camera in each row (H,4,4)."""
    if not recording.rolling:
        return np.broadcast_to(camera(time), (recording.height, 4, 4)).copy()
    rows = (np.arange(recording.height) + 0.5) / recording.height - 0.5
    return np.stack([camera(time + recording.rolling * row) for row in rows])


def _lens(world: World, time: float, recording: Recording) -> NDArray[np.float64]:
    focal = intrinsics.focal_of(world.field_of_view(time), recording.width)
    return intrinsics.from_focal(focal, recording.width, recording.height)


def _developed(light: NDArray[np.float64], noise: float, random: np.random.Generator) -> NDArray[np.uint8]:
    """sRGB bytes of linear light, with sensor noise: photon noise, which grows with the light, and read noise.

    Highlights roll off as on film, so that sunlit walls keep their texture.
    """
    level = 255 * (light / (light + 0.8) * 1.5).clip(0, 1) ** (1 / 2.2)
    if noise:
        level = level + random.standard_normal(level.shape, np.float32) * noise * np.sqrt(0.4 + 0.6 * level / 128)
    return (level + 0.5).clip(0, 255).astype(np.uint8)
