"""Holes filled smoothly from around, where nothing but colour and mask is known."""

import cv2
import numpy as np
from numpy.typing import NDArray


def inpaint(picture: NDArray[np.uint8], hole: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Picture (h,w,3) with its holes (h,w) filled smoothly from around.

    Pull-push (Gortler et al. 1996): each coarser level averages what is known; going back, holes take the
    coarser level's colour. Unlike marching methods (Telea 2004) it draws no streaks into holes that are
    half the picture wide.
    """
    weight: NDArray = (~hole).astype(np.float32)[..., None]
    levels: list[tuple[NDArray, NDArray]] = [(picture.astype(np.float32), weight)]
    while min(levels[-1][1].shape[:2]) > 1:
        colour, weight = levels[-1]
        sums = cv2.pyrDown(np.concatenate([colour * weight, weight], axis=-1))
        weight = sums[..., 3:]
        # What a quarter of the neighbourhood knows is known.
        levels.append((sums[..., :3] / np.maximum(weight, 1e-9), np.minimum(4 * weight, 1)))
    filled = levels[-1][0]
    for colour, weight in levels[-2::-1]:
        coarse = cv2.pyrUp(filled, dstsize=weight.shape[1::-1])
        filled = colour * weight + coarse * (1 - weight)
    return np.where(hole[..., None], np.clip(filled + 0.5, 0, 255).astype(np.uint8), picture)
