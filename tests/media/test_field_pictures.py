"""H.264 whose fields are separate pictures (field_pic_flag), as written by AVCHD cameras and broadcasters.

No available encoder writes it, so the stream is assembled here according to ITU-T H.264, with macroblocks of raw
samples (I_PCM).
"""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from test_interlaced import COUNT, HEIGHT, WIDTH, errors, woven

from ex4d.media.clip import clip_info, open_source, read_clip


class Bits:
    """A bit string with the codes of H.264, clause 7.2."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def u(self, length: int, *values: int) -> None:
        for value in values:
            self.bits += [value >> place & 1 for place in reversed(range(length))]

    def ue(self, *values: int) -> None:
        for value in values:
            self.u(2 * (value + 1).bit_length() - 1, value + 1)

    def samples(self, block: np.ndarray) -> None:
        self.bits += np.unpackbits(np.ascontiguousarray(block).ravel()).tolist()

    def align(self) -> None:
        self.bits += [0] * (-len(self.bits) % 8)

    def payload(self) -> bytes:
        self.u(1, 1)
        self.align()
        return np.packbits(self.bits).tobytes()


def unit(kind: int, payload: bytes) -> bytes:
    """A NAL unit with its start code; bytes inside that look like a start code are escaped (clause 7.4.1)."""
    content, zeros = bytearray(), 0
    for byte in payload:
        if zeros >= 2 and byte <= 3:
            content.append(3)
            zeros = 0
        content.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return b"\0\0\0\1" + bytes([1 << 5 | kind]) + bytes(content)


def parameters() -> bytes:
    """Sequence parameters (Main profile, not only frames) and picture parameters (CAVLC, deblocking optional)."""
    sequence, picture = Bits(), Bits()
    sequence.u(8, 77, 0, 30)
    sequence.ue(0, 0, 0, 4, 1)  # 4 bits for frame_num, 8 for picture order, one reference
    sequence.u(1, 0)
    sequence.ue(WIDTH // 16 - 1, HEIGHT // 32 - 1)
    sequence.u(1, 0, 0, 1, 0, 0)
    picture.ue(0, 0)
    picture.u(1, 0, 0)
    picture.ue(0, 0, 0)
    picture.u(3, 0)
    picture.ue(0, 0, 0)
    picture.u(1, 1, 0, 0)
    return unit(7, sequence.payload()) + unit(8, picture.payload())


def field(planes: list[np.ndarray], number: int, second: bool) -> bytes:
    """One field as a picture: the first of a frame is an IDR picture, the second an I picture."""
    bits = Bits()
    bits.ue(0, 7, 0)
    bits.u(4, 0)
    bits.u(1, 1, second)  # field_pic_flag, bottom_field_flag
    if not second:
        bits.ue(number % 2)
    bits.u(8, second)
    bits.u(1 if second else 2, 0)
    bits.ue(0, 1)  # no quantiser change, no deblocking
    for row in range(HEIGHT // 32):
        for column in range(WIDTH // 16):
            bits.ue(25)  # I_PCM
            bits.align()
            for plane, size in zip(planes, (16, 8, 8), strict=True):
                bits.samples(plane[row * size : (row + 1) * size, column * size : (column + 1) * size])
    return unit(1 if second else 5, bits.payload())


def fields() -> list[tuple[bytes, bytes]]:
    """Both fields of each frame of `woven`."""
    made = []
    for number in range(COUNT):
        picture = av.VideoFrame.from_ndarray(woven(number), format="rgb24").reformat(format="yuv420p").to_ndarray()
        luma, chroma = picture[:HEIGHT], picture[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
        planes = [luma, *chroma]
        first, second = (field([plane[k::2] for plane in planes], number, bool(k)) for k in (0, 1))
        made.append((parameters() + first, second))
    return made


def write(path: Path, together: bool) -> Path:
    """Write the fields with one container packet per frame, so that the second has no time, or one per field."""
    made = fields()
    raw = path.with_suffix(".h264")
    raw.write_bytes(b"".join(first + second for first, second in made))
    with av.open(str(raw)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, (first, second) in enumerate(made):
            for place, content in enumerate([first + second] if together else [first, second]):
                packet = av.Packet(content)
                packet.stream, packet.time_base = stream, Fraction(1, 50)
                packet.pts = packet.dts = 2 * number + place
                container.mux(packet)
    return path


@pytest.mark.parametrize(("ending", "together"), [("ts", True), ("ts", False), ("mkv", True), ("mkv", False)])
def test_two_pictures_of_a_field_each_are_one_frame(tmp_path, ending, together):
    path = write(tmp_path / f"a.{ending}", together)
    if ending == "ts":
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        assert len(packets) == 2 * COUNT, "two for each frame"
        assert (packets[1].pts is None) == together
    info = clip_info(path)
    assert (info.frames, info.fps, info.variable) == (COUNT, 25, False)
    clip = read_clip(path, frames=None)
    assert len(clip.frames) == COUNT
    assert max(errors(clip.frames)) < 2
    (note,) = clip.notes
    assert f"{COUNT} frames at 25 a second" in note
    frames = list(open_source(path).frames(5, 9))
    assert np.array_equal(frames, clip.frames[5:9])
