"""Video files: which picture each frame at a constant rate shows, and decoding from any of them on."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.media.clock import Clock
from ex4d.media.colour import UNSPECIFIED
from ex4d.media.info import PICTURES_FPS, ClipInfo
from ex4d.media.picture import bits_of, check_pixels, decoded, displayed_size
from ex4d.media.tracks import Track, best, is_whole_avi, repeated, without_second_fields

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Containers that hold pictures themselves. Playlists (HLS, DASH, concat) are left out on purpose: they make the reader
# open other files and URLs, and the backend also gets clips from other machines.
_FORMATS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mxf,flv,ogg,asf,gif,apng,h264,hevc,av1,obu,ivf,m4v,mpegvideo,"
    "mjpeg,yuv4mpegpipe,nut,dv,rm,png_pipe,jpeg_pipe"
)

_PROGRESSIVE = 1  # FFmpeg's field orders: 0 is unknown, larger values are interlaced

_USUAL_RATES = [Fraction(n) for n in (10, 12, 15, 24, 25, 30, 48, 50, 60, 90, 100, 120, 240)] + [
    Fraction(n * 1000, 1001) for n in (24, 30, 48, 60, 120)
]


@dataclass(frozen=True)
class VideoFile:
    """Where the frames of a video file are; made by `index_video`.

    Attributes:
        info: size, rate and length.
        path: the file.
        stream: index of the stream in the container.
        shown: (T,) the stored picture, counted in display order, that each frame shows.
        times: presentation time of each stored picture in ticks of the stream, on one clock (see `ex4d.media.clock`);
            None if there are none.
        keys: presentation times at which decoding can start; none if the file can only be read from its beginning.
        stored_pictures: number of pictures in the file.
        missing: number of pictures that the file promises but does not hold.
        interlaced: whether showing a picture requires the one before it.
        notes: sentences about which pictures were used, for the user.
    """

    info: ClipInfo
    path: Path
    stream: int
    shown: NDArray[np.int64]
    times: NDArray[np.int64] | None
    keys: NDArray[np.int64]
    stored_pictures: int
    missing: int = 0
    interlaced: bool = False
    notes: tuple[str, ...] = ()

    def pictures(self, wanted: NDArray[np.int64]) -> Iterator[tuple[int, "av.VideoFrame"]]:
        """Yield pictures with their number in display order, from `wanted[0]` or a bit earlier to the end of the file.

        Raises:
            InputError: their size changes midway.
        """
        return self._pictures_from(max(0, int(wanted[0]) - self.interlaced))

    def _pictures_from(self, first: int) -> Iterator[tuple[int, "av.VideoFrame"]]:
        import av

        with _open_video(self.path) as (container, streams):
            (stream,) = (s for s in streams if s.index == self.stream)
            named = _named_colours(stream)
            pictures = decoded(container, stream)
            times = self.times
            key = 0 if times is None else int(self.keys[self.keys <= times[first]].max(initial=times[0]))
            if times is not None and key > times[0]:
                head = None
                with suppress(av.FFmpegError):  # for example Matroska without an index
                    container.seek(key, stream=stream)
                    head = next(pictures, None)
                if head is None or head.pts is None or head.pts > times[first]:
                    yield from self._pictures_from(0)  # or the seek went too far: start over
                    return
                pictures = chain([head], pictures)
            size = None
            for order, picture in enumerate(pictures):
                if size not in (None, (picture.width, picture.height)):
                    raise InputError(f"The pictures of {self.path} change size midway: convert it to one size.")
                size = (picture.width, picture.height)
                _name_colours(picture, named)
                if times is None or picture.pts is None:
                    yield order, picture
                else:
                    yield max(0, int(np.searchsorted(times, picture.pts, "right")) - 1), picture


def index_video(path: Path) -> VideoFile:
    """Read all packets of a video file, decoding only its first picture; nine if it is interlaced.

    Raises:
        InputError: not a video, damaged so that nothing can be decoded, or too large.
    """
    import av

    with _open_video(path) as (container, streams):
        metadata = dict(container.metadata)
        tracks = {s.index: Track(Clock(container.format.name)) for s in streams}
        with suppress(av.FFmpegError):  # truncated: everything before counts
            for packet in container.demux(*streams):
                tracks[packet.stream_index].add(packet)
        number, notes = best(streams, tracks)
        (stream,) = (s for s in streams if s.index == number)
        guesses = [Fraction(r) for r in (stream.guessed_rate, stream.average_rate) if r and 0 < r <= 1000]
        stores_no_times = container.format.name == "avi"  # what it gives as times is the decoding order
        tick = stream.time_base or Fraction(1, 90000)
        promised, aspect = stream.frames, stream.sample_aspect_ratio
    with _open_video(path) as (container, streams):
        (stream,) = (s for s in streams if s.index == number)
        pictures = decoded(container, stream)
        picture = next(pictures, None)
        if picture is None:
            raise _nothing_there(path)
        (width, height), bits = displayed_size(picture, aspect), bits_of(picture)
        interlaced = picture.interlaced_frame or stream.codec_context.field_order > _PROGRESSIVE
        first_times = [p.pts for p in (picture, *islice(pictures, 8 if interlaced else 0)) if p.pts is not None]
    track = tracks[number]
    packets = track.without_cut_end()
    if not packets:
        raise _nothing_there(path)
    missing = max(0, promised - track.trimmed - len(packets))
    if interlaced:
        packets = without_second_fields(packets, first_times)

    if stores_no_times or any(packet.pts is None for packet in packets):
        fps = guesses[0] if guesses else PICTURES_FPS
        shown = np.arange(len(packets))
        if stores_no_times:
            shown = repeated([packet.dts for packet in packets], promised if is_whole_avi(path) else 0)
            missing = max(0, missing + len(packets) - len(shown) - (packets[0].dts or 0))
        info = ClipInfo(width, height, fps, len(shown), False, metadata, bits)
        no_keys = np.zeros(0, np.int64)
        return VideoFile(info, path, number, shown, None, no_keys, len(packets), missing, interlaced, notes)

    timed = [(packet.pts, packet.key) for packet in packets if packet.pts is not None]
    reached = packets[-1].dts
    if reached is not None and missing:
        # Pictures are stored out of order; none is missing only up to the time that decoding has reached.
        early = [(pts, key) for pts, key in timed if pts <= max(reached, timed[0][0])]
        missing, timed = missing + len(timed) - len(early), early
    timed.sort()
    if first_times and (lead_in := sum(pts < first_times[0] for pts, _ in timed)):
        timed = timed[lead_in:] or timed
        notes += (
            f"The first {lead_in} pictures of {path.name} depend on others that are missing: they were left out.",
        )
    if track.clock.joints:
        recordings = track.clock.joints + 1
        notes += (f"{path.name} is {recordings} recordings in one file: they were read one after the other.",)
    times = np.array([pts for pts, _ in timed], np.int64)
    keys = np.array([pts for pts, key in timed if key and not track.clock.joints], np.int64)
    seconds = (times - times[0]) * float(tick)
    fps, variable = _constant_rate(seconds, guesses)
    shown = _on_screen(path, seconds, fps) if variable else np.arange(len(times))
    info = ClipInfo(width, height, fps, len(shown), variable, metadata, bits)
    return VideoFile(info, path, number, shown, times, keys, len(times), missing, interlaced, notes)


def _nothing_there(path: Path) -> InputError:
    return InputError(f"No frame of {path} can be decoded: the file is damaged or empty; use another copy.")


def _named_colours(stream: "VideoStream") -> tuple[int, int, int]:
    """Primaries, transfer and matrix given by the container; call this before anything is decoded."""
    context = stream.codec_context
    return context.color_primaries, context.color_trc, context.colorspace


def _name_colours(picture: "av.VideoFrame", named: tuple[int, int, int]) -> None:
    """Give a picture the container's colours if it has none of its own."""
    unknown = (0, UNSPECIFIED)
    primaries, transfer, matrix = named
    if picture.color_primaries in unknown and primaries not in unknown:
        picture.color_primaries = primaries
    if picture.color_trc in unknown and transfer not in unknown:
        picture.color_trc = transfer
    if picture.colorspace in unknown and matrix not in unknown and not picture.format.is_rgb:
        picture.colorspace = matrix


@contextmanager
def _open_video(path: Path) -> Iterator[tuple["InputContainer", list["VideoStream"]]]:
    """Open a video file with all its decodable video streams except cover pictures."""
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
            f"{path} cannot be read as a video: it is damaged, truncated, or not a video; use a complete file such"
            " as .mp4, .mov, .mkv or .webm, or a folder of images."
        ) from error
    with container:
        cover = av.stream.Disposition.attached_pic
        streams = [s for s in container.streams.video if not s.disposition & cover and s.codec_context is not None]
        if not streams:
            raise InputError(f"{path} has no video stream that can be decoded: use a file with a picture.")
        for stream in streams:
            check_pixels(path, stream)
            # Not frame threads: an error in one picture would also lose its neighbours in the other threads.
            stream.thread_type = "SLICE"
        yield container, streams


def _constant_rate(seconds: NDArray[np.float64], guesses: list[Fraction]) -> tuple[Fraction, bool]:
    """The rate of pictures shown at `seconds` (T,) from 0, and whether their times deviate from it.

    Times may jitter by a quarter of a frame, because containers round them (Matroska to milliseconds).
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
    """The picture on screen in the middle of each frame at the rate `fps`; the last picture gets one frame.

    Files do not reliably say how long the last picture stays.
    """
    frames = max(1, round(seconds[-1] * float(fps)) + 1)
    if frames > 1000 + 100 * len(seconds):
        raise InputError(
            f"The timestamps of {path} jump over {seconds[-1]:.0f} s: convert it to a constant frame rate."
        )
    middles = (np.arange(frames) + 0.5) / float(fps)
    return np.searchsorted(seconds, middles, "right") - 1
