"""Depth of every frame of a clip, and the file in which the project keeps it. Needs numpy only."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.frame_numbers import in_shot
from ex4d.geometry import intrinsics
from ex4d.storage.atomic import replacing
from ex4d.storage.npz import LIMIT_BYTES, Arrays, open_arrays


@dataclass(frozen=True)
class DepthVideo:
    """Distances along the optical axis at the clip's working size.

    Attributes:
        depth: (T,H,W) float32, finite, > 0, in the unit of the provider.
        intrinsics: (T,3,3) float64 in pixels of (H, W), pixel centres at +0.5; (3,3) is taken for all frames.
        provider: where the depth comes from, a short name.
        notes: sentences about what was assumed or changed, for the user.
        repaired: part of the values, 0 to 1, that were no distances and took a neighbour's.
        is_guess: whether the distances were guessed without a depth model.
    """

    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    provider: str
    notes: tuple[str, ...] = ()
    repaired: float = 0.0
    is_guess: bool = False

    def __post_init__(self) -> None:
        _check_shape(self.depth.shape, self.depth.dtype)
        for number, frame in enumerate(self.depth):  # without a temporary as large as the video
            _check_distances(frame, number)
        object.__setattr__(self, "intrinsics", intrinsics.per_frame(self.intrinsics, len(self.depth)))


def save_depth(path: Path, depth: DepthVideo, **about: NDArray | str) -> None:
    """Write .npz with the fields of `DepthVideo` and what else is to be told `about` it; all or nothing.

    Not compressed: float depth shrinks little, and packing it would take longer than all other steps.

    Raises:
        InputError: the file cannot be written (disk full, no permission).
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            depth=depth.depth,
            intrinsics=depth.intrinsics,
            provider=np.array(depth.provider),
            notes=np.array(depth.notes, np.str_),
            repaired=np.array(depth.repaired),
            is_guess=np.array(depth.is_guess),
            **{name: np.asarray(value) for name, value in about.items()},  # type: ignore[arg-type]
        )


class DepthFile:
    """What `save_depth` wrote, opened: everything but the distances, which are read by ranges of frames.

    Attributes:
        shape: (T, H, W).
        intrinsics: (T,3,3) float64, see `DepthVideo`.
        provider, notes, repaired, is_guess: see `DepthVideo`.
    """

    def __init__(self, arrays: Arrays) -> None:
        for key in ("depth", "intrinsics", "provider", "notes"):
            if key not in arrays.headers:
                raise InputError(f"The depth file {arrays.path} has no {key!r}: EX-4D for Blender did not write it.")
        header = arrays.headers["depth"]
        _check_shape(header.shape, header.dtype)
        self._arrays = arrays
        self.shape = header.shape
        self.intrinsics = intrinsics.per_frame(arrays.read("intrinsics"), header.shape[0])
        self.provider = str(arrays.read("provider"))
        self.notes = tuple(str(note) for note in arrays.read("notes"))
        self.repaired = _number(arrays, "repaired")
        self.is_guess = flag(arrays, "is_guess")

    def frames(self, start: int, stop: int) -> NDArray[np.float32]:
        """Distances of the frames start ... stop - 1, (stop - start, H, W) float32; no other frame is read.

        Raises:
            InputError: damaged or cut off, or more than may be read at once; ranges outside of the file are refused.
        """
        count, height, width = self.shape
        if not 0 <= start <= stop <= count:
            raise InputError(f"{self._arrays.path} has {count} frames of depth, not {start} to {stop}: ask for fewer.")
        if (size := (stop - start) * height * width * 4) > LIMIT_BYTES:
            raise InputError(
                f"{stop - start} frames of {self._arrays.path} are {size / 2**30:.0f} GB, which is too much: the file"
                " is damaged or too large; split it."
            )
        depth = np.empty((stop - start, height, width), np.float32)
        for number, (into, frame) in enumerate(zip(depth, self._arrays.rows("depth", start, stop), strict=True), start):
            into[:] = frame
            _check_distances(into, number)
        return depth


@contextmanager
def open_depth(path: Path) -> Iterator[DepthFile]:
    """Open what `save_depth` wrote, to read ranges of its frames; needs numpy only.

    Raises:
        InputError: missing, damaged, or without one of its arrays.
    """
    with open_arrays(path, "depth file") as arrays:
        yield DepthFile(arrays)


def load_depth_npz(path: Path) -> DepthVideo:
    """What `save_depth` wrote, whole and as it is; needs numpy only.

    Raises:
        InputError: missing, damaged, or without one of its arrays.
    """
    with open_depth(path) as file:
        depth = file.frames(0, file.shape[0])
        return DepthVideo(depth, file.intrinsics, file.provider, file.notes, file.repaired, file.is_guess)


def flag(arrays: Arrays, key: str) -> bool:
    """A single truth value; False where it is missing, as in files of older versions."""
    header = arrays.headers.get(key)
    return header is not None and header.shape == () and header.dtype.kind == "b" and bool(arrays.read(key))


def _check_shape(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 3 or dtype != np.float32 or 0 in shape:
        raise InputError(f"Depth must be float32 of the shape (T, H, W), not {dtype} {shape}.")


def _check_distances(frame: NDArray[np.float32], number: int) -> None:
    if not (frame.min() > 0 and frame.max() < np.inf):  # NaN fails both
        raise InputError(f"Depth must be finite and above 0 everywhere, which {in_shot(number)} is not.")


def _number(arrays: Arrays, key: str) -> float:
    """A single number; 0 where it is missing, as in files of older versions."""
    if key not in arrays.headers or arrays.headers[key].shape != () or arrays.headers[key].dtype.kind != "f":
        return 0.0
    return float(arrays.read(key))
