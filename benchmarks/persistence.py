"""What other frames add to what a frame itself saw: `python benchmarks/persistence.py [--scenes NAMES]`.

Each scene twice: with true depth, camera and moving mask, and with depth that has the errors of models, snapped and
steadied as when a clip is opened, and the camera and mask found with it. "own" and "real" are the parts of the picture
that the frame itself saw, and that any frame saw, from the second camera, or from an orbit of 30 degrees if there is
none. "added" is the PSNR of the pixels in between, averaged over the frames, and "of own" that of the frame's own.
"movers" is the part of the added pixels that truly show something that moves, which is wrong there whatever is shown.
Frames near the source view are left out, because hardly anything is hidden from them.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, get_args

import numpy as np
import typer
from camera_cases import CASES, Case, Found, Take, searched, truth
from numpy.typing import NDArray

from ex4d.depth.edges import snapped
from ex4d.geometry import presets
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.metrics.pixels import psnr
from ex4d.render import legend
from ex4d.render.conditioning import Conditioning, render, without_rim
from ex4d.render.contact_sheet import write_picture
from ex4d.render.scene import Persistence, Plate, Scene
from ex4d.source_camera import plate as plates
from ex4d.source_camera.masks import resized
from ex4d.synthetic import depth_errors, scenes

DEGREES = 30.0
SKIPPED, LEAST = 8, 50
"""Number of frames near the source view that are skipped, and minimum number of pixels for a frame's PSNR."""

PICTURED = 0.75
"""Position along the shot at which the picture is taken."""

SCENES = "sample/moving,street,drone,still"
HEAD = ("own", "real", "of own", "added", "movers", "s")


def opened(case: Case, depth: DepthVideo) -> tuple[DepthVideo, Found, NDArray[np.bool_]]:
    """What opening a clip with this depth makes of it: snapped and steadied depth, the camera, and what moves."""
    sharp = snapped(depth, case.clip.frames)
    camera, moving = searched(case, sharp, lens_known=True)
    assert camera.depth is not None
    assert moving is not None
    return camera.depth, camera, resized(moving, depth.depth.shape[:0:-1])


def scene_of(case: Case, depth: DepthVideo, camera: Found, moving: NDArray[np.bool_]) -> Scene:
    """The shot from its second camera, or from an orbit."""
    mesh = DWMesh.from_depth(depth, camera.poses)
    if case.view is None:
        pivot = presets.pivot_distance(mesh.depth[0])
        path = presets.preset(
            "30", pivot, depth.intrinsics, mesh.width, mesh.height, len(mesh),
            source_to_world=camera.poses,
        )  # fmt: skip
    else:
        poses = case.view.path.camera_to_world.copy()
        poses[:, :3, 3] *= case.unit(depth)
        path = replace(case.view.path, camera_to_world=poses)
    return Scene(mesh, case.clip.frames, path, moving=moving)


def joined(name: str, width: int, case: Case, scene: Scene, wrong: bool) -> Plate | None:
    """A clean plate of a generated scene, with its camera found in the world of the shot, with true or wrong depth."""
    footage = scenes.clean_plate(name, 4, width, width * 9 // 16)
    depth = depth_errors.wrong(footage.depth, depth_errors.usual(9), 9) if wrong else footage.depth
    mesh, lens = scene.mesh, footage.cameras.intrinsics
    shot = plates.Frames(scene.pictures, mesh.depth, mesh.intrinsics, mesh.source_to_world, scene.moving)
    placed = plates.register(shot, plates.Frames(footage.frames, depth, lens))
    if not placed:
        return None
    at = [one.frame for one in placed]
    scaled = depth[at] * np.array([one.scale for one in placed], np.float32)[:, None, None]
    poses = np.stack([one.camera_to_world for one in placed])
    return Plate(DWMesh.from_depth(DepthVideo(scaled, lens[at], "plate"), poses), footage.frames[at])


def row(case: Case, seen: Conditioning, things: NDArray[np.bool_] | None, seconds: float) -> tuple[float | None, ...]:
    """The figures of `HEAD`."""
    sure = without_rim(seen, 0)
    real = sure.mask > 0
    added = np.zeros_like(real) if sure.borrowed is None else sure.borrowed > 0
    late = slice(SKIPPED, None)
    parts = float((real & ~added)[late].mean()), float(real[late].mean())
    if case.view is None:
        return (*parts, None, None, None, seconds)
    at = [t for t in case.view.at if t >= SKIPPED]
    true = [case.view.pictures[case.view.at.index(t)] for t in at]

    def against_truth(where: NDArray[np.bool_]) -> float | None:
        rows = [
            psnr(seen.colour[t][where[t]], p[where[t]]) for t, p in zip(at, true, strict=True) if where[t].sum() > 50
        ]
        return float(np.mean(rows)) if rows else None

    movers = None
    if things is not None and added[late].any():
        movers = float((added & things)[late].sum() / added[late].sum())
    return (*parts, against_truth(real & ~added), against_truth(added), movers, seconds)


def main(
    names: Annotated[
        str, typer.Option("--scenes", help="Comma-separated names of scenes.")
    ] = "sample/moving,street,drone,still",
    frames: Annotated[
        int | None, typer.Option(help="Frames per generated scene. Default: the scene's own number, mostly 49.")
    ] = None,
    width: Annotated[int, typer.Option(help="Width of generated scenes in pixels.")] = 512,
    plate: Annotated[
        bool, typer.Option(help="Also measure each generated scene with a clean plate of four frames.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(help="Write an image of the last scene that has a second view to this file, instead of a table."),
    ] = None,
) -> None:
    """Print a table, or make a picture."""
    if picture is not None:
        name = names.split(",")[-1]
        write(picture, CASES[name](name, Take(frames, width)))
        return
    print(f"{'':48s}" + "".join(f"{name:>8s}" for name in HEAD))
    for name in names.split(","):
        case = CASES[name](name, Take(frames, width))
        things = None if case.view is None else _second_moving(name, frames, width)
        true, wrong = case.depth, case.wrong_depth(0)
        moves = opened(case, true)[2] if case.moving is None else case.moving
        sides = {"true": (true, truth(case, true), moves), "found": opened(case, wrong)}
        for side, (depth, camera, moving) in sides.items():
            scene = scene_of(case, depth, camera, moving)
            shown = {choice: replace(scene, persistence=choice) for choice in get_args(Persistence)}
            if plate and case.view is not None:
                shown["fill, plate"] = replace(shown["fill"], plate=joined(name, width, case, scene, side == "found"))
            for persistence, wanted in shown.items():
                began = time.monotonic()
                seen = render(wanted)
                figures = row(case, seen, things, time.monotonic() - began)
                text = "".join("       -" if figure is None else f"{figure:8.3f}" for figure in figures[:2])
                text += "".join("       -" if figure is None else f"{figure:8.2f}" for figure in figures[2:4])
                text += "       -" if figures[4] is None else f"{figures[4]:8.4f}"
                print(f"{name:16s} {side:6s} {persistence:24s}{text}{figures[5]:8.1f}", flush=True)


def write(file: Path, case: Case) -> None:
    """Write what the frame itself saw, what other frames add, and the truth, with true depth and camera."""
    assert case.view is not None
    assert case.moving is not None
    scene = scene_of(case, case.depth, truth(case, case.depth), case.moving)
    t = case.view.at[int(PICTURED * len(case.view.at))]
    panels = []
    for persistence in ("off", "fill"):
        seen = without_rim(render(replace(scene, persistence=persistence)), 0)
        borrowed = None if seen.borrowed is None else seen.borrowed[t] > 0
        panels.append(legend.tint(seen.colour[t], seen.mask[t] > 0, borrowed))
    write_picture(file, np.concatenate([*panels, case.view.pictures[case.view.at.index(t)]], axis=1))


def _second_moving(name: str, frames: int | None, width: int) -> NDArray[np.bool_] | None:
    if name not in scenes.SCENES:
        return None
    return scenes.make(name, frames, width, width * 9 // 16).second.moving


if __name__ == "__main__":
    scenes.SECOND_DEGREES = DEGREES
    typer.run(main)
