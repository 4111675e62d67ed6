"""Time and memory for finding a camera: `taskset -c 0,1 python benchmarks/source_camera_time.py`.

A generated scene at the working size of 1080p clips, with depth that has the errors of models, and an unknown lens.
Child processes stay on the CPU cores that this script is started on.
"""

import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from ex4d.geometry import intrinsics
from ex4d.source_camera import error
from ex4d.source_camera.find import find
from ex4d.source_camera.found import AUTO, Wish
from ex4d.synthetic import depth_errors, footage
from ex4d.synthetic.scenes import SCENES

ASSUMED_DEGREES = 54.0


def main(
    scene: Annotated[str, typer.Argument(help="Name of a scene in ex4d.synthetic.")] = "street",
    frames: Annotated[int, typer.Option(help="Number of frames.")] = 250,
    width: Annotated[int, typer.Option(help="Width in pixels.")] = 1024,
) -> None:
    """Print the seconds of each stage, and the memory."""
    world, recording = SCENES[scene](frames, 0), footage.Recording(width, width * 9 // 16, frames)
    source = footage.film(world, recording)
    depth = depth_errors.wrong(source.depth, depth_errors.usual(0), 0)
    assumed = intrinsics.from_focal(intrinsics.focal_of(ASSUMED_DEGREES, width), width, width * 9 // 16)
    stages: dict[str, float] = defaultdict(float)
    before, began = _megabytes("VmRSS"), time.perf_counter()
    last = began

    def progress(stage: str, step: int, steps: int, picture: NDArray | None = None) -> None:
        nonlocal last
        now = time.perf_counter()
        stages[stage] += now - last
        last = now

    made = find(source.frames, depth, Wish(AUTO, intrinsics.per_frame(assumed, frames), False), progress)
    print(f"{scene}, {frames} frames of {width}x{width * 9 // 16}: {time.perf_counter() - began:.0f} s, {made.method}")
    print(", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in sorted(stages.items(), key=lambda item: -item[1])))
    print(f"{before} MB with clip and depth before, {_megabytes('VmHWM')} MB at most")
    if made.camera_to_world is not None:
        true = source.cameras
        longer = np.nan if made.lens is None else error.focal(made.lens, true.intrinsics)
        print(f"ATE {error.absolute(made.camera_to_world, true.camera_to_world):.3%}, focal length {longer:+.2%}")
    print(*made.notes, *made.choice_notes)


def _megabytes(line: str) -> int:
    """Memory of this process in megabytes, from Linux's status file."""
    lines = dict(one.split(":", 1) for one in Path("/proc/self/status").read_text().splitlines())
    return int(lines[line].split()[0]) // 1024


if __name__ == "__main__":
    typer.run(main)
