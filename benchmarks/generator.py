"""The EX-4D model on a GPU: loading, memory, time and error of each quality: `python benchmarks/generator.py`.

EX4D_MODELS names the models, real or random (`benchmarks/random_weights.py`). The shot is synthetic, 49 frames of
512x512, rendered along an orbit of 60 degrees. Everything runs as in a job: files are found, checked, converted and
loaded by the library, and models are warm in the second job. `--limit_gb 24` makes the allocator refuse more than that.
"""

import os
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from render import synthetic

from ex4d.generate.base import Generated, Generator, Request
from ex4d.generate.diffsynth.quality import QualityName
from ex4d.generate.wan.quality import QUALITIES
from ex4d.generate.wan.settings import WanSettings
from ex4d.generate.wan.spec import SPEC
from ex4d.metrics.pixels import psnr
from ex4d.render import conditioning
from ex4d.render.contact_sheet import write_picture

SEED = 7


class Clock:
    """Seconds of each stage, measured through the progress of a job."""

    def __init__(self) -> None:
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.start = time.monotonic()

    def __call__(self, stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
        """Record a step."""
        now = time.monotonic()
        self.began.setdefault(stage, now)
        self.ended[stage] = now

    def seconds(self, stage: str) -> float:
        """Seconds from the first to the last step of a stage."""
        return self.ended.get(stage, 0) - self.began.get(stage, 0)

    def total(self) -> float:
        """Seconds since the clock was created."""
        return time.monotonic() - self.start


def request(seen: conditioning.Conditioning, quality: QualityName, steps: int | None = None) -> Request:
    """The request of a job at a quality."""
    return Request(seen, None, WanSettings(quality=quality, steps=steps), SEED)


def job(model: Generator, seen: conditioning.Conditioning, quality: QualityName, label: str) -> Generated:
    """Run one job, and print a line about it."""
    torch.cuda.reset_peak_memory_stats()
    clock = Clock()
    made = model.generate(request(seen, quality), clock)
    total = clock.total()
    load = clock.seconds("Loading the model")
    print(
        f"{quality:8} {label} sampling {clock.seconds('Sampling'):6.1f} s, {made.settings['predictions']} predictions;"
        f" encoding {clock.seconds('Encoding pictures'):.1f}, decoding {clock.seconds('Decoding'):.1f}, prompt"
        f" {clock.seconds('Reading the prompt'):.1f}, converting {clock.seconds('Converting models'):.1f}, loading"
        f" {load:.1f}, all {total:.1f} s; peak {torch.cuda.max_memory_allocated() / 1e9:.1f} GB,"
        f" {made.settings['blocks_on_gpu']} blocks on the GPU",
        flush=True,
    )
    return made


def main(
    qualities: Annotated[
        list[str] | None, typer.Option("--quality", help="Quality to measure; repeatable. Default: all.")
    ] = None,
    limit_gb: Annotated[float | None, typer.Option("--limit_gb", help="Maximum GPU memory in GB.")] = None,
    pictures: Annotated[Path | None, typer.Option("--pictures", help="Folder for an image of each quality.")] = None,
    keep: Annotated[
        Path | None, typer.Option("--keep", help="File (.npz) to compare `final` with; written if missing.")
    ] = None,
) -> None:
    """Run two jobs at each quality: cold and warm."""
    device = torch.cuda.get_device_properties(0)
    print(f"{device.name}, {device.total_memory / 1e9:.0f} GB, torch {torch.__version__}", flush=True)
    if limit_gb:
        torch.cuda.set_per_process_memory_fraction(limit_gb * 1e9 / device.total_memory)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", "/tmp/ex4d_inductor")
    scene = synthetic(512, 512, "60")
    seen = conditioning.render(scene)
    results: dict[str, Generated] = {}
    model = SPEC.make("cuda")
    for quality in (q for q in QUALITIES.values() if not qualities or q.name in qualities):
        first = job(model, seen, quality.name, "cold")
        results[quality.name] = job(model, seen, quality.name, "warm")
        print(f"          the same bytes twice: {first.frames.tobytes() == results[quality.name].frames.tobytes()}")
    if keep and keep.exists() and "final" in results:
        same = np.array_equal(np.load(keep)["frames"], results["final"].frames)
        print(f"          final equals that of {keep.name}: {same}")
    elif keep and "final" in results:
        np.savez(keep, frames=results["final"].frames)
    for name, made in results.items():
        if name != "final" and "final" in results:
            print(f"{name:9} against final: {psnr(made.frames, results['final'].frames):.1f} dB")
    print(*dict.fromkeys(note for made in results.values() for note in made.notes), sep="\n")
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        rows = [np.concatenate(list(made.frames[[0, 16, 32, 48]]), axis=1) for made in results.values()]
        write_picture(pictures / "qualities.png", np.concatenate(rows))


if __name__ == "__main__":
    typer.run(main)
