import pytest

from ex4d.errors import InputError
from ex4d.training import order


def test_all_clips_come_once_before_any_comes_again_and_their_masks_change():
    rounds = [[order.pick(7 * n + place, 7, 8, seed=3) for place in range(7)] for n in range(20)]
    assert all(sorted(clip for clip, _ in one) == list(range(7)) for one in rounds)
    assert len({tuple(clip for clip, _ in one) for one in rounds}) > 15
    of_one_clip = {mask for one in rounds for clip, mask in one if clip == 2}
    assert len(of_one_clip) > 5
    assert of_one_clip <= set(range(8))


def test_the_order_is_the_seeds_alone():
    assert [order.pick(n, 5, 4, 1) for n in range(50)] == [order.pick(n, 5, 4, 1) for n in range(50)]
    assert [order.pick(n, 5, 4, 1) for n in range(50)] != [order.pick(n, 5, 4, 2) for n in range(50)]
    assert len({order.noise_seed(n, 1) for n in range(1000)}) == 1000


def test_clips_of_one_video_are_held_back_together():
    clips = [f"{video:016x}-{start:06d}" for video in range(6) for start in (0, 60)]
    train, held = order.held_back(clips, 3, seed=0)
    assert sorted(train + held) == clips
    assert len(held) == 4
    assert not {clip[:16] for clip in train} & {clip[:16] for clip in held}
    assert order.held_back(clips, 0, seed=0) == (tuple(clips), ())


def test_nothing_left_to_train_on_is_said():
    with pytest.raises(InputError, match=r"2 clips come from 1 video\(s\), and holding back 4 leaves none"):
        order.held_back(["a-1", "a-2"], 4, seed=0)
