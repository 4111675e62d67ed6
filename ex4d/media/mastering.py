"""Results for grading and compositing: ProRes 4444 and FFV1 as video, OpenEXR as images.

They hold the frames as they come, with 8 or 16 bits per channel and without visible loss from a second compression, and
with them a mask of which pixels are real.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.media.frames import Frames, in_16_bits, with_first
from ex4d.media.movie import EXR, as_video, check_frames_folder, texts_fit
from ex4d.progress import WRITING_VIDEO, Progress, silent
from ex4d.storage.atomic import replacing

if TYPE_CHECKING:
    import av

MASK_CHANNEL = "mask.A"
"""Channel for the mask in our EXR images, in a layer of its own; as `A`, it would be multiplied with colour."""

_BT709, _LIMITED = 1, 1  # numbers of ITU-T H.273, and FFmpeg's


def write_prores(
    path: Path,
    frames: Frames,
    fps: Fraction,
    *,
    alpha: Frames | None = None,
    metadata: dict[str, str] | None = None,
    progress: Progress = silent,
) -> None:
    """Write frames as ProRes 4444 in .mov, with 10 bits per channel; all or nothing.

    In smooth areas colour is off by at most one 8-bit level; alpha comes back exactly. Alpha is straight: colour is not
    multiplied with it.

    Args:
        path: file to write or replace, ending in .mov.
        frames: (H,W,3) RGB each, uint8 or uint16.
        fps: frame rate, kept exactly.
        alpha: (H,W) uint8 each; None writes opaque pictures.
        metadata: texts by the names in `METADATA_KEYS`.
        progress: called before each frame; raises `Cancelled` to stop.

    Raises:
        InputError: no frames, or the file cannot be written (disk full, no permission).
        ValueError: an array or argument that is the caller's mistake.
    """
    stored = "yuva444p10le" if alpha is not None else "yuv444p10le"
    masks = None if alpha is None else iter(alpha)

    def picture(frame: NDArray) -> "av.VideoFrame":
        deep = frame.dtype == np.uint16
        if masks is None:
            return as_video(frame, "rgb48le" if deep else "rgb24", stored)
        mask = _mask_of(frame, next(masks))
        rgba = np.dstack([frame, in_16_bits(mask) if deep else mask])
        return as_video(rgba, "rgba64le" if deep else "rgba", stored)

    options = {"profile": "4444", "vendor": "apl0"}  # some programs refuse the file without the vendor
    _write(path, "mov", "prores_ks", lambda frame: stored, options, frames, picture, fps, metadata or {}, progress)


def _mask_of(frame: NDArray, mask: NDArray) -> NDArray[np.uint8]:
    """Check the mask of a frame, and return it.

    Raises:
        ValueError: it does not fit the frame.
    """
    if mask.dtype != np.uint8 or mask.shape != frame.shape[:2]:
        raise ValueError(f"the mask must be uint8 {frame.shape[:2]}, not {mask.dtype} {mask.shape}")
    return mask


def write_ffv1(
    path: Path,
    frames: Frames,
    fps: Fraction,
    *,
    metadata: dict[str, str] | None = None,
    progress: Progress = silent,
) -> None:
    """Write frames (H,W,3) as FFV1 in .mkv, RGB, with checksums; they come back bit for bit. See `write_prores`."""
    import av

    def stored(frame: NDArray) -> str:
        return "gbrp16le" if frame.dtype == np.uint16 else "bgr0"

    def picture(frame: NDArray) -> "av.VideoFrame":
        if frame.dtype == np.uint16:
            return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="gbrp16le")
        return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(format="bgr0")

    options = {"level": "3", "slicecrc": "1"}
    _write(path, "matroska", "ffv1", stored, options, frames, picture, fps, metadata or {}, progress)


def _write(
    path: Path,
    container_format: str,
    codec_name: Literal["prores_ks", "ffv1"],
    stored_as: Callable[[NDArray], str],
    options: dict[str, str],
    frames: Frames,
    picture_of: Callable[[NDArray], "av.VideoFrame"],
    fps: Fraction,
    metadata: dict[str, str],
    progress: Progress,
) -> None:
    import av

    texts_fit(metadata)
    if len(frames) == 0:
        raise InputError(f"{path} cannot be written: there are no frames.")
    first, every = with_first(frames)
    if first.dtype not in (np.uint8, np.uint16) or first.ndim != 3 or first.shape[2] != 3:
        raise ValueError(f"frames must be uint8 or uint16 (H,W,3), not {first.dtype} {first.shape}")
    stored = stored_as(first)
    # Write through a Python file object, which is always closed; PyAV leaves its own open when the disk is full.
    with (
        replacing(path) as temporary,
        temporary.open("wb+") as file,
        av.open(file, "w", format=container_format, options={"fflags": "+bitexact"}) as container,
    ):
        container.metadata.update(metadata)
        stream = container.add_stream(codec_name, rate=fps, options=options)
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = stored
        if stored.startswith("yuv"):
            codec = stream.codec_context
            codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
            codec.color_range = _LIMITED
        for number, frame in enumerate(every):
            progress(WRITING_VIDEO, number, len(frames))
            picture = picture_of(frame)
            picture.pts, picture.time_base = number, 1 / fps
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def write_exr_frames(
    folder: Path,
    frames: Frames,
    *,
    mask: Frames | None = None,
    metadata: dict[str, str] | None = None,
    progress: Progress = silent,
) -> None:
    """Write frames (H,W,3) RGB as frame_00000.exr and so on; all or nothing.

    Half floats in scene-linear light, by the inverse of sRGB's transfer function, which is how Blender treats videos
    and how `ex4d.media.still` reads EXR. They are precise enough to bring back every 8-bit value, and all 10-bit values
    but the darkest.

    Args:
        folder: to write; an existing one is replaced if it holds nothing but such frames.
        frames: uint8 or uint16.
        mask: (H,W) uint8 each, 255 where a picture is real: becomes `MASK_CHANNEL`, 0 to 1; None writes none.
        metadata: texts by the names in `METADATA_KEYS`, which become attributes of each image.
        progress: called before each frame; raises `Cancelled` to stop.

    Raises:
        InputError: the folder holds other files, or cannot be written (disk full, no permission).
        ValueError: a mask or text that is the caller's mistake.
    """
    import OpenEXR

    texts_fit(metadata or {})
    check_frames_folder(folder)
    # "comments" is the name of this attribute in the EXR standard.
    texts = {"comments" if key == "comment" else key: text for key, text in (metadata or {}).items()}
    header = {**texts, "compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    light = {
        np.dtype(kind): linear(np.arange(levels) / (levels - 1)).astype(np.float16)
        for kind, levels in ((np.uint8, 1 << 8), (np.uint16, 1 << 16))
    }
    masks = None if mask is None else iter(mask)
    with replacing(folder) as temporary:
        temporary.mkdir()
        for number, frame in enumerate(frames):
            progress(WRITING_VIDEO, number, len(frames))
            channels = {"RGB": light[frame.dtype][frame]}
            if masks is not None:
                channels[MASK_CHANNEL] = (_mask_of(frame, next(masks)) / np.float32(255)).astype(np.float16)
            with _telling_errno():
                OpenEXR.File(header, channels).write(str(temporary / f"frame_{number:05d}{EXR}"))


@contextmanager
def _telling_errno() -> Iterator[None]:
    """Turn OpenEXR's RuntimeError, which has only the system's message, back into an OSError with its number."""
    try:
        yield
    except RuntimeError as error:
        number = next((n for n in errno.errorcode if os.strerror(n) in str(error)), None)
        if number is None:
            raise
        raise OSError(number, str(error)) from error


def linear(values: NDArray) -> NDArray[np.float64]:
    """Convert sRGB's non-linear values to linear light, both 0 to 1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
