"""VACE 1.3B on a GPU, with all memory and with less: seconds, peak, and whether the bytes stay the same.

    python benchmarks/vace.py --models DIR
    python benchmarks/vace.py --models DIR --tiny      # a minute on a CPU, to check that this script runs

DIR gets random weights if it has none (16 GB), so pictures are meaningless. Windows of 49 and of 81 frames of 832x480
with few steps, from which the time of all steps is extrapolated. The allocator refuses more than each limit, like a
smaller GPU, in a separate process; the same seed must give the same bytes in all of them, and after an interrupted job.
Failures are reported, and the other jobs continue. "Retries" counts how often the allocator had to release its cache,
and "refused" how often that was not enough, in which case a convolution may have used another algorithm. About seven
minutes on an H100.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from generator import Clock
from memory import allow
from numpy.typing import NDArray

from ex4d.errors import Cancelled
from ex4d.generate.base import Generated, Generator, Request
from ex4d.generate.diffsynth.quality import AREAS, QualityName
from ex4d.generate.diffsynth.video_model import KEPT_EVERY
from ex4d.generate.vace.quality import QUALITIES
from ex4d.generate.vace.settings import VaceSettings, Window
from ex4d.generate.vace.spec import SPEC
from ex4d.progress import Progress
from ex4d.render.conditioning import Conditioning
from ex4d.render.coverage import Coverage

LIMITS = (0.0, 8.0, 6.0)
"""Gigabytes; 0 for no limit."""

WINDOWS: tuple[Window, ...] = ("49", "81")
BROKEN_OFF: Window = "49"
"""The window whose job is also interrupted and resumed, under the first limit and the last."""

TINY_FRAMES = {"49": 9, "81": 13}
SECONDS = 360
"""Maximum time of a process for one limit, in seconds."""

SEED = 7
GPU = torch.cuda.is_available()


def shot(frames: int, width: int, height: int) -> Conditioning:
    """Noise with a hole that grows to a third of the picture, frame by frame."""
    generator = np.random.default_rng(0)
    colour = np.tile(generator.integers(0, 256, (1, height, width, 3), dtype=np.uint8), (frames, 1, 1, 1))
    mask = np.full((frames, height, width), 255, np.uint8)
    for t in range(frames):
        mask[t, :, width - width * t // (3 * frames) :] = 0
    none = np.zeros(frames)
    return Conditioning(colour * (mask[..., None] > 0), mask, Coverage(none, none, none.astype(int)))


class Steps(Clock):
    """Seconds of each stage, and the time of each sampling step."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[float] = []

    def __call__(self, stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
        """Record a step."""
        super().__call__(stage, step, steps, picture)
        if stage == "Sampling":
            self.done.append(self.ended[stage])

    def step(self) -> float:
        """Mean seconds of all steps except the first, which may compile."""
        return (self.done[-1] - self.done[1]) / (len(self.done) - 2)


class Jobs:
    """Jobs under one limit, which is part of their lines."""

    def __init__(self, label: str, quality: QualityName, steps: int, tiny: bool) -> None:
        self.label, self.quality, self.steps, self.tiny = label, quality, steps, tiny
        self.model: Generator = SPEC.make("cpu" if tiny else "cuda")

    def made(self, window: Window, progress: Progress) -> Generated:
        """Generate a whole window."""
        settings = VaceSettings(quality=self.quality, window=window, steps=self.steps)
        seen = shot(TINY_FRAMES[window], 64, 48) if self.tiny else shot(int(window), 832, 480)
        return self.model.generate(Request(seen, None, settings, SEED), progress)

    def measured(self, window: Window, state: str) -> None:
        """Run one job and print a line about it."""
        if GPU:
            torch.cuda.reset_peak_memory_stats()
        before, clock = counts(), Steps()
        made = self.made(window, clock)
        step, whole = clock.step(), QUALITIES[self.quality].steps
        parts = [clock.seconds(stage) for stage in ("Loading the model", "Encoding pictures", "Decoding")]
        used = [torch.cuda.max_memory_allocated() / 1e9, torch.cuda.max_memory_reserved() / 1e9] if GPU else [0, 0]
        retries, refused = (after - at_first for after, at_first in zip(counts(), before, strict=True))
        self.say(
            window,
            f"{state}: a step {step:.2f} s, all {whole} steps {step * whole:.1f} s; loading {parts[0]:.1f}, encoding"
            f" {parts[1]:.1f}, decoding {parts[2]:.1f}, this job {clock.total():.1f} s; peak {used[0]:.2f} GB in use,"
            f" {used[1]:.2f} taken, {made.settings['blocks_on_gpu']} blocks on the GPU; {retries} retries,"
            f" {refused} refused; bytes {digest(made)}",
        )

    def broken_off(self, window: Window) -> None:
        """Run a job that stops after its checkpoint, then resume it."""

        def stop(stage: str, step: int, steps: int, picture: object = None) -> None:
            if stage == "Sampling" and step == KEPT_EVERY:
                raise Cancelled("enough")

        seen: list[int] = []

        def watch(stage: str, step: int, steps: int, picture: object = None) -> None:
            if stage == "Sampling":
                seen.append(step)

        try:
            self.made(window, stop)
        except Cancelled:
            made = self.made(window, watch)
            began = f"from step {seen[0]}" if seen[0] == KEPT_EVERY else "NOT RESUMED"
            self.say(window, f"broken off and resumed {began}: bytes {digest(made)}")

    def say(self, window: Window, text: str) -> None:
        """Print a line immediately."""
        print(f"{self.label}, {self.quality}, {window} frames, {text}", flush=True)

    def run(self, first: bool, last: bool) -> None:
        """Run all jobs."""
        tasks: list[tuple[Window, Callable[[Window], None]]] = []
        tasks += [(window, partial(self.measured, state="cold")) for window in WINDOWS]
        if first:
            tasks += [(window, partial(self.measured, state="warm")) for window in WINDOWS]
        if first or last:
            tasks.append((BROKEN_OFF, self.broken_off))
        for window, work in tasks:
            try:
                work(window)
            except Exception as error:  # one failing job must not end the others
                self.say(window, f"FAILED: {type(error).__name__}: {error}")


def counts() -> tuple[int, int]:
    """How often the allocator released its cache, and how often it refused."""
    stats = torch.cuda.memory_stats() if GPU else {}
    return stats.get("num_alloc_retries", 0), stats.get("num_ooms", 0)


def digest(made: Generated) -> str:
    """Hash of the frames' bytes."""
    return hashlib.sha256(made.frames.tobytes()).hexdigest()[:16]


def make_tiny(models: Path) -> None:
    """Write files with few channels, as in the tests, register them with diffsynth here, and a tiny picture."""
    tests = Path(__file__).resolve().parents[1] / "tests" / "generate"
    sys.path += [str(tests), str(tests / "vace")]
    from ex4d.generate.diffsynth.library import library

    library()
    from diffsynth.models import model_loader

    model_loader.MODEL_CONFIGS.extend(import_module("tiny_vace").tree(models))
    AREAS["832x480"] = 64 * 48


def child(command: list[str]) -> dict[str, set[str]]:
    """Run a process, print its lines as they come, and return the hashes that they report for each window."""
    found: dict[str, set[str]] = {}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as run:
        clock = threading.Timer(SECONDS, run.kill)
        clock.start()
        assert run.stdout
        for line in run.stdout:
            print(line, end="", flush=True)
            if told := re.search(r", (\d+) frames, .*bytes (\w+)$", line):
                found.setdefault(told[1], set()).add(told[2])
        clock.cancel()
    if run.returncode:
        print(f"FAILED: this process ended with {run.returncode}", flush=True)
    return found


def main(
    models: Annotated[Path, typer.Option("--models", help="Folder of models.")],
    steps: Annotated[int, typer.Option("--steps", help="Steps per job, more than 5.")] = 6,
    quality: Annotated[str, typer.Option("--quality", help="Quality: final, balanced or draft.")] = "final",
    limits: Annotated[
        list[float] | None,
        typer.Option("--limit", help="Limit of GPU memory in GB, 0 for none; repeatable. Default: 0, 8 and 6."),
    ] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Run tiny models on the CPU.")] = False,
    one: Annotated[str | None, typer.Option("--one", hidden=True)] = None,
) -> None:
    """Print a line for each job, and at the end whether their frames are identical."""
    chosen = limits or list(LIMITS)
    if one is not None:
        number = int(one)
        if tiny:
            make_tiny(models)
        else:
            allow(chosen[number])
        label = f"{chosen[number]:.0f} GB" if chosen[number] else "no limit"
        jobs = Jobs(label, quality, steps, tiny)  # type: ignore[arg-type]
        jobs.run(number == 0, number == len(chosen) - 1)
        return
    os.environ |= {"EX4D_MODELS": str(models), "EX4D_CACHE": str(models / "cache"), "PYTHONUNBUFFERED": "1"}
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(models / "inductor"))
    if not tiny:
        weights = Path(__file__).with_name("random_weights.py")
        subprocess.run([sys.executable, str(weights), str(models), "--model", "vace"], check=True)
    print(f"{torch.cuda.get_device_name() if GPU else 'CPU'}, torch {torch.__version__}", flush=True)
    same: dict[str, list[set[str]]] = {window: [] for window in WINDOWS}
    for number in range(len(chosen)):
        shutil.rmtree(models / "cache" / "unfinished", ignore_errors=True)  # left by a run that was interrupted
        told = child([sys.executable, __file__, *sys.argv[1:], "--one", str(number)])
        for window in WINDOWS:
            same[window].append(told.get(window, set()))
    for number_of, found in same.items():
        verdict = "the same" if all(found) and len(set().union(*found)) == 1 else "NOT THE SAME, or not all there"
        print(f"{number_of} frames: bytes under {', '.join(f'{g:.0f}' for g in chosen)} GB (0: no limit): {verdict}")


if __name__ == "__main__":
    typer.run(main)
