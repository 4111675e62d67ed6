"""How much of the source can be found in a result at the same time: matched points.

ReCamMaster counts such matches with a network (GIM). These are OpenCV's SIFT (Lowe 2004), which every installation has,
so the two kinds of figures differ.
"""

import numpy as np
from numpy.typing import NDArray

from ex4d.media.flow import small_grey

WIDTH = 640
"""Maximum width at which pictures are matched, so that counts can be compared."""

MOST = 2000
"""Maximum number of points per picture."""

RATIO = 0.8
"""The best match of a point is accepted if it is nearer than the second best by this factor (Lowe 2004)."""

TOLERANCE_PX = 1.5
FEWEST = 8
"""Maximum distance in pixels of a match from its epipolar line, and minimum matches for a fundamental matrix."""


def matches(source: NDArray[np.uint8], result: NDArray[np.uint8]) -> int:
    """Number of matches between two pictures (H,W,3) that agree on one fundamental matrix (MAGSAC++, seeded).

    Matches are mutual and pass Lowe's ratio test. Fewer than 8 count as none, because any 7 agree.
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
