"""Fills holes smoothly from their surroundings if only colour and mask are known."""

import cv2
import numpy as np
from numpy.typing import NDArray


def inpaint(picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill the holes (h,w) in a picture (h,w,3) smoothly from their surroundings.

    Pull-push (Gortler et al. 1996): each coarser level averages what is known; on the way back, holes take the coarser
    level's colour. Unlike marching methods (Telea 2004), it does not draw streaks into holes that are half as wide as
    the picture.
    """
    weight: NDArray = (~hole).astype(np.float32)[..., None]
    levels: list[tuple[NDArray, NDArray]] = [(picture.astype(np.float32), weight)]
    while min(levels[-1][1].shape[:2]) > 1:
        colour, weight = levels[-1]
        sums = cv2.pyrDown(np.concatenate([colour * weight, weight], axis=-1))
        weight = sums[..., 3:]
        # A pixel is known if a quarter of its neighbourhood is.
        levels.append((sums[..., :3] / np.maximum(weight, 1e-9), np.minimum(4 * weight, 1)))
    filled = levels[-1][0]
    for colour, weight in levels[-2::-1]:
        coarse = cv2.pyrUp(filled, dstsize=weight.shape[1::-1])
        filled = colour * weight + coarse * (1 - weight)
    return np.where(hole[..., None], np.clip(filled + 0.5, 0, 255).astype(np.uint8), picture)
