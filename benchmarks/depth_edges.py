"""Effect of moving back, snapping and refining depth: `python benchmarks/depth_edges.py [FOLDER]`.

The sample along its true second camera (10 to 60 degrees), and frames of generated scenes from a second camera at 30
degrees, with true depth and with depth whose edges are wrong like those of models. A cell is the PSNR of the visible
pixels compared with the truth, and the visible part of the picture, with an eroded rim of one pixel (3x3). "gain" is
the improvement at the same visible part, which is reached with a rim of another width. Finally, the time for a clip of
1024x576. If a folder is given, a picture of some rims is written there.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from true_view import Truth

from ex4d.depth import edges, offset, refinement
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.metrics.pixels import psnr
from ex4d.render import legend
from ex4d.render.contact_sheet import write_picture
from ex4d.render.engines import engine
from ex4d.render.scene import Scene, View
from ex4d.synthetic import depth_errors, scenes
from ex4d.synthetic.depth_errors import DepthErrors

DEGREES = 30.0
AT = (8, 24, 40)
"""Numbers of the frames used of the generated scenes."""

RIMS = (1, 2, 3, 5)
"""Sides of the square by which the mask is eroded."""

KINDS = ("true", "blur 1.2", "blur 2", "blur 1.2, 2 px beside", "all")
SHOWN = "street"
FRAME, CORNER = 1, np.s_[90:250, 270:430]
"""Content of the picture: of the scene `SHOWN`, a part of one of the frames `AT`."""


@dataclass(frozen=True)
class Case:
    """Some frames of a shot, and what a second camera truly sees in them."""

    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    poses: NDArray[np.float64] | None
    frames: NDArray[np.uint8]
    path: CameraPath
    true: NDArray[np.uint8]

    def views(self, depth: NDArray[np.float32]) -> Iterator[View]:
        """What a mesh made from a depth shows to the second camera."""
        mesh = DWMesh.from_depth(DepthVideo(depth, self.intrinsics, "some"), self.poses)
        yield from engine("auto").views(Scene(mesh, self.frames, self.path), [(t, t) for t in range(len(depth))])

    def figures(self, depth: NDArray[np.float32]) -> NDArray[np.float64]:
        """(PSNR in dB, visible part) for each of `RIMS`, (n,2), mean over the frames."""
        rows = []
        for view, true in zip(self.views(depth), self.true, strict=True):
            masks = [cv2.erode(view.mask, np.ones((side, side), np.uint8)) > 0 for side in RIMS]
            rows.append([(psnr(view.colour[real], true[real]), real.mean()) for real in masks])
        return np.mean(rows, axis=0)


def sample() -> Case:
    """The sample at 10 to 60 degrees."""
    truth = Truth()
    at = truth.at[1:]
    path = CameraPath(truth.path.camera_to_world[at], truth.path.intrinsics[at], truth.path.width, truth.path.height)
    depth = truth.depth
    return Case(depth.depth[at], depth.intrinsics[at], None, truth.clip.frames[at], path, truth.pictures[1:])


def generated(name: str) -> Case:
    """Some frames of a generated scene."""
    scenes.SECOND_DEGREES = DEGREES
    example, at = scenes.make(name, 49, 512, 288), list(AT)
    one, two = example.source, example.second
    path = CameraPath(two.cameras.camera_to_world[at], two.cameras.intrinsics[at], 512, 288)
    cameras = one.cameras
    return Case(
        one.depth[at], cameras.intrinsics[at], cameras.camera_to_world[at], one.frames[at], path, two.frames[at]
    )


def wrong(depth: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Depth (T,H,W) with wrong edges of this kind; "all" adds speckle and 1024 levels of disparity."""
    if kind == "true":
        return depth
    random = np.random.default_rng(0)
    made = depth_errors.wrong(depth, DepthErrors(jitter=0, shape=0, edge=2.0 if kind == "blur 2" else 1.2), 0)
    if "beside" in kind or kind == "all":
        pixels = 2 * depth.shape[2] // 512
        made = np.concatenate([np.repeat(made[:, :, :1], pixels, axis=2), made[:, :, :-pixels]], axis=2)
    if kind == "all":
        made = made * np.exp(0.002 * random.standard_normal(made.shape))
        made = np.where(
            random.random(made.shape) < 0.002, made * np.exp(0.2 * random.standard_normal(made.shape)), made
        )
        disparity = 1 / made
        low, high = disparity.min(), disparity.max()
        disparity = np.round((disparity - low) / (high - low) * 1023) / 1023 * (high - low) + low
        made = 1 / np.maximum(disparity, 1e-4)
    return made.astype(np.float32)


def snapped(case: Case, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """The depth as it is after opening a shot."""
    return edges.snapped(moved_back(case, depth), case.frames).depth


def refined(case: Case, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """The depth as it is after opening a shot with Depth Edges: Refine, on the CPU."""
    return refinement.refined(moved_back(case, depth), case.frames, device="cpu").depth


def moved_back(case: Case, depth: NDArray[np.float32]) -> DepthVideo:
    """The depth, moved back onto the picture."""
    return offset.moved_back(DepthVideo(depth, case.intrinsics, "some"), case.frames)


def at_the_same_part(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Increase in PSNR afterwards, where the visible part is as large as before with the usual rim."""
    usual = RIMS.index(3)
    return float(np.interp(before[usual, 1], after[::-1, 1], after[::-1, 0]) - before[usual, 0])


def write_rims(case: Case, file: Path) -> None:
    """Write part of a frame: the truth, and what is shown with blurred depth, before and after."""
    parts = [case.true[FRAME][CORNER]]
    soft = wrong(case.depth, "blur 1.2")
    for depth in (soft, snapped(case, soft)):
        view = list(case.views(depth))[FRAME]
        real = cv2.erode(view.mask, np.ones((3, 3), np.uint8)) > 0
        parts.append(legend.tint(view.colour, real)[CORNER])
    wide = [cv2.resize(part, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST) for part in parts]
    write_picture(file, np.concatenate(wide, axis=1))


def main(
    pictures: Annotated[Path | None, typer.Argument(help="Folder for an image of the rims.")] = None,
    names: Annotated[
        str, typer.Option("--scenes", help="Comma-separated names of generated scenes.")
    ] = "drone,street,still",
) -> None:
    """Print a line for each scene and kind of depth, then the time."""
    cases = {"sample": sample()} | {name: generated(name) for name in names.split(",") if name}
    for name, case in cases.items():
        for kind in KINDS:
            depth = wrong(case.depth, kind)
            rows = [case.figures(made) for made in (depth, snapped(case, depth), refined(case, depth))]
            cells = [f"{row[RIMS.index(3), 0]:5.2f} dB of {row[RIMS.index(3), 1]:5.1%}" for row in rows]
            gains = [at_the_same_part(rows[0], row) for row in rows[1:]]
            print(
                f"{name:8s} {kind:22s} before {cells[0]}, snapped {cells[1]}, gain {gains[0]:+.2f} dB, refined"
                f" {cells[2]}, gain {gains[1]:+.2f} dB",
                flush=True,
            )
    case = cases["sample"]
    size = (1024, 576)
    frames = np.stack([cv2.resize(frame, size) for frame in case.frames])[np.arange(49) % len(case.frames)]
    soft = np.stack([cv2.resize(depth, size) for depth in wrong(case.depth, "blur 1.2")])[
        np.arange(49) % len(case.frames)
    ]
    video = DepthVideo(soft, case.intrinsics[0], "some")
    for what, way in (
        ("moved back", lambda: offset.moved_back(video, frames)),
        ("snapped", lambda: edges.snapped(video, frames)),
        ("refined", lambda: refinement.refined(video, frames, device="cpu")),
    ):
        began, used = time.monotonic(), time.process_time()
        way()
        spent = time.monotonic() - began, time.process_time() - used
        print(f"49 frames of 1024x576 {what}: {spent[0]:.1f} s, {spent[1]:.1f} s of CPU time")
    if pictures is not None and SHOWN in cases:
        write_rims(cases[SHOWN], pictures / "depth_edges.jpg")
        print(pictures / "depth_edges.jpg")


if __name__ == "__main__":
    typer.run(main)
