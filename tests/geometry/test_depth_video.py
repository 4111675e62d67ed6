"""The project's own depth file: all of it, and ranges of its frames."""

import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthVideo, load_depth_npz, open_depth, save_depth
from ex4d.geometry.intrinsics import from_focal

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


def test_files_of_version_0_1_are_read(tmp_path, depth):
    np.savez(
        tmp_path / "d.npz",
        **{"depth": depth.depth, "intrinsics": depth.intrinsics, "provider": np.array("plane")},
        **{"notes": np.array(["a note"]), "repaired": np.array(0.25)},
    )
    loaded = load_depth_npz(tmp_path / "d.npz")
    assert (loaded.provider, loaded.notes, loaded.repaired, loaded.is_guess) == ("plane", ("a note",), 0.25, False)
