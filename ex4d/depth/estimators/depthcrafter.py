"""Specification of DepthCrafter, the depth of EX-4D's release, for research only.

The network is in the module next to this one.
"""

from typing import TYPE_CHECKING

from ex4d.depth.base import Request, Spec
from ex4d.depth.estimate import Estimate
from ex4d.depth.scaling import scaled
from ex4d.extras import Package
from ex4d.networks.devices import torch_device
from ex4d.weights import store
from ex4d.weights.store import Part

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

TERMS = (
    "DepthCrafter may be used for academic, research and education purposes only, never commercially or in"
    " production, and Stable Video Diffusion, on which it builds, is under the Stability AI Community License"
)
"""What the user has to accept; a sentence without its full stop."""

EXTRA = "depthcrafter"
"""The extra that installs its dependencies."""

UNET = Part(
    "DepthCrafter",
    ("DepthCrafter/config.json", "DepthCrafter/diffusion_pytorch_model.safetensors"),
    3.05,
    "research only",
    "tencent/DepthCrafter",
    revision="c1a22b53f8abf80cd0b025adf29e637773229eca",
    research_only=True,
    extra=EXTRA,
)

_SVD = "stable-video-diffusion-img2vid-xt"
BASE = Part(
    "Stable Video Diffusion",
    (
        f"{_SVD}/scheduler/scheduler_config.json",
        f"{_SVD}/vae/config.json",
        f"{_SVD}/vae/diffusion_pytorch_model.fp16.safetensors",
        f"{_SVD}/image_encoder/config.json",
        f"{_SVD}/image_encoder/model.fp16.safetensors",
    ),
    1.46,
    "Stability AI Community",
    f"stabilityai/{_SVD}",
    revision="9e43909513c6714f1bc78bcb44d96e733cd242aa",
    sha256=(
        "",
        "",
        "af602cd0eb4ad6086ec94fbf1438dfb1be5ec9ac03fd0215640854e90d6463a3",
        "",
        "ae616c24393dd1854372b0639e5541666f7521cbe219669255e865cb7f89466a",
    ),
    research_only=True,
    extra=EXTRA,
)
"""VAE, image encoder and scheduler that DepthCrafter builds on."""


def run(clip: "Clip", request: Request) -> Estimate:
    """Estimate disparity of the whole shot, mapped as in EX-4D's release. The caller has accepted `TERMS`."""
    from ex4d.depth.estimators import depthcrafter_network as network

    device = torch_device(request.device)
    disparity = network.disparity(clip.frames, store.folder(), device, accept_licence=True, progress=request.progress)
    return scaled(SPEC, clip, disparity, request.focal_px, None)


SPEC = Spec(
    "depthcrafter",
    "DepthCrafter",
    "The depth of EX-4D's release; for research only",
    run,
    licence="research only",
    commercial=False,
    terms=TERMS,
    packages=(
        Package("torch", EXTRA),
        Package("safetensors", EXTRA),
        Package("diffusers", EXTRA),
        Package("transformers", EXTRA),
        Package("cv2", "render"),
    ),
    parts=(UNET, BASE),
)
