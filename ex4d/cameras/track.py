"""The content of a camera file, whichever tool wrote it."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras import rotations
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.intrinsics import per_frame

MOST_POSES = 100_000
"""Maximum number of poses in a file."""

LensUnit = Literal["pixels", "sides", "width", "height"]

CROPPED_PX = 16
"""On its way to the working size a clip is cropped by fewer pixels than this; any more means another picture."""


@dataclass(frozen=True)
class Lens:
    """The lens of each pose.

    Attributes:
        intrinsics: (N,3,3) float64, pixel centres at +0.5, in units of `unit`.
        unit: "pixels" of a picture of `size`, or of the clip if `size` is None; "sides": x in widths and y in heights
            of any picture; "width" or "height": both in this side of any picture, with square pixels and a centred
            principal point.
        size: width and height of the picture in pixels, for the unit "pixels".
    """

    intrinsics: NDArray[np.float64]
    unit: LensUnit = "pixels"
    size: tuple[int, int] | None = None

    def in_pixels(self, width: int, height: int) -> tuple[NDArray[np.float64], tuple[str, ...]]:
        """Intrinsics (N,3,3) in pixels of a picture `width` x `height`, and notes about them.

        If the picture has the lens's own aspect ratio, the intrinsics are scaled, and cropped by a few pixels as in
        `intrinsics.fit_frame`. For any other aspect ratio the horizontal field of view is kept, as in film and in
        Blender, and pixels stay square.
        """
        if self.unit == "pixels" and self.size is None:
            return self.intrinsics, ()
        if self.unit == "sides":
            return np.diag([width, height, 1.0]) @ self.intrinsics, ()
        if self.unit != "pixels":
            focal = self.intrinsics[:, 0, 0] * (width if self.unit == "width" else height)
            return centred(focal, width, height), ()
        assert self.size is not None
        own_width, own_height = self.size
        scale = max(width / own_width, height / own_height)
        notes: tuple[str, ...] = ()
        if max(own_width * scale - width, own_height * scale - height) >= CROPPED_PX:
            scale = width / own_width
            notes = (
                f"The lens of the camera file is for pictures of {own_width}x{own_height}, a different shape from"
                f" {width}x{height}: its horizontal field of view was kept.",
            )
        k = self.intrinsics.copy()
        k[:, 0, 0], k[:, 1, 1] = k[:, 0, 0] * scale, k[:, 1, 1] * scale
        k[:, 0, 2] = width / 2 + (k[:, 0, 2] - own_width / 2) * scale
        k[:, 1, 2] = height / 2 + (k[:, 1, 2] - own_height / 2) * scale
        return k, notes

    def at(self, positions: NDArray[np.float64]) -> "Lens":
        """Interpolate the lens linearly at positions (T,) between the poses, counted from 0."""
        before, share = _between(positions, len(self.intrinsics))
        after = np.minimum(before + 1, len(self.intrinsics) - 1)
        share = share[:, None, None]
        k = np.where(
            share == 0, self.intrinsics[before], (1 - share) * self.intrinsics[before] + share * self.intrinsics[after]
        )
        return replace(self, intrinsics=k)


@dataclass(frozen=True)
class CameraTrack:
    """The poses and lenses of a camera file.

    Attributes:
        format: name of the format, for people.
        camera_to_world: (N,4,4) float64, OpenCV axes (x right, y down, z forward); the world and the unit are the
            file's, with its axes converted to OpenCV's if the format says that y or z points up.
        lens: None if the file has none.
        frames: (N,) frame numbers as the file counts them, ascending; None if it has none.
        times: (N,) seconds, ascending; None if it has none.
        points: (M,3) float64, static points, in the same world; M may be 0.
        own_unit: whether the distances may be in a unit other than the depth's, as those of most trackers are.
        notes: sentences about what was guessed, converted or left out.

    Raises:
        InputError: too many poses, poses that are not rigid, or a lens that is not valid for them.
    """

    format: str
    camera_to_world: NDArray[np.float64]
    lens: Lens | None = None
    frames: NDArray[np.int64] | None = None
    times: NDArray[np.float64] | None = None
    points: NDArray[np.float64] | None = None
    own_unit: bool = True
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.camera_to_world) > MOST_POSES:
            raise InputError(f"A camera file may hold {MOST_POSES} poses, not {len(self.camera_to_world)}: cut it.")
        poses = transforms.check(self.camera_to_world, name="The pose")
        object.__setattr__(self, "camera_to_world", poses)
        if self.lens is not None:
            k = per_frame(self.lens.intrinsics, len(poses), f"The lens in the {self.format} file")
            object.__setattr__(self, "lens", replace(self.lens, intrinsics=k))

    def __len__(self) -> int:
        return len(self.camera_to_world)

    def numbered(self, first: int) -> NDArray[np.int64]:
        """The frame number (N,) of each pose; if the file has none, they count from `first`."""
        return self.frames if self.frames is not None else first + np.arange(len(self))

    def pixels(self) -> tuple[NDArray[np.float64], tuple[int, int]]:
        """The lens as intrinsics (N,3,3) in pixels, and the picture's size (width, height).

        Raises:
            InputError: there is no lens, or nothing gives the size of its picture.
        """
        if self.lens is None or self.lens.size is None:
            raise InputError(
                "The camera file does not say which picture size its lens is for: give the picture's width and"
                " height in pixels."
            )
        return self.lens.intrinsics, self.lens.size

    def at(self, positions: NDArray) -> "CameraTrack":
        """Interpolate the track at positions (T,) between its poses, counted from 0; exact at integers, bit for bit."""
        places = np.asarray(positions, np.float64)
        before, share = _between(places, len(self))
        after = np.minimum(before + 1, len(self) - 1)
        poses = self.camera_to_world[before].copy()
        for t in np.flatnonzero(share):
            one, other = self.camera_to_world[before[t]], self.camera_to_world[after[t]]
            poses[t] = rotations.between(one, other, float(share[t]))
        lens = self.lens.at(places) if self.lens is not None else None
        return replace(self, camera_to_world=poses, lens=lens, frames=None, times=None)


def centred(focal: NDArray, width: float, height: float) -> NDArray[np.float64]:
    """Intrinsics (N,3,3) of centred lenses with square pixels, from focal lengths (N,)."""
    k = np.zeros((len(focal), 3, 3))
    k[:, 0, 0] = k[:, 1, 1] = focal
    k[:, 0, 2], k[:, 1, 2], k[:, 2, 2] = width / 2, height / 2, 1
    return k


def _between(positions: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The pose before each position, and the fraction of the way to the next."""
    before = np.clip(np.floor(positions + 1e-9).astype(np.int64), 0, count - 1)
    share = np.clip(positions - before, 0, 1)
    return before, np.where(share < 1e-9, 0.0, share)
