"""Clips: frames of a video file or of a folder of pictures, at the working size.

Needs PyAV and OpenCV (imported where used, so that the types cost numpy only).
"""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry.intrinsics import FrameFit, fit_frame
from ex4d.progress import Progress, silent
from ex4d.storage.atomic import check_there

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

PICTURES_FPS = Fraction(24)
"""Frame rate of an image folder unless the user says another."""

LIMIT_BYTES = 8 << 30
"""Most memory that the frames of one clip may take."""

LIMIT_PIXELS = 1 << 28
"""Most pixels of one picture of the source (16384 x 16384)."""

_PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")

# Containers that hold pictures themselves. Playlists (HLS, DASH, concat) are left out on purpose: they make
# the reader open other files and addresses, and clips also come to the backend from other machines.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mxf,flv,ogg,asf,gif,apng,h264,hevc,av1,obu,ivf,m4v,mpegvideo,"
    "mjpeg,yuv4mpegpipe,nut,dv,rm,png_pipe,jpeg_pipe"
)

_USUAL_RATES = [Fraction(n) for n in (10, 12, 15, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)] + [
    Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)
]

_HDR_TRANSFERS = (16, 18)  # PQ and HLG, numbers of ITU-T H.273
_KNOWN_MATRICES = {1, 4, 5, 6, 7, 9}  # YCbCr matrices of H.273 that the converter knows


@dataclass(frozen=True)
class Clip:
    """Frames at the working size.

    Attributes:
        frames: (T,H,W,3) uint8 RGB.
        fps: constant frame rate.
        source: name of the file or folder, for people; without its folder.
        start: index of the first frame in the source's constant-rate stream.
        fit: how the displayed picture of the source was brought to (H, W).
        notes: sentences about what was changed on the way, for the user.
        source_frames: frames of the whole source at its constant rate; start + T where it is not known.
        stored: (T,) the picture of the file that each frame shows, counted from 0; frame numbers where it is
            not known. They differ from frame numbers in sources of a variable rate only.
        stored_pictures: pictures in the whole file.
    """

    frames: NDArray[np.uint8]
    fps: Fraction
    source: str
    start: int
    fit: FrameFit
    notes: tuple[str, ...] = ()
    source_frames: int = 0
    stored: NDArray[np.int64] | None = None
    stored_pictures: int = 0

    def __post_init__(self) -> None:
        if self.stored is None:
            object.__setattr__(self, "stored", self.start + np.arange(len(self.frames)))
        object.__setattr__(self, "source_frames", max(self.source_frames, self.start + len(self.frames)))


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a source without decoding it.

    Attributes:
        width, height: size of the displayed picture (upright, square pixels) in pixels.
        fps: constant frame rate at which it is read.
        frames: frames at that rate.
        variable: the pictures come at uneven times and are brought to a constant rate.
        metadata: texts that the file carries (title, comment, ...).
    """

    width: int
    height: int
    fps: Fraction
    frames: int
    variable: bool
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Index:
    """Where the frames of a source are.

    Attributes:
        pictures: (T,) the stored picture, counted in display order, that each frame shows.
        times: presentation time of each stored picture in ticks of the stream; None where there are none.
        keys: presentation times at which decoding can start.
        missing: pictures that the file promises and does not hold.
    """

    info: ClipInfo
    pictures: NDArray[np.int64]
    times: NDArray[np.int64] | None
    keys: NDArray[np.int64]
    missing: int = 0


def clip_info(path: Path) -> ClipInfo:
    """Size, rate and number of frames of a video file or image folder; reads packets, decodes one picture.

    Raises:
        InputError: as `read_clip`.
    """
    path = _existing(path)
    return _index_folder(path, PICTURES_FPS).info if path.is_dir() else _index_video(path).info


def count_frames(path: Path) -> int:
    """Number of frames of the source at its constant rate."""
    return clip_info(path).frames


def read_clip(
    path: Path,
    *,
    start: int = 0,
    frames: int | None = 49,
    longest_side: int | None = 1024,
    fps: Fraction | None = None,
    multiple: int = 16,
    progress: Progress = silent,
) -> Clip:
    """Frames `start` to `start + frames` of a video file or of a folder of PNG or JPEG pictures.

    Pictures are shown upright and with square pixels, converted to full-range RGB by the matrix and range
    that the file names, scaled to the size of `fit_frame` and cropped about the centre. A variable rate is
    brought to a constant one: each frame shows what is on screen in the middle of its time. Sound and
    transparency are left out. Only the wanted frames are kept in memory.

    Args:
        path: the file or folder.
        start: first frame.
        frames: how many; None for all up to the end.
        longest_side: greatest width or height of the result in pixels; None keeps the source's.
        fps: rate of an image folder, `PICTURES_FPS` if None; must be None for a video file.
        multiple: the result's sides are multiples of it.
        progress: told after each frame.

    Raises:
        InputError: missing, not a video, cut off, fewer frames than asked, too small or too large.
    """
    path = _existing(path)
    if path.is_dir():
        index = _index_folder(path, PICTURES_FPS if fps is None else fps)
    elif fps is not None:
        raise InputError(f"{path.name} has a frame rate of its own: give a rate for image folders only.")
    else:
        index = _index_video(path)
    wanted = index.pictures[_range(path.name, index, start, frames)]
    info = index.info
    fit = fit_frame(info.width, info.height, longest_side, multiple)
    _check_memory(len(wanted), fit)

    notes = []
    if info.variable:
        notes.append(f"{path.name} has a variable frame rate; it was read at {_rate(info.fps)} frames a second.")
    result = np.empty((len(wanted), fit.height, fit.width, 3), np.uint8)
    source = _folder_pictures(path, wanted) if path.is_dir() else _video_pictures(path, index, int(wanted[0]))
    done, held = _place(result, wanted, source, lambda picture: _fit(picture, fit), progress, notes)
    if done < len(wanted) and frames is not None:
        raise InputError(
            f"{path.name} is damaged or cut off: only {done} of the {frames} frames from frame {start} can be"
            f" decoded; ask for at most {done} or use a whole file."
        )
    if done == 0:
        raise InputError(f"No picture of {path.name} can be decoded; the file is damaged: use another copy.")
    if done < len(wanted) or index.missing:
        promised = len(wanted) + index.missing
        notes.append(f"{path.name} is cut off or damaged: {done} of {promised} frames could be read.")
    if held:
        notes.append(f"{held} damaged frames of {path.name} repeat the frame before them.")
    pictures = len(index.pictures if index.times is None else index.times)
    return Clip(result[:done], info.fps, path.name, start, fit, tuple(notes), info.frames, wanted[:done], pictures)


def _existing(path: Path) -> Path:
    return check_there(path, "video file or image folder")


def _range(name: str, index: _Index, start: int, frames: int | None) -> slice:
    total = index.info.frames
    cut = f" (it is cut off: {index.missing} more are missing)" if index.missing else ""
    if start < 0 or (frames is not None and frames < 1):
        raise InputError("The first frame must be 0 or later and the number of frames at least 1.")
    if start >= total:
        raise InputError(f"{name} has {total} frames{cut}: start at frame {total - 1} or before, not at {start}.")
    if frames is not None and start + frames > total:
        raise InputError(
            f"{name} has {total} frames{cut}, which is fewer than the {frames} asked for from frame {start}:"
            f" ask for at most {total - start}."
        )
    return slice(start, total if frames is None else start + frames)


def _check_memory(frames: int, fit: FrameFit) -> None:
    need = frames * fit.width * fit.height * 3
    if need > LIMIT_BYTES:
        raise InputError(
            f"{frames} frames of {fit.width}x{fit.height} take {need / 2**30:.1f} GB of memory, more than"
            f" {LIMIT_BYTES >> 30} GB: choose fewer frames or a smaller longest side."
        )


def _place(
    result: NDArray[np.uint8],
    wanted: NDArray[np.int64],
    source: Iterator[tuple[int, "av.VideoFrame"]],
    convert: Callable[["av.VideoFrame"], NDArray[np.uint8]],
    progress: Progress,
    notes: list[str],
) -> tuple[int, int]:
    """Fill `result` with the pictures `wanted`; for one that never comes the last before it stands in.

    Returns the number of frames filled and how many of them are such stand-ins.
    """
    done = held = 0
    last: NDArray[np.uint8] | None = None
    for number, picture in source:
        if done == len(wanted):
            break
        if number < wanted[done]:
            continue  # before the range, or shown too shortly to be seen at the constant rate
        if picture.color_trc in _HDR_TRANSFERS and _HDR_NOTE not in notes:
            notes.append(_HDR_NOTE)
        fresh = convert(picture)
        while done < len(wanted) and wanted[done] <= number:
            stand_in = wanted[done] < number
            result[done] = last if stand_in and last is not None else fresh
            done, held = done + 1, held + stand_in
            progress("Reading the clip", done, len(wanted))
        last = fresh
    return done, held


_HDR_NOTE = "The clip is HDR and was read without tone mapping; colours may look flat."


def _rate(fps: Fraction) -> str:
    return f"{float(fps):.3f}".rstrip("0").rstrip(".")


# --- pictures ---


def _fit(picture: "av.VideoFrame", fit: FrameFit) -> NDArray[np.uint8]:
    """RGB (fit.height, fit.width, 3) of a decoded picture: upright, scaled, cropped about the centre."""
    upright = np.rot90(_rgb(picture), _quarter_turns(picture))
    scaled = _scale(upright, fit.scaled_width, fit.scaled_height)
    return scaled[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width]


def _quarter_turns(picture: "av.VideoFrame") -> int:
    """Counter-clockwise quarter turns that bring a stored picture upright."""
    return round(picture.rotation / 90) % 4


def _rgb(picture: "av.VideoFrame") -> NDArray[np.uint8]:
    """Full-range RGB (h,w,3) of a decoded picture in its stored orientation and pixel shape."""
    from av.video.reformatter import ColorRange, Colorspace, Interpolation

    matrix = None  # the one that the picture names
    if picture.colorspace not in _KNOWN_MATRICES:
        # Untagged video: what players do is BT.709 for high definition and BT.601 below.
        high = picture.width >= 1280 or picture.height >= 720
        matrix = Colorspace.ITU709 if high else Colorspace.ITU601
    rgb = picture.reformat(
        format="rgb24",
        src_colorspace=matrix,
        dst_color_range=ColorRange.JPEG,
        interpolation=Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT,
    )
    return rgb.to_ndarray().astype(np.uint8, copy=False)


def _scale(picture: NDArray, width: int, height: int) -> NDArray[np.uint8]:
    """Picture (height, width, 3): averaged where it shrinks, interpolated where it grows."""
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


def _displayed_size(picture: "av.VideoFrame", pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Width and height of the upright picture with square pixels."""
    width, height = picture.width, picture.height
    if pixel_aspect and pixel_aspect > 0:
        width = max(1, round(width * pixel_aspect))
    return (height, width) if _quarter_turns(picture) % 2 else (width, height)


# --- folders ---


def natural_order(path: Path) -> list[int | str]:
    """Sort key by which picture 10 comes after picture 9."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"([0-9]+)", path.name)]


def _folder_files(folder: Path) -> list[Path]:
    files = sorted(
        (f for f in folder.iterdir() if f.suffix.lower() in _PICTURE_ENDINGS and not f.name.startswith(".")),
        key=natural_order,
    )
    if not files:
        raise InputError(f"The folder {folder} holds no PNG or JPEG pictures: choose the folder of the frames.")
    return files


def _read_picture(path: Path) -> "av.VideoFrame":
    import av

    try:
        # Bytes and not a name: a name with a % in it would be taken for a pattern.
        data = io.BytesIO(path.read_bytes())
        with av.open(data, "r", options={"format_whitelist": "png_pipe,jpeg_pipe"}) as container:
            stream = container.streams.video[0]
            _check_pixels(path, stream)
            return next(_decoded(container, stream))
    except (av.FFmpegError, OSError, StopIteration, IndexError) as error:
        raise InputError(f"The picture {path} cannot be read as PNG or JPEG: replace or remove it.") from error


def _index_folder(folder: Path, fps: Fraction) -> _Index:
    if fps <= 0:
        raise InputError(f"The frame rate of an image folder must be above 0, not {fps}.")
    files = _folder_files(folder)
    width, height = _displayed_size(_read_picture(files[0]), None)
    info = ClipInfo(width, height, Fraction(fps), len(files), variable=False)
    return _Index(info, np.arange(len(files)), None, np.zeros(0, np.int64))


def _folder_pictures(folder: Path, wanted: NDArray[np.int64]) -> Iterator[tuple[int, "av.VideoFrame"]]:
    files = _folder_files(folder)
    size = _displayed_size(_read_picture(files[0]), None)
    for number in wanted:
        picture = _read_picture(files[number])
        this = _displayed_size(picture, None)
        if this != size:
            raise InputError(
                f"{files[number]} is {this[0]}x{this[1]} while {files[0].name} is {size[0]}x{size[1]}:"
                " all pictures of a clip must have the same size."
            )
        yield int(number), picture


# --- video files ---


@contextmanager
def _open_video(path: Path) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    import av

    try:
        container = av.open(
            f"file:{path.resolve()}",
            metadata_errors="replace",
            options={"format_whitelist": _FORMATS, "protocol_whitelist": "file"},
        )
    except (av.FFmpegError, OSError) as error:
        if isinstance(error, PermissionError):
            raise InputError(f"{path} cannot be opened: change its permissions.") from error
        raise InputError(
            f"{path} cannot be read as a video: it is damaged, cut off, or not a video; use a whole file"
            " such as .mp4, .mov, .mkv or .webm, or a folder of pictures."
        ) from error
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if not s.disposition & cover]
        if not streams or streams[0].codec_context is None:
            raise InputError(f"{path} has no video stream that can be decoded: use a file with pictures.")
        _check_pixels(path, streams[0])
        # Not frame threads: an error in one picture would take its neighbours in the other threads along.
        streams[0].thread_type = "SLICE"
        yield container, streams[0]


def _check_pixels(path: Path, stream: "VideoStream") -> None:
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > LIMIT_PIXELS:
        raise InputError(f"{path} has pictures of {width}x{height} pixels, which is too large: make it smaller.")


def _decoded(container: "InputContainer", stream: "VideoStream") -> Iterator["av.VideoFrame"]:
    """All pictures that can be decoded; damaged ones are passed over."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:  # the file ends in the middle: what is inside the decoder is still good
            packet = None
        with suppress(av.FFmpegError):
            yield from stream.decode(packet)
        if packet is None:
            return


def _video_pictures(path: Path, index: _Index, first: int) -> Iterator[tuple[int, "av.VideoFrame"]]:
    """Pictures with their number in display order, from `first` or somewhat before."""
    with _open_video(path) as (container, stream):
        pictures = _decoded(container, stream)
        times = index.times
        key = 0 if times is None else int(index.keys[index.keys <= times[first]].max(initial=times[0]))
        if times is not None and key > times[0]:
            container.seek(key, stream=stream)
            head = next(pictures, None)
            if head is None or head.pts is None or head.pts > times[first]:
                yield from _video_pictures(path, index, 0)  # some containers land too late: from the beginning
                return
            pictures = chain([head], pictures)
        size = None
        for order, picture in enumerate(pictures):
            if size not in (None, (picture.width, picture.height)):
                raise InputError(f"The pictures of {path} change their size midway: convert it to one size.")
            size = (picture.width, picture.height)
            if times is None or picture.pts is None:
                yield order, picture
            else:
                yield max(0, int(np.searchsorted(times, picture.pts, "right")) - 1), picture


def _index_video(path: Path) -> _Index:
    import av

    with _open_video(path) as (container, stream):
        metadata = dict(container.metadata)
        guesses = [Fraction(r) for r in (stream.guessed_rate, stream.average_rate) if r and 0 < r <= 1000]
        stores_no_times = container.format.name == "avi"  # what it gives as such is the decoding order
        tick = stream.time_base or Fraction(1, 90000)
        promised, aspect = stream.frames, stream.sample_aspect_ratio
        packets: list[tuple[Any, bool]] = []  # presentation time, or None in old containers; can decoding start here
        trimmed, reached = 0, None
        with suppress(av.FFmpegError):  # cut off: what came before it counts
            for packet in container.demux(stream):
                if packet.is_discard:
                    trimmed += 1
                elif packet.size and not packet.is_corrupt:
                    packets.append((packet.pts, packet.is_keyframe))
                    reached = packet.dts
    with _open_video(path) as (container, stream):
        picture = next(_decoded(container, stream), None)
    if picture is None or not packets:
        raise InputError(f"No picture of {path} can be decoded: the file is damaged or empty; use another copy.")
    width, height = _displayed_size(picture, aspect)
    timed = not stores_no_times and all(pts is not None for pts, _ in packets)
    if timed and reached is not None and promised - trimmed > len(packets):
        # Pictures are stored out of order: only up to the time that decoding has reached is none missing.
        packets = [(pts, key) for pts, key in packets if pts <= max(reached, packets[0][0])]
    missing = max(0, promised - trimmed - len(packets))

    if not timed:
        fps = guesses[0] if guesses else PICTURES_FPS
        info = ClipInfo(width, height, fps, len(packets), False, metadata)
        return _Index(info, np.arange(len(packets)), None, np.zeros(0, np.int64), missing)
    packets.sort()
    times = np.array([pts for pts, _ in packets], np.int64)
    keys = np.array([pts for pts, key in packets if key], np.int64)
    seconds = (times - times[0]) * float(tick)
    fps, variable = _constant_rate(seconds, guesses)
    pictures = np.arange(len(times))
    if variable:
        pictures = _on_screen(path, seconds, fps)
    info = ClipInfo(width, height, fps, len(pictures), variable, metadata)
    return _Index(info, pictures, times, keys, missing)


def _constant_rate(seconds: NDArray[np.float64], guesses: list[Fraction]) -> tuple[Fraction, bool]:
    """The rate of pictures shown at `seconds` (T,) from 0, and whether their times depart from it.

    Times may jitter by a quarter of a frame: containers round them (Matroska to milliseconds).
    """
    if len(seconds) < 2:
        return (guesses[0] if guesses else PICTURES_FPS), False
    typical = 1 / max(float(np.median(np.diff(seconds))), 1e-3)
    usual = min(_USUAL_RATES, key=lambda rate: abs(float(rate) / typical - 1))
    if abs(float(usual) / typical - 1) > 0.02:
        usual = max(Fraction(typical).limit_denominator(100), Fraction(1, 100))
    for rate in [*guesses, usual]:
        if (np.abs(seconds * float(rate) - np.arange(len(seconds))) < 0.25).all():
            return rate, False
    return usual, True


def _on_screen(path: Path, seconds: NDArray[np.float64], fps: Fraction) -> NDArray[np.int64]:
    """The picture that is on screen in the middle of each frame at the rate `fps`; the last has one frame.

    Files do not say reliably how long the last picture stays.
    """
    frames = max(1, round(seconds[-1] * float(fps)) + 1)
    if frames > 1000 + 100 * len(seconds):
        raise InputError(
            f"The time stamps of {path} jump over {seconds[-1]:.0f} s: convert it to a constant frame rate."
        )
    middles = (np.arange(frames) + 0.5) / float(fps)
    return np.searchsorted(seconds, middles, "right") - 1
