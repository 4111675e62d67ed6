"""Training an adapter at full size: seconds per sample, memory, losses: `python benchmarks/training.py OUT`.

Wan2.1-I2V-14B with random weights, created on the spot, and random samples of 512x512, 49 frames, as the VAE would
encode them, so no network connection, model files or dataset are needed. Four samples repeat, with the same noise each
time, so that the loss falls. `torchrun --nproc_per_node 2 benchmarks/training.py OUT` uses two GPUs.
"""

import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn

from ex4d.generate.diffsynth.library import library
from ex4d.training import journal
from ex4d.training.loop import train
from ex4d.training.network import Encoded, Network, training_library
from ex4d.training.settings import Quantisation, TrainSettings

SAMPLES = 4
LAYERS = 40
FULL = {"dim": 5120, "ffn_dim": 13824, "num_heads": 40, "text_dim": 4096}
TINY = {"dim": 96, "ffn_dim": 256, "num_heads": 4, "text_dim": 64}


class Random:
    """A few random samples, repeated."""

    def __init__(self, tiny: bool) -> None:
        generator, (t, h, w) = torch.Generator().manual_seed(0), (2, 4, 6) if tiny else (13, 64, 64)

        def random(*size: int) -> torch.Tensor:
            return torch.randn(size, generator=generator)

        latent, words = (1, 16, t, h, w), 64 if tiny else 4096
        self.samples = [
            Encoded(
                video=random(*latent),
                image=random(*latent),
                feature=random(1, 257, 1280),
                colour=random(*latent),
                mask=random(*latent),
                prompt=random(1, 512, words),
            )
            for _ in range(SAMPLES)
        ]

    def training(self, number: int) -> tuple[Encoded, int]:
        """One of the samples, always with the same noise."""
        return self.samples[number % SAMPLES], number % SAMPLES

    def validation(self) -> list[tuple[Encoded, int]]:
        """No samples."""
        return []


def video_model(tiny: bool, device: torch.device) -> Any:
    """The video model with random weights in bfloat16; all blocks are copies of the same one."""
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with device:
        dit = library().wan_video.WanModel(
            **{"in_dim": 36, "out_dim": 16, "freq_dim": 256, "eps": 1e-6, "patch_size": (1, 2, 2), "num_layers": 1},
            **(TINY if tiny else FULL),
            has_image_input=True,
        )
    torch.set_default_dtype(torch.float32)
    (first,) = dit.blocks
    dit.blocks = nn.ModuleList([first, *(copy.deepcopy(first) for _ in range((2 if tiny else LAYERS) - 1))])
    return dit


def main(
    steps: Annotated[int, typer.Option("--steps", help="Number of steps.")] = 50,
    batch: Annotated[int, typer.Option("--batch", help="Samples per step, over all GPUs.")] = 1,
    quant: Annotated[str, typer.Option("--quant", help="Quantization of the video model: none or nf4.")] = "none",
    offload: Annotated[bool, typer.Option("--offload", help="Keep activations in main memory.")] = False,
    rate: Annotated[float, typer.Option("--rate", help="Learning rate.")] = 3e-4,
    limit_gb: Annotated[float | None, typer.Option("--limit_gb", help="Maximum GPU memory in GB.")] = None,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Use a tiny model, which also runs on the CPU, to try this script.")
    ] = False,
) -> None:
    """Train for some steps and print the figures."""
    began = time.monotonic()
    if tiny:
        torch.set_num_threads(1)
    accelerator = training_library().accelerate.Accelerator(cpu=not torch.cuda.is_available())
    device, say = accelerator.device, accelerator.print
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        say(f"{accelerator.num_processes} x {card.name}, {card.total_memory / 1e9:.0f} GB, torch {torch.__version__}")
        if limit_gb:
            torch.cuda.set_per_process_memory_fraction(limit_gb * 1e9 / card.total_memory)
    kept: Quantisation = "nf4" if quant == "nf4" else "none"
    dit = video_model(tiny, device if kept == "none" else torch.device("cpu"))
    network = Network(dit, quant=kept, offload=offload, device=device, hidden=32 if tiny else 1024)
    del dit
    say(f"{network.share()} {len(network.trained())} tensors; ready after {time.monotonic() - began:.0f} s")
    if device.type == "cuda":
        torch.cuda.empty_cache()
        say(f"{torch.cuda.memory_allocated(device) / 1e9:.1f} GB before the first step")
        torch.cuda.reset_peak_memory_stats(device)
    settings = TrainSettings(steps=steps, batch=batch, rate=rate, warm_up=5, quant=kept, save_every=10**6)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        train(network, Random(tiny), settings, out, accelerator, lambda weights: None, say=say)
        if accelerator.is_main_process:
            figures(journal.read(out), batch)


def figures(lines: list[dict[str, Any]], batch: int) -> None:
    """Print the figures of a training."""
    losses, seconds = [line["loss"] for line in lines], [line["seconds"] for line in lines]
    each = statistics.median(seconds[len(seconds) // 5 :])
    round_ = max(1, SAMPLES // batch)
    curve = [statistics.mean(losses[n : n + round_]) for n in range(0, len(losses) - round_ + 1, round_)]
    print(f"loss, mean of each round of {SAMPLES} samples: {' '.join(f'{loss:.3f}' for loss in curve)}")
    print(f"{each:.3f} s a sample, {1 / each:.3f} samples a second; first step {seconds[0] * batch:.1f} s")
    print(f"peak {lines[-1]['gigabytes']:.2f} GB (of torch's tensors, on the first GPU)")


if __name__ == "__main__":
    typer.run(main)
