"""Which sample comes when, and with which noise, as functions of only the seed and the sample's number.

So none of it has to be stored: a training that was killed resumes with the samples that it would have seen, and the
same samples come in the same steps on any number of GPUs.
"""

from collections.abc import Sequence

import numpy as np

from ex4d.errors import InputError

_CLIPS, _MASKS, _NOISE, _HELD_BACK = range(4)


def held_back(clips: Sequence[str], count: int, seed: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The clips to train on and those to validate with, each in the given order.

    Clips of the same video, which share their name up to the "-", stay together; otherwise validation would use clips
    of videos seen in training.

    Args:
        clips: all clips.
        count: number of clips to hold back; a few more may be.
        seed: of the random choice.

    Raises:
        InputError: no clips would be left to train on.
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
    """Numbers of the clip and mask for a sample. All clips come once before any comes again.

    Args:
        number: of the sample, counted from the start of the training.
        clips: number of clips.
        masks: number of masks per clip.
        seed: of the order.
    """
    round_, place = divmod(number, clips)
    clip = int(np.random.default_rng([seed, _CLIPS, round_]).permutation(clips)[place])
    mask = int(np.random.default_rng([seed, _MASKS, round_]).integers(masks, size=clips)[clip])
    return clip, mask


def noise_seed(number: int, seed: int) -> int:
    """Seed of a sample's noise and time."""
    return int(np.random.default_rng([seed, _NOISE, number]).integers(2**62))
