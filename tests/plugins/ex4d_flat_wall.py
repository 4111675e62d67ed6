"""A depth estimator in a package of its own, as another package would add one: everything stands on a flat wall."""

import numpy as np

from ex4d.depth import lens
from ex4d.depth.base import Request, Spec
from ex4d.depth.estimate import METRES, Estimate
from ex4d.geometry.depth_video import DepthVideo
from ex4d.media.clip import Clip

DISTANCE = 3.0
"""Of the wall, in metres."""


def run(clip: Clip, request: Request) -> Estimate:
    k, about_lens = lens.given_or_assumed(clip, request.focal_px)
    depth = np.full(clip.frames.shape[:3], DISTANCE, np.float32)
    return Estimate(DepthVideo(depth, k, SPEC.name, (about_lens,)), METRES, SPEC.licence)


SPEC = Spec("flat-wall", "Flat Wall", "Everything stands on a wall, three metres away", run)
