"""Time of Video-Depth-Anything on a CPU, before and now: `python benchmarks/depth_on_cpu.py`.

49 frames of 1024x576, random weights of the real size. Before: as published, every window of 32 frames anew. Now: every
frame goes through the image encoder once, in full and reduced detail. Others may be using the machine meanwhile, so
beside the time on the clock stands the CPU time divided by the cores: what it takes on a machine of one's own.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import typer
from depth_models import moving_picture, random_video
from numpy.typing import NDArray
from torch.nn import functional

from ex4d.depth.estimators import video_depth_anything
from ex4d.depth.estimators import video_depth_anything_network as vda


def main() -> None:
    """Print a line for each way, and how far apart their results are."""
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads", flush=True)
    frames = moving_picture().frames
    with tempfile.TemporaryDirectory() as folder:
        random_video(Path(folder))
        model = vda.load(Path(folder) / video_depth_anything.PART.files[0])
    published = measure(
        "as published", lambda: np.stack(list(vda.stitched(whole_windows(frames, model))))[: len(frames)]
    )
    full = measure("full", lambda: with_gaps(frames, model, vda.SHORT_SIDE))
    measure("reduced", lambda: with_gaps(frames, model, vda.REDUCED_SIDE))
    print(f"full against as published: {np.abs(full - published).max() / np.ptp(published):.1e} of the range at most")


def measure(name: str, run: Callable[[], NDArray[np.float32]]) -> NDArray[np.float32]:
    """Run it once and print a line."""
    began, used = time.monotonic(), time.process_time()
    found = run()
    fair = (time.process_time() - used) / torch.get_num_threads()
    print(f"{name:14} {time.monotonic() - began:6.1f} s, CPU time / cores {fair:6.1f} s", flush=True)
    return found


def with_gaps(frames: NDArray[np.uint8], model: vda.VideoDepthAnything, side: int) -> NDArray[np.float32]:
    """Disparity of the frames; prints the longest time without a word of progress."""
    told = [time.monotonic()]
    found = np.stack(list(vda.estimated(frames, model, lambda *step: told.append(time.monotonic()), side)))
    print(f"  progress {len(told) - 1} times, {max(np.diff(told)):.1f} s apart at most")
    return found


def whole_windows(frames: NDArray[np.uint8], model: vda.VideoDepthAnything) -> Iterator[NDArray[np.float32]]:
    """Disparity (32,H,W) of each window, nothing of which was computed before."""
    size = vda.working_size(*frames.shape[1:3])
    for numbers in vda.window_numbers(len(frames)):
        shown = vda._shown(frames[np.minimum(numbers, len(frames) - 1)], size)
        with torch.inference_mode():
            parts = [model.encoded(part) for part in shown.split(8)]
            levels = [torch.cat(level) for level in zip(*parts, strict=True)]
            seen = model.decoded(levels, size, len(numbers), lambda work: None)
            yield functional.interpolate(seen[:, None], frames.shape[1:3], mode="bilinear", align_corners=True)[
                :, 0
            ].numpy()


if __name__ == "__main__":
    typer.run(main)
