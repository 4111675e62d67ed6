"""How much of the source can be found again in a result of the same time: matched points.

ReCamMaster counts such matches by a network (GIM); these are OpenCV's SIFT (Lowe 2004), which every installation has,
so the figures of both differ.
"""

import numpy as np
from numpy.typing import NDArray

from ex4d.media.flow import small_grey

WIDTH = 640
"""Pictures are looked at in this width at most, so that counts can be compared."""

MOST = 2000
"""Points of a picture."""

RATIO = 0.8
"""The best match of a point is taken where it is so much nearer than the second best (Lowe 2004)."""

TOLERANCE_PX = 1.5
FEWEST = 8
"""How far from its epipolar line a match may be, and matches that a fundamental matrix takes."""


def matches(source: NDArray[np.uint8], result: NDArray[np.uint8]) -> int:
    """Matches between two pictures (H,W,3) that agree on one fundamental matrix (MAGSAC++, seeded).

    A match is mutual and passes Lowe's ratio test. Fewer than 8 count as none: any 7 agree.
    """
    import cv2

    sift = cv2.SIFT.create(nfeatures=MOST)
    points_a, words_a = sift.detectAndCompute(small_grey(source, WIDTH), None)
    points_b, words_b = sift.detectAndCompute(small_grey(result, WIDTH), None)
    if words_a is None or words_b is None or min(len(words_a), len(words_b)) < FEWEST:
        return 0
    matcher = cv2.BFMatcher(cv2.NORM_L2)
    back = {m.queryIdx: m.trainIdx for m, *_ in matcher.knnMatch(words_b, words_a, 1)}
    good = [
        (best.queryIdx, best.trainIdx)
        for best, second in matcher.knnMatch(words_a, words_b, 2)
        if best.distance < RATIO * second.distance and back.get(best.trainIdx) == best.queryIdx
    ]
    if len(good) < FEWEST:
        return 0
    a = np.array([points_a[i].pt for i, _ in good])
    b = np.array([points_b[j].pt for _, j in good])
    cv2.setRNGSeed(0)
    _, agree = cv2.findFundamentalMat(a, b, cv2.USAC_MAGSAC, TOLERANCE_PX, 0.999, 2000)
    count = 0 if agree is None else int(np.count_nonzero(agree))
    return count if count >= FEWEST else 0
