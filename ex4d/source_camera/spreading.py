"""Votes that only some pixels of a picture have, spread within surfaces.

Every pixel becomes the weighted mean of its own votes and of its four neighbours; neighbours count as far as they look
alike and are equally far away (a random walk, Grady 2006). This is solved approximately, from coarse to fine.
"""

import numpy as np
from numpy.typing import NDArray

ROUNDS = (10, 20, 30, 30, 30)
"""Number of Jacobi sweeps, for the picture itself and each time for one half as large."""

COLOUR_STEP, DEPTH_STEP = 25.0, 0.05
"""Differences of neighbours, in levels and in the logarithm of the depth, at which they count for 1/e."""

PRIOR = 0.0005
"""Weight of each pixel's assumption, against all other evidence, that the answer is no."""


def spread(
    yes: NDArray[np.float32], no: NDArray[np.float32], colour: NDArray[np.uint8], depth: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """What most of the votes say for each pixel (h,w).

    Args:
        yes, no: (h,w) weights of the votes; a link between two pixels that are alike has weight 1.
        colour: (h,w,3) picture.
        depth: (h,w) > 0.
    """
    import cv2

    height, width = yes.shape
    score, far = np.zeros((1, 1), np.float32), np.log(depth)
    for level in reversed(range(len(ROUNDS))):
        size, area = (max(1, width >> level), max(1, height >> level)), np.float32(4**level)
        more, less = (cv2.resize(votes, size, interpolation=cv2.INTER_AREA) * area for votes in (yes, no))
        look = cv2.resize(colour, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        here = np.asarray(cv2.resize(far, size, interpolation=cv2.INTER_NEAREST), np.float32)
        across, down = (_links(look, here, axis) for axis in (1, 0))
        weight = with_links(more + less + PRIOR * area, across, down)
        score = np.asarray(cv2.resize(score, size, interpolation=cv2.INTER_LINEAR), np.float32)
        score = swept(score, more, weight, across, down, ROUNDS[level])
    return np.asarray(score > 0.5)


def with_links(
    weight: NDArray[np.float32], across: NDArray[np.float32], down: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weights (h,w) of the pixels' own evidence plus those of the links (h,w-1) and (h-1,w) to their neighbours."""
    weight = weight.copy()
    weight[:, 1:] += across
    weight[:, :-1] += across
    weight[1:] += down
    weight[:-1] += down
    return weight


def swept(
    score: NDArray[np.float32],
    own: NDArray[np.float32],
    weight: NDArray[np.float32],
    across: NDArray[np.float32],
    down: NDArray[np.float32],
    sweeps: int,
) -> NDArray[np.float32]:
    """Scores (h,w) after some Jacobi sweeps, given the pixels' own weighted evidence and `weight` of `with_links`."""
    for _ in range(sweeps):
        total = own.copy()
        total[:, :-1] += across * score[:, 1:]
        total[:, 1:] += across * score[:, :-1]
        total[:-1] += down * score[1:]
        total[1:] += down * score[:-1]
        score = total / weight
    return score


def _links(look: NDArray[np.float32], far: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Weights of the links between neighbours along an axis."""
    colours = np.abs(np.diff(look, axis=axis)).mean(axis=-1) / COLOUR_STEP
    depths = np.diff(far, axis=axis) / DEPTH_STEP
    return np.asarray(np.exp(-(colours**2) - depths**2), np.float32)
