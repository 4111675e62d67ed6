"""The EX-4D model on GPUs with less memory: time, and whether the bytes stay the same: `python benchmarks/memory.py`.

The allocator refuses more than each limit, like a smaller GPU, in a separate process. Each quality runs twice, cold and
warm, with few steps; the same seed must give the same bytes in all of them. Finally, memory is taken away while a job
runs: the job must fail with a clear message, and the next one must work.
"""

import hashlib
import subprocess
import sys
import time
from typing import Annotated

import torch
import typer
from generator import Clock, request
from render import synthetic

from ex4d.errors import InputError
from ex4d.generate.base import Generator
from ex4d.generate.diffsynth.quality import QualityName
from ex4d.generate.wan.spec import SPEC
from ex4d.progress import silent
from ex4d.render import conditioning

STEPS: dict[QualityName, int] = {"final": 3, "draft": 4}
RUNS: tuple[tuple[float, tuple[QualityName, ...]], ...] = (
    (0, ("final", "draft")),
    (48, ("final",)),
    (24, ("final",)),
    (16, ("draft",)),
    (12, ("draft",)),
)
"""Gigabytes (0 for no limit) and qualities."""


def main(
    limit: Annotated[float | None, typer.Option("--limit", hidden=True)] = None,
    quality: Annotated[list[QualityName] | None, typer.Option("--quality", hidden=True)] = None,
) -> None:
    """Print a line for each job."""
    if limit is not None:
        run(limit, tuple(quality or ()))
        return
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    for gigabytes, qualities in RUNS:
        asked = [word for name in qualities for word in ("--quality", name)]
        subprocess.run([sys.executable, __file__, "--limit", str(gigabytes), *asked], check=True)


def run(limit: float, qualities: tuple[QualityName, ...]) -> None:
    """Run all jobs under one limit."""
    allow(limit)
    seen, model = conditioning.render(synthetic(512, 512, "60")), SPEC.make("cuda")
    for quality in qualities:
        for state in ("cold", "warm"):
            torch.cuda.reset_peak_memory_stats()
            clock = Clock()
            made = model.generate(request(seen, quality, STEPS[quality]), clock)
            where = f"{limit:.0f} GB" if limit else "no limit"
            took = [clock.seconds(stage) for stage in ("Encoding pictures", "Sampling", "Decoding")]
            print(
                f"{where:9} {quality:6} {state}: {made.settings['blocks_on_gpu']} blocks on the GPU,"
                f" peak {torch.cuda.max_memory_allocated() / 1e9:4.1f} GB; encoding {took[0]:.1f},"
                f" a step {took[1] / STEPS[quality]:.2f}, decoding {took[2]:.1f}, all {clock.total():.1f} s;"
                f" bytes {hashlib.sha256(made.frames.tobytes()).hexdigest()[:12]}",
                flush=True,
            )
    if not limit:
        short_of_memory(model)


def allow(gigabytes: float) -> None:
    """Let the allocator take this much; 0 for everything."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(gigabytes * 1e9 / total if gigabytes else 1.0)


def short_of_memory(model: Generator) -> None:
    """Run a job whose memory is taken away, then the next one, and release everything."""
    seen = conditioning.render(synthetic(512, 512, "60"))
    torch.cuda.empty_cache()
    allow(torch.cuda.memory_allocated() / 1e9 + 0.3)
    start = time.monotonic()
    try:
        model.generate(request(seen, "draft"), silent)
        print("short of memory: it did not fail")
    except InputError as error:
        print(f"short of memory, after {time.monotonic() - start:.1f} s: {error}", flush=True)
    allow(0)
    model.generate(request(seen, "draft"), silent)
    held = torch.cuda.memory_reserved() / 1e9
    model.unload()
    print(f"the next job works; unload: {held:.1f} -> {torch.cuda.memory_reserved() / 1e9:.1f} GB", flush=True)


if __name__ == "__main__":
    typer.run(main)
