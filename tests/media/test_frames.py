"""Streaming ranges of a clip with 8 and 16 bits per channel."""

import os
import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ex4d.errors import InputError
from ex4d.media.clip import ClipSource, open_source, read_clip

COUNT, HEIGHT, WIDTH = 40, 48, 64


def encode(
    path: Path, pictures: list[av.VideoFrame], *, codec: str = "libx264", matrix: int = 1, full_range: bool = False
) -> Path:
    """Write a lossless video file of pictures that are already in the stored format."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = pictures[0].width, pictures[0].height, pictures[0].format.name
        stream.options = {"qp": "0"} if codec == "libx264" else {}
        context = stream.codec_context
        context.gop_size = 7
        context.colorspace, context.color_range = matrix, 2 if full_range else 1
        for number, picture in enumerate(pictures):
            picture.pts, picture.time_base = number, Fraction(1, 25)
            picture.colorspace, picture.color_range = matrix, 2 if full_range else 1
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def planes(pixel_format: str, luma: np.ndarray, chroma: int) -> av.VideoFrame:
    """A picture with this luma (h,w) and one chroma value."""
    picture = av.VideoFrame(luma.shape[1], luma.shape[0], pixel_format)
    for number, plane in enumerate(picture.planes):
        row = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        row[:, : plane.width] = chroma if number else luma
        plane.update(row.tobytes())
    return picture


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> ClipSource:
    rng = np.random.default_rng(5)
    frames = rng.integers(0, 255, (COUNT, HEIGHT, WIDTH, 3), np.uint8)
    pictures = [av.VideoFrame.from_ndarray(f, format="rgb24").reformat(format="yuv420p") for f in frames]
    return open_source(encode(tmp_path_factory.mktemp("noise") / "a.mp4", pictures))


@pytest.fixture(scope="module")
def whole(noise) -> np.ndarray:
    return read_clip(noise.path, frames=None).frames


@settings(max_examples=30, deadline=None)
@given(st.integers(0, COUNT - 1), st.integers(1, COUNT))
def test_any_range_gives_the_frames_of_the_whole_clip(noise, whole, start, length):
    stop = min(start + length, COUNT)
    frames = list(noise.frames(start, stop))
    assert np.array_equal(frames, whole[start:stop])


def test_a_source_says_what_it_holds_and_gives_everything_by_default(noise, whole):
    assert (noise.info.frames, noise.info.fps, noise.info.width, noise.info.height) == (COUNT, 25, WIDTH, HEIGHT)
    assert np.array_equal(list(noise.frames()), whole)
    assert np.array_equal(list(noise.frames(35)), whole[35:])


def test_frames_take_the_size_that_the_source_says(noise):
    fit = noise.fit(longest_side=32)
    (frame,) = noise.frames(3, 4, longest_side=32)
    assert frame.shape == (fit.height, fit.width, 3) == (16, 32, 3)
    assert frame.flags.c_contiguous


def test_a_range_that_is_not_there_is_refused_when_it_is_asked_for_and_not_when_it_is_read(noise):
    with pytest.raises(InputError, match=r"has 40 frames.*fewer than the 10 asked for from frame 35.*at most 5"):
        noise.frames(35, 45)
    with pytest.raises(InputError, match=r"start at frame 39 \(from 0 in the file\) or before"):
        noise.frames(40)
    for start, stop in ((-1, 3), (3, 3), (5, 2)):
        with pytest.raises(InputError, match="at least 1"):
            noise.frames(start, stop)


def test_the_file_is_closed_when_the_reader_stops_early(noise, tmp_path):
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("this system does not list open files in /proc")
    copy = tmp_path / "a.mp4"
    copy.write_bytes(noise.path.read_bytes())

    def is_open() -> bool:
        return str(copy) in {os.path.realpath(fd) for fd in descriptors.iterdir()}

    frames = open_source(copy).frames(20)
    next(frames)
    assert is_open()
    del frames
    assert not is_open()


@pytest.mark.parametrize("bits", [8, 16])
def test_a_long_range_is_streamed_with_a_few_frames_in_memory(tmp_path, bits):
    grey = np.full((480, 640, 3), 90, np.uint8)
    picture = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format="yuv420p")
    source = open_source(encode(tmp_path / "a.mp4", [picture] * 60))
    next(source.frames(bits=bits))  # imports in the meantime do not count
    tracemalloc.start()
    try:
        count = sum(1 for _ in source.frames(bits=bits))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 60
    assert peak < 12 * 640 * 480 * 3 * bits / 8


def test_every_frame_is_an_array_of_its_own(tmp_path):
    pictures = [planes("yuv420p10le", np.full((HEIGHT, WIDTH), 500, np.uint16), 512)] * 5
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:  # the fourth picture stays on screen for ten frames
        stream = container.add_stream("ffv1", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p10le"
        for pts, picture in zip((0, 1, 2, 3, 13), pictures, strict=True):
            picture.pts, picture.time_base = pts, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    told = []
    frames = list(open_source(path).frames(tell=told.append))
    assert len(frames) == 14
    assert "variable frame rate" in told[0]
    frames[6][:] = 0
    assert all(frame.min() > 0 for number, frame in enumerate(frames) if number != 6)


@pytest.mark.parametrize(
    ("pixel_format", "full_range", "black", "white"),
    [
        ("yuv420p10le", False, 64, 940),
        ("yuv420p10le", True, 0, 1023),
        ("yuv444p10le", False, 64, 940),
        ("yuv422p12le", False, 256, 3760),
        ("yuv444p16le", True, 0, 65535),
    ],
)
def test_a_deep_grey_ramp_keeps_its_levels_from_black_to_white(tmp_path, pixel_format, full_range, black, white):
    width = 1024
    ramp = np.rint(np.linspace(black, white, width)).astype(np.uint16)
    bits = {"p10": 10, "p12": 12, "p16": 16}[pixel_format[6:9]]
    picture = planes(pixel_format, np.broadcast_to(ramp, (HEIGHT, width)), 1 << (bits - 1))
    source = open_source(encode(tmp_path / "a.mkv", [picture] * 2, codec="ffv1", full_range=full_range))
    for frame in source.frames(bits=16):
        assert (frame.dtype, frame.shape) == (np.uint16, (HEIGHT, width, 3))
        wanted = (ramp.astype(float) - black) / (white - black) * 65535
        assert np.abs(frame[20] - wanted[:, None]).max() <= 5, "a step of ten bits is 64 and more"
        assert len(np.unique(frame[20, :, 1])) == len(np.unique(ramp)) > 800
        assert (frame[..., :].min(), frame.max()) == (0, 65535)


def test_a_ten_bit_ramp_of_a_lossy_codec_is_right_within_its_error(tmp_path):
    ramp = np.rint(np.linspace(64, 940, 1024)).astype(np.uint16)
    picture = planes("yuv420p10le", np.broadcast_to(ramp, (HEIGHT, 1024)), 512)
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt, stream.options = 1024, HEIGHT, "yuv420p10le", {"crf": "4"}
        stream.codec_context.colorspace, stream.codec_context.color_range = 1, 1
        for number in range(3):
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    (frame,) = open_source(path).frames(0, 1, bits=16)
    wanted = (ramp.astype(float) - 64) / 876 * 65535
    assert np.abs(frame - wanted[:, None]).max() < 65535 / 255
    assert len(np.unique(frame[..., 1])) > 700


COLOURS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0.1, 0.4, 0.8], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize(("matrix", "kr", "kb"), [(1, 0.2126, 0.0722), (6, 0.299, 0.114)])
@pytest.mark.parametrize("full_range", [False, True])
def test_deep_colours_follow_the_matrix_and_range_that_the_file_names(tmp_path, matrix, kr, kb, full_range):
    rgb = np.repeat(COLOURS, 32, axis=0)
    luma = rgb @ (kr, 1 - kr - kb, kb)
    cb, cr = (rgb[:, 2] - luma) / (2 - 2 * kb), (rgb[:, 0] - luma) / (2 - 2 * kr)
    scales = ((1023, 0), (1023, 512)) if full_range else ((876, 64), (896, 512))
    picture = av.VideoFrame(len(rgb), HEIGHT, "yuv444p10le")
    for plane, values, (gain, shift) in zip(
        picture.planes, (luma, cb, cr), (scales[0], scales[1], scales[1]), strict=True
    ):
        row = np.zeros((HEIGHT, plane.line_size // 2), np.uint16)
        row[:, : len(rgb)] = np.clip(np.rint(values * gain + shift), 0, 1023)
        plane.update(row.tobytes())
    path = encode(tmp_path / "a.mkv", [picture], codec="ffv1", matrix=matrix, full_range=full_range)
    (frame,) = open_source(path).frames(bits=16)
    assert np.abs(frame[20, 16::32] - COLOURS * 65535).max() < 2 * 65535 / 876, "two steps of ten bits"


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_pictures_of_a_folder_come_back_value_for_value(tmp_path, channels):
    rng = np.random.default_rng(6)
    stored = rng.integers(0, 65536, (3, HEIGHT, WIDTH, channels), np.uint16)
    for number, picture in enumerate(stored):
        cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
    frames = np.stack(list(open_source(tmp_path, Fraction(30)).frames(bits=16)))
    wanted = np.repeat(stored, 3, axis=-1) if channels == 1 else stored[..., 2::-1]
    assert np.array_equal(frames, wanted)


def test_a_source_of_8_bits_gives_257_times_its_8_bit_values(noise, whole, tmp_path):
    assert np.array_equal(list(noise.frames(bits=16)), whole.astype(np.uint16) * 257)
    cv2.imwrite(str(tmp_path / "1.png"), whole[0])
    (frame,) = open_source(tmp_path).frames(bits=16)
    assert np.array_equal(frame, whole[0, ..., ::-1].astype(np.uint16) * 257)


def test_scaling_keeps_16_bits(tmp_path):
    ramp = np.broadcast_to(np.linspace(1000, 64000, 1024).astype(np.uint16)[:, None], (512, 1024, 3))
    cv2.imwrite(str(tmp_path / "1.png"), ramp)
    (half,) = open_source(tmp_path).frames(bits=16, longest_side=512)
    wanted = ramp.reshape(256, 2, 512, 2, 3).mean(axis=(1, 3))
    assert half.shape == (256, 512, 3)
    assert np.abs(half - wanted).max() <= 1
    assert len(np.unique(half)) == 512


def test_a_deep_picture_turned_by_its_file_is_shown_upright(tmp_path):
    left_white = np.zeros((HEIGHT, 80), np.uint16)
    left_white[:, :40] = 1023
    path = encode(tmp_path / "a.mp4", [planes("yuv444p10le", left_white, 512)] * 2, full_range=True)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    frame = next(open_source(path).frames(bits=16))
    assert frame.shape == (80, HEIGHT, 3)
    assert frame[:38].min() > 60000 > 5000 > frame[42:].max()
