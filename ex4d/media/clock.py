"""One clock for streams whose timestamps restart, such as concatenated recordings of MPEG transport streams."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av

_JOINABLE = ("mpegts", "mpeg")
"""Containers without an index, which can be joined by concatenating files."""

_JUMP = 10.0
"""In seconds: a longer step forward is another recording, as in FFmpeg's own tool; a shorter one is a pause."""


class Clock:
    """Shifts the timestamps of a stream's packets so that they never restart.

    Attributes:
        joints: how often they restarted.
        start: when the recording of the last packet begins. Earlier pictures depend on one that was cut off.
    """

    def __init__(self, container_format: str) -> None:
        self.joints = 0
        self.start = -(1 << 63)
        self._joinable = container_format in _JOINABLE
        self._shift = 0
        self._last: int | None = None  # decoding time of the previous packet, as stored
        self._step = 0  # ticks from one packet to the next
        self._end = 0  # end of the last picture so far

    def set(self, packet: "av.Packet") -> None:
        """Put a packet, the next in file order, on the common clock."""
        if not self._joinable or packet.pts is None or packet.time_base is None:
            return
        if packet.dts is not None:
            self._follow(packet, packet.pts, packet.dts, packet.time_base)
            packet.dts += self._shift
        packet.pts += self._shift
        self._end = max(self._end, packet.pts + (packet.duration or self._step))

    def _follow(self, packet: "av.Packet", pts: int, dts: int, tick: Fraction) -> None:
        """Check whether the packet starts another recording than the one before, and shift the clock."""
        if self._last is not None and not 0 <= (dts - self._last) * tick <= _JUMP:
            self.joints += 1
            if packet.is_keyframe:
                self.start = self._end
                self._shift = self._end - pts
            else:  # from the middle of a recording: decoding continues at its pace
                self._shift += self._last + self._step - dts
        elif self._last is not None:
            self._step = packet.duration or dts - self._last
        self._last = dts


def on_one_clock(packets: Iterable["av.Packet"], container_format: str) -> Iterator["av.Packet"]:
    """The packets of one stream, in file order, with timestamps that never restart."""
    clock = Clock(container_format)
    for packet in packets:
        clock.set(packet)
        yield packet
