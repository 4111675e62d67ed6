import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from ex4d.generate.runtime import windows
from ex4d.generate.runtime.windows import OVERLAP, join

LENGTH, STRIDE = 49, 4
"""Number of frames that a model makes at once, and frames per latent frame."""

SHOTS = (1, 2, 5, 48, 49, 50, 57, 88, 89, 90, 129, 130, 200, 1000)


def plan(frames, length=LENGTH, overlap=OVERLAP, stride=STRIDE):
    return windows.plan(frames, length, stride, overlap)


def pictures(frames, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (frames, 4, 6, 3), dtype=np.uint8)


def joined(frames, made, **sizes):
    """A shot assembled as the generator does it, from windows made by `made(number, window)`."""
    result, done = np.full((frames, 4, 6, 3), 77, np.uint8), 0
    for number, window in enumerate(plan(frames, **sizes)):
        join(result, window, made(number, window), done)
        done = window.stop
    return result


@pytest.mark.parametrize("frames", SHOTS)
def test_every_frame_is_in_a_window_and_no_window_goes_beyond(frames):
    assert sorted(set().union(*plan(frames))) == list(range(frames))


@pytest.mark.parametrize("frames", [frames for frames in SHOTS if frames <= LENGTH])
def test_a_shot_that_fits_is_one_window_of_its_own_length(frames):
    assert plan(frames) == (range(frames),)


def test_windows_of_longer_shots_have_one_length_that_the_model_takes_and_no_more_than_needed():
    for frames in range(LENGTH + 1, 400):
        parts = plan(frames)
        (length,) = {len(window) for window in parts}
        assert length % 4 == 1
        assert length <= LENGTH
        assert (length - 4) * len(parts) - OVERLAP * (len(parts) - 1) < frames  # four less would not do
    assert [len(window) for window in plan(50)] == [33, 33]


@pytest.mark.parametrize(("length", "overlap"), [(LENGTH, OVERLAP), (9, 3), (9, 4), (5, 1), (17, 16)])
def test_each_window_begins_later_than_the_one_before_and_shares_enough_with_it(length, overlap):
    for frames in range(length + 1, 8 * length):
        parts = plan(frames, length, overlap)
        for one, two in pairwise(parts):
            assert one.start < two.start <= one.stop - overlap, frames
        assert (parts[0].start, parts[-1].stop) == (0, frames)


@pytest.mark.parametrize(("length", "stride"), [(81, 4), (121, 8), (20, 1)])
def test_lengths_suit_models_of_other_strides(length, stride):
    for frames in range(length + 1, 5 * length):
        parts = plan(frames, length, OVERLAP, stride)
        (each,) = {len(window) for window in parts}
        assert each <= length
        assert each == length or each % stride == 1 % stride


@pytest.mark.parametrize(("frames", "count"), [(49, 1), (50, 2), (89, 2), (90, 3), (129, 3), (130, 4), (200, 5)])
def test_there_are_as_many_windows_as_needed(frames, count):
    assert len(plan(frames)) == count


def test_there_are_never_more_windows_than_needed():
    for frames in range(LENGTH + 1, 1000):
        count = len(plan(frames))
        with_one_less = LENGTH + (count - 2) * (LENGTH - OVERLAP)
        assert with_one_less < frames, frames


def test_what_is_shared_is_spread_evenly():
    for frames in range(LENGTH + 1, 400):
        starts = [window.start for window in plan(frames)]
        steps = np.diff(starts)
        assert steps.max() - steps.min() <= 1, frames


@pytest.mark.parametrize("frames", SHOTS)
def test_windows_that_agree_are_joined_without_a_trace(frames):
    truth = pictures(frames)
    assert np.array_equal(joined(frames, lambda number, window: truth[window.start : window.stop]), truth)


def test_every_colour_blended_with_itself_stays_what_it_is():
    colours = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    for shared in range(1, LENGTH):
        result = colours.repeat(shared + 1, axis=0)
        join(result, range(shared + 1), result.copy(), shared)
        assert (result == colours).all(), shared


def test_a_seam_goes_from_the_old_frames_to_the_new_in_equal_steps():
    old, new = np.full((5, 1, 1, 3), 40, np.uint8), np.full((6, 1, 1, 3), 200, np.uint8)
    result = np.concatenate([old, np.zeros((4, 1, 1, 3), np.uint8)])
    join(result, range(1, 7), new, done=5)
    assert result[:, 0, 0, 0].tolist() == [40, 40, 80, 120, 160, 200, 200, 0, 0]
    assert (result == result[..., :1]).all()


def test_blending_rounds_to_the_nearest():
    result = np.full((4, 1, 1, 3), 10, np.uint8)
    join(result, range(4), np.full((4, 1, 1, 3), 12, np.uint8), done=3)
    assert result[:, 0, 0, 0].tolist() == [10, 11, 11, 12]


@pytest.mark.parametrize("frames", [50, 89, 90, 200])
def test_no_seam_is_seen_as_a_jump(frames):
    result = joined(frames, lambda number, window: np.full((len(window), 4, 6, 3), 60 * (number % 2) + 90, np.uint8))
    steps = np.abs(np.diff(result[:, 0, 0, 0].astype(int)))
    assert steps.max() <= np.ceil(60 / OVERLAP)
    assert steps.any()


@pytest.mark.parametrize("frames", [50, 90, 200])
def test_a_window_begins_with_the_frame_that_was_there_and_ends_with_its_own(frames):
    for number, (one, two) in enumerate(pairwise(plan(frames))):
        before, made = pictures(frames, seed=number), pictures(len(two), seed=100 + number)
        result = before.copy()
        join(result, two, made, one.stop)
        assert np.array_equal(result[: two.start + 1], before[: two.start + 1])
        assert np.array_equal(result[one.stop : two.stop], made[one.stop - two.start :])
        assert np.array_equal(result[two.stop :], before[two.stop :])
        assert not np.array_equal(result[two.start + 1], before[two.start + 1])


def test_joining_needs_the_memory_of_a_few_frames_however_many_are_shared():
    result = np.zeros((LENGTH, 120, 160, 3), np.uint8)
    made = np.ones_like(result)
    tracemalloc.start()
    try:
        join(result, range(LENGTH), made, LENGTH - 1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    in_float64 = 8 * result[0].size
    assert peak < 6 * in_float64 < LENGTH * in_float64 / 4
