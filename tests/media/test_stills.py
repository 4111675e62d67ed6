"""Users' images: formats, bit depths, light, transparency, gaps, steps."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import pytest

from ex4d.errors import InputError
from ex4d.media.clip import clip_info, open_source, read_clip
from ex4d.storage.names import VIDEO_ENDINGS
from ex4d.storage.sequence import Numbering

HEIGHT, WIDTH = 48, 64


def level(number: int) -> int:
    """The grey level of picture `number`."""
    return 20 + 15 * number


def pictures(folder: Path, names: list[str]) -> Path:
    """Write images whose grey level gives their place in the list."""
    folder.mkdir()
    for number, name in enumerate(names):
        cv2.imwrite(str(folder / name), np.full((HEIGHT, WIDTH, 3), level(number), np.uint8))
    return folder


def numbers(frames: np.ndarray) -> list[int]:
    return [round((float(frame.mean()) - 20) / 15) for frame in frames]


def write_exr(path: Path, channels: dict[str, np.ndarray], **header) -> None:
    about = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    with OpenEXR.File(about, channels) as file:
        file.write(str(path))


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 65536, (HEIGHT, WIDTH, 3), np.uint16)


@pytest.mark.parametrize(
    ("ending", "options"),
    [
        (".png", []),
        (".tif", []),
        (".TIFF", [cv2.IMWRITE_TIFF_COMPRESSION, 1]),
        (".tiff", [cv2.IMWRITE_TIFF_COMPRESSION, 32946]),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    ],
)
def test_8_bit_pictures_of_every_kind_come_back_value_for_value(tmp_path, noise, ending, options):
    stored = (noise >> 8).astype(np.uint8)
    (tmp_path / f"a{ending}").write_bytes(cv2.imencode(ending.lower(), stored, options)[1].tobytes())
    for path in (tmp_path, tmp_path / f"a{ending}"):
        clip = read_clip(path, frames=1)
        assert np.array_equal(clip.frames[0], stored[..., ::-1])
        assert clip.notes == ()


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_16_bit_pictures_keep_their_bits(tmp_path, noise, ending):
    cv2.imwrite(str(tmp_path / f"a{ending}"), noise)
    (frame,) = open_source(tmp_path).frames(bits=16)
    assert np.array_equal(frame, noise[..., ::-1])


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize("layer", ["", "ViewLayer.Combined."])
def test_exr_comes_in_srgb_whatever_its_layer_is_called(tmp_path, kind, layer):
    linear = np.tile(np.array([0, 0.002, 0.18, 0.5, 1, 4, np.nan, -1], kind), (HEIGHT, WIDTH // 8))
    channels = {f"{layer}{letter}": linear for letter in "RGB"}
    channels |= {
        "ViewLayer.Depth.Z": np.full_like(linear, 9),
        "Normal.R": linear,
        "Normal.G": linear,
        "Normal.B": linear,
    }
    write_exr(tmp_path / "a.0001.exr", channels)
    wanted = np.array([0, 0.002 * 12.92, 1.055 * 0.18 ** (1 / 2.4) - 0.055, 0.735357, 1, 1, 0, 0])
    clip = read_clip(tmp_path, frames=None)
    assert np.abs(clip.frames[0, 0, :8, 0] - 255 * wanted).max() < 0.6
    (deep,) = open_source(tmp_path).frames(bits=16)
    assert np.abs(deep[0, :8, 1] - 65535 * wanted).max() < (30 if kind is np.float16 else 1)
    (said,) = clip.notes
    assert "scene-linear" in said
    assert "values above 1" in said


def test_an_exr_with_other_primaries_says_that_they_were_not_followed(tmp_path):
    grey = dict.fromkeys("RGB", np.full((HEIGHT, WIDTH), 0.5, np.float32))
    for name, red, told in (("srgb", 0.64, False), ("wide", 0.713, True)):
        (tmp_path / name).mkdir()
        others = (0.33, 0.3, 0.6, 0.15, 0.06, 0.3127, 0.329)
        write_exr(tmp_path / name / "a.exr", grey, chromaticities=(red, *others))
        (said,) = read_clip(tmp_path / name, frames=1).notes
        assert ("primaries" in said) == told


def test_an_exr_is_seen_in_its_display_window(tmp_path):
    inner = np.ones((16, 32), np.float32)
    corner = np.array([0, 0], np.int32)
    write_exr(
        tmp_path / "a.exr",
        dict.fromkeys("RGB", inner),
        displayWindow=(corner, np.array([WIDTH - 1, HEIGHT - 1], np.int32)),
        dataWindow=(np.array([8, 4], np.int32), np.array([39, 19], np.int32)),
    )
    frame = read_clip(tmp_path, frames=1).frames[0, ..., 0]
    wanted = np.zeros((HEIGHT, WIDTH), np.uint8)
    wanted[4:20, 8:40] = 255
    assert np.array_equal(frame, wanted)


def test_an_exr_of_depth_alone_and_a_damaged_one_are_refused(tmp_path):
    write_exr(tmp_path / "a.exr", {"Z": np.ones((HEIGHT, WIDTH), np.float32)})
    with pytest.raises(InputError, match=r"no colour, only the channels Z: .* belongs in the depth settings"):
        read_clip(tmp_path, frames=1)
    (tmp_path / "a.exr").write_bytes(b"\x76\x2f\x31\x01 and no more")
    with pytest.raises(InputError, match=r"a\.exr cannot be read as EXR"):
        read_clip(tmp_path, frames=1)


def test_a_tiff_of_floats_is_scene_linear_too(tmp_path):
    cv2.imwrite(str(tmp_path / "a.tif"), np.full((HEIGHT, WIDTH, 3), 0.18, np.float32))
    assert read_clip(tmp_path, frames=1).frames[0, 0, 0].tolist() == [118, 118, 118]


def test_transparency_that_is_left_out_is_told_and_opaque_pictures_are_not(tmp_path):
    pixels = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    pixels[..., :3] = (10, 20, 30)
    cv2.imwrite(str(tmp_path / "1.png"), pixels)
    assert read_clip(tmp_path, frames=1).notes == ()
    pixels[5, 5, 3] = 0
    cv2.imwrite(str(tmp_path / "2.png"), pixels)
    clip = read_clip(tmp_path, frames=2)
    assert (clip.frames == (30, 20, 10)).all()
    (said,) = clip.notes
    assert said == f"The transparency of {tmp_path.name} was left out: its colours were used as they are."
    assert read_clip(tmp_path, frames=1).notes == (), "only the frames that are used count"


def test_the_transparency_of_a_video_is_told(tmp_path):
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("qtrle", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "argb"
        frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 4), 100, np.uint8), format="argb")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "The transparency of a.mov was left out" in read_clip(tmp_path / "a.mov", frames=1).notes[0]


def test_missing_pictures_are_held_or_left_out(tmp_path):
    present = [1001, 1002, 1003, 1007, 1008]
    folder = pictures(tmp_path / "shot", [f"shot.{n}.png" for n in present])
    held = read_clip(folder, frames=None)
    assert numbers(held.frames) == [0, 1, 2, 2, 2, 2, 3, 4]
    assert (held.source_frames, held.stored_pictures) == (8, 5)
    assert held.stored.tolist() == [0, 1, 2, 2, 2, 2, 3, 4]
    assert "Missing from shot.####.png: 1004 to 1006." in held.notes[0]
    left = read_clip(folder, frames=None, gaps="leave")
    assert numbers(left.frames) == [0, 1, 2, 3, 4]
    assert numbers(read_clip(folder, start=4, frames=3).frames) == [2, 2, 3]


def test_every_second_frame_plays_as_fast_as_before(tmp_path):
    folder = pictures(tmp_path / "a", [f"{n}.png" for n in range(10)])
    clip = read_clip(folder, start=1, frames=4, step=2, fps=Fraction(24000, 1001))
    assert numbers(clip.frames) == clip.numbers.tolist() == clip.stored.tolist() == [1, 3, 5, 7]
    assert (clip.fps, clip.start, clip.step, clip.source_frames) == (Fraction(12000, 1001), 1, 2, 10)
    assert numbers(read_clip(folder, start=1, frames=None, step=3).frames) == [1, 4, 7]
    with pytest.raises(
        InputError, match=r"fewer than the 6 asked for from frame 0 \(.*\) in steps of 2: ask for at most 5"
    ):
        read_clip(folder, frames=6, step=2)


def test_steps_in_a_video_are_exact(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(14):
            grey = np.full((HEIGHT, WIDTH, 3), level(number), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    clip = read_clip(tmp_path / "a.mp4", start=2, frames=4, step=3)
    assert numbers(clip.frames) == [2, 5, 8, 11]
    assert (clip.fps, clip.source_frames) == (8, 14)


def test_a_part_of_a_sequence_is_read_as_in_the_whole(tmp_path):
    whole = pictures(tmp_path / "whole", [f"{n}.png" for n in (1, 2, 3, 6, 7, 8)])
    numbering = Numbering(((1, 3), (6, 8)))
    wanted = read_clip(whole, start=1, frames=4)
    part = tmp_path / "part"
    part.mkdir()
    for name in ("2.png", "3.png"):
        (part / name).write_bytes((whole / name).read_bytes())
    got = read_clip(part, start=1, frames=4, numbering=numbering)
    assert np.array_equal(got.frames, wanted.frames)
    assert numbers(got.frames) == [1, 2, 2, 2]
    assert (got.source_frames, got.stored_pictures) == (wanted.source_frames, 6) == (8, 6)
    with pytest.raises(InputError, match="open the clip again"):
        read_clip(part, start=0, frames=6, numbering=numbering)
    (part / "2.png").unlink()
    (part / "8.png").write_bytes((whole / "8.png").read_bytes())
    stepped = read_clip(part, start=2, frames=2, step=5, numbering=numbering)
    assert np.array_equal(stepped.frames, read_clip(whole, start=2, frames=2, step=5).frames)
    assert numbers(stepped.frames) == [2, 5]


def test_a_moving_png_is_a_video_and_not_a_sequence(tmp_path):
    with av.open(str(tmp_path / "a.png"), "w", format="apng") as container:
        stream = container.add_stream("apng", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "rgb24"
        for number in range(3):
            grey = np.full((HEIGHT, WIDTH, 3), level(number), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    assert numbers(read_clip(tmp_path / "a.png", frames=None).frames) == [0, 1, 2]


MUXERS = {
    (".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".avi", ".flv", ".ts", ".mts", ".m2ts"): (None, "libx264"),
    (".webm",): (None, "libvpx"),
    (".ivf",): ("ivf", "libvpx"),
    (".mpg", ".mpeg", ".vob", ".mxf"): (None, "mpeg2video"),
    (".m2v",): ("mpeg2video", "mpeg2video"),
    (".wmv", ".asf"): ("asf", "wmv2"),
    (".ogv", ".ogg"): ("ogg", "libvpx"),
    (".gif",): ("gif", "gif"),
    (".apng",): ("apng", "apng"),
    (".y4m",): ("yuv4mpegpipe", "wrapped_avframe"),
    (".h264", ".264", ".avc"): ("h264", "libx264"),
    (".hevc", ".h265", ".265"): ("hevc", "libx265"),
    ("",): ("mp4", "libx264"),
}
"""How a file with each extension is written: format, codec. Not .dv, which only supports television sizes."""


def test_the_kinds_below_are_those_that_are_listed():
    assert {ending for endings in MUXERS for ending in endings} == {*VIDEO_ENDINGS, ""} - {".dv"}


@pytest.mark.parametrize(
    ("ending", "muxer", "codec"), [(ending, *how) for endings, how in MUXERS.items() for ending in endings]
)
def test_every_kind_of_video_that_is_listed_opens_in_full(tmp_path, ending, muxer, codec):
    path = tmp_path / f"clip{ending}"
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height = WIDTH, HEIGHT
        stream.pix_fmt = {"gif": "gray", "apng": "rgb24"}.get(codec, "yuv420p")
        for number in range(12):
            grey = np.full((HEIGHT, WIDTH, 3), level(number), np.uint8)
            picture = av.VideoFrame.from_ndarray(grey, format="rgb24").reformat(format=stream.pix_fmt)
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    assert clip_info(path).frames == 12
    assert numbers(read_clip(path, frames=None).frames) == list(range(12))
