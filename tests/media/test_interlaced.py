"""Interlaced clips are read as whole frames without combing."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ex4d.media.clip import clip_info, open_source, read_clip

HEIGHT, WIDTH, COUNT = 96, 160, 14
SPEED = 3.0  # pixels per field


def at(field: int) -> np.ndarray:
    """The whole picture at the time of a field: soft bars moving to the right over a static ramp."""
    x = np.arange(WIDTH)[None, :] - SPEED * field
    y = np.arange(HEIGHT)[:, None]
    grey = 120 + 70 * np.sin(x / 9) + 30 * np.sin(y / 11)
    return np.repeat(np.clip(grey, 0, 255)[..., None], 3, 2).astype(np.uint8)


def woven(number: int, top_first: bool = True) -> np.ndarray:
    """Frame `number` of interlaced footage: every second line is one field later."""
    first, second = at(2 * number), at(2 * number + 1)
    frame = first.copy()
    frame[int(top_first) :: 2] = second[int(top_first) :: 2]
    return frame


def flagged(frame: np.ndarray, pixel_format: str, first: str) -> av.VideoFrame:
    """A picture flagged with the field that comes first: "tff", "bff", or "prog" for none."""
    picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format=pixel_format)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=WIDTH, height=HEIGHT, format=picture.format, time_base=Fraction(1, 25))
    field = graph.add("setfield", first)
    source.link_to(field)
    field.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(picture)
    return graph.pull()


def write(
    path: Path,
    frames: list[np.ndarray],
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    first: str = "tff",
    b_frames: bool = True,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.options = {"crf": "6"} if codec == "libx264" else {}
        if first != "prog":
            stream.options = {"flags": "+ildct+ilme", **stream.options}
        stream.codec_context.gop_size = 5
        if not b_frames:
            stream.codec_context.max_b_frames = 0
        if codec == "mpeg2video":
            stream.codec_context.bit_rate = 8_000_000
        for number, frame in enumerate(frames):
            picture = flagged(frame, pixel_format, first)
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def errors(frames: np.ndarray, first: int = 0) -> list[float]:
    """Mean error of each frame against the whole picture at the time of its first field."""
    return [float(np.abs(frame.astype(int) - at(2 * number)).mean()) for number, frame in enumerate(frames, first)]


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format", "first"),
    [
        ("a.ts", "libx264", "yuv420p", "tff"),
        ("a.mp4", "libx264", "yuv420p", "bff"),
        ("a.mkv", "libx264", "yuv420p10le", "tff"),
        ("a.mpg", "mpeg2video", "yuv420p", "tff"),
        ("a.avi", "mpeg2video", "yuv420p", "bff"),
        ("a.mov", "prores_ks", "yuv422p10le", "tff"),
        ("a.mxf", "mpeg2video", "yuv422p", "tff"),
    ],
)
def test_interlaced_footage_has_a_whole_frame_for_each_two_fields(tmp_path, name, codec, pixel_format, first):
    frames = [woven(n, first == "tff") for n in range(COUNT)]
    path = write(tmp_path / name, frames, codec, pixel_format, first, b_frames=name != "a.avi")
    clip = read_clip(path, frames=None)
    assert (len(clip.frames), clip.fps, clip_info(path).frames) == (COUNT, 25, COUNT)
    combed = np.mean(errors(np.array(frames)))
    assert combed > 7
    assert max(errors(clip.frames)) < 3, "the first and the last as well"
    (note,) = clip.notes
    assert "interlaced" in note
    assert "bwdif" in note
    assert f"{COUNT} frames at 25 a second" in note


def test_any_range_of_interlaced_footage_gives_the_frames_of_the_whole_clip(tmp_path):
    source = open_source(write(tmp_path / "a.mp4", [woven(n) for n in range(COUNT)]))
    whole = list(source.frames())
    for start, stop in ((0, 1), (1, 2), (4, 8), (5, 6), (10, 14), (13, 14)):
        assert np.array_equal(list(source.frames(start, stop)), whole[start:stop])


@pytest.mark.parametrize("count", [1, 2])
def test_the_shortest_interlaced_clips_keep_their_length(tmp_path, count):
    clip = read_clip(write(tmp_path / "a.ts", [woven(n) for n in range(count)]), frames=None)
    assert len(clip.frames) == count


def test_deep_interlaced_footage_is_read_in_sixteen_bits(tmp_path):
    path = write(tmp_path / "a.mkv", [woven(n) for n in range(COUNT)], pixel_format="yuv420p10le")
    deep = np.array(list(open_source(path).frames(bits=16)))
    assert max(errors(deep / 257)) < 3
    assert len(np.unique(deep)) > 300


def test_progressive_footage_is_not_touched(tmp_path):
    frames = [at(2 * n) for n in range(COUNT)]
    path = write(tmp_path / "a.mp4", frames, first="prog")
    clip = read_clip(path, frames=None)
    assert clip.notes == ()
    with av.open(str(path)) as container:
        pictures = [p.to_ndarray(format="rgb24") for p in container.decode(video=0)]
    assert np.abs(clip.frames.astype(int) - pictures).max() <= 2


def test_only_the_interlaced_part_of_a_mixed_clip_is_changed(tmp_path):
    halves = []
    for name, first, frames in (
        ("p.ts", "prog", [at(2 * n) for n in range(COUNT)]),
        ("i.ts", "tff", [woven(n) for n in range(COUNT, 2 * COUNT)]),
    ):
        halves.append(write(tmp_path / name, frames, first=first).read_bytes())
    (tmp_path / "mixed.ts").write_bytes(b"".join(halves))
    clip = read_clip(tmp_path / "mixed.ts", frames=None)
    assert len(clip.frames) == 2 * COUNT
    assert max(errors(clip.frames)) < 3
    assert any("interlaced" in note for note in clip.notes)


def test_the_note_counts_the_files_own_frames_whatever_rate_it_is_read_at(tmp_path):
    path = write(tmp_path / "clip.mp4", [woven(number) for number in range(COUNT)])
    for fps in (None, Fraction(50)):
        notes = " ".join(read_clip(path, frames=None, fps=fps).notes)
        assert f"It has {COUNT} frames at 25 a second; counting fields, it would be twice as many." in notes
