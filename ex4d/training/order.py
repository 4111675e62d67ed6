"""Which sample comes when, and with which noise: functions of the seed and of the sample's number alone.

So nothing of it has to be kept: a training that was killed goes on with the samples that it would have seen, and on
any number of GPUs the same samples come in the same steps.
"""

from collections.abc import Sequence

import numpy as np

from ex4d.errors import InputError

_CLIPS, _MASKS, _NOISE, _HELD_BACK = range(4)


def held_back(clips: Sequence[str], count: int, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The clips to train on and those to validate with, in the order in which they came.

    Clips of one video, whose names are alike up to the "-", stay together, or what is validated would have been seen.

    Args:
        clips: all of them.
        count: so many are held back, or a few more.
        seed: of the draw.

    Raises:
        InputError: none would be left to train on.
    """
    videos = list(dict.fromkeys(_video(clip) for clip in clips))
    drawn: set[str] = set()
    for number in np.random.default_rng([seed, _HELD_BACK]).permutation(len(videos)):
        if sum(_video(clip) in drawn for clip in clips) >= count:
            break
        drawn.add(videos[number])
    train = tuple(clip for clip in clips if _video(clip) not in drawn)
    if not train:
        raise InputError(
            f"The dataset's {len(clips)} clips come from {len(videos)} video(s), and holding back {count} leaves none"
            " to train on: take more videos, or a smaller --held_back."
        )
    return train, tuple(clip for clip in clips if _video(clip) in drawn)


def _video(clip: str) -> str:
    return clip.rpartition("-")[0] or clip


def pick(number: int, clips: int, masks: int, seed: int) -> tuple[int, int]:
    """Number of the clip and of its mask that a sample takes. All clips come once before any comes again.

    Args:
        number: of the sample, counted from the start of the training.
        clips: how many there are.
        masks: how many each of them has.
        seed: of the order.
    """
    round_, place = divmod(number, clips)
    clip = int(np.random.default_rng([seed, _CLIPS, round_]).permutation(clips)[place])
    mask = int(np.random.default_rng([seed, _MASKS, round_]).integers(masks, size=clips)[clip])
    return clip, mask


def noise_seed(number: int, seed: int) -> int:
    """Seed of the noise and of the time of a sample."""
    return int(np.random.default_rng([seed, _NOISE, number]).integers(2**62))
