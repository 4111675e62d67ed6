"""Results for grading and compositing: ProRes 4444 and FFV1 as video, OpenEXR as pictures.

The pictures that come in have 8 bits a channel, and no format adds to that; what these save is a second, lossy
compression, and where a picture is real travels with it.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.media.movie import EXR, check_frames_folder, texts_fit
from ex4d.progress import WRITING_VIDEO, Progress, silent
from ex4d.storage.atomic import replacing

if TYPE_CHECKING:
    import av

MASK_CHANNEL = "mask.A"
"""Channel of our EXR pictures that holds the mask, as a layer of its own: as `A` it would be multiplied with colour."""

_BT709, _LIMITED = 1, 1  # numbers of ITU-T H.273, and FFmpeg's


def write_prores(
    path: Path,
    frames: NDArray[np.uint8],
    fps: Fraction,
    *,
    alpha: NDArray[np.uint8] | None = None,
    metadata: dict[str, str] | None = None,
    progress: Progress = silent,
) -> None:
    """Write frames as ProRes 4444 in .mov; all or nothing.

    Colour is off by one level of 8 bits at most where it is soft; alpha comes back exactly. It is straight: colour is
    not multiplied with it.

    Args:
        path: file to write or replace, ending in .mov.
        frames: (T,H,W,3) RGB, uint8.
        fps: frame rate, kept exactly.
        alpha: (T,H,W) uint8; None writes pictures that are opaque.
        metadata: texts by the names in `METADATA_KEYS`.
        progress: told before each frame; raises `Cancelled` to stop.

    Raises:
        InputError: no frames, or the file cannot be written (disk full, no permission).
        ValueError: an array or an argument that no caller should hand over.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    if alpha is not None and (alpha.dtype != np.uint8 or alpha.shape != frames.shape[:3]):
        raise ValueError(f"alpha must be uint8 {frames.shape[:3]}, not {alpha.dtype} {alpha.shape}")
    stored = "yuva444p10le" if alpha is not None else "yuv444p10le"

    def pictures() -> Iterator["av.VideoFrame"]:
        for number, frame in enumerate(frames):
            rgb = frame if alpha is None else np.dstack([frame, alpha[number]])
            whole = np.ascontiguousarray(rgb)
            yield av.VideoFrame.from_ndarray(whole, format="rgb24" if alpha is None else "rgba").reformat(
                format=stored,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
            )

    options = {"profile": "4444", "vendor": "apl0"}  # without the vendor some programs refuse the file
    _write(path, "mov", "prores_ks", stored, options, frames, pictures(), fps, metadata or {}, progress)


def write_ffv1(
    path: Path,
    frames: NDArray[np.uint8],
    fps: Fraction,
    *,
    metadata: dict[str, str] | None = None,
    progress: Progress = silent,
) -> None:
    """Write frames (T,H,W,3) as FFV1 in .mkv, RGB, with checksums: they come back bit for bit. See `write_prores`."""
    import av

    def pictures() -> Iterator["av.VideoFrame"]:
        for frame in frames:
            yield av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(format="bgr0")

    options = {"level": "3", "slicecrc": "1"}
    _write(path, "matroska", "ffv1", "bgr0", options, frames, pictures(), fps, metadata or {}, progress)


def _write(
    path: Path,
    container_format: str,
    codec_name: Literal["prores_ks", "ffv1"],
    stored: str,
    options: dict[str, str],
    frames: NDArray[np.uint8],
    pictures: Iterator["av.VideoFrame"],
    fps: Fraction,
    metadata: dict[str, str],
    progress: Progress,
) -> None:
    import av

    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise ValueError(f"frames must be uint8 (T,H,W,3), not {frames.dtype} {frames.shape}")
    texts_fit(metadata)
    if len(frames) == 0:
        raise InputError(f"{path} cannot be written: there are no frames.")
    # Through a file of Python's, which is closed whatever happens: PyAV leaves its own open when the disk is full.
    with (
        replacing(path) as temporary,
        temporary.open("wb+") as file,
        av.open(file, "w", format=container_format, options={"fflags": "+bitexact"}) as container,
    ):
        container.metadata.update(metadata)
        stream = container.add_stream(codec_name, rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = stored
        if not stored.startswith("bgr"):
            codec = stream.codec_context
            codec.color_primaries = codec.color_trc = codec.colorspace = _BT709
            codec.color_range = _LIMITED
        for number, picture in enumerate(pictures):
            progress(WRITING_VIDEO, number, len(frames))
            picture.pts, picture.time_base = number, 1 / fps
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def write_exr_frames(
    folder: Path,
    frames: NDArray[np.uint8],
    *,
    mask: NDArray[np.uint8] | None = None,
    metadata: dict[str, str] | None = None,
    progress: Progress = silent,
) -> None:
    """Write frames (T,H,W,3) RGB as frame_00000.exr and on; all or nothing.

    Half floats in scene-linear light, by the inverse of sRGB's transfer function, which is how Blender takes videos and
    how `ex4d.media.still` reads EXR. They are fine enough that each of the 8-bit values comes back.

    Args:
        folder: to write; one that is there is replaced if it holds nothing but such frames.
        frames: uint8.
        mask: (T,H,W) uint8, 255 where a picture is real: becomes `MASK_CHANNEL`, 0 to 1; None writes none.
        metadata: texts by the names in `METADATA_KEYS`, which become attributes of each picture.
        progress: told before each frame; raises `Cancelled` to stop.

    Raises:
        InputError: the folder holds other files, or cannot be written (disk full, no permission).
        ValueError: a mask or text that no caller should hand over.
    """
    import OpenEXR

    if mask is not None and (mask.dtype != np.uint8 or mask.shape != frames.shape[:3]):
        raise ValueError(f"the mask must be uint8 {frames.shape[:3]}, not {mask.dtype} {mask.shape}")
    texts_fit(metadata or {})
    check_frames_folder(folder)
    # "comments" is the name of the attribute in EXR's standard.
    texts = {"comments" if key == "comment" else key: text for key, text in (metadata or {}).items()}
    header = {**texts, "compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    light = linear(np.arange(256) / 255).astype(np.float16)
    with replacing(folder) as temporary:
        temporary.mkdir()
        for number, frame in enumerate(frames):
            progress(WRITING_VIDEO, number, len(frames))
            channels = {"RGB": light[frame]}
            if mask is not None:
                channels[MASK_CHANNEL] = (mask[number] / np.float32(255)).astype(np.float16)
            with _telling_errno():
                OpenEXR.File(header, channels).write(str(temporary / f"frame_{number:05d}{EXR}"))


@contextmanager
def _telling_errno() -> Iterator[None]:
    """OpenEXR raises RuntimeError with the system's words alone; here they become an OSError with its number again."""
    try:
        yield
    except RuntimeError as error:
        number = next((n for n in errno.errorcode if os.strerror(n) in str(error)), None)
        if number is None:
            raise
        raise OSError(number, str(error)) from error


def linear(values: NDArray) -> NDArray[np.float64]:
    """sRGB's non-linear values to linear light, both 0 to 1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
