"""Depth as images: a folder of PNG or EXR files, or one of them."""

import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.depth.encoding import DepthEncoding
from ex4d.depth.files.stored import Stored, check_pixels, grey_of, refuse_channel
from ex4d.errors import InputError
from ex4d.storage.sequence import depth_pictures_at

PNG, EXR = ".png", ".exr"

_GREY, _WITH_COLOURS, _WITH_ALPHA = 0, (2, 6), (4, 6)  # colour types in the PNG specification


@contextmanager
def open_pictures(path: Path, reading: DepthEncoding, alone: bool = False) -> Iterator[Stored]:
    """Open the depth in the images of a folder, or in those that one image stands for.

    Args:
        path: a folder, or an image; see `ex4d.storage.sequence.depth_pictures_at`.
        reading: names the channel of EXR.
        alone: whether an image stands only for itself; see the same function.

    Raises:
        InputError: no image, several kinds, or one without depth; while reading, damage.
    """
    files = depth_pictures_at(path, alone)
    png, exr = ([file for file in files if file.suffix.lower() == kind] for kind in (PNG, EXR))
    if bool(png) == bool(exr):
        raise InputError(f"The depth folder {path} must hold images of one kind, grey PNG or EXR.")
    if png:
        refuse_channel(path, reading)
        yield _stored_png(png)
    else:
        width, height = _exr_size(exr[0])
        pixels_of = partial(_exr_pixels, channel=reading.channel)
        yield Stored(len(exr), width, height, partial(_read, exr, _exr_size, pixels_of))


def _stored_png(files: list[Path]) -> Stored:
    width, height, bits = _png_head(files[0])

    def size_of(file: Path) -> tuple[int, int]:
        *size, this = _png_head(file)
        if this != bits:
            raise InputError(
                f"{file} is not {bits}-bit grey but {this}-bit, unlike {files[0].name}: all must be of one kind."
            )
        return size[0], size[1]

    read = partial(_read, files, size_of, partial(_png_pixels, bits=bits))
    if bits == 8:
        return Stored(
            len(files), width, height, read, "disparity", "8-bit PNG", whole=True, levels=1 << 8, is_picture=True
        )
    return Stored(len(files), width, height, read, whole=True, in_millimetres=True, levels=1 << 16, is_picture=True)


def _read(
    files: list[Path],
    size_of: Callable[[Path], tuple[int, int]],
    pixels_of: Callable[[Path], NDArray],
    start: int,
    stop: int,
) -> Iterator[NDArray]:
    """Read the images `start` to `stop`, all of the first one's size."""
    width, height = size_of(files[0])
    for file in files[start:stop]:
        if (this := size_of(file)) != (width, height):
            raise InputError(
                f"{file} is {this[0]}x{this[1]} while {files[0].name} is {width}x{height}: all must have the same size."
            )
        pixels = pixels_of(file)
        if pixels.shape != (height, width):
            raise InputError(f"The depth image {file} is damaged or its depth has another size: write it again.")
        yield pixels


def _png_head(path: Path) -> tuple[int, int, int]:
    """Width, height and bits per channel; checks that the file can hold depth before decoding anything."""
    try:
        with path.open("rb") as file:
            head = file.read(26)
    except OSError as error:
        raise InputError(f"The depth image {path} cannot be opened ({error.strerror}): check it.") from None
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise InputError(f"{path} is not a PNG image: replace or remove it.")
    width, height, bits, colour = struct.unpack(">IIBB", head[16:26])
    # Many tools write grey as three identical channels; in 8 bits, only the pixels tell it from colour.
    if not (bits == 16 and colour == _GREY) and not (bits == 8 and colour in (_GREY, *_WITH_COLOURS, *_WITH_ALPHA)):
        raise InputError(
            f"{path} is not 16-bit grey but {bits}-bit{' colour' if colour else ''}: depth images must be grey PNG"
            " of 16 or 8 bits, or EXR."
        )
    check_pixels(path, width, height)
    return width, height, bits


def _png_pixels(path: Path, bits: int) -> NDArray:
    """Read the grey values (H,W), uint8 or uint16."""
    import cv2

    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.dtype != (np.uint8 if bits == 8 else np.uint16):
        raise InputError(f"The depth image {path} is damaged: write it again.")
    if pixels.ndim == 3:
        return grey_of(pixels[..., :3], path)
    return np.asarray(pixels)


def _exr_size(path: Path) -> tuple[int, int]:
    import OpenEXR

    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            low, high = file.header()["dataWindow"]
    except Exception as error:  # OpenEXR passes on whatever its C++ code throws
        raise InputError(f"The depth image {path} cannot be read as EXR: write it again.") from error
    width, height = (int(n) for n in np.asarray(high) - np.asarray(low) + 1)
    check_pixels(path, width, height)
    return width, height


def _exr_pixels(path: Path, channel: str | None) -> NDArray:
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            several, count = len(file.parts) > 1, len(file.parts)
            channels = {
                # Blender and others repeat the part's name in the channel's name; use it only once.
                f"{part.name()}.{name}" if several and not name.startswith(f"{part.name()}.") else name: held.pixels
                for part in file.parts
                for name, held in part.channels.items()
            }
        with OpenEXR.File(str(path), header_only=True) as file:
            whole = len(file.parts) == count
    except Exception as error:
        raise InputError(f"The depth image {path} is damaged: write it again.") from error
    if not channels or not whole:  # damaged as well: OpenEXR leaves out what it cannot read
        raise InputError(f"The depth image {path} is damaged: write it again.")
    name = depth_channel(list(channels), path, channel)
    if channels[name].dtype.kind != "f":
        raise InputError(f"The channel {name} of {path} holds integers: name one that holds the depth.")
    return channels[name]


def depth_channel(names: list[str], path: Path, wanted: str | None = None) -> str:
    """Choose the channel that holds the depth.

    Args:
        names: of all channels of the image, with layers before the last dot.
        path: for the message.
        wanted: a name, or enough of its end to identify it.

    Raises:
        InputError: no channel or several are possible; lists them.
    """
    if wanted is not None:
        found = [name for name in names if name == wanted] or [name for name in names if name.endswith(f".{wanted}")]
        if len(found) == 1:
            return found[0]
        raise InputError(
            f"{path} has the channels {', '.join(sorted(names))}, {'several' if found else 'none'} of which"
            f" {'fit' if found else 'is'} {wanted!r}: name one of them."
        )
    # A layer with X, Y and Z is a vector, a layer with R, G and B a colour.
    layers: dict[str, set[str]] = {}
    for name in names:
        layers.setdefault(name.rpartition(".")[0], set()).add(name.rpartition(".")[2])
    single = [name for name in names if not layers[name.rpartition(".")[0]] >= {"X", "Y"}]
    passes = [name for name in single if re.search(r"(^|\.)depth\.[^.]+$", name, re.IGNORECASE)]
    ends = [[name for name in single if name.rpartition(".")[2] == last] for last in ("Z", "V", "Y")]
    for found in [passes, *ends]:
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{path} has several channels that may be the depth ({', '.join(sorted(found))}): name one of them."
            )
    if len(names) == 1:
        return names[0]
    raise InputError(
        f"{path} has the channels {', '.join(sorted(names))}, none of which is clearly the depth: name one of them, or"
        " write one channel named Z."
    )
