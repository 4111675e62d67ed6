"""Specification of Video-Depth-Anything, small model.

The network is in the module next to this one.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ex4d.depth.base import Request, Spec, detail_for
from ex4d.depth.estimate import Estimate
from ex4d.depth.scaling import scaled
from ex4d.extras import Package
from ex4d.networks.devices import torch_device
from ex4d.weights import store

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

PART = store.Part(
    "Video-Depth-Anything small",
    ("Video-Depth-Anything-Small/video_depth_anything_vits.pth",),
    0.12,
    "Apache-2.0",
    "depth-anything/Video-Depth-Anything-Small",
    "0bdf04262488a89bb755526212e3e995",
    revision="a396fdd839642f9bb4d08d54cae9fbf43ca13388",
    sha256=("13379300b739e659f076a59d52e9801bd8d38c541a7e71f73bbca4dcfb013609",),
    extra="depth",
)


def run(clip: "Clip", request: Request) -> Estimate:
    """Estimate disparity of the whole shot, scaled by the lens and distances of some frames if they can be measured."""
    from ex4d.depth.estimators import video_depth_anything_network as network

    weights, device = store.located(PART.files[0], store.folder()), torch_device(request.device)
    disparity = np.empty(clip.frames.shape[:3], np.float32)
    reduced = detail_for(request) == "reduced"
    side = network.REDUCED_SIDE if reduced else network.SHORT_SIDE
    frames = network.disparity(clip.frames, weights, device, short_side=side, progress=request.progress)
    for into, frame in zip(disparity, frames, strict=True):
        into[:] = frame
    made = scaled(SPEC, clip, disparity, request.focal_px, request.metric())
    if not reduced:
        return made
    height, width = clip.frames.shape[1:3]
    h, w = network.working_size(height, width, side)
    full_h, full_w = network.working_size(height, width, network.SHORT_SIDE)
    note = (
        f"The depth model worked at {w}x{h} pixels instead of {full_w}x{full_h}, which is faster and coarser: set"
        " Depth Detail to Full for full detail."
    )
    return replace(made, depth=replace(made.depth, notes=(*made.depth.notes, note)))


SPEC = Spec(
    "video-depth-anything",
    "Video-Depth-Anything Small",
    "A model for videos, consistent over time",
    run,
    licence="Apache-2.0",
    packages=(Package("torch", "depth"), Package("safetensors", "depth"), Package("cv2", "render")),
    parts=(PART,),
    rank=10,
    uses_metric=True,
    has_detail=True,
)
