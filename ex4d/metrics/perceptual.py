"""LPIPS (Zhang et al. 2018): the package lpips, its heads of version 0.1, and torchvision's AlexNet.

It gives a distance for each pixel (`spatial`), as DyCheck does, so that parts of a picture can be evaluated separately.
The mean over all pixels is LPIPS except for the upsampling of its layers.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ex4d.metrics import model_files
from ex4d.torchvision_for_cpu import import_torchvision
from ex4d.weights import store
from ex4d.weights.lacking import lacking


def missing() -> str:
    """Why LPIPS cannot be measured here, as a sentence; "" if it can."""
    packages = (model_files.TORCH, model_files.TORCHVISION, model_files.LPIPS)
    return lacking("LPIPS", packages, (model_files.ALEXNET,))


class Lpips:
    """LPIPS, loaded once. Call it with two pictures.

    Raises:
        InputError: the file of AlexNet is damaged.
    """

    def __init__(self, device: str = "cpu", file: Path | None = None) -> None:
        """Load it, from the store unless a file is given."""
        import_torchvision()
        import lpips
        import torch

        part = model_files.ALEXNET
        weights = model_files.read_weights(file or store.places(part, store.folder())[0], part)
        self._device = torch.device(device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it uses deprecated names of torchvision
            self._net: Any = lpips.LPIPS(net="alex", spatial=True, pnet_rand=True, verbose=False)
        own = dict(self._net.net.named_parameters())  # slice3.6.weight is torchvision's features.6.weight
        layers = {name: weights[f"features.{name.partition('.')[2]}"] for name in own}
        self._net.net.load_state_dict(layers)
        self._net = self._net.to(self._device).eval()

    def __call__(self, a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The distance (H,W) of two pictures (H,W,3) uint8, each side at least 64 pixels."""
        import torch

        one, other = (torch.from_numpy(np.ascontiguousarray(p)).to(self._device) for p in (a, b))
        with torch.inference_mode():
            pair = [(p.permute(2, 0, 1)[None].float() / 127.5) - 1 for p in (one, other)]
            return np.asarray(self._net(*pair)[0, 0].double().cpu().numpy())
