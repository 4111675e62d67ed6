"""Writing videos and image sequences."""

import io
import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.media.clip import Clip, clip_info, read_clip
from ex4d.media.frames import Frames, in_8_bits, in_16_bits, with_first
from ex4d.progress import WRITING_VIDEO, Progress, silent
from ex4d.storage.atomic import replacing

if TYPE_CHECKING:
    import av

Codec = Literal["h264", "hevc"]
Depth = Literal[8, 10]
Chroma = Literal["420", "422", "444"]
"""Chroma subsampling of a movie: colour at half the resolution both ways, horizontally, or not at all."""

_ENCODERS: dict[Codec, Literal["libx264", "libx265"]] = {"h264": "libx264", "hevc": "libx265"}

CRF = 12
"""Constant rate factor of x264: 1 level of error on average, at some 4 Mbit/s for 1024x576."""

METADATA_KEYS = ("title", "comment", "description", "artist", "copyright", "date")
"""Texts that results can carry."""

PNG, EXR = ".png", ".exr"
"""Extensions of the images in a folder of frames."""

_WHITE_16 = ((np.arange(1 << 16, dtype=np.uint32) * (255 << 8) + 32767) // 65535).astype(np.uint16)
"""16-bit levels as FFmpeg's converter to YCbCr takes them: its white is the 8-bit white shifted to the left."""

_BT709 = 1  # number of primaries, transfer and matrix in ITU-T H.273


def write_movie(
    path: Path,
    frames: Frames,
    fps: Fraction,
    *,
    lossless: bool = False,
    crf: int = CRF,
    codec: Codec = "h264",
    bits: Depth = 8,
    chroma: Chroma = "420",
    metadata: dict[str, str] | None = None,
    progress: Progress = silent,
) -> None:
    """Write frames as H.264 or HEVC in .mp4; all or nothing.

    Args:
        path: file to write or replace, ending in .mp4.
        frames: (H,W,3) RGB or (H,W) grey each, uint8 or uint16; H and W even.
        fps: frame rate, kept exactly.
        lossless: bring 8-bit grey frames back bit for bit; for masks. Blender plays that profile of H.264 (High 4:4:4
            Predictive), but not every browser does.
        crf: constant rate factor of the encoder, 0 to 51; lower is better and larger; ignored if `lossless`.
        codec, bits, chroma: how it is stored; every player shows 8-bit 4:2:0 H.264.
        metadata: texts by the names in `METADATA_KEYS`.
        progress: called before each frame; raises `Cancelled` to stop.

    Raises:
        InputError: no frames, an odd size, or the file cannot be written (disk full, no permission).
        ValueError: an array or argument that is the caller's mistake.
    """
    import av

    texts_fit(metadata or {})
    if len(frames) == 0:
        raise InputError(f"{path} cannot be written: there are no frames.")
    first, every = with_first(frames)
    if first.dtype not in (np.uint8, np.uint16) or first.ndim not in (2, 3) or first.shape[2:] not in ((), (3,)):
        raise ValueError(f"frames must be uint8 or uint16 (H,W,3) or (H,W), not {first.dtype} {first.shape}")
    if lossless and (first.ndim == 3 or first.dtype != np.uint8):
        raise ValueError("lossless movies are for grey frames (H,W) of 8 bits")
    height, width = first.shape[:2]
    if height % 2 or width % 2:
        raise InputError(f"A video cannot be {width}x{height} pixels: both sides must be even.")

    # In memory first: it is far smaller than the frames, and PyAV leaves a file that it opened open when the disk is
    # full.
    movie = io.BytesIO()
    with av.open(
        movie,
        "w",
        format="mp4",
        options={"movflags": "+faststart"},  # index first, so that it plays while it loads
        io_open=lambda url, flags, options: io.BytesIO(movie.getvalue()),  # read again to move the index
    ) as container:
        container.metadata.update(metadata or {})
        stored = f"yuv{chroma}p10le" if bits == 10 else f"yuv{chroma}p"
        stream = container.add_stream(_ENCODERS[codec], rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, stored
        stream.options = _options(codec, None if lossless else crf)
        context = stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = _BT709
        context.color_range = 2 if lossless else 1  # full, limited
        if codec == "hevc":
            context.codec_tag = "hvc1"  # Apple's players refuse the file without it
        for number, frame in enumerate(every):
            progress(WRITING_VIDEO, number, len(frames))
            picture = _full_range_grey(frame) if lossless else _bt709(frame, stored)
            picture.pts, picture.time_base = number, 1 / fps
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    with replacing(path) as temporary:
        temporary.write_bytes(movie.getvalue())  # not a copy; a view would live on in the traceback of a failure


def _options(codec: Codec, crf: int | None) -> dict[str, object]:
    """Options of the encoder; without a rate factor it is lossless."""
    if codec == "hevc":
        return {"crf": str(crf), "x265-params": "log-level=error"}
    # No mbtree: for small pictures, x264's fast code for it reads uninitialised memory, so the same frames would not
    # always give the same file.
    return {"qp": "0"} if crf is None else {"crf": str(crf), "x264-params": "mbtree=0"}


def texts_of(path: Path) -> dict[str, str]:
    """The texts in a video written by `write_movie`, by the names in `METADATA_KEYS`."""
    return {key: text for key, text in clip_info(path).metadata.items() if key in METADATA_KEYS}


def texts_fit(metadata: dict[str, str]) -> None:
    """Raise ValueError for texts that a result cannot carry."""
    if unknown := set(metadata) - set(METADATA_KEYS):
        raise ValueError(f"a video cannot carry the metadata {sorted(unknown)}")


def read_movie(path: Path) -> Clip:
    """Read all frames of a video at its own size."""
    return read_clip(path, frames=None, longest_side=None, multiple=1)


def write_png_frames(folder: Path, frames: Frames) -> None:
    """Write frames, (H,W,3) RGB or (H,W) grey, as frame_00000.png and so on, with their 8 or 16 bits; all or nothing.

    An existing folder is replaced if it holds nothing but such frames.

    Raises:
        InputError: the folder holds other files, or cannot be written (disk full, no permission).
    """
    import cv2

    folder = Path(folder)
    check_frames_folder(folder)
    with replacing(folder) as temporary:
        temporary.mkdir()
        for number, frame in enumerate(frames):
            picture = frame[..., ::-1] if frame.ndim == 3 else frame
            encoded = cv2.imencode(".png", picture)[1]
            (temporary / f"frame_{number:05d}{PNG}").write_bytes(encoded.tobytes())


def check_frames_folder(folder: Path) -> None:
    """Refuse a folder that cannot become a folder of frames, before any long work starts.

    Raises:
        InputError: it is a file, or holds other files than frames.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: choose another name for the folder of frames.")
    others = [f.name for f in folder.iterdir() if not _FRAME_NAME.fullmatch(f.name)] if folder.is_dir() else []
    if others:
        raise InputError(f"The folder {folder} holds other files ({min(others)}): choose a new or empty folder.")


_FRAME_NAME = re.compile(rf"frame_[0-9]{{5,}}({re.escape(PNG)}|{re.escape(EXR)})")


def _bt709(frame: NDArray, stored: str) -> "av.VideoFrame":
    """Convert an RGB or grey frame to limited-range BT.709, the kind of video that every player expects."""
    rgb = np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame
    deep = stored.endswith("10le") and rgb.dtype == np.uint16
    return as_video(in_16_bits(rgb) if deep else in_8_bits(rgb), "rgb48le" if deep else "rgb24", stored)


def as_video(frame: NDArray, pixel_format: str, stored: str) -> "av.VideoFrame":
    """Convert a frame (H,W,...), uint8 or uint16, from one FFmpeg pixel format to another, as limited-range BT.709."""
    import av
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    if frame.dtype == np.uint16:
        frame = frame.copy()
        frame[..., :3] = _WHITE_16[frame[..., :3]]
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=pixel_format).reformat(
        format=stored,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP,
    )


def _full_range_grey(frame: NDArray[np.uint8]) -> "av.VideoFrame":
    """Use a grey frame as luma, value for value; read as limited range, 0 and 255 are still shown correctly."""
    import av

    height, width = frame.shape
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = frame
    picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    picture.color_range = 2
    return picture
