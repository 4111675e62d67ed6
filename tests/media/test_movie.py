"""Writing videos and image sequences: what goes in comes out, or nothing is left behind."""

import gc
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.media.clip import clip_info
from ex4d.media.movie import METADATA_KEYS, read_movie, write_movie, write_png_frames
from ex4d.storage.atomic import replacing

COLOURS = np.array(
    [
        [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255],
        [255, 255, 255], [0, 0, 0], [128, 128, 128], [37, 90, 200],
    ],
    np.uint8,
)  # fmt: skip


def smooth(count: int = 12, height: int = 96, width: int = 128) -> np.ndarray:
    """Soft moving waves of colour, within what BT.709 can store."""
    t, y, x = np.meshgrid(
        np.arange(count), np.linspace(0, 3, height), np.linspace(0, 4, width), indexing="ij", copy=False
    )
    waves = np.stack([np.sin(x + 0.1 * t), np.sin(y - 0.1 * t + 1), np.cos(x + y)], axis=-1)
    return (128 + 90 * waves).astype(np.uint8)


def masks(count: int = 12, height: int = 96, width: int = 128) -> np.ndarray:
    """Random specks and a moving block, the hardest content for a lossy codec."""
    mask = np.random.default_rng(0).integers(0, 2, (count, height, width)).astype(np.uint8) * 255
    for n in range(count):
        mask[n, 10:40, 3 * n : 3 * n + 50] = 255
    return mask


def test_colours_of_soft_pictures_survive_within_three_levels(tmp_path):
    frames = smooth()
    write_movie(tmp_path / "a.mp4", frames, Fraction(24))
    error = np.abs(read_movie(tmp_path / "a.mp4").frames.astype(int) - frames)
    assert error.mean() < 1.5
    assert np.percentile(error, 95) <= 3


def test_primary_colours_survive_within_three_levels(tmp_path):
    frame = np.repeat(COLOURS, 32, axis=0)[None].repeat(64, axis=0)
    write_movie(tmp_path / "a.mp4", np.stack([frame] * 3), Fraction(24))
    got = read_movie(tmp_path / "a.mp4").frames[:, 32, 16::32].astype(int)
    assert np.abs(got - COLOURS).max() <= 3


def test_the_file_is_what_browsers_and_blender_play(tmp_path):
    write_movie(tmp_path / "a.mp4", smooth(), Fraction(24))
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
        assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (1, 1, 1, 1)
    data = (tmp_path / "a.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "plays while it loads"


@pytest.mark.parametrize(
    "fps", [Fraction(24), Fraction(30000, 1001), Fraction(24000, 1001), Fraction(25, 2), Fraction(120)]
)
@pytest.mark.parametrize("count", [1, 2, 30])
def test_the_rate_is_kept_exactly(tmp_path, fps, count):
    write_movie(tmp_path / "a.mp4", smooth(count, 32, 32), fps)
    info = clip_info(tmp_path / "a.mp4")
    assert (info.fps, info.frames, info.variable) == (fps, count, False)


def test_a_lossless_mask_comes_back_bit_for_bit(tmp_path):
    frames = masks()
    write_movie(tmp_path / "a.mp4", frames, Fraction(24), lossless=True)
    assert np.array_equal(read_movie(tmp_path / "a.mp4").frames, frames[..., None].repeat(3, axis=3))


def test_a_lossless_mask_shows_right_even_where_its_range_is_ignored(tmp_path):
    frames = masks()
    write_movie(tmp_path / "a.mp4", frames, Fraction(24), lossless=True)
    with av.open(str(tmp_path / "a.mp4")) as container:
        for picture, mask in zip(container.decode(video=0), frames, strict=True):
            rgb = picture.reformat(format="rgb24", src_color_range=1, dst_color_range=2).to_ndarray()
            assert np.array_equal(rgb[..., 1], mask)


def test_every_grey_level_survives_lossless(tmp_path):
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, 64))
    write_movie(tmp_path / "a.mp4", ramp[None], Fraction(24), lossless=True)
    assert np.array_equal(read_movie(tmp_path / "a.mp4").frames[0, ..., 1], ramp)


def test_a_lossy_mask_is_still_right_at_a_threshold(tmp_path):
    frames = np.zeros((5, 64, 64), np.uint8)
    frames[:, 20:40, 10:50] = 255
    write_movie(tmp_path / "a.mp4", frames, Fraction(24))
    assert np.array_equal(read_movie(tmp_path / "a.mp4").frames[..., 0] > 127, frames > 127)


def test_texts_are_written_and_read(tmp_path):
    texts = {key: f"{key} · Übung" for key in METADATA_KEYS} | {"comment": '{"seed": 1, "generator": "preview"}'}
    write_movie(tmp_path / "a.mp4", smooth(2), Fraction(24), metadata=texts)
    assert texts.items() <= clip_info(tmp_path / "a.mp4").metadata.items()
    with pytest.raises(ValueError, match="seed"):
        write_movie(tmp_path / "b.mp4", smooth(2), Fraction(24), metadata={"seed": "1"})


@pytest.mark.parametrize(("shape", "words"), [((3, 33, 32, 3), "32x33"), ((0, 32, 32, 3), "no frames")])
def test_frames_that_cannot_be_a_video_are_refused(tmp_path, shape, words):
    with pytest.raises(InputError, match=words):
        write_movie(tmp_path / "a.mp4", np.zeros(shape, np.uint8), Fraction(24))
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match="its folder does not exist"):
        write_movie(tmp_path / "none" / "a.mp4", smooth(2), Fraction(24))


FILL = """
import resource, signal, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from ex4d.errors import InputError
from ex4d.media.movie import write_movie, write_png_frames
folder, limit, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
frames = np.random.default_rng(0).integers(0, 255, (10, 64, 64, 3)).astype(np.uint8)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if kind == "movie":
        write_movie(folder / "a.mp4", frames, Fraction(24))
    else:
        write_png_frames(folder / "a", frames)
except InputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
@pytest.mark.parametrize(("kind", "limit"), [("movie", 0), ("movie", 4096), ("movie", 30000), ("png", 4096)])
def test_no_room_for_the_file_is_one_sentence_and_leaves_nothing(tmp_path, kind, limit):
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(tmp_path), str(limit), kind],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot be written because it would be larger than" in done.stdout, done
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # fails if a file on it is still open


def test_a_full_disk_is_one_sentence_and_leaves_the_older_file(tiny_disk):
    frames = np.random.default_rng(0).integers(0, 255, (10, 64, 64, 3)).astype(np.uint8)
    path = tiny_disk / "a.mp4"
    write_movie(path, smooth(2, 64, 64), Fraction(24))
    older = path.read_bytes()
    room = os.statvfs(tiny_disk)
    for left in (0, 8192, 32768):  # the last is enough for the pictures, but not for the end of the file
        filler = tiny_disk / "filler"
        filler.write_bytes(bytes(room.f_bavail * room.f_frsize - left))
        with pytest.raises(InputError, match="disk is full: free some space"):
            write_movie(path, frames, Fraction(24))
        with pytest.raises(InputError, match="disk is full"):
            write_png_frames(tiny_disk / "p", frames)
        assert sorted(f.name for f in tiny_disk.iterdir()) == ["a.mp4", "filler"]
        assert path.read_bytes() == older
        filler.unlink()
    gc.collect()  # Python 3.13 warns if a file in memory ends before a view of it does


def test_a_picture_sequence_comes_back_exactly_and_may_be_written_again(tmp_path):
    rng = np.random.default_rng(0)
    for count in (12, 3):
        frames = rng.integers(0, 255, (count, 33, 41, 3)).astype(np.uint8)
        write_png_frames(tmp_path / "p", frames)
        files = sorted((tmp_path / "p").iterdir())
        assert [f.name for f in files] == [f"frame_{n:05d}.png" for n in range(count)]
        assert all(np.array_equal(cv2.imread(str(f))[..., ::-1], frame) for f, frame in zip(files, frames, strict=True))
    assert [f.name for f in tmp_path.iterdir()] == ["p"]
    write_png_frames(tmp_path / "m", masks(2))
    assert cv2.imread(str(tmp_path / "m" / "frame_00001.png"), cv2.IMREAD_UNCHANGED).ndim == 2


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"holds other files \(holiday\.jpg\)"):
        write_png_frames(tmp_path, masks(2))
    with pytest.raises(InputError, match="is a file"):
        write_png_frames(tmp_path / "holiday.jpg", masks(2))
    assert (tmp_path / "holiday.jpg").read_bytes() == b"precious"


def test_an_error_while_writing_leaves_the_older_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("older")

    def write_half(to: Path) -> None:
        to.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        write_half(temporary)
    assert [f.name for f in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "older"
