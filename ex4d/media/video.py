"""Video files: which picture each frame of a constant rate shows, and decoding from any of them on."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.media.info import PICTURES_FPS, ClipInfo
from ex4d.media.picture import check_pixels, decoded, displayed_size

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Containers that hold pictures themselves. Playlists (HLS, DASH, concat) are left out on purpose: they make
# the reader open other files and addresses, and clips also come to the backend from other machines.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mxf,flv,ogg,asf,gif,apng,h264,hevc,av1,obu,ivf,m4v,mpegvideo,"
    "mjpeg,yuv4mpegpipe,nut,dv,rm,png_pipe,jpeg_pipe"
)

_USUAL_RATES = [Fraction(n) for n in (10, 12, 15, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)] + [
    Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)
]


@dataclass(frozen=True)
class VideoFile:
    """Where the frames of a video file are; made by `index_video`.

    Attributes:
        info: size, rate and length.
        path: the file.
        shown: (T,) the stored picture, counted in display order, that each frame shows.
        times: presentation time of each stored picture in ticks of the stream; None where there are none.
        keys: presentation times at which decoding can start.
        missing: pictures that the file promises and does not hold.
    """

    info: ClipInfo
    path: Path
    shown: NDArray[np.int64]
    times: NDArray[np.int64] | None
    keys: NDArray[np.int64]
    missing: int = 0

    @property
    def stored_pictures(self) -> int:
        """Pictures in the file."""
        return len(self.shown if self.times is None else self.times)

    def pictures(self, wanted: NDArray[np.int64]) -> Iterator[tuple[int, "av.VideoFrame"]]:
        """Pictures with their number in display order, from `wanted[0]` or somewhat before, up to the file's end.

        Raises:
            InputError: their size changes midway.
        """
        return self._pictures_from(int(wanted[0]))

    def _pictures_from(self, first: int) -> Iterator[tuple[int, "av.VideoFrame"]]:
        with _open_video(self.path) as (container, stream):
            pictures = decoded(container, stream)
            times = self.times
            key = 0 if times is None else int(self.keys[self.keys <= times[first]].max(initial=times[0]))
            if times is not None and key > times[0]:
                container.seek(key, stream=stream)
                head = next(pictures, None)
                if head is None or head.pts is None or head.pts > times[first]:
                    yield from self._pictures_from(0)  # some containers land too late: from the beginning
                    return
                pictures = chain([head], pictures)
            size = None
            for order, picture in enumerate(pictures):
                if size not in (None, (picture.width, picture.height)):
                    raise InputError(f"The pictures of {self.path} change their size midway: convert it to one size.")
                size = (picture.width, picture.height)
                if times is None or picture.pts is None:
                    yield order, picture
                else:
                    yield max(0, int(np.searchsorted(times, picture.pts, "right")) - 1), picture


def index_video(path: Path) -> VideoFile:
    """Read all packets of a video file, without decoding more than its first picture.

    Raises:
        InputError: not a video, damaged so that nothing can be decoded, or too large.
    """
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
        picture = next(decoded(container, stream), None)
    if picture is None or not packets:
        raise InputError(f"No picture of {path} can be decoded: the file is damaged or empty; use another copy.")
    width, height = displayed_size(picture, aspect)
    timed = not stores_no_times and all(pts is not None for pts, _ in packets)
    if timed and reached is not None and promised - trimmed > len(packets):
        # Pictures are stored out of order: only up to the time that decoding has reached is none missing.
        packets = [(pts, key) for pts, key in packets if pts <= max(reached, packets[0][0])]
    missing = max(0, promised - trimmed - len(packets))

    if not timed:
        fps = guesses[0] if guesses else PICTURES_FPS
        info = ClipInfo(width, height, fps, len(packets), False, metadata)
        return VideoFile(info, path, np.arange(len(packets)), None, np.zeros(0, np.int64), missing)
    packets.sort()
    times = np.array([pts for pts, _ in packets], np.int64)
    keys = np.array([pts for pts, key in packets if key], np.int64)
    seconds = (times - times[0]) * float(tick)
    fps, variable = _constant_rate(seconds, guesses)
    shown = _on_screen(path, seconds, fps) if variable else np.arange(len(times))
    info = ClipInfo(width, height, fps, len(shown), variable, metadata)
    return VideoFile(info, path, shown, times, keys, missing)


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
        check_pixels(path, streams[0])
        # Not frame threads: an error in one picture would take its neighbours in the other threads along.
        streams[0].thread_type = "SLICE"
        yield container, streams[0]


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
