"""Pictures with more than 8 bits per channel, from the frames to the file and back."""

from fractions import Fraction

import av
import numpy as np
import pytest

from ex4d.media.clip import clip_info, open_source
from ex4d.media.frames import Stream, in_8_bits
from ex4d.media.mastering import write_exr_frames, write_ffv1, write_prores
from ex4d.media.movie import write_movie, write_png_frames

RATE = Fraction(24)
WIDTH, HEIGHT, COUNT = 1024, 64, 3


def ramp():
    """Frames (T,H,W,3) uint16: a grey ramp in which each column has its own 10-bit level."""
    row = np.arange(WIDTH, dtype=np.uint32) * 65535 // (WIDTH - 1)
    return np.broadcast_to(row.astype(np.uint16)[None, None, :, None], (COUNT, HEIGHT, WIDTH, 3))


def read(path):
    """Read frames with 16 bits."""
    frames = open_source(path).frames(longest_side=None, multiple=1, bits=16)
    return np.stack(list(frames))


WRITERS = {
    "h264.mp4": lambda path, frames: write_movie(path, frames, RATE, bits=10),
    "h264-444.mp4": lambda path, frames: write_movie(path, frames, RATE, bits=10, chroma="444"),
    "hevc.mp4": lambda path, frames: write_movie(path, frames, RATE, codec="hevc", bits=10),
    "a.mov": lambda path, frames: write_prores(path, frames, RATE),
    "a.mkv": lambda path, frames: write_ffv1(path, frames, RATE),
    "png": write_png_frames,
    "exr": write_exr_frames,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_ramp_of_10_bits_leaves_with_far_more_than_256_levels_and_each_in_its_place(name, tmp_path):
    frames = ramp()
    WRITERS[name](tmp_path / name, Stream(iter(frames), COUNT))
    found = read(tmp_path / name)
    assert found.shape == frames.shape
    assert len(np.unique(found[1, HEIGHT // 2, :, 1])) > 700
    error = np.abs(found.astype(int) - frames)
    # One level of limited-range 10 bits is 75; the brightest half floats in linear light are as coarse.
    assert np.percentile(error, 99) <= 150, name
    if name in ("a.mkv", "png"):
        assert not error.any()


@pytest.mark.parametrize("name", ["h264.mp4", "hevc.mp4", "a.mov"])
def test_black_and_white_stay_black_and_white(name, tmp_path):
    frames = np.zeros((COUNT, HEIGHT, WIDTH, 3), np.uint16)
    frames[:, :, WIDTH // 2 :] = 65535
    WRITERS[name](tmp_path / name, frames)
    found = read(tmp_path / name)[1]
    assert found[:, : WIDTH // 2 - 8].max() <= 80
    assert found[:, WIDTH // 2 + 8 :].min() >= 65535 - 80


@pytest.mark.parametrize(
    ("how", "profile", "stored", "tag"),
    [
        ({}, "High", "yuv420p", "avc1"),
        ({"bits": 10}, "High 10", "yuv420p10le", "avc1"),
        ({"chroma": "422"}, "High 4:2:2", "yuv422p", "avc1"),
        ({"chroma": "444", "bits": 10}, "High 4:4:4 Predictive", "yuv444p10le", "avc1"),
        ({"codec": "hevc"}, "Main", "yuv420p", "hvc1"),
        ({"codec": "hevc", "bits": 10}, "Main 10", "yuv420p10le", "hvc1"),
    ],
)
def test_movies_are_stored_as_asked_for(how, profile, stored, tag, tmp_path):
    write_movie(tmp_path / "a.mp4", in_8_bits(ramp()), RATE, **how)
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.profile, codec.pix_fmt, codec.codec_tag) == (profile, stored, tag)
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
    assert clip_info(tmp_path / "a.mp4").bits == (10 if how.get("bits") == 10 else 8)


def test_colour_of_4_4_4_is_as_sharp_as_light(tmp_path):
    frames = np.zeros((COUNT, HEIGHT, 64, 3), np.uint8)
    frames[:, :, ::2] = (200, 40, 40)
    frames[:, :, 1::2] = (40, 40, 200)
    for chroma in ("420", "444"):
        write_movie(tmp_path / f"{chroma}.mp4", frames, RATE, crf=4, chroma=chroma)
    halved, whole = (read(tmp_path / f"{chroma}.mp4")[1] // 257 for chroma in ("420", "444"))
    assert np.abs(whole.astype(int) - frames[1]).mean() < 4
    assert np.abs(halved.astype(int) - frames[1]).mean() > 40


def test_alpha_of_prores_and_exr_comes_with_deep_pictures_too(tmp_path):
    masks = np.zeros((COUNT, HEIGHT, WIDTH), np.uint8)
    masks[:, 10:20] = 255
    write_prores(tmp_path / "a.mov", ramp(), RATE, alpha=Stream(iter(masks), COUNT))
    with av.open(str(tmp_path / "a.mov")) as container:
        (*_, picture) = container.decode(video=0)
    alpha = np.frombuffer(picture.planes[3], np.uint16).reshape(HEIGHT, -1)[:, :WIDTH]
    assert np.array_equal(alpha > 2000, masks[0] > 0)


def test_clips_tell_how_many_bits_they_have(tmp_path):
    write_ffv1(tmp_path / "deep.mkv", ramp(), RATE)
    write_png_frames(tmp_path / "flat", in_8_bits(ramp()))
    write_png_frames(tmp_path / "deep", ramp())
    assert clip_info(tmp_path / "deep.mkv").bits == 16
    assert clip_info(tmp_path / "flat").bits == 8
    assert clip_info(tmp_path / "deep").bits == 16
