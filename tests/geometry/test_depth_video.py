"""The project's own depth file: all of it, and ranges of its frames."""

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthVideo, load_depth_npz, open_depth, save_depth
from ex4d.geometry.intrinsics import from_focal
from ex4d.geometry.packed_depth import pack

FRAMES, HEIGHT, WIDTH = 12, 24, 32


@pytest.fixture
def depth():
    values = np.arange(1, FRAMES * HEIGHT * WIDTH + 1, dtype=np.float32).reshape(FRAMES, HEIGHT, WIDTH)
    return DepthVideo(values, from_focal(30, WIDTH, HEIGHT), "test", ("a note",), 0.25, is_guess=True)


def test_everything_comes_back_as_it_was_saved(tmp_path, depth):
    save_depth(tmp_path / "d.npz", depth)
    loaded = load_depth_npz(tmp_path / "d.npz")
    assert np.array_equal(loaded.depth, depth.depth)
    assert np.array_equal(loaded.intrinsics, depth.intrinsics)
    assert (loaded.provider, loaded.notes, loaded.repaired, loaded.is_guess) == ("test", ("a note",), 0.25, True)


@pytest.mark.parametrize("compressed", [False, True])
def test_ranges_are_the_same_frames_as_in_the_whole(tmp_path, depth, compressed):
    save_depth(tmp_path / "d.npz", depth)
    if compressed:
        with np.load(tmp_path / "d.npz") as stored:
            np.savez_compressed(tmp_path / "d.npz", **stored)
    with open_depth(tmp_path / "d.npz") as file:
        assert file.shape == (FRAMES, HEIGHT, WIDTH)
        assert file.intrinsics.shape == (FRAMES, 3, 3)
        assert (file.provider, file.notes, file.repaired, file.is_guess) == ("test", ("a note",), 0.25, True)
        for start, stop in [(0, FRAMES), (0, 3), (3, 4), (5, FRAMES), (4, 4)]:
            assert np.array_equal(file.frames(start, stop), depth.depth[start:stop])
        with pytest.raises(InputError, match="has 12 frames of depth, not 11 to 13"):
            file.frames(11, 13)


def test_a_range_reads_no_other_frame(tmp_path, depth):
    path = tmp_path / "d.npz"
    save_depth(path, depth)
    data = bytearray(path.read_bytes())
    place = data.index(depth.depth[1].tobytes())
    data[place : place + 4] = np.float32(np.nan).tobytes()
    path.write_bytes(data)
    with open_depth(path) as file:
        assert np.array_equal(file.frames(2, 5), depth.depth[2:5])
        with pytest.raises(InputError, match=r"which frame 1 \(from 0\) is not"):
            file.frames(1, 2)
    with pytest.raises(InputError):
        load_depth_npz(path)


def test_damage_that_gives_other_distances_is_found_where_the_whole_is_read(tmp_path, depth):
    path = tmp_path / "d.npz"
    save_depth(path, depth)
    data = bytearray(path.read_bytes())
    place = data.index(depth.depth[1].tobytes())
    data[place : place + 4] = np.float32(5).tobytes()
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        load_depth_npz(path)


def test_what_is_no_depth_is_refused(tmp_path, depth):
    save_depth(tmp_path / "d.npz", depth)
    with np.load(tmp_path / "d.npz") as stored:
        arrays = dict(stored)
    np.savez(tmp_path / "e.npz", **(arrays | {"depth": arrays["depth"].astype(np.float64)}))
    with pytest.raises(InputError, match="must be float32"), open_depth(tmp_path / "e.npz"):
        pass
    del arrays["provider"]
    np.savez(tmp_path / "e.npz", **arrays)
    with pytest.raises(InputError, match="has no 'provider'"), open_depth(tmp_path / "e.npz"):
        pass


@pytest.fixture
def roots(depth):
    """Depth that no short mantissa can hold exactly, and that compresses badly."""
    return replace(depth, depth=np.sqrt(np.random.default_rng(0).permuted(depth.depth)))


@pytest.fixture
def packed(tmp_path, roots):
    save_depth(tmp_path / "packed.npz", roots, packed=True)
    return tmp_path / "packed.npz"


def test_a_packed_file_says_how_exact_it_is_and_keeps_to_that(packed, roots):
    with np.load(packed) as stored:
        stated = float(stored["relative_error"])
        assert "depth" not in stored
    assert stated < 1e-4
    loaded = load_depth_npz(packed)
    assert 0 < np.abs(loaded.depth / roots.depth.astype(np.float64) - 1).max() <= stated
    assert np.array_equal(loaded.intrinsics, roots.intrinsics)
    assert (loaded.provider, loaded.notes, loaded.repaired, loaded.is_guess) == ("test", ("a note",), 0.25, True)
    save_depth(packed.with_name("again.npz"), loaded, packed=True)
    assert packed.with_name("again.npz").read_bytes() == packed.read_bytes()


def test_the_lines_of_the_page_of_formats_unpack_it(packed, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    lines = page.partition("**Packed depth**")[2].partition("| array |")[0].splitlines()
    code = "\n".join(line.removeprefix("    ") for line in lines if line.startswith("    "))
    packed.rename(packed.with_name("depth.npz"))
    monkeypatch.chdir(packed.parent)
    found = {}
    exec(code, found)
    assert np.array_equal(found["depth"], load_depth_npz(packed.with_name("depth.npz")).depth)


def test_ranges_of_a_packed_file_are_the_same_frames_as_in_the_whole(packed):
    whole = load_depth_npz(packed).depth
    with open_depth(packed) as file:
        assert file.shape == (FRAMES, HEIGHT, WIDTH)
        for start, stop in [(0, FRAMES), (0, 3), (3, 4), (5, FRAMES), (4, 4)]:
            assert np.array_equal(file.frames(start, stop), whole[start:stop])
        for start, stop in [(11, 13), (-1, 2), (3, 2)]:
            with pytest.raises(InputError, match="has 12 frames of depth"):
                file.frames(start, stop)


def test_of_a_packed_file_a_damaged_frame_is_found_and_all_others_are_read(packed, roots):
    whole, data = load_depth_npz(packed).depth, bytearray(packed.read_bytes())
    place = data.index(pack(roots.depth[4]))
    data[place + 20] ^= 1
    packed.write_bytes(data)
    with open_depth(packed) as file:
        assert np.array_equal(file.frames(1, 4), whole[1:4])
        assert np.array_equal(file.frames(5, FRAMES), whole[5:])
        with pytest.raises(InputError, match=r"packed.npz cannot be read .* it is damaged"):
            file.frames(4, 5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"packed_ends": np.array([5, 3])},
        {"packed_ends": np.array([], np.int64)},
        {"packed_ends": np.array([-4] * 12)},
        {"packed_ends": np.array([1 << 60] * 12)},
        {"packed_ends": np.array(["a"] * 12)},
        {"packed_size": np.array([1 << 40, 1 << 40])},
        {"packed_size": np.array([0, 32])},
        {"packed_size": np.array([24, 32, 1])},
        {"packed_size": np.array(24)},
        {"mantissa_bits": np.array(0)},
        {"mantissa_bits": np.array(99)},
        {"packed_depth": np.zeros((3, 3), np.uint8)},
        {"packed_depth": np.zeros(30, np.float64)},
    ],
    ids=str,
)
def test_packed_files_that_lie_are_refused_before_anything_is_allocated(packed, wrong):
    with np.load(packed) as stored:
        arrays = dict(stored)
    np.savez(packed, **(arrays | wrong))
    with pytest.raises(InputError, match="damaged"), open_depth(packed) as file:
        file.frames(0, 1)
    del arrays["packed_ends"]
    np.savez(packed, **arrays)
    with pytest.raises(InputError, match="lacks its packed_ends"), open_depth(packed):
        pass


def test_what_is_packed_and_no_distance_is_refused(packed):
    with np.load(packed) as stored:
        arrays = dict(stored)
    zeros = zlib.compress(bytes(3 * HEIGHT * WIDTH))
    ends = len(zeros) * np.arange(1, FRAMES + 1)
    lies = {"packed_depth": np.frombuffer(FRAMES * zeros, np.uint8), "packed_ends": ends}
    np.savez(packed, **(arrays | lies))
    with pytest.raises(InputError, match="must be finite and above 0"):
        load_depth_npz(packed)


def test_files_of_version_0_1_are_read(tmp_path, depth):
    np.savez(
        tmp_path / "d.npz",
        **{"depth": depth.depth, "intrinsics": depth.intrinsics, "provider": np.array("plane")},
        **{"notes": np.array(["a note"]), "repaired": np.array(0.25)},
    )
    loaded = load_depth_npz(tmp_path / "d.npz")
    assert (loaded.provider, loaded.notes, loaded.repaired, loaded.is_guess) == ("plane", ("a note",), 0.25, False)
