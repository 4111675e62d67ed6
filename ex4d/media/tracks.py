"""What the packets of a video file reveal before decoding: which stream is the main video, and its pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ex4d.media.clock import Clock

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream


class Packet(NamedTuple):
    """Presentation and decoding time in ticks, None if there is none, and whether decoding can start here."""

    pts: int | None
    dts: int | None
    key: bool


@dataclass
class Track:
    """The packets of one stream.

    Attributes:
        clock: brings their times onto one clock.
        packets: those with content, in file order.
        corrupt: whether each packet is marked as damaged.
        trimmed: number of packets that an edit list leaves out.
    """

    clock: Clock
    packets: list[Packet] = field(default_factory=list)
    corrupt: list[bool] = field(default_factory=list)
    trimmed: int = 0

    def add(self, packet: "av.Packet") -> None:
        """Add the next packet of the file."""
        self.clock.set(packet)
        if packet.is_discard:
            self.trimmed += 1
        elif packet.size and (packet.pts is None or packet.pts >= self.clock.start):
            self.packets.append(Packet(packet.pts, packet.dts, packet.is_keyframe))
            self.corrupt.append(packet.is_corrupt)

    def without_cut_end(self) -> list[Packet]:
        """The packets without a damaged end, where the file was truncated; elsewhere the decoder shows what it can."""
        whole = max((n for n, corrupt in enumerate(self.corrupt, 1) if not corrupt), default=0)
        return self.packets[:whole]


def best(streams: list["VideoStream"], tracks: dict[int, Track]) -> tuple[int, tuple[str, ...]]:
    """Choose the stream that is the main video, with notes if there was a choice.

    Moving pictures are preferred to a single picture, full size to a proxy (less than a quarter of the largest's
    pixels), then the file's default, then the larger, the longer, and the first.
    """
    import av

    def pixels(stream: "VideoStream") -> int:
        return stream.codec_context.width * stream.codec_context.height

    def length(stream: "VideoStream") -> int:
        return len(tracks[stream.index].packets)

    largest = max((pixels(s) for s in streams if length(s) > 1), default=0)

    def rank(stream: "VideoStream") -> tuple[int, ...]:
        is_default = bool(stream.disposition & av.stream.Disposition.default)
        is_no_proxy = pixels(stream) * 4 >= largest
        return min(length(stream), 2), is_no_proxy, is_default, pixels(stream), length(stream), -stream.index

    film = max(streams, key=rank)
    if len(streams) == 1:
        return film.index, ()
    size = f"{film.codec_context.width}x{film.codec_context.height}"
    place = streams.index(film) + 1
    return film.index, (f"The file has {len(streams)} video streams: number {place}, of {size}, was read.",)


def repeated(numbers: list[int | None], chunks: int) -> NDArray[np.int64]:
    """The stored picture (T,) that each frame of an AVI shows; chunks without content repeat the picture before.

    Empty chunks before the first picture are left out.

    Args:
        numbers: chunk number of each stored picture, with empty chunks counted.
        chunks: number of chunks including empty ones, if the file is whole; else 0.
    """
    known = np.array([n for n in numbers if n is not None], np.int64)
    count = len(numbers)
    if len(known) < count or (np.diff(known) < 1).any():
        return np.arange(count)
    end = max(chunks, known[-1] + 1)
    if end - known[0] > 1000 + 100 * count:
        return np.arange(count)
    return np.searchsorted(known, np.arange(known[0], end), "right") - 1


def is_whole_avi(path: Path) -> bool:
    """Whether an AVI file is as long as it claims: its RIFF chunks (long files have several) end with the file."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < size and len(head := file.read(8)) == 8 and head[:4] == b"RIFF":
            at += 8 + int.from_bytes(head[4:], "little")
            file.seek(at)
    return 0 < at <= size


def without_second_fields(packets: list[Packet], decoded: list[int]) -> list[Packet]:
    """Keep one packet per picture if an encoder wrote the two fields of a picture into separate packets.

    AVCHD cameras and broadcasters do this; the decoder joins the fields again.

    Args:
        packets: of an interlaced stream, in file order.
        decoded: presentation times of its first pictures, from the decoder.
    """
    bare = sum(packet.pts is None for packet in packets)
    if 0 < bare <= (len(packets) + 1) // 2 and packets[0].pts is not None:  # the second has no time of its own
        packets = [packet for packet in packets if packet.pts is not None]
    times = sorted(packet.pts for packet in packets if packet.pts is not None)
    if len(times) < len(packets) or len(decoded) < 2:
        return packets
    if sum(decoded[0] <= time <= decoded[-1] for time in times) <= len(decoded):
        return packets
    least = 0.75 * min(np.diff(decoded))
    firsts, last = {times[0]}, times[0]
    for time in times:
        if time - last > least:
            firsts.add(time)
            last = time
    return [packet for packet in packets if packet.pts in firsts]
