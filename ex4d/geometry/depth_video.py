"""Depth of every frame of a clip, and the project's own file format for it. Needs only numpy."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.frame_numbers import in_shot
from ex4d.geometry import intrinsics, packed_depth
from ex4d.storage.npz import LIMIT_BYTES, Arrays, open_arrays, readable, write_arrays

PACKED = "packed_depth"
"""Name of the array with packed distances; the other arrays of such a file are in `_packed`."""


@dataclass(frozen=True)
class DepthVideo:
    """Distances along the optical axis at the clip's working size.

    Attributes:
        depth: (T,H,W) float32, finite, > 0, in the unit of the provider.
        intrinsics: (T,3,3) float64 in pixels of (H, W), pixel centres at +0.5; (3,3) is used for all frames.
        provider: where the depth comes from, a short name.
        notes: sentences about what was assumed or changed, for the user.
        repaired: fraction of the values, 0 to 1, that were not distances and were given a neighbour's.
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
        for number, frame in enumerate(self.depth):  # avoids a temporary as large as the video
            _check_distances(frame, number)
        object.__setattr__(self, "intrinsics", intrinsics.per_frame(self.intrinsics, len(self.depth)))


def save_depth(path: Path, depth: DepthVideo, *, packed: bool = False, **about: NDArray | str) -> None:
    """Write an .npz with the fields of `DepthVideo` and any further data `about` it; all or nothing.

    Args:
        path: of the file.
        depth: what to write.
        packed: pack it with `ex4d.geometry.packed_depth`, in a fifth of the space or less, with that module's relative
            error, which the file records as `relative_error`; otherwise write float32, which other tools can read too.
        about: further arrays and texts.

    Raises:
        InputError: the file cannot be written (disk full, no permission).
    """
    arrays = _packed(depth.depth) if packed else {"depth": depth.depth}
    arrays |= {
        "intrinsics": depth.intrinsics,
        "provider": np.array(depth.provider),
        "notes": np.array(depth.notes, np.str_),
        "repaired": np.array(depth.repaired),
        "is_guess": np.array(depth.is_guess),
        **{name: np.asarray(value) for name, value in about.items()},
    }
    write_arrays(path, arrays)


def _packed(depth: NDArray[np.float32]) -> dict[str, NDArray]:
    """The arrays that hold (T,H,W) packed: the bytes of each frame in turn, and where each ends."""
    frames = [packed_depth.pack(frame) for frame in depth]
    return {
        PACKED: np.frombuffer(b"".join(frames), np.uint8),
        "packed_ends": np.cumsum([len(frame) for frame in frames], dtype=np.int64),
        "packed_size": np.array(depth.shape[1:], np.int64),
        "mantissa_bits": np.array(packed_depth.MANTISSA_BITS, np.int64),
        "relative_error": np.array(packed_depth.relative_error()),
    }


class DepthFile:
    """An open file written by `save_depth`: everything but the distances, which are read in ranges of frames.

    Attributes:
        shape: (T, H, W).
        intrinsics: (T,3,3) float64, see `DepthVideo`.
        provider, notes, repaired, is_guess: see `DepthVideo`.
    """

    def __init__(self, arrays: Arrays) -> None:
        distances = PACKED if PACKED in arrays.headers else "depth"
        for key in (distances, "intrinsics", "provider", "notes"):
            if key not in arrays.headers:
                raise InputError(f"The depth file {arrays.path} has no {key!r}: EX-4D for Blender did not write it.")
        self._arrays = arrays
        self._packed = PackedFrames(arrays) if distances == PACKED else None
        if self._packed is not None:
            self.shape = self._packed.shape
        else:
            header = arrays.headers["depth"]
            _check_shape(header.shape, header.dtype)
            self.shape = header.shape
        self.intrinsics = intrinsics.per_frame(arrays.read("intrinsics"), self.shape[0])
        self.provider = str(arrays.read("provider"))
        self.notes = tuple(str(note) for note in arrays.read("notes"))
        self.repaired = _number(arrays, "repaired")
        self.is_guess = flag(arrays, "is_guess")

    def each(self, start: int, stop: int) -> Iterator[NDArray[np.float32]]:
        """Yield the distances (H,W) float32 of the frames start ... stop - 1, one at a time; no other frame is read.

        Raises:
            InputError: damaged or truncated; ranges outside the file are refused.
        """
        count = self.shape[0]
        if not 0 <= start <= stop <= count:
            raise InputError(f"{self._arrays.path} has {count} frames of depth, not {start} to {stop}: ask for fewer.")
        stored = self._packed.frames(start, stop) if self._packed else self._arrays.rows("depth", start, stop)
        for number, frame in enumerate(stored, start):
            _check_distances(frame, number)
            yield frame

    def frames(self, start: int, stop: int) -> NDArray[np.float32]:
        """Read the distances of the frames start ... stop - 1, (stop - start, H, W) float32; no other frame is read.

        Raises:
            InputError: damaged or truncated, or more than may be read at once; ranges outside the file are refused.
        """
        _count, height, width = self.shape
        if (size := (stop - start) * height * width * 4) > LIMIT_BYTES:
            raise InputError(
                f"{stop - start} frames of {self._arrays.path} are {size / 2**30:.0f} GB, which is too much: the"
                " file is damaged, or too large and has to be split."
            )
        depth = np.empty((max(0, stop - start), height, width), np.float32)
        for into, frame in zip(depth, self.each(start, stop), strict=True):
            into[:] = frame
        return depth


class PackedFrames:
    """The distances in an open file packed by `save_depth`, as they are stored.

    Attributes:
        shape: (T, H, W).
    """

    def __init__(self, arrays: Arrays) -> None:
        with readable(arrays.path, arrays.what):
            wanted = {"packed_ends": (1, "i"), "packed_size": (1, "i"), "mantissa_bits": (0, "i"), PACKED: (1, "u")}
            for key, (axes, kind) in wanted.items():
                header = arrays.headers.get(key)
                if header is None or len(header.shape) != axes or header.dtype.kind != kind:
                    raise ValueError(f"packed depth lacks its {key}")
            self._ends, size = arrays.read("packed_ends").astype(np.int64), arrays.read("packed_size").tolist()
            self._bits = int(arrays.read("mantissa_bits"))
            count = arrays.headers[PACKED].shape[0]
            if len(self._ends) == 0 or (np.diff(self._ends, prepend=0) < 0).any() or self._ends[-1] != count:
                raise ValueError("packed depth does not hold the frames that it announces")
            if len(size) != 2 or min(size) < 1 or not 1 <= self._bits <= packed_depth.MANTISSA_BITS:
                raise ValueError("packed depth has no such size or precision")
        self._arrays = arrays
        self.shape = (len(self._ends), *size)

    def frames(self, start: int, stop: int) -> Iterator[NDArray[np.float32]]:
        """Yield the frames start ... stop - 1, (H,W) float32 each, without checking that they are distances.

        Raises:
            InputError: damaged or truncated.
        """
        _count, height, width = self.shape
        begin = 0 if start == 0 else int(self._ends[start - 1])
        for end in self._ends[start:stop].tolist():
            data = self._arrays.piece(PACKED, begin, end).tobytes()
            with readable(self._arrays.path, self._arrays.what):
                frame = packed_depth.unpack(data, (height, width), self._bits)
            yield frame
            begin = end


@contextmanager
def open_depth(path: Path) -> Iterator[DepthFile]:
    """Open a file written by `save_depth`, to read ranges of its frames; needs only numpy.

    Raises:
        InputError: missing, damaged, or without one of its arrays.
    """
    with open_arrays(path, "depth file") as arrays:
        yield DepthFile(arrays)


def load_depth_npz(path: Path) -> DepthVideo:
    """Read a file written by `save_depth`, complete and unchanged; needs only numpy.

    Raises:
        InputError: missing, damaged, or without one of its arrays.
    """
    with open_depth(path) as file:
        depth = file.frames(0, file.shape[0])
        return DepthVideo(depth, file.intrinsics, file.provider, file.notes, file.repaired, file.is_guess)


def flag(arrays: Arrays, key: str) -> bool:
    """Read a boolean; False if it is missing, as in files of older versions."""
    header = arrays.headers.get(key)
    return header is not None and header.shape == () and header.dtype.kind == "b" and bool(arrays.read(key))


def _check_shape(shape: tuple[int, ...], dtype: np.dtype) -> None:
    if len(shape) != 3 or dtype != np.float32 or 0 in shape:
        raise InputError(f"Depth must be float32 of the shape (T, H, W), not {dtype} {shape}.")


def _check_distances(frame: NDArray[np.float32], number: int) -> None:
    if not (frame.min() > 0 and frame.max() < np.inf):  # NaN fails both
        raise InputError(f"Depth must be finite and above 0 everywhere, which {in_shot(number)} is not.")


def _number(arrays: Arrays, key: str) -> float:
    """Read a number; 0 if it is missing, as in files of older versions."""
    if key not in arrays.headers or arrays.headers[key].shape != () or arrays.headers[key].dtype.kind != "f":
        return 0.0
    return float(arrays.read(key))
