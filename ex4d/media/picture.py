"""One decoded picture: its size on screen, and its RGB (BT.709) at the working size with 8 or 16 bits per channel."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry.intrinsics import FrameFit
from ex4d.media import colour
from ex4d.media.clock import on_one_clock
from ex4d.media.orientation import orientation_of

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.plane import VideoPlane
    from av.video.stream import VideoStream

LIMIT_PIXELS = 1 << 28
"""Maximum number of pixels in a picture of the source (16384 x 16384)."""

Bits = Literal[8, 16]
"""Bits per channel: uint8 or uint16, both full range."""

_KNOWN_MATRICES = {1, 4, 5, 6, 7, 9}  # YCbCr matrices of ITU-T H.273 that the converter supports
_FULL_RANGE = 2  # FFmpeg's number
_CHROMA_STEP = 4  # pixels per chroma sample at the coarsest: 4:1:1 and 4:1:0


def check_pixels(path: Path, stream: "VideoStream") -> None:
    """Raise InputError if the pictures of a stream are too large to be decoded."""
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > LIMIT_PIXELS:
        raise InputError(f"{path} has pictures of {width}x{height} pixels, which is too large: make them smaller.")


def decoded(container: "InputContainer", stream: "VideoStream") -> Iterator["av.VideoFrame"]:
    """Yield all pictures of a stream that can be decoded; damaged ones are skipped."""
    import av

    packets = on_one_clock(container.demux(stream), container.format.name)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:  # the file ends midway: pictures inside the decoder are still good
            packet = None
        with suppress(av.FFmpegError):
            yield from stream.decode(packet)
        if packet is None:
            return


def telling_transparency(
    name: str, first: int, pictures: Iterator[tuple[int, "av.VideoFrame"]], tell: Callable[[str], None]
) -> Iterator[tuple[int, "av.VideoFrame"]]:
    """Pass numbered pictures through, and tell the user about the first one from `first` on that is not opaque."""
    told = False
    for number, picture in pictures:
        if not told and number >= first and _is_transparent(picture):
            told = True
            tell(f"The transparency of {name} was left out: its colours were used as they are.")
        yield number, picture


def _is_transparent(picture: "av.VideoFrame") -> bool:
    if not any(component.is_alpha for component in picture.format.components):
        return False
    return bool(picture.reformat(format="rgba").to_ndarray()[..., 3].min() < 255)


def displayed_size(picture: "av.VideoFrame", pixel_aspect: Fraction | None = None) -> tuple[int, int]:
    """Width and height of the upright picture with square pixels.

    Args:
        picture: as it is stored.
        pixel_aspect: width over height of a stored pixel; None means square.
    """
    width, height = picture.width, picture.height
    if pixel_aspect and pixel_aspect > 0:
        width = max(1, round(width * pixel_aspect))
    return (height, width) if orientation_of(picture).transposed else (width, height)


def notes_of(picture: "av.VideoFrame") -> tuple[str, ...]:
    """Sentences for the user about what `at_working_size` does to a picture, or cannot do."""
    converted = colour.conversion(picture.color_primaries, picture.color_trc)
    notes = (
        orientation_of(picture).note,
        converted and converted.note,
        colour.left_as_it_is(picture.color_primaries, picture.colorspace),
    )
    return tuple(note for note in notes if note)


def at_working_size(picture: "av.VideoFrame", fit: FrameFit, bits: Bits) -> NDArray:
    """Full-range RGB (fit.height, fit.width, 3) of a picture: upright, scaled, cropped around the centre.

    uint8 or uint16. In 16 bits, a source with 8 bits per channel gives 257 times its 8-bit values, unless its colours
    are converted (see `ex4d.media.colour`), which always happens in 16 bits.
    """
    converted = colour.conversion(picture.color_primaries, picture.color_trc)
    if converted:
        stored: NDArray = _rgb16(picture)
    elif bits == 8:
        stored = _converted(picture, "rgb24").astype(np.uint8, copy=False)
    elif bits_of(picture) <= 8:
        stored = _converted(picture, "rgb24").astype(np.uint16) * np.uint16(257)
    else:
        stored = _rgb16(picture)
    scaled = _scale(orientation_of(picture).upright(stored), fit.scaled_width, fit.scaled_height)
    cropped = np.ascontiguousarray(scaled[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width])
    if not converted:
        return cropped
    cropped = converted.apply(cropped)
    return cropped if bits == 16 else ((cropped.astype(np.uint32) + 128) // 257).astype(np.uint8)


def bits_of(picture: "av.VideoFrame") -> int:
    """Bits per channel with which a picture is stored."""
    return max(component.bits for component in picture.format.components)


def _rgb16(picture: "av.VideoFrame") -> NDArray[np.uint16]:
    """Full-range RGB (h,w,3) of a picture in its stored orientation and pixel shape."""
    stored_bits = max(8, bits_of(picture))
    if picture.format.is_rgb and stored_bits == 8:
        return _converted(picture, "rgb24").astype(np.uint16) * np.uint16(257)
    rgb = _converted(picture, "rgb48le").astype(np.uint16, copy=False)
    if picture.format.is_rgb:
        return rgb
    # The converter widens YCbCr by shifting bits to the left, which leaves white short of 65535.
    is_grey = len(picture.format.components) < 3  # treated as full range whatever its tag says, in 8 bits too
    is_full_range = picture.color_range == _FULL_RANGE or is_grey
    return _stretched(rgb, ((1 << stored_bits) - 1) << (16 - stored_bits) if is_full_range else 255 << 8)


def _stretched(rgb: NDArray[np.uint16], white: int) -> NDArray[np.uint16]:
    """The values times 65535 / `white`, rounded; anything brighter than white is clipped to 65535."""
    table = (np.arange(65536, dtype=np.uint32) * 65535 + white // 2) // white
    return np.minimum(table, 65535).astype(np.uint16)[rgb]


def _converted(picture: "av.VideoFrame", pixel_format: str) -> NDArray:
    """Full-range RGB (h,w,3) in a packed FFmpeg pixel format, using the picture's own matrix and range."""
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    matrix = None  # the picture's own
    if picture.colorspace not in _KNOWN_MATRICES:
        # For untagged video, players use BT.709 in high definition and BT.601 below.
        high = picture.width >= 1280 or picture.height >= 720
        matrix = Colorspace.ITU709 if high else Colorspace.ITU601
        if picture.color_primaries == colour.BT2020_PRIMARIES or picture.color_trc in (colour.PQ, colour.HLG):
            matrix = Colorspace.BT2020
    rgb = _with_whole_chroma(picture).reformat(
        format=pixel_format,
        src_colorspace=matrix,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    )
    return rgb.to_ndarray()[: picture.height, : picture.width]


def _with_whole_chroma(picture: "av.VideoFrame") -> "av.VideoFrame":
    """The picture, its right and bottom border repeated until every chroma sample covers the same number of pixels.

    The converter stretches a chroma plane to the size of the picture. With an odd side in 4:2:0, the last sample covers
    only half as much as the others, and stretching would shift the colours by up to half a pixel.
    """
    import av

    layout = picture.format
    across, down = _CHROMA_STEP // layout.chroma_width(_CHROMA_STEP), _CHROMA_STEP // layout.chroma_height(_CHROMA_STEP)
    right, below = -picture.width % across, -picture.height % down
    if not (right or below) or not layout.is_planar:
        return picture
    whole = av.VideoFrame(picture.width + right, picture.height + below, layout.name)
    for number, (stored, wider) in enumerate(zip(picture.planes, whole.planes, strict=True)):
        of_plane = [component for component in layout.components if component.plane == number]
        size = sum((component.bits + 7) // 8 for component in of_plane)
        added = ((0, wider.height - stored.height), (0, wider.width - stored.width), (0, 0))
        _samples(wider, size)[:] = np.pad(_samples(stored, size), added, mode="edge")
    whole.colorspace, whole.color_range = picture.colorspace, picture.color_range
    whole.color_primaries, whole.color_trc = picture.color_primaries, picture.color_trc
    return whole


def _samples(plane: "VideoPlane", size: int) -> NDArray[np.uint8]:
    """The memory of a plane as (h,w,size), with `size` bytes per sample."""
    rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
    return rows[:, : plane.width * size].reshape(plane.height, plane.width, size)


def _scale(picture: NDArray, width: int, height: int) -> NDArray:
    """Resize a picture (height, width, 3) of any dtype: averaged where it shrinks, interpolated where it grows."""
    h, w = picture.shape[:2]
    if (w, h) == (width, height):
        return picture
    import cv2

    smaller = (min(w, width), min(h, height))
    if smaller != (w, h):
        picture = cv2.resize(np.ascontiguousarray(picture), smaller, interpolation=cv2.INTER_AREA)
    if smaller != (width, height):
        picture = cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=cv2.INTER_CUBIC)
    return picture
