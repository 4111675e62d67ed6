"""Simulated masks, as a camera elsewhere would have left of a clip: their mix, and how they are degraded.

The paper has rendering and tracking masks but gives no proportions; these are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.render import mask_edges
from ex4d.render.engines import engine
from ex4d.render.scene import Engine, Scene
from ex4d.source_camera.tracks import Tracks
from ex4d.synthetic.depth_errors import DepthErrors, wrong
from ex4d.training import cameras, patches
from ex4d.training.seen import double_reprojected, open_mesh, seen_from

Kind = Literal["rendering", "tracking", "union", "full"]

MIX: dict[Kind, float] = {"rendering": 0.5, "tracking": 0.2, "union": 0.25, "full": 0.05}
"""Proportion of each kind of mask; with a full mask, the model is given the clip itself."""

COMPLEMENT = 0.15
"""Proportion of the rendering masks with the clip's own colours that are inverted, so that what was hidden is known
and everything else has to be made."""

LEAST_KNOWN = 0.1
"""A mask is only inverted if at least this part of the pixels is known afterwards."""

SPECK = 64
"""Holes and islands with fewer pixels, in a picture of 512x512, are removed from the mask."""

RELEASE_EROSION = 0.5
"""Proportion of masks eroded as in the release, by a side drawn for each frame; the others as in our renders."""

BLOBS, BLOB_AREA = 0.1, 0.04
"""Proportion of masks with inverted blobs, and the part of the picture that these cover."""

RENDERED_COLOUR = 0.4
"""Proportion of the masks with a camera that have colours from a render with wrong depth: 30 % of all masks."""

JITTER = DepthErrors(jitter=0.02, shape=0.05, edge=0)
"""Errors added to depth before masks are made from it, so that they do not all have the same estimator's shape."""


@dataclass(frozen=True)
class Source:
    """A clip, and what is known about it.

    Attributes:
        frames: (T,H,W,3) uint8 sRGB.
        depth: of these frames.
        tracks: points tracked through them, in their pixels.
    """

    frames: NDArray[np.uint8]
    depth: DepthVideo
    tracks: Tracks


@dataclass(frozen=True)
class Simulated:
    """One mask of a clip.

    Attributes:
        kind: see `MIX`.
        camera: what the camera does, for display; empty if there is none.
        mask: (T,H,W) bool, True where the clip is known.
        colour: (T,H,W,3) uint8 sRGB, black where it is not known; None if it is the clip's own.
    """

    kind: Kind
    camera: str
    mask: NDArray[np.bool_]
    colour: NDArray[np.uint8] | None


def simulate(source: Source, random: np.random.Generator, drawing: Engine | None = None) -> Simulated:
    """A random mask of a clip; the first frame is always completely known.

    Args:
        source: the clip.
        random: the source of all random numbers; the same state gives the same mask with any engine.
        drawing: the engine; None uses the fastest that can run here.
    """
    kind = list(MIX)[int(random.choice(len(MIX), p=list(MIX.values())))]
    count, height, width = source.depth.depth.shape
    mask, camera, colour = np.ones((count, height, width), np.bool_), "", None
    if kind == "full":
        return Simulated(kind, camera, mask, colour)
    if kind in ("rendering", "union"):
        mask, camera, colour = _rendered(source, random, drawing or engine())
    if kind == "rendering" and colour is None and random.uniform() < COMPLEMENT and 1 - mask.mean() >= LEAST_KNOWN:
        mask, camera = ~mask, f"{camera}, turned round"
    if kind in ("tracking", "union"):
        mask &= ~patches.holes(source.tracks, count, height, width, random)
    if random.uniform() < BLOBS:
        flipped = mask ^ _blobs(count, height, width, random)
        mask = flipped if colour is None else mask & flipped  # nothing more is known of a render
    kernels = mask_edges.RELEASE_KERNELS if random.uniform() < RELEASE_EROSION else mask_edges.DEFAULT_KERNELS
    mask = mask_edges.erode(mask.astype(np.uint8) * np.uint8(255), kernels, int(random.integers(1 << 32))) > 0
    mask[0] = True
    if colour is not None:
        colour[0] = source.frames[0]
        colour[~mask] = 0
    return Simulated(kind, camera, mask, colour)


def _rendered(
    source: Source, random: np.random.Generator, drawing: Engine
) -> tuple[NDArray[np.bool_], str, NDArray[np.uint8] | None]:
    """What a camera on a random path sees, the path's name, and sometimes the colours of a render with wrong depth."""
    depth = source.depth
    jittered = replace(depth, depth=wrong(depth.depth, JITTER, int(random.integers(1 << 32))))
    mesh = DWMesh.from_depth(jittered)
    path, camera = cameras.sampled(mesh, random)
    scene = Scene(mesh, source.frames, path)
    mask = np.empty(depth.depth.shape, np.bool_)
    if random.uniform() >= RENDERED_COLOUR:
        for t, seen in enumerate(seen_from(scene, drawing)):
            mask[t] = without_specks(seen)
        return mask, camera, None
    errors = DepthErrors(
        shift=float(random.uniform(-0.03, 0.03)),
        jitter=float(random.uniform(0, 0.01)),
        shape=float(random.uniform(0.005, 0.04)),
        edge=float(random.uniform(0.5, 2.0)),
    )
    wrong_depth = wrong(jittered.depth, errors, int(random.integers(1 << 32)))
    worse = replace(scene, mesh=open_mesh(replace(depth, depth=wrong_depth)))
    colour = np.empty_like(source.frames)
    for t, (picture, known) in enumerate(double_reprojected(scene, worse, drawing)):
        colour[t] = picture
        mask[t] = known & without_specks(known)
    return mask, f"{camera}, rendered with wrong depth", colour


def without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask (H,W) without islands and holes that are smaller than `SPECK`."""
    least = SPECK * mask.size / 512**2
    result = mask.astype(np.uint8)
    for value in (1, 0):
        _, parts, about, _ = cv2.connectedComponentsWithStats((result == value).astype(np.uint8), connectivity=4)
        small = about[:, cv2.CC_STAT_AREA] < least
        small[0] = False  # the pixels with the other value
        result[small[parts]] = 1 - value
    return result > 0


def _blobs(count: int, height: int, width: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """Where (T,H,W) blobs are, which drift and change slowly."""
    grids = random.standard_normal((-(-count // 16) + 1, 7, 7)).astype(np.float32)

    def field(t: int) -> NDArray[np.float32]:
        n, way = t // 16, t % 16 / 16
        grid = np.cos(way * np.pi / 2) * grids[n] + np.sin(way * np.pi / 2) * grids[n + 1]
        return np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)

    result = np.empty((count, height, width), np.bool_)
    for t in range(count):
        values = field(t)
        result[t] = values > np.quantile(values, 1 - BLOB_AREA)
    return result


Seeded = Callable[[int], np.random.Generator]


def seeded(seed: int, content: str, start: int) -> Seeded:
    """A random generator for each mask number, determined by the dataset's seed, the video's content and the clip's
    first frame, and so independent of the order and the number of processes in which masks are made.

    Args:
        seed: of the dataset.
        content: hash of the video in hexadecimal digits.
        start: first frame of the clip.
    """
    return lambda mask: np.random.default_rng((seed, int(content[:16], 16), start, mask))
