"""Edges of the mask: how much of its rim to distrust, and how to blend across it.

Along silhouettes a pixel of the source mixes foreground and background, and depth is least certain. So the rim of what
a frame itself saw is left out (`certain`), and blended with what is invented there (`soft_edge`).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

RELEASE_KERNELS = (2, 8)
"""Smallest and largest side of the square kernel, which the release draws at random for each frame (generate.py)."""

DEFAULT_KERNELS = (3, 3)
"""One pixel on each side of what a frame itself saw, which measured best on the sample, see docs/performance.md."""


def side_at(scale: float) -> int:
    """Side of the square of `DEFAULT_KERNELS` in a picture `scale` times as large as the working picture."""
    return 1 + (DEFAULT_KERNELS[0] - 1) // 2 * 2 * round(scale)


def erode(mask: NDArray[np.uint8], kernels: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """The mask (T,h,w) in {0,255} without its rim; the border of the picture is not a rim.

    Args:
        mask: 255 where the colour is real.
        kernels: smallest and largest side in pixels of the square that enlarges every hole; drawn for each frame.
        seed: of the random draw; the same seed gives the same sizes on every machine.
    """
    sides = np.random.default_rng(seed).integers(kernels[0], kernels[1] + 1, len(mask))
    return np.stack([cv2.erode(m, np.ones((side, side), np.uint8)) for m, side in zip(mask, sides, strict=True)])


def certain(
    mask: NDArray[np.uint8], borrowed: NDArray[np.uint8] | None, kernels: tuple[int, int], seed: int
) -> NDArray[np.uint8]:
    """The mask (T,h,w) in {0,255} without the rim of what each frame itself saw.

    The edges of what other frames lend are kept: whatever would be invented there is farther from the truth (figures in
    docs/performance.md).

    Args:
        mask, kernels, seed: as for `erode`.
        borrowed: (T,h,w) in {0,255}, set where only other frames saw the real colour, and nowhere that `mask` is not;
            None if nothing was lent.
    """
    eroded = erode(mask, kernels, seed)
    return eroded if borrowed is None else eroded | borrowed


def blacked_out(colour: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (T,h,w,3), black where the mask (T,h,w) is 0."""

    def keep(out: NDArray[np.uint8], picture: NDArray[np.uint8], real: NDArray[np.uint8]) -> None:
        cv2.bitwise_and(picture, picture, dst=out, mask=real)

    result = np.zeros_like(colour)
    _for_each_frame(keep, result, colour, mask)
    return result


def soft_edge(mask: NDArray[np.uint8], sure: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Weight (T,h,w) of the source: 1 where `sure` is set, 0 where `mask` is not, rising linearly across the rim.

    Args:
        mask: (T,h,w), 255 where the colour is real.
        sure: the same after `certain`.
    """

    def weigh(weight: NDArray[np.float32], real: NDArray[np.uint8], inner: NDArray[np.uint8]) -> None:
        weight[:] = weight_of(real, inner)

    weights = np.empty(mask.shape, np.float32)
    _for_each_frame(weigh, weights, mask, sure)
    return weights


def weight_of(
    mask: NDArray[np.uint8], sure: NDArray[np.uint8], how: int = cv2.DIST_MASK_PRECISE
) -> NDArray[np.float32]:
    """`soft_edge` of one frame (h,w); `how` is OpenCV's method to measure distances."""
    # Distances in pixels to the nearest pixel that is not real, and to the nearest that is certain.
    outward = cv2.distanceTransform((mask > 0).astype(np.uint8), cv2.DIST_L2, how)
    inward = cv2.distanceTransform((sure == 0).astype(np.uint8), cv2.DIST_L2, how)
    return np.asarray(outward / np.maximum(outward + inward, 1e-6), np.float32)


def composite(
    source: NDArray[np.uint8], generated: NDArray[np.uint8], weight: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Source over generated frames (T,h,w,3) by the source's weight (T,h,w) in [0,1]; exact where it is 0 or 1."""

    def blend(out: NDArray[np.uint8], s: NDArray[np.uint8], g: NDArray[np.uint8], w: NDArray[np.float32]) -> None:
        out[:] = (s * w + g * (1 - w) + 0.5).astype(np.uint8)

    result = np.empty_like(generated)
    _for_each_frame(blend, result, source, generated, weight[..., None])
    return result


def _for_each_frame(work: Callable[..., None], *videos: NDArray[Any]) -> None:
    """Call `work` with the frames of each number, on all cores, because numpy and OpenCV release the interpreter lock.

    Raises:
        ValueError: the videos have different lengths.
    """
    if len({len(video) for video in videos}) > 1:
        raise ValueError("videos of different lengths")
    with ThreadPoolExecutor() as threads:
        for _ in threads.map(work, *videos):
            pass  # errors are raised here
