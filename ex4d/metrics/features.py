"""Features of pictures by Inception (FID, KID) and of videos by I3D (FVD), with the original networks.

The protocol of FVD is StyleGAN-V's (Skorokhodov et al. 2022): videos of at least ten frames of any size, with values 0
to 255, which the TorchScript program itself rescales and resizes to 224x224; its 400 features are used.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.metrics import model_files
from ex4d.metrics.distributions import Features
from ex4d.torchvision_for_cpu import import_torchvision
from ex4d.weights import store
from ex4d.weights.headers import check_archive, readable
from ex4d.weights.lacking import lacking

BATCH = 16
"""Pictures per batch for Inception."""

FEWEST_FRAMES = 10
CLIP_FRAMES = 49
"""Shortest video that I3D accepts, and the length into which longer ones are cut, which is EX-4D's."""


def missing(of: str) -> str:
    """Why "fid", "kid" or "fvd" cannot be measured here, as a sentence; "" if it can."""
    part = model_files.I3D if of == "fvd" else model_files.INCEPTION
    return lacking(of.upper(), (model_files.TORCH, model_files.FIDELITY), (part,))


class Inception:
    """Torch-fidelity's Inception, loaded once from the store."""

    def __init__(self, device: str = "cpu", file: Path | None = None) -> None:
        """Load it, from the store unless a file is given."""
        import_torchvision()
        import torch
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

        part = model_files.INCEPTION
        weights = model_files.read_weights(file or store.places(part, store.folder())[0], part)
        self._device = device
        with tempfile.TemporaryDirectory() as folder:
            # Torch-fidelity unpickles its whole file, so it is given one that contains only these tensors.
            safe = Path(folder) / "inception.pth"
            torch.save(weights, safe)
            self._net: Any = FeatureExtractorInceptionV3(
                "inception-v3-compat", ["2048"], feature_extractor_weights_path=str(safe)
            )
        self._net = self._net.to(device).eval()

    def __call__(self, pictures: Iterable[NDArray[np.uint8]]) -> Features:
        """Features (n,2048) of pictures (H,W,3) uint8, processed in small batches."""
        rows, batch = [], []
        for picture in pictures:
            batch.append(picture)
            if len(batch) == BATCH:
                rows.append(self._of(batch))
                batch = []
        if batch:
            rows.append(self._of(batch))
        return np.concatenate(rows) if rows else np.zeros((0, 2048))

    def _of(self, pictures: list[NDArray[np.uint8]]) -> Features:
        import torch

        stacked = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).to(self._device)
        with torch.inference_mode():
            return np.asarray(self._net(stacked)[0].double().cpu().numpy())


class I3D:
    """The I3D of StyleGAN-V, loaded once from the store.

    Raises:
        InputError: its file is damaged.
    """

    def __init__(self, device: str = "cpu", file: Path | None = None) -> None:
        """Load it, from the store unless a file is given."""
        import torch

        part = model_files.I3D
        file = file or store.places(part, store.folder())[0]
        self._device = device
        with readable(file, part.name):
            check_archive(file)
            self._net = torch.jit.load(str(file), map_location=device).eval()

    def __call__(self, frames: Iterable[NDArray[np.uint8]]) -> Features:
        """Features (n,400) of a video of pictures (H,W,3) uint8: one row for each part of `CLIP_FRAMES` frames, and one
        for the rest if it has at least `FEWEST_FRAMES`.

        Raises:
            InputError: the video is too short.
        """
        rows, part = [], []
        for frame in frames:
            part.append(frame)
            if len(part) == CLIP_FRAMES:
                rows.append(self._of(part))
                part = []
        if len(part) >= FEWEST_FRAMES:
            rows.append(self._of(part))
        if not rows:
            raise InputError(f"FVD takes videos of {FEWEST_FRAMES} frames at least, not of {len(part)}.")
        return np.concatenate(rows)

    def _of(self, frames: list[NDArray[np.uint8]]) -> Features:
        import torch

        video = torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2)[None].float().to(self._device)
        with torch.inference_mode():
            found = self._net(video, rescale=True, resize=True, return_features=True)
        return np.asarray(found.double().cpu().numpy())
