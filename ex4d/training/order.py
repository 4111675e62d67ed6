"""Which sample comes when, and with which noise: functions of the seed and of the sample's number alone.

So nothing of it has to be kept: a training that was killed goes on with the samples that it would have seen, and on
any number of GPUs the same samples come in the same steps.
"""

from collections.abc import Sequence

import numpy as np

_CLIPS, _MASKS, _NOISE, _HELD_BACK = range(4)


def held_back(clips: Sequence[str], count: int, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The clips to train on and those to validate with, in the order in which they came.

    Args:
        clips: all of them.
        count: so many are held back.
        seed: of the draw.
    """
    drawn = set(np.random.default_rng([seed, _HELD_BACK]).permutation(len(clips))[:count].tolist())
    parts = ([c for n, c in enumerate(clips) if (n in drawn) is held] for held in (False, True))
    train, validate = (tuple(part) for part in parts)
    return train, validate


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
