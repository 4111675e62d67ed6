"""The cost of a shot in Blender: opening once depth is there, disk, memory, and how fast the viewport's mesh plays.

    python benchmarks/viewport.py BLENDER_PYTHON [FRAMES [LONGEST_SIDE]]

BLENDER_PYTHON is a Python with bpy and the add-on, such as .venv-bpy-4.5.15/bin/python. The clip is the sample, scaled
to 1920x1080 and played forwards and backwards; its depth is as smooth and as noisy as that of a network that works at
half the size. "Full" is the mesh with one vertex per pixel and depth in float32, as every shot was stored at first;
"light" is what opening creates.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from ex4d.geometry.depth_video import DepthVideo, load_depth_npz, save_depth
from ex4d.geometry.intrinsics import fit_frame, from_focal
from ex4d.media.clip import read_clip
from ex4d.media.movie import write_movie
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.open import gather
from ex4d.pipeline.requests import Reconstruct, Source
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import LONGEST_SIDE, SourceSettings
from ex4d.progress import SNAPPING
from ex4d.storage.npz import open_arrays

SAMPLE = Path(__file__).resolve().parents[1] / "sample"
WIDTH, HEIGHT = 1920, 1080
NOISE = 1e-3
"""Noise as a fraction of the disparity, at half the size."""


def make_inputs(folder: Path, frames: int, longest_side: int) -> tuple[Path, Path]:
    """A clip and its depth at the working size."""
    sample = read_clip(SAMPLE / "clip.mp4")
    with open_arrays(SAMPLE / "clip.depth.npz", "depth file") as arrays:
        true = arrays.read("depth")
    there = len(true)
    order = [t % (2 * there - 2) for t in range(frames)]
    order = [min(t, 2 * there - 2 - t) for t in order]
    clip = np.stack([cv2.resize(sample.frames[t], (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC) for t in order])
    write_movie(folder / "clip.mp4", clip, sample.fps)
    fit, noise = fit_frame(WIDTH, HEIGHT, longest_side), np.random.default_rng(0)
    size = fit.width, fit.height
    depth = np.empty((frames, *size[::-1]), np.float32)
    for into, t in zip(depth, order, strict=True):
        small = cv2.resize(1 / true[t].astype(np.float32), (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)
        small *= 1 + noise.normal(0, NOISE, small.shape).astype(np.float32)
        into[:] = 1 / cv2.resize(small, size, interpolation=cv2.INTER_LINEAR)
    save_depth(folder / "clip.depth.npz", DepthVideo(depth, from_focal(size[0], *size), "a network, nearly"))
    return folder / "clip.mp4", folder / "clip.depth.npz"


@dataclass
class AfterDepth:
    """Measures the duration of a job after its depth is there, as a `Progress`."""

    since: float = 0.0
    cpu_since: float = 0.0

    def __call__(self, stage: str, step: int, steps: int, picture: object = None) -> None:
        """Record the last step of any stage before these as the time when depth is there."""
        if stage not in (SNAPPING, "Finding occlusions", "Writing files"):
            self.since, self.cpu_since = time.monotonic(), time.process_time()


def reconstruct(clip: Path, depth: Path, out: Path, frames: int, longest_side: int) -> tuple[dict, str]:
    """Facts of the job, and its seconds after depth is there, as text."""
    out.mkdir()
    # The search for a camera comes after the shot exists.
    settings = SourceSettings(frames=frames, longest_side=longest_side, estimator="file", camera_motion="file")
    blobs = {blob_of(file): file for file in (clip, depth)}
    first, second = blobs
    job = Reconstruct(Source((first,), (second,), settings=settings))
    (out.parent / "work").mkdir(exist_ok=True)
    watch = AfterDepth()
    facts = run(job, gather(job, blobs.__getitem__, out.parent / "work"), out, Runtime("cpu"), watch)
    seconds, cpu = time.monotonic() - watch.since, time.process_time() - watch.cpu_since
    return facts, f"{seconds:.2f} s, {cpu:.2f} s of CPU"


def main() -> None:
    """Print both sides."""
    blender, *numbers = sys.argv[1:]
    frames, longest_side = [*map(int, numbers), *(49, LONGEST_SIDE)[len(numbers) :]]
    with TemporaryDirectory() as name:
        folder = Path(name)
        clip, depth = make_inputs(folder, frames, longest_side)
        reconstruct(clip, depth, folder / "warm", 2, longest_side)  # compiles
        facts, seconds = reconstruct(clip, depth, folder / "light", frames, longest_side)
        shutil.copytree(folder / "light", folder / "full")
        whole = load_depth_npz(folder / "light" / "depth.npz")
        exact = load_depth_npz(depth)
        began = time.monotonic()
        save_depth(folder / "full" / "depth.npz", replace(exact, provider=whole.provider))
        as_floats = time.monotonic() - began
        began = time.monotonic()
        save_depth(folder / "packed.npz", exact, packed=True)
        packing = time.monotonic() - began
        packed = load_depth_npz(folder / "packed.npz").depth
        error = max(float(np.abs(a / b - 1).max()) for a, b in zip(packed, exact.depth, strict=True))
        print(f"{frames} frames of {WIDTH}x{HEIGHT}, opened at {facts['width']}x{facts['height']}")
        print(f"depth: packing {packing:.2f} s, float32 {as_floats:.2f} s; greatest relative error {error:.2e}")
        del whole, exact
        print(f"the server, after depth is there: {seconds}")
        (folder / "facts.json").write_text(json.dumps(facts))
        for side in ("full", "light"):
            print(f"{side}:", flush=True)
            script = Path(__file__).with_name("viewport_in_blender.py")
            subprocess.run([blender, str(script), str(folder), side], check=True)


if __name__ == "__main__":
    main()
