"""Files of the networks that some measures need. `ex4d.weights.store` stores them; none is part of a package."""

from pathlib import Path
from typing import Any

from ex4d.extras import Package
from ex4d.storage.atomic import check_there
from ex4d.weights.headers import readable
from ex4d.weights.store import Part

ALEXNET = Part(
    name="AlexNet of torchvision, for LPIPS",
    files=("metrics/alexnet-owt-7be5be79.pth",),
    gigabytes=0.24,
    licence="BSD-3-Clause",
    hub="",
    address="https://download.pytorch.org/models/",
    extra="evaluate-models",
    may_be_old=True,
)
"""The name contains the first digits of its sha256, as in torchvision."""

INCEPTION = Part(
    name="Inception of torch-fidelity, for FID and KID",
    files=("metrics/weights-inception-2015-12-05-6726825d.pth",),
    gigabytes=0.1,
    licence="Apache-2.0",
    hub="",
    address="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/",
    extra="evaluate-models",
    may_be_old=True,
)
"""The file that torch-fidelity 0.4.0 itself downloads (feature_extractor_inceptionv3.py)."""

I3D = Part(
    name="I3D of StyleGAN-V, for FVD",
    files=("FVD-I3D-torchscript/i3d_torchscript.pt",),
    gigabytes=0.05,
    licence="not stated",
    hub="flateon/FVD-I3D-torchscript",
    extra="evaluate-models",
)
"""A TorchScript program; no publisher states its commit or its licence, so neither is pinned here."""

PARTS = (ALEXNET, INCEPTION, I3D)

TORCH = Package("torch", "evaluate-models")
TORCHVISION = Package("torchvision", "evaluate-models")
FIDELITY = Package("torch_fidelity", "evaluate-models")
LPIPS = Package("lpips", "evaluate-models")


def read_weights(file: Path, part: Part) -> dict[str, Any]:
    """The tensors of a torch file of any version, by name; nothing else is unpickled.

    Raises:
        InputError: the file is missing or damaged, or contains something other than tensors.
    """
    import torch

    file = check_there(file, part.name)
    with readable(file, part.name):
        tensors = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(tensors, dict) or not all(isinstance(each, torch.Tensor) for each in tensors.values()):
            raise ValueError("it holds something else than tensors by name")
        return dict(tensors)
