"""Depth as arrays, .npz and .npy, from EX-4D and from other tools."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from numpy.typing import NDArray

from ex4d.depth.encoding import LENS_KEYS, DepthEncoding
from ex4d.depth.estimate import THE_FILES
from ex4d.depth.files.stored import OF_THE_FILE, Stored, check_pixels, refuse_channel
from ex4d.errors import InputError
from ex4d.geometry import depth_video
from ex4d.storage.npy import open_array
from ex4d.storage.npz import Arrays, Header, open_arrays

DEPTH_KEYS = ("depth", "depths", "disparity", "disp", "arr_0")
"""Names of the array, in order of preference: used by EX-4D, DepthCrafter and Depth-Anything-3; by Video-Depth-Anything
and MegaSaM; by stereo tools; by numpy.savez without a name."""

OURS = depth_video.PACKED
"""A file with this array holds distances packed by EX-4D."""

DISPARITY_KEYS = ("disparity", "disp")
"""Names that say what the numbers are."""

_LIMIT_TEXT = 1 << 18


@contextmanager
def open_npz(path: Path, reading: DepthEncoding) -> Iterator[Stored]:
    """Open the depth in an .npz file.

    Raises:
        InputError: damaged, without depth, or in a shape that depth cannot have.
    """
    refuse_channel(path, reading)
    with open_arrays(path, "depth file") as arrays:
        found = [key for key in (OURS, *DEPTH_KEYS) if key in arrays.headers]
        if not found:
            there = ", ".join(sorted(arrays.headers)) or "nothing"
            raise InputError(f"{path} has no `depth`, but {there}: name the array of the depth `depth`.")
        key, others = found[0], found[1:]
        header = arrays.headers[key]
        packed = depth_video.PackedFrames(arrays) if key == OURS else None
        if packed is None:
            frames, height, width = _size(path, key, header)
        else:
            frames, height, width = packed.shape
            check_pixels(path, width, height)
        lens = next((name for name in LENS_KEYS if name in arrays.headers), None)
        named = "provider" in arrays.headers and arrays.headers["provider"].dtype.kind == "U"

        def about(name: str, default: str) -> str:
            return next(iter(_texts(arrays, name)), default)

        def read(start: int, stop: int) -> Iterator[NDArray]:
            for frame in arrays.rows(key, start, stop) if packed is None else packed.frames(start, stop):
                yield frame.reshape(height, width)

        means, why = _meaning(key, header) if packed is None else ("depth", "")
        told = f"{path.name} holds {', '.join(found)}, of which {key} was read." if others else ""
        yield Stored(
            frames,
            width,
            height,
            read,
            means,
            why,
            whole=packed is None and header.dtype.kind != "f",
            levels=_levels(header) if packed is None else 0,
            provider=str(arrays.read("provider")) if named else "file",
            intrinsics=arrays.read(lens) if lens else None,
            notes=_texts(arrays, "notes"),
            is_guess=depth_video.flag(arrays, "is_guess"),
            is_ours=named and "is_guess" in arrays.headers,
            told=(told,) if told else (),
            scale_note=about("scale_note", THE_FILES),
            licence=about("licence", OF_THE_FILE),
            caution=about("caution", ""),
            steady=depth_video.flag(arrays, "steady"),
            part=_part(arrays),
        )


@contextmanager
def open_npy(path: Path, reading: DepthEncoding) -> Iterator[Stored]:
    """Open the depth in an .npy file.

    Raises:
        InputError: damaged, or in a shape that depth cannot have.
    """
    refuse_channel(path, reading)
    with open_array(path, "depth file") as array:
        frames, height, width = _size(path, "the array", array.header)

        def read(start: int, stop: int) -> Iterator[NDArray]:
            for frame in array.rows(start, stop):
                yield frame.reshape(height, width)

        means, why = _meaning("", array.header)
        whole = array.header.dtype.kind != "f"
        yield Stored(frames, width, height, read, means, why, whole=whole, levels=_levels(array.header))


def _size(path: Path, key: str, header: Header) -> tuple[int, int, int]:
    """Frames, height and width of (T,H,W), (T,H,W,1) or (T,1,H,W)."""
    shape = header.shape
    if len(shape) == 4 and shape[3] == 1:
        shape = shape[:3]
    elif len(shape) == 4 and shape[1] == 1:
        shape = (shape[0], *shape[2:])
    numbers = header.dtype.kind in "fiu" and header.dtype.itemsize <= 8
    if len(shape) != 3 or 0 in shape or not numbers:
        colours = " That looks like colour images." if len(shape) == 4 and 3 in (shape[1], shape[3]) else ""
        what = key if key == "the array" else f"`{key}`"
        raise InputError(
            f"{what} in {path} must be numbers of the shape (frames, height, width), not {header.dtype}"
            f" {header.shape}: write it so.{colours}"
        )
    frames, height, width = shape
    check_pixels(path, width, height)
    return frames, height, width


def _meaning(key: str, header: Header) -> tuple[Literal["depth", "disparity"], str]:
    if key in DISPARITY_KEYS:
        return "disparity", f"an array named {key}"
    if header.dtype.kind in "iu" and header.dtype.itemsize == 1:
        return "disparity", "8-bit numbers"
    return "depth", ""


def _levels(header: Header) -> int:
    return 1 << 8 * header.dtype.itemsize if header.dtype.kind == "u" and header.dtype.itemsize <= 2 else 0


def _part(arrays: Arrays) -> tuple[int, int, int] | None:
    """The part of the source that the depth covers, as written by `Estimate.save`; None if missing or invalid."""
    header = arrays.headers.get("part")
    if header is None or header.shape != (3,) or header.dtype.kind != "i":
        return None
    first, step, of = arrays.read("part").tolist()
    return (first, step, of) if step > 0 else None


def _texts(arrays: Arrays, key: str) -> tuple[str, ...]:
    """Sentences that EX-4D wrote into a depth file about how it was made; empty if missing or far too long."""
    header = arrays.headers.get(key)
    if header is None or header.dtype.kind != "U" or len(header.shape) > 1 or header.nbytes > _LIMIT_TEXT:
        return ()
    return tuple(text for text in arrays.read(key).ravel().tolist() if text)
