"""Results for grading and compositing, read back and compared by value."""

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import OpenEXR
import pytest
from test_movie import masks, smooth

from ex4d.errors import InputError
from ex4d.media.clip import clip_info, read_clip
from ex4d.media.mastering import MASK_CHANNEL, linear, write_exr_frames, write_ffv1, write_prores
from ex4d.media.movie import METADATA_KEYS, read_movie, write_movie, write_png_frames
from ex4d.media.still import srgb

RATE = Fraction(24000, 1001)


def noise(count=4, height=48, width=66):
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3)).astype(np.uint8)


def plane(picture, number):
    """A plane of 16-bit values as (h,w)."""
    held = picture.planes[number]
    return np.frombuffer(held, np.uint16).reshape(held.height, -1)[:, : held.width]


def test_prores_has_the_mask_as_alpha_exactly_and_soft_colour_within_a_level(tmp_path):
    frames, alpha = smooth(), masks()
    write_prores(tmp_path / "a.mov", frames, RATE, alpha=alpha)
    with av.open(str(tmp_path / "a.mov")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.name, codec.codec_tag, codec.profile) == ("prores", "ap4h", "4444")
        assert (codec.colorspace, codec.color_primaries, codec.color_trc) == (1, 1, 1)
        found = [plane(picture, 3).astype(float) for picture in container.decode(video=0)]
    assert np.array_equal(np.stack(found) / 4095, alpha / 255)
    error = np.abs(read_movie(tmp_path / "a.mov").frames.astype(int) - frames)
    assert error.max() <= 1
    assert clip_info(tmp_path / "a.mov").fps == RATE


def test_every_level_of_alpha_survives_prores_to_half_a_level(tmp_path):
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8), (1, 64, 256))
    write_prores(tmp_path / "a.mov", np.full((1, 64, 256, 3), 90, np.uint8), RATE, alpha=ramp)
    with av.open(str(tmp_path / "a.mov")) as container:
        found = plane(next(container.decode(video=0)), 3)
    assert np.array_equal(np.rint(found / 4095 * 255), ramp[0])


def test_prores_without_a_mask_is_opaque(tmp_path):
    write_prores(tmp_path / "a.mov", smooth(3), RATE)
    clip = read_movie(tmp_path / "a.mov")
    assert clip.notes == ()
    assert np.abs(clip.frames.astype(int) - smooth(3)).max() <= 1


def test_ffv1_comes_back_bit_for_bit(tmp_path):
    frames = noise()
    write_ffv1(tmp_path / "a.mkv", frames, RATE)
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert container.streams.video[0].codec_context.name == "ffv1"
    assert np.array_equal(read_movie(tmp_path / "a.mkv").frames, frames)
    info = clip_info(tmp_path / "a.mkv")
    assert (info.fps, info.frames) == (RATE, len(frames))


def test_exr_pictures_are_linear_halves_with_the_mask_as_a_layer_and_come_back_exactly(tmp_path):
    frames, mask = noise(), masks(4, 48, 66)
    write_exr_frames(tmp_path / "a", frames, mask=mask, metadata={"title": "A preview", "comment": "Übung"})
    files = sorted((tmp_path / "a").iterdir())
    assert [file.name for file in files] == [f"frame_{n:05d}.exr" for n in range(4)]
    for file, frame, real in zip(files, frames, mask, strict=True):
        with OpenEXR.File(str(file), separate_channels=True) as picture:
            channels = {name: held.pixels for name, held in picture.channels().items()}
            assert (picture.header()["title"], picture.header()["comments"]) == ("A preview", "Übung")
        assert {held.dtype for held in channels.values()} == {np.dtype(np.float16)}
        assert set(channels) == {"R", "G", "B", MASK_CHANNEL}
        assert np.array_equal(channels[MASK_CHANNEL], real / 255)
        colour = np.dstack([channels[letter] for letter in "RGB"])
        assert np.array_equal(np.rint(255 * srgb(colour)), frame)
    # Read as a clip, it is the same except for how FFmpeg rounds 16 bits to 8.
    assert np.abs(read_clip(tmp_path / "a", frames=None, multiple=1).frames.astype(int) - frames).max() <= 1
    # Middle grey is where light meters put it.
    assert linear(np.array([0, 118 / 255, 1.0])) == pytest.approx([0, 0.181, 1], abs=1e-3)


def test_a_folder_of_frames_gives_way_to_one_of_the_other_kind_and_no_other_folder_does(tmp_path):
    write_png_frames(tmp_path / "a", smooth(3))
    write_exr_frames(tmp_path / "a", smooth(2))
    assert [file.name for file in sorted((tmp_path / "a").iterdir())] == ["frame_00000.exr", "frame_00001.exr"]
    (tmp_path / "a" / "holiday.jpg").write_bytes(b"precious")
    with pytest.raises(InputError, match=r"holds other files \(holiday\.jpg\)"):
        write_exr_frames(tmp_path / "a", smooth(2))


@pytest.mark.parametrize(("write", "ending"), [(write_prores, "mov"), (write_ffv1, "mkv")])
def test_texts_are_carried_and_the_same_frames_give_the_same_bytes(tmp_path, write, ending):
    texts = {key: f"{key} · Übung" for key in METADATA_KEYS}
    for name in ("a", "b"):
        write(tmp_path / f"{name}.{ending}", smooth(3), RATE, metadata=texts)
    found = {key.lower(): text for key, text in clip_info(tmp_path / f"a.{ending}").metadata.items()}
    assert {"title", "comment"} <= {key for key in texts if found.get(key) == texts[key]}
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()
    with pytest.raises(ValueError, match="seed"):
        write(tmp_path / f"c.{ending}", smooth(2), RATE, metadata={"seed": "1"})
    with pytest.raises(InputError, match="no frames"):
        write(tmp_path / f"c.{ending}", smooth(2)[:0], RATE)
    with pytest.raises(InputError, match="its folder does not exist"):
        write(tmp_path / "none" / f"a.{ending}", smooth(2), RATE)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{ending}", f"b.{ending}"]


def test_a_lower_rate_factor_is_a_better_and_larger_file(tmp_path):
    frames = noise(6, 96, 128) // 4 + smooth(6) // 2
    sizes, errors = [], []
    for crf in (4, 12, 30):
        write_movie(tmp_path / "a.mp4", frames, Fraction(24), crf=crf)
        sizes.append((tmp_path / "a.mp4").stat().st_size)
        errors.append(np.abs(read_movie(tmp_path / "a.mp4").frames.astype(int) - frames).mean())
    assert sizes == sorted(sizes, reverse=True)
    assert errors == sorted(errors)
    assert errors[0] < errors[2] - 1


FILL = """
import resource, signal, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from ex4d.errors import InputError
from ex4d.media import mastering
folder, limit, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
frames = np.random.default_rng(0).integers(0, 255, (10, 64, 64, 3)).astype(np.uint8)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    if kind == "exr":
        mastering.write_exr_frames(folder / "a", frames)
    else:
        getattr(mastering, f"write_{kind}")(folder / f"a.{kind}", frames, Fraction(24))
except InputError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as POSIX does")
@pytest.mark.parametrize("kind", ["prores", "ffv1", "exr"])
@pytest.mark.parametrize("limit", [0, 4096])
def test_no_room_is_one_sentence_and_leaves_nothing(tmp_path, kind, limit):
    command = [sys.executable, "-c", FILL, str(tmp_path), str(limit), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot be written because it would be larger than" in done.stdout, done
    assert list(tmp_path.iterdir()) == []
