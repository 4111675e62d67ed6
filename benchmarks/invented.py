"""How well the preview invents what no frame saw: `python benchmarks/invented.py`.

The sample and three generated scenes are seen by their second camera, which has turned by 30 degrees at the end (the
sample's by 60), with true depth and camera, and with depth that has the errors of models, snapped and steadied as when
a clip is opened, and the camera and mask found with it. Before is inpainting from the
surroundings, as it is still done where no depth is known; after is the preview. PSNR is over all pixels that the mask
does not call real, rim included, averaged over every eighth frame. Flicker is the mean difference, in levels of 255,
between static pixels and the next frame warped to them by the true surface; that of the source is given for comparison.
If a folder is given, a picture of both is written there.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from camera_cases import CASES, Take
from persistence import opened, scene_of
from true_view import Truth

from ex4d.generate.preview.fill import filled
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.transforms import inverse
from ex4d.metrics.pixels import psnr
from ex4d.render.conditioning import Conditioning, render, without_rim
from ex4d.render.contact_sheet import write_picture
from ex4d.render.scene import Scene
from ex4d.synthetic import depth_errors, scenes
from ex4d.synthetic.footage import Footage

SCENES = ("drone", "street", "still")
EVERY, FRAMES = 8, 49
TIMED = (1024, 576)


@dataclass(frozen=True)
class Case:
    """A shot with ground truth: pictures by frame, and if known the whole footage of both cameras."""

    name: str
    scene: Scene
    pictures: dict[int, np.ndarray]
    both: tuple[Footage, Footage] | None = None


def cases() -> Iterator[Case]:
    """The sample and the generated scenes, with true and with wrong depth."""
    sample = Truth()
    pictures = dict(zip(sample.at, sample.pictures, strict=True))
    mesh = DWMesh.from_depth(sample.depth)
    yield Case("sample", Scene(mesh, sample.clip.frames, sample.path), pictures)
    yield Case("sample, found", _found("sample"), pictures)
    scenes.SECOND_DEGREES = 30.0
    for name in SCENES:
        example = scenes.make(name, FRAMES)
        source, second = example.source, example.second
        mesh = DWMesh.from_depth(example.depth, source.cameras.camera_to_world)
        scene = Scene(mesh, source.frames, second.cameras, persistence="fill", moving=source.moving)
        pictures = {t: second.frames[t] for t in range(0, FRAMES, EVERY)}
        yield Case(name, scene, pictures, (source, second))
        yield Case(f"{name}, found", _found(name), pictures, (source, second))


def _found(name: str) -> Scene:
    """The scene as it is opened with depth that has the errors of models."""
    case = CASES[name](name, Take(FRAMES))
    wrong = depth_errors.wrong(case.depth.depth, depth_errors.DepthErrors(), 0)
    return replace(
        scene_of(case, *opened(case, replace(case.depth, depth=wrong, provider="wrong"))), persistence="fill"
    )


def invented_psnr(frames: np.ndarray, sure: Conditioning, case: Case) -> float:
    """Mean over the true pictures except the first, in dB."""
    holes = {t: sure.mask[t] == 0 for t in case.pictures if t}
    return float(np.mean([psnr(frames[t][hole], case.pictures[t][hole]) for t, hole in holes.items()]))


def flicker(frames: np.ndarray, footage: Footage, counted: np.ndarray) -> float:
    """Mean difference of each counted (T,H,W) static pixel to its surface in the next frame, in levels of 255."""
    depth, poses, lens = footage.depth, footage.cameras.camera_to_world, footage.cameras.intrinsics
    rows, columns = np.mgrid[: depth.shape[1], : depth.shape[2]] + 0.5
    counted, found = counted & ~footage.moving, []
    for t in range(EVERY, len(frames) - 1, 4):
        pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(lens[t]).T
        to_next = inverse(poses[t + 1]) @ poses[t]
        points = pixels * depth[t][..., None] @ to_next[:3, :3].T + to_next[:3, 3]
        place = points @ lens[t + 1].T
        u, v = (place[..., :2] / place[..., 2:] - 0.5).astype(np.float32).transpose(2, 0, 1)
        same = np.abs(cv2.remap(depth[t + 1], u, v, cv2.INTER_NEAREST, borderValue=0) / points[..., 2] - 1) < 0.01
        too = cv2.remap(counted[t + 1].astype(np.uint8), u, v, cv2.INTER_NEAREST, borderValue=0) > 0
        at = counted[t] & too & same
        moved = cv2.remap(frames[t + 1], u, v, cv2.INTER_LINEAR)
        found.append(np.abs(moved[at].astype(float) - frames[t][at]).mean())
    return float(np.mean(found))


def larger(case: Case, frames: int) -> Scene:
    """The first frames of a case at the size `TIMED`."""
    mesh, path, (width, height) = case.scene.mesh, case.scene.path, TIMED
    scale = width / mesh.width

    def resized(pictures: np.ndarray, how: int) -> np.ndarray:
        return np.stack([cv2.resize(picture, TIMED, interpolation=how) for picture in pictures[:frames]])

    k, lens = mesh.intrinsics[:frames].copy(), path.intrinsics[:frames].copy()
    k[:, :2] *= scale
    lens[:, :2] *= scale
    depth = DepthVideo(resized(mesh.depth, cv2.INTER_NEAREST), k, "larger")
    poses = path.camera_to_world[-frames:]
    moving = None
    if case.scene.moving is not None:
        moving = resized(case.scene.moving.astype(np.uint8), cv2.INTER_NEAREST) > 0
    return Scene(
        DWMesh.from_depth(depth, mesh.source_to_world[:frames]),
        resized(case.scene.pictures, cv2.INTER_LINEAR),
        CameraPath(poses, lens, width, height),
        moving=moving,
    )


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Fastest of three runs: seconds of wall-clock and of CPU time."""
    runs = []
    for _run in range(3):
        begun = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    return min(run[0] for run in runs), min(run[1] for run in runs)


def main(
    pictures: Annotated[Path | None, typer.Argument(help="Folder for an image of both ways of filling.")] = None,
) -> None:
    """Print a line for each case, then the time of both ways of filling."""
    shown, timed = [], []
    print("case | invented | PSNR before, after | flicker before, after, source's")
    for case in cases():
        sure = without_rim(render(case.scene), 0)
        before, after = filled(sure), filled(sure, case.scene)
        figures = [invented_psnr(frames, sure, case) for frames in (before, after)]
        line = f"{case.name} | {(sure.mask == 0).mean():.0%} | {figures[0]:.2f}, {figures[1]:.2f} dB"
        if case.both:
            source, second = case.both
            found = [flicker(frames, second, sure.mask == 0) for frames in (before, after)]
            of_source = flicker(source.frames, source, np.ones_like(source.moving))
            line += f" | {found[0]:.2f}, {found[1]:.2f}, {of_source:.2f}"
        print(line, flush=True)
        if case.name in ("sample", *SCENES):
            timed.append(case)
        if case.name in ("sample", "street"):
            t = 32
            row = [case.pictures[t], sure.colour[t], before[t], after[t]]
            shown.append(np.concatenate(row, axis=1))
    for case in timed:
        scene = larger(case, FRAMES)
        sure = without_rim(render(scene), 0)
        inpainting, preview = seconds(partial(filled, sure)), seconds(partial(filled, sure, scene))
        print(
            f"{case.name}: {FRAMES} frames of {TIMED[0]}x{TIMED[1]} in {inpainting[0]:.2f} s before, {preview[0]:.2f} s"
            f" after; {inpainting[1]:.2f} and {preview[1]:.2f} s of the processor",
            flush=True,
        )
    if pictures is not None:
        sheet = cv2.resize(np.concatenate(shown), None, fx=0.75, fy=0.75)
        write_picture(pictures / "invented.jpg", np.asarray(sheet, np.uint8))


if __name__ == "__main__":
    typer.run(main)
