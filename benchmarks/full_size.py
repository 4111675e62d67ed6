"""Results at the clip's own size compared with the working size: `taskset -c 0,1 python benchmarks/full_size.py`.

First with the truth: generated scenes of 1920x1080 as a sharp camera sees them (four rays per pixel, no noise and no
shutter), from a second camera that has turned by 10 and by 20 degrees. PSNR of the pixels that are real in both
results, and of those lent by other frames.

Then one whole job with the preview, each variant in its own process: seconds, memory, and the quality of real pixels
where the camera has not moved.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from numpy.typing import NDArray

from ex4d.geometry import camera_path, transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.intrinsics import FrameFit, fit_frame
from ex4d.media.clip import open_source
from ex4d.media.mastering import write_ffv1
from ex4d.media.movie import write_movie
from ex4d.metrics.pixels import psnr
from ex4d.pipeline import take
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.open import gather
from ex4d.pipeline.requests import Blob, Generate, Preview, Source
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, RenderSettings, ResultSize, SourceSettings
from ex4d.progress import silent
from ex4d.synthetic import depth_errors, footage, scenes, shading
from ex4d.synthetic.world import Motion, World, solids_at

WIDTH, HEIGHT, FPS = 1920, 1080, Fraction(24)
FRAMES_OF_TRUTH = 3
SCENES = "street,drone,still"
REPEATED = 13
"""The clip of the second part repeats this many frames of a scene, forwards and backwards."""


class Job:
    """A clip with depth, cameras and a path as files, and takes of it."""

    def __init__(self, folder: Path, longest_side: int = 1024) -> None:
        self.folder, self.longest_side = folder, longest_side

    def files(self, frames: int) -> tuple[Source, Blob, dict[str, Path]]:
        """The source, its path, and where their files are."""
        (clip,) = self.folder.glob("clip.*")
        names = (clip.name, "depth.npz", "source.npz", "moving.mp4", "path.npz")
        blobs = {name: blob_of(self.folder / name) for name in names}
        settings = SourceSettings(frames=frames, longest_side=self.longest_side)
        source = Source(
            (blobs[clip.name],),
            (blobs["depth.npz"],),
            blobs["source.npz"],
            settings,
            moving=(blobs["moving.mp4"],),
        )
        return source, blobs["path.npz"], {blob.sha256: self.folder / name for name, blob in blobs.items()}

    def take(self, size: ResultSize, frames: int, leave: Any = None) -> Path:
        """Make a take; return its folder."""
        source, path, places = self.files(frames)
        wanted = GenerateSettings(generator="preview", result_size=size)
        job = Generate(source, path, render=RenderSettings(persistence="fill"), generation=wanted)
        return self._run(job, places, size, leave)

    def preview(self, frames: int) -> Path:
        """Run Preview Path; return the folder of its result."""
        source, path, places = self.files(frames)
        return self._run(Preview(source, path, RenderSettings(persistence="fill")), places, "view", None)

    def _run(self, job: Any, places: dict[str, Path], name: str, leave: Any) -> Path:
        out, links = Path(tempfile.mkdtemp(dir=self.folder)), Path(tempfile.mkdtemp(dir=self.folder))
        run(job, gather(job, lambda blob: places[blob.sha256], links), out, Runtime("cpu"), silent, leave)
        return out


class Collected:
    """The frames of a take and their masks, before they are compressed."""

    bits, wants_mask, names = 8, True, frozenset({take.RESULT})

    def __init__(self) -> None:
        self.frames: dict[str, list[NDArray]] = {}
        self.masks: list[NDArray] = []

    def __call__(self, name: str, frames: Any, mask: Any, fps: Any, metadata: Any, *, progress: Any) -> None:
        """Keep the frames; see `ex4d.pipeline.run.Leave`."""
        both = [(frame.copy(), real.copy()) for frame, real in zip(frames, mask, strict=False)]
        self.frames[name] = [frame for frame, _ in both]
        self.masks = [real for _, real in both]


def write_truth(folder: Path, name: str, wrong: bool) -> NDArray[np.uint8]:
    """Write the files of a scene with true depth or with wrong edges; return what the second camera truly sees."""
    world = scenes.SCENES[name](FRAMES_OF_TRUTH, 0)
    times, fit = range(FRAMES_OF_TRUTH), fit_frame(WIDTH, HEIGHT, 1024)
    to_first = transforms.inverse(world.camera(0.0))
    write_ffv1(folder / "clip.mkv", np.stack([_sharp(world, world.camera, t) for t in times]), FPS)
    depth, moving = (np.stack(each) for each in zip(*(_depth(world, t, fit) for t in times), strict=True))
    if wrong:
        depth = depth_errors.wrong(depth, depth_errors.DepthErrors(jitter=0, shape=0), 0)
    lens = np.stack([footage._lens(world, t, footage.Recording(fit.width, fit.height)) for t in times])
    source, second = (to_first @ np.stack([camera(t) for t in times]) for camera in (world.camera, world.second_camera))
    np.savez(folder / "depth.npz", depth=depth, intrinsics=lens)
    np.savez(folder / "source.npz", camera_to_world=source)
    write_movie(folder / "moving.mp4", moving * np.uint8(255), FPS, lossless=True)
    camera_path.save(folder / "path.npz", CameraPath(second, lens, fit.width, fit.height))
    return np.stack([_sharp(world, world.second_camera, t) for t in times])


def _sharp(world: World, camera: Motion, t: int) -> NDArray[np.uint8]:
    """A frame with four rays per pixel."""
    light = footage._exposed(world, camera, t, footage.Recording(2 * WIDTH, 2 * HEIGHT, shutter=0))
    small = cv2.resize(light, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return footage._developed(np.asarray(small), 0, np.random.default_rng(0))


def _depth(world: World, t: int, fit: FrameFit) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    recording = footage.Recording(fit.width, fit.height)
    depth, things = np.empty((fit.height, fit.width), np.float32), np.empty((fit.height, fit.width), np.uint16)
    rows, lens = footage._rows(world.camera, t, recording), footage._lens(world, t, recording)
    shading.depth_and_things(rows, lens, 0.0, solids_at(world, t), world.light, depth, things)
    return depth, world.moving[things]


def against_truth(name: str, wrong: bool, folder: Path) -> tuple[float, ...]:
    """PSNR of real pixels, both ways, and of borrowed ones; and the real parts of the picture."""
    true = write_truth(folder, name, wrong)
    found = {}
    for size in ("model", "clip"):
        found[size] = Collected()
        Job(folder).take(size, FRAMES_OF_TRUTH, found[size])
    alone = Collected()
    source, path, places = Job(folder).files(FRAMES_OF_TRUTH)
    wanted = GenerateSettings(generator="preview")
    Job(folder)._run(
        Generate(source, path, render=RenderSettings(persistence="off"), generation=wanted), places, "off", alone
    )
    rows = []
    for t in (1, 2):
        small, large = (found[size].frames[take.RESULT][t] for size in ("model", "clip"))
        up = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        small_mask = cv2.resize(found["model"].masks[t], (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST) > 0
        large_mask, own = found["clip"].masks[t] > 0, alone.masks[t] > 0
        both, lent = small_mask & large_mask & own, small_mask & large_mask & ~own
        rows.append(
            (
                *(psnr(picture[both], true[t][both]) for picture in (up, large)),
                *(psnr(picture[lent], true[t][lent]) if lent.sum() > 1000 else np.nan for picture in (up, large)),
                small_mask.mean(),
                large_mask.mean(),
            )
        )
    return tuple(np.nanmean(rows, axis=0))


def write_long(folder: Path, frames: int) -> None:
    """Write a clip of a scene as a camera records it, played forwards and backwards, with its depth and an orbit."""
    count = min(REPEATED, frames)
    example = scenes.make("drone", count, WIDTH, HEIGHT, noise=1.0)
    order = np.abs((np.arange(frames) + count - 1) % (2 * count - 2) - (count - 1)) if count > 1 else np.zeros(1, int)
    fit = fit_frame(WIDTH, HEIGHT, 1024)
    scale = np.diag([fit.scaled_width / WIDTH, fit.scaled_height / HEIGHT, 1.0])
    size, seen = (fit.width, fit.height), example.source
    depth = np.stack([cv2.resize(one, size, interpolation=cv2.INTER_NEAREST) for one in seen.depth])
    moving = np.stack([cv2.resize(one.astype(np.uint8), size) for one in seen.moving])
    write_movie(folder / "clip.mp4", seen.frames[order], FPS)
    np.savez(folder / "depth.npz", depth=depth[order], intrinsics=(scale @ seen.cameras.intrinsics)[order])
    np.savez(folder / "source.npz", camera_to_world=seen.cameras.camera_to_world[order])
    write_movie(folder / "moving.mp4", moving[order] * np.uint8(255), FPS, lossless=True)
    poses = example.second.cameras.camera_to_world[order]
    poses[0] = seen.cameras.camera_to_world[order[0]]  # start at the source view
    camera_path.save(folder / "path.npz", CameraPath(poses, (scale @ seen.cameras.intrinsics)[order], *size))


def one_job(folder: Path, what: str, frames: int) -> dict[str, Any]:
    """Run a job in this process; return seconds and megabytes."""
    job = Job(folder)
    began, cpu = time.perf_counter(), time.process_time()
    out = job.preview(frames) if what == "view" else job.take("clip" if what == "clip" else "model", frames)
    told: dict[str, Any] = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    told["megabytes"] = _most_memory()
    told["disk"] = sum(file.stat().st_size for file in out.iterdir()) / 1e6
    if what == "clip":
        told["stages"] = take.read_record(out / take.SIDECAR).seconds
        first = next(open_source(folder / "clip.mp4").frames(0, 1, longest_side=None, multiple=1))
        shown = next(open_source(out / take.RESULT).frames(0, 1, longest_side=None, multiple=1))
        told["unmoved"] = psnr(first, shown)
    return told


def _most_memory() -> int:
    """Peak memory of this process in megabytes, from Linux's status file."""
    lines = dict(one.split(":", 1) for one in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) // 1024


def main(
    frames: Annotated[int, typer.Option(help="Frames of the clip that is timed.")] = 49,
    names: Annotated[
        str, typer.Option("--scenes", help="Comma-separated names of the scenes compared with the truth.")
    ] = SCENES,
    only: Annotated[str, typer.Option(help="Part to run: truth or time. Default: both.")] = "",
    job: Annotated[str, typer.Option(hidden=True)] = "",
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Print a table of differences from the truth, and one of times."""
    if job and folder is not None:
        print(json.dumps(one_job(folder, job, frames)))
        return
    if only != "time":
        print(f"{'':24s}{'scaled up':>12s}{'full size':>12s}{'lent: up':>12s}{'full':>8s}{'real: up':>12s}{'full':>8s}")
        for name in names.split(","):
            for wrong in (False, True):
                with tempfile.TemporaryDirectory() as place:
                    row = against_truth(name, wrong, Path(place))
                told = f"{row[0]:12.2f}{row[1]:12.2f}{row[2]:12.2f}{row[3]:8.2f}{row[4]:12.1%}{row[5]:8.1%}"
                print(f"{name + (', wrong depth' if wrong else ''):24s}{told}", flush=True)
    if only != "truth":
        with tempfile.TemporaryDirectory() as place:
            write_long(Path(place), frames)
            for what in ("model", "clip", "view"):
                command = [sys.executable, __file__, "--job", what, "--folder", place, "--frames", str(frames)]
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
                print(f"{frames} frames, {what}: {done.stdout.strip().splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    typer.run(main)
