"""The half of `viewport.py` that runs in Blender's Python: it imports one shot and plays it."""

import json
import os
import re
import statistics
import sys
import time
from pathlib import Path

folder, side = Path(sys.argv[1]), sys.argv[2]
os.environ["EX4D_DATA"] = str(folder / "user" / side)
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import bpy  # noqa: E402, I001 - first, as it brings addon_utils
import addon_utils  # noqa: E402

from ex4d.jobs.client import JobUpdate  # noqa: E402
from ex4d.pipeline.requests import Blob, Source  # noqa: E402
from ex4d.pipeline.settings import SourceSettings  # noqa: E402
from ex4d.plain import to_plain  # noqa: E402


def peak_mb() -> float:
    """Peak memory of this process in MB; only Linux reports it without counting the parent's."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) / 1e3 if found else float("nan")


def main() -> None:
    """Print seconds, longest step, disk, memory and milliseconds per frame."""
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    addon_utils.enable("blender_addon", default_set=True)
    from blender_addon.shot import source
    from blender_addon.work.requests import OpenRequest

    scene, facts = bpy.context.scene, json.loads((folder / "facts.json").read_text())
    scene.ex4d.detail = side.upper()
    settings = SourceSettings(frames=facts["frames"])
    known = json.dumps(to_plain(Source((Blob("1" * 64, 1, "clip.mp4"),), settings=settings)))
    request = OpenRequest(scene.name, f"shot_{side}", str(folder / "clip.mp4"), "", "", {}, "[]", source=known)
    files = {file.name: file for file in (folder / side).iterdir()}
    before, began, cpu, longest = peak_mb(), time.perf_counter(), time.process_time(), 0.0
    steps = source.bring_in(request, JobUpdate("job", "done", facts=facts, files=files))
    while True:
        step = time.perf_counter()
        try:
            next(steps)
        except StopIteration:
            break
        finally:
            longest = max(longest, time.perf_counter() - step)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(f"  Blender brings it in: {seconds:.2f} s, {cpu:.2f} s of CPU, longest step {1e3 * longest:.0f} ms", end="")
    print(f", {peak_mb() - before:.0f} MB of memory")
    there = sorted((file.stat().st_size, file.name) for file in scene.ex4d.folder.iterdir())
    print(f"  disk: {sum(size for size, _ in there) / 1e6:.1f} MB:", end=" ")
    print(", ".join(f"{name} {size / 1e6:.1f}" for size, name in reversed(there)))
    times = []
    for frame in [*range(scene.frame_start, scene.frame_end + 1)] * 2:
        began = time.perf_counter()
        scene.frame_set(frame)
        bpy.context.evaluated_depsgraph_get().update()
        times.append(1e3 * (time.perf_counter() - began))
    played = times[len(times) // 2 :]  # the first round also reads the movies' headers
    print(f"  a frame: {statistics.median(played):.2f} ms, worst {max(played):.2f} ms")


main()
