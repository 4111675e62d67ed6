"""Packed depth: how exact it is, that its format is stable, and how it handles damage."""

import tracemalloc
import zlib

import numpy as np
import pytest

from ex4d.geometry.packed_depth import pack, relative_error, unpack


def values(rng, shape=(40, 60)):
    """Distances from a tenth of a nanometre to farther than the sun, in one frame."""
    return np.exp(rng.uniform(np.log(1e-10), np.log(1e12), shape)).astype(np.float32)


def test_no_value_is_off_by_more_than_the_error_that_is_stated():
    frame = values(np.random.default_rng(0))
    found = np.abs(unpack(pack(frame), frame.shape).astype(np.float64) / frame - 1).max()
    assert 0.9 * relative_error() < found <= relative_error() == 2**-15


@pytest.mark.parametrize("bits", [8, 13, 14])
def test_fewer_bits_have_a_larger_error_and_no_other(bits):
    frame = values(np.random.default_rng(1))
    found = np.abs(unpack(pack(frame, bits), frame.shape, bits).astype(np.float64) / frame - 1).max()
    assert 0.9 * relative_error(bits) < found <= relative_error(bits)


def test_what_was_packed_once_is_packed_again_without_a_change():
    frame = values(np.random.default_rng(2))
    once = unpack(pack(frame), frame.shape)
    assert np.array_equal(unpack(pack(once), frame.shape), once)


def test_depth_in_half_precision_comes_back_to_the_bit():
    frame = np.random.default_rng(3).uniform(0.1, 300, (30, 50)).astype(np.float16).astype(np.float32)
    assert np.array_equal(unpack(pack(frame), frame.shape), frame)


def test_the_largest_and_the_smallest_floats_stay_distances():
    limits = np.finfo(np.float32)
    frame = np.array([[limits.max, limits.tiny, limits.smallest_subnormal, 1]], np.float32)
    found = unpack(pack(frame), frame.shape)
    assert np.isfinite(found).all()
    assert (found > 0).all()
    assert found[0, [0, 1, 3]] == pytest.approx(frame[0, [0, 1, 3]], rel=2 * relative_error())


def test_a_smooth_picture_takes_a_fifth_of_float32_and_a_flat_one_next_to_nothing():
    y, x = np.mgrid[:288, :512].astype(np.float32)
    noise = np.random.default_rng(4).normal(0, 1e-4, x.shape).astype(np.float32)
    smooth = (5 + np.sin(x / 40) + y / 100) * (1 + noise)
    assert len(pack(smooth)) < smooth.nbytes / 3
    assert len(pack(5 + np.sin(x / 40) + y / 100)) < smooth.nbytes / 5
    assert len(pack(np.full_like(x, 7))) < smooth.nbytes / 500


def test_damage_is_found_and_nothing_larger_than_the_frame_is_unpacked():
    frame = values(np.random.default_rng(5))
    good = pack(frame)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for bad in (good[:-1], good + b"x", bytes(flipped), b"", good[:4]):
        with pytest.raises((ValueError, zlib.error)):
            unpack(bad, frame.shape)
    for shape in ((40, 59), (41, 60), (400_000, 600_000)):
        with pytest.raises(ValueError, match="packed depth"):
            unpack(good, shape)
    bomb = zlib.compress(bytes(1 << 28), 9)
    tracemalloc.start()
    with pytest.raises(ValueError, match="packed depth"):
        unpack(bomb, frame.shape)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_every_machine_unpacks_the_same_bits():
    """These bytes were written once, and files with such bytes must always mean these floats."""
    planes = [*(0, 2, 1, 0), *(0x80, 0, 0, 0), *(0x3F, 0, 0, 0)]
    expected = [[1, 1 + 2**-14], [1 - 2**-15, 1]]
    assert unpack(zlib.compress(bytes(planes)), (2, 2)).tolist() == expected
    assert zlib.decompress(pack(np.array(expected, np.float32))) == bytes(planes)
