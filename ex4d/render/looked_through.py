"""Whether a line of sight crosses space that no frame looked into.

What other frames saw may be shown behind an edge only if nothing can be in between. So the line from the new camera
to the surface is followed in steps of equal parallax. At each step, some frame must have looked through the point,
which means that the point is in front of what that frame saw there. This is space carving (Kutulakos and Seitz, 2000)
along the necessary lines only. Points outside all pictures are assumed to be empty, and so is the space behind thin
things: a lamp post hides a strip of the street from every frame, but hardly ever a second post.

Another moving thing may hide behind one that moves. So where the frame's own view was blocked by a moving thing, only
frames at most `SOON` frames away count, and those of a clean plate, which show what is there; and right behind the
thing is its far side, see `ex4d.render.filling.Frame`. A moving thing that is cut off by the border of the picture goes
on beyond it.

Someone whom the frame cannot see, because they have just left its picture or walk behind somebody else, is where other
frames saw them shortly before and after. So where the frame did not look, or its view was blocked by a moving thing, no
line may cross a place that was occupied in those frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.transforms import inverse
from ex4d.render.engines import missing
from ex4d.render.movers import NOTHING, Occupied, without_shell

STEPS = 72
"""Points tested along each line. 48 add half a point and cost 0.8 dB on the walk of docs/performance.md."""

SOON = 12
"""Maximum number of frames between one that was blocked by a moving thing and one that shows what is behind it."""

ANY_TIME = -1
"""Frame number that counts as near in time to all others, for frames of a clean plate. Without it, a plate that saw the
place behind an actor who does not move would fill none of it; figures are in docs/performance.md."""

GONE, GONE_TIMES = 0.03, 5.0
"""Something that a frame saw is gone if another frame looked through it and beyond, by this fraction of the distance or
by this multiple of the median difference between the two frames' depths, whichever is larger."""

STANDS, STANDS_TIMES, MOST_STANDS = 0.005, 3.0, 0.06
"""Something that a frame saw stands still if another frame saw something still there, within this fraction of the
distance or this multiple of the median difference between the two frames' depths, whichever is larger, but at most
within the third."""

FRINGE, FRINGE_NEARER, FRINGE_STANDS = 170, 1.3, 0.15
"""A mask of something that moves also covers a fringe of its background, where depth is least certain. A pixel in the
mask is fringe if something that moves, within 1 / `FRINGE` of the picture's longer side, is at least `FRINGE_NEARER`
times nearer. It stands still if another frame saw something still there, within `FRINGE_STANDS` of the distance.
Figures are in docs/performance.md."""

STANDS_EVERY = 8
"""The usual difference is that of every n-th pixel in each direction."""

BEYOND = 16
"""A moving thing that is cut off by the border of the picture goes on outside, by 1 / `BEYOND` of the longer side."""

GRID = 512
"""Maximum points along the longer side of the grid that stores how far a frame saw."""

THIN, DEEP = 36, 2.0
"""A thing is thin if narrower than 1 / `THIN` of the picture's longer side. Every thin thing is assumed to be at most
`DEEP` times that limit deep, however narrow it is."""

JUMP = 0.01
"""Depth jumps at a pixel if its inverse differs from the plane through its neighbours by more than this fraction. Grain
of 0.5 % in the depth is enough for most pixels to count as jumps, where everything is as if there were no slopes."""

CLEAR = 0.01
"""A point is in front of a surface if nearer by this fraction of its distance; a line ends twice as far before it."""


@dataclass(frozen=True)
class Looks:
    """How far frames saw.

    Attributes:
        numbers: of n frames of the shot; `ANY_TIME` for frames of another clip.
        seen, around: (n,h,w) float32, see `Reach`, on a coarse grid.
        deep: (n,) see `Reach`.
        to_pixels: (n,3,4) from the world to (column d, row d, d) on that grid, with the distance d along the axis.
    """

    numbers: Sequence[int]
    seen: NDArray[np.float32]
    around: NDArray[np.float32]
    deep: NDArray[np.float64]
    to_pixels: NDArray[np.float64]

    def from_camera(self, camera_to_world: NDArray[np.float64], t: int) -> "Sight":
        """The same in the axes of a camera (4,4) that shows frame `t`."""
        soon = np.array([n == ANY_TIME or 0 < abs(n - t) <= SOON for n in self.numbers], np.bool_)
        return Sight(self.seen, self.around, self.deep, self.to_pixels @ camera_to_world, soon)

    def at_rest(self, moving: Sequence[NDArray[np.bool_]]) -> "Looks":
        """The same frames, but only what does not move in them; NaN where (H,W) something does."""
        size = self.seen.shape[:0:-1]
        # Next to something that moves, a point of the grid may have its distance, see `reach`.
        moves = [
            cv2.dilate(cv2.resize(one * np.uint8(255), size, interpolation=cv2.INTER_AREA), np.ones((3, 3))) > 0
            for one in moving
        ]
        return replace(self, seen=np.where(np.stack(moves), np.float32(np.nan), self.seen))

    def and_those_of(self, others: "Looks") -> "Looks":
        """These frames and others, with the others' grids resized to ours."""
        (height, width), (h, w) = self.seen.shape[1:], others.seen.shape[1:]
        to_pixels = np.array([width / w, height / h, 1])[:, None] * others.to_pixels

        def with_theirs(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
            resized = [cv2.resize(one, (width, height), interpolation=cv2.INTER_NEAREST) for one in theirs]
            return np.concatenate([ours, np.stack(resized)])

        return Looks(
            [*self.numbers, *others.numbers],
            with_theirs(self.seen, others.seen),
            with_theirs(self.around, others.around),
            np.concatenate([self.deep, others.deep]),
            np.concatenate([self.to_pixels, to_pixels]),
        )


@dataclass(frozen=True)
class Sight:
    """`Looks` from one camera: `to_pixels` (n,3,4) is from its axes, and `soon` (n,) tells which are near in time."""

    seen: NDArray[np.float32]
    around: NDArray[np.float32]
    deep: NDArray[np.float64]
    to_pixels: NDArray[np.float64]
    soon: NDArray[np.bool_]


@dataclass(frozen=True)
class Own:
    """What the frame itself knows.

    Attributes:
        reach: how far it saw.
        back: (H,W) float32, the distance up to which a moving thing reaches; 0 where nothing moves.
        to_pixels: (3,4) as in `Sight`.
        nearby: the space that moving things occupy shortly before and after, in the axes of the camera.
    """

    reach: "Reach"
    back: NDArray[np.float32]
    to_pixels: NDArray[np.float64]
    nearby: Occupied = NOTHING


@dataclass(frozen=True)
class Reach:
    """How far a frame saw, at each point of a grid.

    Attributes:
        seen: (h,w) float32, the distance along its axis up to which it looked through.
        around: (h,w) float32, the distance of what surrounds a thin thing, or the crest of a sharp ridge; elsewhere the
            same as `seen`. From the thing's back, at `seen * (1 + deep)`, up to there, space is assumed to be empty.
        deep: how deep thin things are at most, as a fraction of their distance.
        intrinsics: (3,3) of the grid.
    """

    seen: NDArray[np.float32]
    around: NDArray[np.float32]
    deep: float
    intrinsics: NDArray[np.float64]


def reach(depth: NDArray[np.float32], intrinsics: NDArray[np.float64], stride: int = 1) -> Reach:
    """How far a frame with this depth (H,W) saw, at every `stride`-th pixel.

    Where the depth jumps, each grid point has the nearest of the pixels around it, because the background may be hidden
    there. On slopes it has its own depth, so that the ground in front hides nothing of the ground behind.
    """
    side = stride + 2
    square = np.ones((side, side), np.uint8)
    near = cv2.erode(depth, square, anchor=(1, 1), borderType=cv2.BORDER_REPLICATE)
    beside = cv2.dilate(_jumps(depth), square, anchor=(1, 1))
    height, width = (size // stride * stride for size in depth.shape)
    of_grid, centre = (slice(0, height, stride), slice(0, width, stride)), stride // 2
    seen = np.where(
        beside[of_grid], near[of_grid], depth[centre : height + centre : stride, centre : width + centre : stride]
    )
    thin = max(seen.shape) / THIN
    wider = np.ones((int(thin) + 2 | 1,) * 2, np.uint8)  # odd; `near` makes everything wider by a pixel at each side
    around = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, wider, borderType=cv2.BORDER_REPLICATE)
    intrinsics = intrinsics.copy()
    intrinsics[:2] /= stride
    return Reach(seen, np.asarray(around, np.float32), DEEP * thin / float(intrinsics[0, 0]), intrinsics)


def coarse(depth: NDArray[np.float32], intrinsics: NDArray[np.float64]) -> Reach:
    """`reach` on a grid of at most `GRID` points along its longer side."""
    return reach(depth, intrinsics, min(-(-max(depth.shape) // GRID), *depth.shape))


def _jumps(depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """1 where (H,W) neighbours above and below, or left and right, are not on one plane with the pixel, otherwise 0."""
    inverse_depth, kernel = 1 / depth, np.array([[1, -2, 1]], np.float32)
    across, along = cv2.filter2D(inverse_depth, -1, kernel), cv2.filter2D(inverse_depth, -1, kernel.T)
    across[:, [0, -1]], along[[0, -1]] = 0, 0
    bent = np.maximum(np.abs(across, out=across), np.abs(along, out=along), out=across)  # in place: 8 times as fast
    inverse_depth *= np.float32(JUMP)
    return (bent > inverse_depth).view(np.uint8)


def looks(numbers: Sequence[int], reaches: Sequence[Reach], source_to_world: NDArray[np.float64]) -> Looks:
    """Frames by their numbers, from the output of `coarse` for each, and poses (n,4,4)."""
    to_pixels = [one.intrinsics @ inverse(pose)[:3] for one, pose in zip(reaches, source_to_world, strict=True)]
    seen, around = np.stack([one.seen for one in reaches]), np.stack([one.around for one in reaches])
    return Looks(numbers, seen, around, np.array([one.deep for one in reaches]), np.stack(to_pixels))


def is_gone(mesh: DWMesh, t: int, looks: Looks) -> NDArray[np.bool_]:
    """Where (H,W) other frames looked through what frame `t` of a mesh saw, because it moved, appeared or vanished."""
    points = mesh.camera_vertices(t).reshape(-1, 3)
    pose, gone = mesh.source_to_world[t], np.zeros(len(points), np.bool_)
    places = (points @ pose[:3, :3].T + pose[:3, 3]).T
    for matrix, seen in zip(looks.to_pixels, looks.seen, strict=True):
        limit, z = _looked_up(matrix, places, 1.0, seen)
        with np.errstate(invalid="ignore"):
            farther = np.log(limit / z)
        if np.isfinite(farther).any():
            gone |= farther > max(GONE, GONE_TIMES * float(np.nanmedian(np.abs(farther))))
    small = gone.reshape(mesh.height, mesh.width).astype(np.uint8)
    return cv2.morphologyEx(small, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0


def things(
    moving: NDArray[np.bool_],
    depth: NDArray[np.float32],
    intrinsics: NDArray[np.float64],
    source_to_world: NDArray[np.float64],
    at_rest: Looks,
) -> NDArray[np.bool_]:
    """What moves (H,W), without what only seems to move: the ground under a moving shadow, the fringe of a mask.

    Args:
        moving: (H,W) what changes in the picture.
        depth: (H,W) of a mesh.
        intrinsics: (3,3) its lens.
        source_to_world: (4,4) its pose.
        at_rest: how far other frames saw, from `Looks.at_rest`.
    """
    height, width = depth.shape
    rows, columns = np.nonzero(moving)
    few = (slice(None, None, STANDS_EVERY),) * 2
    still_rows, still_columns = np.nonzero(~moving[few])
    still, count = (still_rows * STANDS_EVERY, still_columns * STANDS_EVERY), len(rows)
    there = [np.concatenate(both) for both in zip((rows, columns), still, strict=True)]
    # The border of a mesh is at the shell.
    row, column = there[0].clip(1, height - 2), there[1].clip(1, width - 2)
    rays = np.stack([column + 0.5, row + 0.5, np.ones(len(row))])
    points = np.linalg.inv(intrinsics) @ rays * depth[row, column]
    places, rests = source_to_world[:3, :3] @ points + source_to_world[:3, 3:], np.zeros(count, np.bool_)
    fringe = _fringe(moving, depth)[rows, columns]
    for matrix, seen in zip(at_rest.to_pixels, at_rest.seen, strict=True):
        limit, z = _looked_up(matrix, places, 1.0, seen)
        with np.errstate(invalid="ignore"):
            off = np.abs(np.log(limit / z))
        usual = off[count:][np.isfinite(off[count:])]
        if len(usual):
            most = np.clip(STANDS_TIMES * float(np.median(usual)), STANDS, MOST_STANDS)
            rests |= off[:count] < np.where(fringe, FRINGE_STANDS, most)
    square, gone = np.ones((3, 3), np.uint8), np.zeros(moving.shape, np.uint8)
    gone[rows[rests], columns[rests]] = 1
    left = moving & (gone == 0)
    # Of the rim of what is at rest, single pixels remain.
    whole = cv2.morphologyEx(left.astype(np.uint8), cv2.MORPH_OPEN, square) > 0
    return whole | (left & (cv2.dilate(gone, square) == 0))


def _fringe(moving: NDArray[np.bool_], depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where (H,W), given a mask of what moves and depth, something that moves close by is much nearer."""
    depth = without_shell(depth)
    around = np.ones((2 * max(1, round(max(depth.shape) / FRINGE)) + 1,) * 2, np.uint8)
    nearest = cv2.erode(np.where(moving, depth, np.float32(np.inf)), around)
    return np.asarray(depth / np.float32(FRINGE_NEARER) > nearest)


def crosses_unseen(
    rays: NDArray[np.float64], inverse_distance: NDArray[np.float32], nearest: float, own: Own, others: Sight
) -> NDArray[np.bool_]:
    """Which lines of sight (m,) cross space that no frame looked into, or that a hidden mover occupies.

    Args:
        rays: (3,m) directions in the axes of the camera, scaled to 1 along its optical axis.
        inverse_distance: (m,) 1 / distance of the surfaces at which the lines end.
        nearest: 1 / distance of the nearest surface visible from the camera.
        own: what the frame itself knows.
        others: what other frames know.
    """
    if missing("numba"):
        return _by_numpy(rays, inverse_distance, nearest, own, others)
    from ex4d.render.engines.lines_of_sight import crosses_unseen as compiled

    known = others.seen, others.around, others.deep, others.to_pixels, others.soon
    of_own = own.reach.seen, own.reach.around, own.reach.deep, own.back, own.to_pixels
    near_in_time = own.nearby.front, own.nearby.back, own.nearby.to_pixels
    crossing: NDArray[np.bool_] = compiled(
        rays, inverse_distance, nearest, STEPS, CLEAR, *known, *of_own, *near_in_time, BEYOND
    )
    return crossing


def _by_numpy(
    rays: NDArray[np.float64], inverse_distance: NDArray[np.float32], nearest: float, own: Own, others: Sight
) -> NDArray[np.bool_]:
    """The same with numpy, step by step for all lines at once; much slower."""
    ends = inverse_distance.astype(np.float64) / (1 - 2 * CLEAR)
    crossing, left = np.zeros(len(ends), np.bool_), np.flatnonzero(ends < nearest)
    for step in range(STEPS):
        nearness = ends[left] + (step + 0.5) / STEPS * (nearest - ends[left])
        maps = own.reach.seen, own.reach.around, own.back
        seen, around, back, z = _looked_up(own.to_pixels, rays[:, left], nearness, *maps)
        hidden = z * (1 + CLEAR) >= seen
        empty = (z * (1 + CLEAR) < seen) | ((z > seen * (1 + own.reach.deep)) & (z * (1 + CLEAR) < around))
        blocked = (back > 0) & (z > seen)
        unknown = blocked | np.isnan(z)
        behind = _is_within(own.to_pixels, rays[:, left], nearness, own.reach.seen, own.back)
        for matrix, front, back in zip(own.nearby.to_pixels, own.nearby.front, own.nearby.back, strict=True):
            behind |= unknown & _is_within(matrix, rays[:, left], nearness, front, back)
        empty_soon = np.zeros(len(left), np.bool_)
        each = zip(others.to_pixels, others.seen, others.around, others.deep, others.soon, strict=True)
        for matrix, *maps_of_frame, deep, soon in each:
            seen, around, z = _looked_up(matrix, rays[:, left], nearness, *maps_of_frame)
            through = z * (1 + CLEAR) < seen
            empty = empty | through | ((z > seen * (1 + deep)) & (z * (1 + CLEAR) < around))
            hidden = hidden | (z * (1 + CLEAR) >= seen)
            if soon:
                empty_soon |= through
        bad = behind | (hidden & ~empty) | (blocked & ~empty_soon)
        crossing[left[bad]] = True
        left = left[~bad]
    return crossing


def _is_within(
    matrix: NDArray[np.float64],
    rays: NDArray[np.float64],
    nearness: NDArray[np.float64],
    front: NDArray[np.float32],
    back: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Which points (3,m) `rays / nearness` lie between two distances in maps (h,w) of a frame, or a little outside."""
    front, back, z = _looked_up(matrix, rays, nearness, front, back, beyond=max(back.shape) // BEYOND)
    return (z * (1 + CLEAR) >= front) & (z < back)


def _looked_up(
    matrix: NDArray[np.float64],
    rays: NDArray[np.float64],
    nearness: NDArray[np.float64] | float,
    *maps: NDArray,
    beyond: int = 0,
) -> list[NDArray]:
    """The distances in maps (h,w) at points (3,m) `rays / nearness`, followed by those of the points themselves, all
    multiplied by the points' nearness; NaN outside. For `beyond` pixels, the maps go on as at their border.
    """
    height, width = maps[0].shape
    turned = matrix[:, 0, None] * rays[0] + matrix[:, 1, None] * rays[1] + matrix[:, 2, None] * rays[2]
    x, y, z = turned + nearness * matrix[:, 3, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = x / z, y / z
        inside = (z > 0) & (x >= -beyond) & (x < width + beyond) & (y >= -beyond) & (y < height + beyond)
    row, column = y[inside].astype(int), x[inside].astype(int)
    at, found = (row.clip(0, height - 1), column.clip(0, width - 1)), []
    for values in maps:
        into = np.full(len(z), np.nan)
        into[inside] = values[at]
        found.append(nearness * into)
    return [*found, np.where(inside, z, np.nan)]
