"""Time of Video-Depth-Anything on a CPU, before and now: `python benchmarks/depth_on_cpu.py`.

49 frames of 1024x576, random weights of the real size. Before: as published, each window of 32 frames is computed
anew; one is measured, because all take the same time. Now: every frame passes the image encoder once, at full and
reduced detail. Other programs may be using the machine meanwhile, so the wall-clock time is followed by the CPU time
divided by the number of cores, which is roughly the time on an idle machine.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import typer
from depth_models import moving_picture, random_video
from numpy.typing import NDArray
from torch.nn import functional

from ex4d.depth.estimators import video_depth_anything
from ex4d.depth.estimators import video_depth_anything_network as vda
from ex4d.progress import Progress

WINDOWS = len(list(vda.window_numbers(49)))


def main() -> None:
    """Print a line for each variant."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    frames = moving_picture().frames
    with tempfile.TemporaryDirectory() as folder:
        random_video(Path(folder))
        model = vda.load(Path(folder) / video_depth_anything.PART.files[0])
    seconds, fair = measured(lambda: window(frames[:32], model))
    tell(f"as published, {WINDOWS} times one window", WINDOWS * seconds, WINDOWS * fair)
    for name, side in (("reduced", vda.REDUCED_SIDE), ("full", vda.SHORT_SIDE)):
        told = [time.monotonic()]
        run = partial(estimate, frames, model, side, lambda *step, told=told: told.append(time.monotonic()))
        tell(name, *measured(run), f"; progress {len(told) - 1} times, {max(np.diff(told)):.1f} s apart at most")


def measured(run: Callable[[], object]) -> tuple[float, float]:
    """Seconds of wall-clock time, and seconds of CPU time divided by the number of cores."""
    began, used = time.monotonic(), time.process_time()
    run()
    return time.monotonic() - began, (time.process_time() - used) / torch.get_num_threads()


def tell(name: str, seconds: float, fair: float, more: str = "") -> None:
    """Print a line."""
    print(f"{name:36} {seconds:6.1f} s, CPU time / cores {fair:6.1f} s{more}", flush=True)


def estimate(frames: NDArray[np.uint8], model: vda.VideoDepthAnything, side: int, progress: Progress) -> None:
    """Estimate all frames the present way."""
    for _ in vda.estimated(frames, model, progress, side):
        pass


def window(frames: NDArray[np.uint8], model: vda.VideoDepthAnything) -> None:
    """Estimate one window with nothing computed in advance: eight frames at a time, as before."""
    height, width = frames.shape[1:3]
    size = vda.working_size(height, width)
    model.at_once = 8
    with torch.inference_mode():
        parts = [model.encoded(part) for part in vda._shown(frames, size).split(8)]
        levels = [torch.cat(level) for level in zip(*parts, strict=True)]
        seen = model.decoded(levels, size, len(frames), lambda work: None)
        functional.interpolate(seen[:, None], (height, width), mode="bilinear", align_corners=True)
    model.at_once = vda._AT_ONCE_ON_CPU


if __name__ == "__main__":
    typer.run(main)
