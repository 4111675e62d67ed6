"""Reading one image: PNG, JPEG, TIFF and WebP with FFmpeg, EXR with OpenEXR."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.media.picture import LIMIT_PIXELS, check_pixels, decoded

if TYPE_CHECKING:
    import av


_SRGB_PRIMARIES = (0.64, 0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
"""Chromaticities x, y of red, green, blue and white (IEC 61966-2-1), in the order of EXR's attribute."""


def read(path: Path) -> "av.VideoFrame":
    """Read an image. Scene-linear ones (EXR, float TIFF) come in 16 bits with sRGB's transfer function.

    Raises:
        InputError: it cannot be read, or is too large.
    """
    if path.suffix.lower() == ".exr":
        return _read_exr(path)
    import av

    try:
        # Bytes instead of a name, because FFmpeg takes a name with % as a pattern.
        data = io.BytesIO(path.read_bytes())
        formats = "png_pipe,jpeg_pipe,webp_pipe,tiff_pipe"
        with av.open(data, "r", options={"format_whitelist": formats}) as container:
            stream = container.streams.video[0]
            check_pixels(path, stream)
            picture = next(decoded(container, stream))
    except (av.FFmpegError, OSError, StopIteration, IndexError) as error:
        raise InputError(
            f"The image {path} cannot be read as PNG, JPEG, TIFF or WebP: replace or remove it."
        ) from error
    if picture.format.name.startswith(("rgbf32", "rgbaf32", "grayf32")):
        return _displayed(picture.to_ndarray())
    return picture


def notes(path: Path) -> tuple[str, ...]:
    """Notes about a sequence of images, taken from one of them.

    Raises:
        InputError: as `read`.
    """
    if path.suffix.lower() != ".exr":
        return ()
    said = (
        f"{path.parent.name} holds EXR images, which are scene-linear: they were converted to sRGB by its transfer"
        " function alone, without a view transform; values above 1 became 1."
    )
    primaries = _exr_header(path).get("chromaticities")
    if primaries is not None and not np.allclose(primaries, _SRGB_PRIMARIES, atol=2e-3):
        said += " Their primaries differ from sRGB's, which was ignored: colours may look pale."
    return (said,)


def srgb(linear: NDArray) -> NDArray[np.float32]:
    """Convert linear light to sRGB's non-linear values, both 0 to 1 (IEC 61966-2-1); clipped, with NaN as 0."""
    light = np.clip(np.nan_to_num(linear.astype(np.float32), nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055).astype(np.float32)


def _displayed(linear: NDArray) -> "av.VideoFrame":
    """Convert a scene-linear picture (h,w), (h,w,3) or (h,w,4) to 16 bits; the fourth channel is left as it is."""
    import av

    if linear.ndim == 2:
        linear = np.repeat(linear[..., None], 3, axis=-1)
    values = srgb(linear[..., :3])
    if linear.shape[2] == 4:
        values = np.dstack([values, np.clip(np.nan_to_num(linear[..., 3:].astype(np.float32)), 0, 1)])
    deep = np.ascontiguousarray(np.rint(values * 65535).astype(np.uint16))
    return av.VideoFrame.from_ndarray(deep, format="rgba64le" if deep.shape[2] == 4 else "rgb48le")


def _read_exr(path: Path) -> "av.VideoFrame":
    """The colour of an EXR image (h,w,3 or 4) in its display window, which is the part meant to be seen."""
    header = _exr_header(path)
    low, high = (np.asarray(corner, int) for corner in header["displayWindow"])
    data_low, data_high = (np.asarray(corner, int) for corner in header["dataWindow"])
    width, height = (int(n) for n in high - low + 1)
    if max(width * height, int(np.prod(data_high - data_low + 1))) > LIMIT_PIXELS:
        raise InputError(f"{path} has pictures of {width}x{height} pixels, which is too large: make them smaller.")
    colour = _exr_colour(path)
    shown = np.zeros((height, width, colour.shape[2]), np.float32)  # black outside the data window
    left, top = data_low - low
    rows = slice(max(top, 0), min(top + colour.shape[0], height))
    columns = slice(max(left, 0), min(left + colour.shape[1], width))
    if rows.start < rows.stop and columns.start < columns.stop:
        shown[rows, columns] = colour[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return _displayed(shown)


def _exr_header(path: Path) -> dict:
    import OpenEXR

    try:
        with OpenEXR.File(str(path), header_only=True) as file:
            return dict(file.header())
    except Exception as error:  # OpenEXR passes on whatever its C++ code throws
        raise InputError(f"The image {path} cannot be read as EXR: replace or remove it.") from error


def _exr_colour(path: Path) -> NDArray:
    """R, G, B (and A) of the first layer that has them, otherwise a single grey channel."""
    import OpenEXR

    try:
        with OpenEXR.File(str(path), separate_channels=True) as file:
            channels = {name: held.pixels for part in reversed(file.parts) for name, held in part.channels.items()}
    except Exception as error:
        raise InputError(f"The image {path} is damaged: write it again.") from error
    layers = sorted({name.rpartition(".")[0] for name in channels}, key=_colour_first)
    for layer in layers:
        dot = f"{layer}." if layer else ""
        found = [channels.get(f"{dot}{letter}") for letter in "RGBA"]
        if all(pixels is not None for pixels in found[:3]):
            return np.dstack([pixels for pixels in found if pixels is not None])
    if "Y" in channels and not {"RY", "BY"} & set(channels):
        return np.dstack([channels["Y"]] * 3)
    raise InputError(
        f"{path} has no colour, only the channels {', '.join(sorted(channels)) or '(none)'}: choose images with R, G"
        " and B; a depth pass belongs in the depth settings."
    )


def _colour_first(layer: str) -> tuple[bool, bool, str]:
    """Sort key: the unnamed layer, then renderers' usual names for the whole picture, then the rest by name."""
    last = layer.lower().rpartition(".")[2]
    return layer != "", last not in ("combined", "beauty", "rgba", "rgb"), layer
