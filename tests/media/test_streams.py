"""Which pictures of a file are the clip: the main video, joined recordings, empty chunks, a lost beginning."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ex4d.media.clip import clip_info, open_source, read_clip

FPS = Fraction(24)
FILM = (96, 128)  # height, width


def grey(number: int) -> int:
    return 20 + 5 * number


def numbers(frames: np.ndarray) -> list[int]:
    return [round((float(f.mean()) - 20) / 5) for f in frames]


def add(
    container: av.container.OutputContainer,
    size: tuple[int, int],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    **settings: str,
) -> av.VideoStream:
    stream = container.add_stream(codec, rate=FPS)
    (stream.height, stream.width), stream.pix_fmt, stream.options = size, pixel_format, settings
    return stream


def encode(container: av.container.OutputContainer, stream: av.VideoStream, greys: list[int]) -> None:
    for number, value in enumerate(greys):
        frame = np.full((stream.height, stream.width, 3), value, np.uint8)
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=stream.pix_fmt)
        picture.pts, picture.time_base = number, 1 / FPS
        container.mux(stream.encode(picture))
    container.mux(stream.encode())


def film(path: Path, first: int = 0, count: int = 12, gop: int = 6, codec: str = "libx264", **settings: str) -> Path:
    """Write a video whose frames give their number by their grey level."""
    with av.open(str(path), "w") as container:
        stream = add(container, FILM, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p", **settings)
        stream.codec_context.gop_size = gop
        encode(container, stream, [grey(n) for n in range(first, first + count)])
    return path


def several(path: Path, streams: list[tuple[str, tuple[int, int], int, bool]]) -> Path:
    """Write a file with these streams: codec, size, number of pictures, default. Only the main video counts 0 to 11."""
    default = int(av.stream.Disposition.default)
    with av.open(str(path), "w") as container:
        made = []
        for codec, size, count, is_default in streams:
            stream = add(container, size, codec, "yuvj420p" if codec == "mjpeg" else "yuv420p")
            stream.disposition = default if is_default else 0
            made.append((stream, [grey(n) if size == FILM and count == 12 else 200 for n in range(count)]))
        for stream, greys in made:
            encode(container, stream, greys)
    return path


@pytest.mark.parametrize("ending", ["mkv", "mp4", "mov"])
@pytest.mark.parametrize(
    "streams",
    [
        pytest.param([("mjpeg", FILM, 1, False), ("libx264", FILM, 12, True)], id="a picture first"),
        pytest.param([("mjpeg", (960, 1280), 1, True), ("libx264", FILM, 12, False)], id="a large picture as default"),
        pytest.param([("libx264", (36, 64), 12, True), ("libx264", FILM, 12, False)], id="a proxy as default"),
        pytest.param([("libx264", (36, 64), 30, False), ("libx264", FILM, 12, False)], id="a longer proxy"),
        pytest.param([("libx264", (96, 144), 7, False), ("libx264", FILM, 12, True)], id="the default of its size"),
        pytest.param([("libx264", FILM, 12, True), ("libx264", (96, 144), 7, False)], id="the default first"),
        pytest.param([("libx264", (72, 96), 12, True), ("libx264", FILM, 12, True)], id="the larger of two"),
    ],
)
def test_the_film_is_taken_and_not_a_thumbnail_or_a_proxy(tmp_path, streams, ending):
    path = several(tmp_path / f"a.{ending}", streams)
    info = clip_info(path)
    assert (info.frames, info.fps, info.height, info.width) == (12, FPS, *FILM)
    clip = read_clip(path, frames=None)
    assert numbers(clip.frames) == list(range(12))
    place = next(n for n, stream in enumerate(streams, 1) if stream[1:3] == (FILM, 12))
    (note,) = clip.notes
    assert f"2 video streams: number {place}, of 128x96, was read" in note
    assert numbers(read_clip(path, start=8, frames=3).frames) == [8, 9, 10], "after a seek too"


def test_a_picture_is_read_where_the_other_streams_have_none(tmp_path):
    clip = read_clip(several(tmp_path / "a.mkv", [("libx264", FILM, 0, True), ("mjpeg", FILM, 1, False)]), frames=None)
    assert len(clip.frames) == 1


@pytest.mark.parametrize(
    ("codec", "ending"), [("libx264", "ts"), ("mpeg2video", "ts"), ("libx265", "ts"), ("mpeg2video", "mpg")]
)
@pytest.mark.parametrize("lengths", [(9, 9), (12, 5, 8), (3, 20)])
def test_joined_recordings_are_read_one_after_the_other(tmp_path, codec, ending, lengths):
    settings = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    data, first = b"", 0
    for count in lengths:
        data += film(tmp_path / f"part.{ending}", first, count, codec=codec, **settings).read_bytes()
        first += count
    (tmp_path / f"joined.{ending}").write_bytes(data)
    clip = read_clip(tmp_path / f"joined.{ending}", frames=None)
    assert numbers(clip.frames) == list(range(first))
    assert (clip.fps, clip.source_frames) == (FPS, first)
    (note,) = clip.notes
    assert f"{len(lengths)} recordings" in note


def test_any_range_of_joined_recordings_is_read(tmp_path):
    parts = [film(tmp_path / "part.ts", first, 9).read_bytes() for first in (0, 9)]
    (tmp_path / "joined.ts").write_bytes(b"".join(parts))
    source = open_source(tmp_path / "joined.ts")
    for start, stop in ((0, 3), (7, 11), (9, 10), (12, 18)):
        assert numbers(np.array(list(source.frames(start, stop)))) == list(range(start, stop))


def test_a_second_recording_with_a_later_clock_leaves_no_hole(tmp_path):
    part = film(tmp_path / "part.ts", 9, 9)
    with av.open(str(part)) as source, av.open(str(tmp_path / "late.ts"), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts + 90000 * 3600, packet.dts + 90000 * 3600, stream
                container.mux(packet)
    joined = film(tmp_path / "first.ts", 0, 9).read_bytes() + (tmp_path / "late.ts").read_bytes()
    (tmp_path / "joined.ts").write_bytes(joined)
    clip = read_clip(tmp_path / "joined.ts", frames=None)
    assert (clip.fps, numbers(clip.frames)) == (FPS, list(range(18)))


def empty_chunks(path: Path, count: int, at: int) -> Path:
    """Insert empty picture chunks into an AVI of MJPEG, before its picture `at` or at its end, and into its index."""
    data = path.read_bytes()
    movi = data.index(b"movi")
    index = data.index(b"idx1")
    entries = data[index + 8 : index + 8 + struct.unpack_from("<I", data, index + 4)[0]]
    rows = [list(struct.unpack("<4sIII", entries[n : n + 16])) for n in range(0, len(entries), 16)]
    base = movi if data[movi + rows[0][2] : movi + rows[0][2] + 4] == rows[0][0] else 0
    where = base + rows[at][2] if at < len(rows) else index
    body = data[:where] + b"00dc\0\0\0\0" * count + data[where:index]
    for row in rows[at:]:
        row[2] += 8 * count
    rows[at:at] = [[b"00dc", 0, where - base + 8 * n, 0] for n in range(count)]
    listed = b"".join(struct.pack("<4sIII", *row) for row in rows)
    whole = bytearray(body + b"idx1" + struct.pack("<I", len(listed)) + listed)
    struct.pack_into("<I", whole, 4, len(whole) - 8)
    struct.pack_into("<I", whole, movi - 4, index - movi + 8 * count)
    for header, field in ((b"avih", 16), (b"strh", 32)):  # number of frames
        place = whole.index(header) + 8 + field
        struct.pack_into("<I", whole, place, len(rows))
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize(("count", "at"), [(8, 4), (1, 1), (3, 11), (2, 12)])
def test_empty_chunks_of_an_avi_repeat_the_picture_before_and_are_no_damage(tmp_path, count, at):
    path = empty_chunks(film(tmp_path / "a.avi", codec="mjpeg", color_range="2"), count, at)
    clip = read_clip(path, frames=None)
    assert numbers(clip.frames) == [*range(at), *[at - 1] * count, *range(at, 12)]
    assert (clip.fps, clip.notes) == (FPS, ())
    assert (clip.stored_pictures, clip.source_frames) == (12, 12 + count)
    assert list(clip.stored) == numbers(clip.frames)
    assert numbers(read_clip(path, start=at, frames=2).frames) == numbers(clip.frames)[at : at + 2]


def test_empty_chunks_before_the_first_picture_are_left_out(tmp_path):
    clip = read_clip(empty_chunks(film(tmp_path / "a.avi", codec="mjpeg", color_range="2"), 2, 0), frames=None)
    assert (numbers(clip.frames), clip.notes) == (list(range(12)), ())


def test_an_avi_that_is_cut_off_is_not_taken_for_one_with_empty_chunks(tmp_path):
    path = film(tmp_path / "a.avi", codec="mjpeg", color_range="2")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"idx1") - 4 * 770])
    clip = read_clip(path, frames=None)
    assert 6 <= len(clip.frames) <= 9
    assert any("truncated" in note and "of 12 frames" in note for note in clip.notes)


@pytest.mark.parametrize("ending", ["ts", "mkv"])
@pytest.mark.parametrize("lost", [1, 5, 7])
def test_a_beginning_that_cannot_be_decoded_is_left_out_and_told(tmp_path, ending, lost):
    """As in a recording cut without regard to keyframes; the first keyframe left is number 8."""
    whole = film(tmp_path / f"whole.{ending}", count=24, gop=8, bf="0")
    path = tmp_path / f"a.{ending}"
    with av.open(str(whole)) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is not None and number >= lost:
                packet.stream = stream
                container.mux(packet)
    clip = read_clip(path, frames=None)
    assert numbers(clip.frames) == list(range(8, 24))
    assert (clip.fps, clip.source_frames) == (FPS, 16)
    (note,) = clip.notes
    assert f"first {8 - lost} pictures" in note
    assert "left out" in note
    assert numbers(read_clip(path, start=9, frames=2).frames) == [17, 18]


def test_a_packet_marked_as_damaged_in_the_middle_counts_as_the_picture_that_it_is(tmp_path):
    """A transport stream that lacks a packet of another stream marks pictures as damaged that are whole."""
    data = bytearray(film(tmp_path / "a.ts", count=12, bf="0").read_bytes())
    with av.open(str(tmp_path / "a.ts")) as container:
        where = [p.pos for p in container.demux(video=0) if p.size]
    pid = data[where[5] + 1] & 0x1F, data[where[5] + 2]
    for at in range(where[5] // 188 * 188, len(data), 188):  # the packet counter continues two later
        if (data[at + 1] & 0x1F, data[at + 2]) == pid:
            data[at + 3] = data[at + 3] & 0xF0 | (data[at + 3] + 2) & 0x0F
    (tmp_path / "a.ts").write_bytes(data)
    with av.open(str(tmp_path / "a.ts")) as container:
        assert any(p.is_corrupt for p in container.demux(video=0))
    clip = read_clip(tmp_path / "a.ts", frames=None)
    assert (numbers(clip.frames), clip.fps, clip.notes) == (list(range(12)), FPS, ())
