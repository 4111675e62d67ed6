"""VACE 1.3B on a GPU, free and with less memory: seconds, peak, and whether the bytes stay the same.

    python benchmarks/vace.py --models DIR

DIR gets random weights where it has none (16 GB), so pictures mean nothing. Windows of 49 and of 81 frames of 832x480;
`final` with few of its steps, from which the time of all is told, and `draft` as it is. The allocator refuses more than
each limit, as a smaller GPU would, in a process of its own; the same seed must give the same bytes in all of them, and
after a job that was broken off. About seven minutes on an H100.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from generator import Clock
from memory import allow

from ex4d.errors import Cancelled
from ex4d.generate.base import Generated, Request
from ex4d.generate.diffsynth.quality import QualityName
from ex4d.generate.diffsynth.video_model import KEPT_EVERY
from ex4d.generate.vace.quality import QUALITIES
from ex4d.generate.vace.settings import VaceSettings, Window
from ex4d.generate.vace.spec import SPEC
from ex4d.progress import Progress
from ex4d.render.conditioning import Conditioning
from ex4d.render.coverage import Coverage

LIMITS = (0.0, 16.0, 12.0)
"""Gigabytes; 0 for no limit."""

JOBS: tuple[tuple[QualityName, Window], ...] = (("final", "49"), ("final", "81"), ("draft", "81"))

SEED = 7


def shot(frames: int, width: int = 832, height: int = 480) -> Conditioning:
    """Noise behind which a hole of a third of the picture opens, frame by frame."""
    generator = np.random.default_rng(0)
    colour = np.tile(generator.integers(0, 256, (1, height, width, 3), dtype=np.uint8), (frames, 1, 1, 1))
    mask = np.full((frames, height, width), 255, np.uint8)
    for t in range(frames):
        mask[t, :, width - width * t // (3 * frames) :] = 0
    none = np.zeros(frames)
    return Conditioning(colour * (mask[..., None] > 0), mask, Coverage(none, none, none.astype(int)))


MODEL = SPEC.make("cuda")


def job(quality: QualityName, window: Window, steps: int, progress: Progress) -> Generated:
    """A whole window."""
    settings = VaceSettings(quality=quality, window=window, steps=steps if quality == "final" else None)
    return MODEL.generate(Request(shot(int(window)), None, settings, SEED), progress)


def measured(quality: QualityName, window: Window, steps: int, label: str) -> str:
    """A line about one job; returns what its bytes come down to."""
    torch.cuda.reset_peak_memory_stats()
    clock = Clock()
    made = job(quality, window, steps, clock)
    taken, whole = made.settings["steps"], QUALITIES[quality].steps
    step = clock.seconds("Sampling") / taken
    parts = [clock.seconds(stage) for stage in ("Loading the model", "Encoding pictures", "Decoding")]
    digest = hashlib.sha256(made.frames.tobytes()).hexdigest()[:12]
    print(
        f"{label:22} {quality:5} {window} frames: a step {step:.2f} s, all {whole} steps {step * whole:5.1f} s; loading"
        f" {parts[0]:.1f}, encoding {parts[1]:.1f}, decoding {parts[2]:.1f}, this job {clock.total():.1f} s; peak"
        f" {torch.cuda.max_memory_allocated() / 1e9:.2f} GB in use, {torch.cuda.max_memory_reserved() / 1e9:.2f} taken,"
        f" {made.settings['blocks_on_gpu']} of 45 blocks on the GPU; bytes {digest}",
        flush=True,
    )
    return digest


def broken_off(steps: int) -> str:
    """A job that stops after its checkpoint, and the same once more; returns what its bytes come down to."""

    def stop(stage: str, step: int, steps: int, picture: object = None) -> None:
        if stage == "Sampling" and step == KEPT_EVERY:
            raise Cancelled("enough")

    seen: list[int] = []
    try:
        job("final", "49", steps, stop)
    except Cancelled:
        made = job("final", "49", steps, lambda stage, step, *_: seen.append(step) if stage == "Sampling" else None)
    assert seen[0] == KEPT_EVERY, "it did not resume"
    return hashlib.sha256(made.frames.tobytes()).hexdigest()[:12]


def run(limit: float, steps: int) -> None:
    """All jobs under one limit."""
    allow(limit)
    where = f"{limit:.0f} GB" if limit else "no limit"
    for quality, window in JOBS:
        first = measured(quality, window, steps, f"{where}, cold")
        if not limit and quality == "final":
            again = measured(quality, window, steps, f"{where}, warm")
            print(f"the same bytes twice: {first == again}", flush=True)
        if not limit and (quality, window) == ("final", "49"):
            print(f"the same bytes after a job that was broken off: {first == broken_off(steps)}", flush=True)


def main(
    models: Annotated[Path, typer.Option("--models", help="Folder of models.")],
    steps: Annotated[int, typer.Option("--steps", help="Of `final` jobs, more than 5.")] = 6,
    limit: Annotated[float | None, typer.Option("--limit", hidden=True)] = None,
) -> None:
    """Print a line for each job."""
    if limit is not None:
        run(limit, steps)
        return
    os.environ |= {"EX4D_MODELS": str(models), "EX4D_CACHE": str(models / "cache")}
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(models / "inductor"))
    weights = Path(__file__).with_name("random_weights.py")
    subprocess.run([sys.executable, str(weights), str(models), "--model", "vace"], check=True)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    for gigabytes in LIMITS:
        command = [sys.executable, __file__, "--models", str(models), "--steps", str(steps), "--limit", str(gigabytes)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    typer.run(main)
