"""Time, memory and agreement of the network that finds cameras, at full size with random weights, on a GPU if any.

python benchmarks/camera_network.py
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from ex4d.source_camera import da3
from ex4d.source_camera import da3_network as network

FRAMES, WIDTH, HEIGHT = 49, 1024, 576
SMALL = 4
"""Number of frames compared between CPU and GPU."""


def main() -> None:
    """Print a line for each run."""
    with tempfile.TemporaryDirectory() as folder:
        run(written(Path(folder) / "model.safetensors"))


def run(weights: Path) -> None:
    """Run everything with a file of weights."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(torch.cuda.get_device_name() if device == "cuda" else "CPU", f"torch {torch.__version__}", flush=True)
    frames = moving_pictures(FRAMES)
    model = network.load(weights, device)
    print(f"parameters: {sum(p.numel() for p in model.parameters()) / 1e6:.1f} million of them needed for cameras")
    counts = (FRAMES, da3.MOST + 1) if device == "cuda" else (da3.MOST_ON_CPU,)
    for count in counts:
        pictures = network.shown(moving_pictures(count)).to(device)
        for again in range(2):
            measured(f"{count} frames of {pictures.shape[3]}x{pictures.shape[2]}, run {again + 1}", model, pictures)
    if device == "cuda":
        agreement(weights, network.shown(frames[:SMALL]))
    start = time.monotonic()
    seen = network.cameras(frames if device == "cuda" else frames[:SMALL], weights, device)
    finite = np.isfinite(seen.camera_to_world).all()
    print(f"the whole way with loading: {time.monotonic() - start:.2f} s; all cameras finite: {finite}", flush=True)


def measured(name: str, model: network.DepthAnything3, pictures: Tensor) -> None:
    """Run once, and print a line about it."""
    on_gpu = pictures.is_cuda
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    with torch.inference_mode():
        found = model(pictures)
        if on_gpu:
            torch.cuda.synchronize()
    peak = f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB" if on_gpu else "not measured"
    finite = f"{torch.isfinite(found).float().mean():.0%} finite"
    print(f"{name}: {time.monotonic() - start:.2f} s; peak {peak}; {finite}", flush=True)


def agreement(weights: Path, pictures: Tensor) -> None:
    """Print how far the GPU's result is from the CPU's."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    with torch.inference_mode():
        on_cpu = network.load(weights)(pictures).double().numpy()
        found = network.load(weights, "cuda")(pictures.cuda()).double().cpu().numpy()
    print(f"GPU against CPU: {off(found, on_cpu):.2e} relative, {turned(found, on_cpu):.3f} degrees")


def off(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Largest difference relative to the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def turned(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Largest angle in degrees between the rotations of two results."""
    a, b = (network.decoded(one, WIDTH, HEIGHT).camera_to_world[:, :3, :3] for one in (found, expected))
    cosine = (np.einsum("kij,kij->k", a, b) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())


def moving_pictures(count: int) -> NDArray[np.uint8]:
    """A smooth picture that drifts, (count,H,W,3) uint8."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] / 64
    frames = np.empty((count, HEIGHT, WIDTH, 3), np.uint8)
    for t in range(count):
        waves = [np.sin(columns * a + rows * b + t / 9) for a, b in ((1, 0.3), (0.4, 1.1), (0.9, 0.8))]
        frames[t] = (np.stack(waves, -1) * 100 + 128).astype(np.uint8)
    return frames


def written(path: Path) -> Path:
    """Write a file of random weights, with only what cameras need."""
    torch.manual_seed(0)
    model = network.DepthAnything3(network.BASE)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith(("_token", "pos_embed")):
                tensor.normal_(0, 0.5)
        model.model.cam_dec.fc_fov[0].bias.fill_(1.0)
    save_file(model.state_dict(), path)
    return path


if __name__ == "__main__":
    main()
