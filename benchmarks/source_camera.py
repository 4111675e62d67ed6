"""How well the source camera is found: `python benchmarks/source_camera.py`.

On the samples and on generated scenes, each estimator with true depth, and with depth that has the errors of models:
unknown scale and shift of disparity, 5 % jitter of the scale from frame to frame, a smooth shape error of 10 %, soft
edges. ATE and RPE are after the best similarity. Drift is that of static points in pixels, median and 95 %. Way is the
length of the found path over the median distance of the scene, which reveals false motion of a still camera. PSNR is
that of the visible pixels compared with the true view of a second camera; in brackets, how much better the true camera
is. By eye, the second camera is placed by what it shows, with one scale, rotation and translation of its path, as an
artist would place it. Jump is how far static points jump from frame to frame for that camera, in pixels, median and
95 %: the pumping of the depth, in brackets before it was steadied.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from camera_cases import CASES, Case, Figures, Found, Take, figures, searched, truth

from ex4d.geometry import intrinsics, transforms
from ex4d.geometry.depth_video import DepthVideo
from ex4d.source_camera import pose_files

ASSUMED_DEGREES = 54.0
"""Field of view if the lens is unknown."""

KEY_FRAMES = 6
"""Interval of the frames in which `pnp` lifts new points."""

Estimator = Callable[[Case, DepthVideo, bool], Found | str]
"""Takes a case, of which it may only use the clip, a depth with the known or assumed lens, and whether the lens is
known. Returns a camera in the unit of the depth, or a sentence about why there is none."""


def still(case: Case, depth: DepthVideo, lens_known: bool) -> Found:
    """A camera that never moves."""
    return Found(np.tile(np.eye(4), (len(depth.depth), 1, 1)), depth.intrinsics)


def libmv(case: Case, depth: DepthVideo, lens_known: bool) -> Found | str:
    """Blender's own tracker with its defaults, run with the Python of `--blender`; its points give the scale."""
    if BLENDER is None:
        return "needs --blender, a Python that has bpy"
    count, height, width = depth.depth.shape
    with tempfile.TemporaryDirectory() as folder:
        for t, frame in enumerate(case.clip.frames, 1):
            cv2.imwrite(f"{folder}/{t:04d}.png", frame[..., ::-1])
        result = Path(folder, "result.npz")
        given = [count, width, height, float(depth.intrinsics[0, 0, 0]), int(not lens_known)]
        script = str(Path(__file__).with_name("libmv_tracker.py"))
        done = subprocess.run(
            [BLENDER, script, folder, *map(str, given), str(result)], capture_output=True, text=True, timeout=300
        )
        if not result.exists():
            return f"failed: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"
        solved = dict(np.load(result))
    if not solved["there"].all():
        return f"placed {solved['there'].sum()} of {count} frames"
    to_first = transforms.inverse(solved["camera_to_world"][0])
    points = solved["points"] @ to_first[:3, :3].T + to_first[:3, 3]
    lens = intrinsics.from_focal(float(solved["focal"]), width, height)
    lenses = intrinsics.per_frame(lens, count)
    camera = pose_files.SourceCamera(to_first @ solved["camera_to_world"], points)
    scaled, _ = pose_files.in_unit_of(camera, DepthVideo(depth.depth, lenses, depth.provider))
    return Found(scaled.camera_to_world, lenses, f"reprojection {float(solved['error']):.2f} px")


def pnp(case: Case, depth: DepthVideo, lens_known: bool) -> Found | str:
    """Points tracked from a key frame, lifted by its depth, and PnP: the simplest method, for comparison."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in case.clip.frames]
    poses = np.tile(np.eye(4), (len(grey), 1, 1))
    key, at_key = 0, np.zeros((0, 2), np.float32)
    for t in range(1, len(grey)):
        if (t - 1) % KEY_FRAMES == 0:
            found = cv2.goodFeaturesToTrack(grey[t - 1], 1500, 0.005, 6)
            if found is None:
                return f"no points to follow in frame {t - 1}"
            key, at_key = t - 1, found[:, 0]
            at = at_key
        after, there, _ = cv2.calcOpticalFlowPyrLK(grey[t - 1], grey[t], at, np.empty_like(at))
        back, _, _ = cv2.calcOpticalFlowPyrLK(grey[t], grey[t - 1], after, np.empty_like(at))
        good = (there[:, 0] > 0) & (np.linalg.norm(back - at, axis=1) < 0.3)
        at_key, at = at_key[good], after[good]
        # OpenCV's pixel centres are at whole numbers, ours at +0.5.
        column, row = np.rint(at_key).astype(int).clip(0, [grey[t].shape[1] - 1, grey[t].shape[0] - 1]).T
        rays = np.hstack([at_key + 0.5, np.ones((len(at_key), 1))]) @ np.linalg.inv(depth.intrinsics[key]).T
        points = rays * depth.depth[key, row, column][:, None]
        if len(points) < 12:
            return f"only {len(points)} points could be followed to frame {t}"
        solved, turn, shift, _ = cv2.solvePnPRansac(
            points, at.astype(np.float64) + 0.5, depth.intrinsics[t], None, reprojectionError=1.0, iterationsCount=300
        )
        if not solved:
            return f"the points do not agree with the depth in frame {t}"
        to_camera = np.eye(4)
        to_camera[:3, :3], to_camera[:3, 3] = cv2.Rodrigues(turn)[0], shift[:, 0]
        poses[t] = poses[key] @ transforms.inverse(to_camera)
    return Found(poses, depth.intrinsics)


def true_camera(case: Case, depth: DepthVideo, lens_known: bool) -> Found:
    """The truth, which shows the effect of depth errors alone."""
    return truth(case, depth)


def found(case: Case, depth: DepthVideo, lens_known: bool) -> Found | str:
    """The camera as found when a clip is opened: `ex4d.source_camera.find`, in the unit of the depth."""
    return searched(case, depth, lens_known, ZOOMS)[0]


ESTIMATORS: dict[str, Estimator] = {
    "truth": true_camera,
    "still": still,
    "pnp": pnp,
    "libmv": libmv,
    "found": found,
}
BLENDER: str | None = None
ZOOMS = False
HEAD = (
    "ATE %",
    "RPE %",
    "RPE deg",
    "end deg",
    "focal %",
    "drift",
    "95 %",
    "way %",
    "PSNR",
    "(truth)",
    "by eye",
    "(truth)",
    "jump",
    "95 %",
    "(before)",
    "s",
)


def main(
    scenes: Annotated[str, typer.Option(help="Comma-separated names of scenes.")] = ",".join(CASES),
    estimators: Annotated[str, typer.Option(help="Comma-separated names of estimators.")] = ",".join(ESTIMATORS),
    frames: Annotated[
        int | None, typer.Option(help="Frames per generated scene. Default: the scene's own number, mostly 49.")
    ] = None,
    width: Annotated[int, typer.Option(help="Width of generated scenes in pixels.")] = 512,
    lens_known: Annotated[bool, typer.Option(help="Use the true lens instead of assuming 54 degrees.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the generated scenes and of the depth errors.")] = 0,
    rolling: Annotated[float, typer.Option(help="Readout time of a rolling shutter, as a fraction of a frame.")] = 0.0,
    distortion: Annotated[
        float, typer.Option(help="Radial distortion of the lens, as in COLMAP's SIMPLE_RADIAL.")
    ] = 0.0,
    zooms: Annotated[bool, typer.Option(help="Turn on Zooms.")] = False,
    blender: Annotated[str | None, typer.Option(help="Python with bpy, for libmv.")] = None,
    output: Annotated[Path | None, typer.Option(help="File for all rows (.json).")] = None,
) -> None:
    """Print a table for each scene."""
    global BLENDER, ZOOMS
    BLENDER, ZOOMS = blender, zooms
    rows = []
    for name in scenes.split(","):
        began = time.perf_counter()
        case = CASES[name](name, Take(frames, width, seed, rolling, distortion))
        count, height, across = case.depth.depth.shape
        degrees = intrinsics.field_of_view_of(float(case.depth.intrinsics[0, 0, 0]), across)
        moving = "" if case.moving is None else f", {case.moving.mean():.0%} moves"
        print(
            f"\n{name}: {count} frames of {across}x{height}, {degrees:.0f} degrees{moving};"
            f" made in {time.perf_counter() - began:.0f} s"
        )
        print(f"{'depth':>7} {'estimator':>10} " + " ".join(f"{word:>8}" for word in HEAD))
        for kind, depth in (("true", case.depth), ("wrong", case.wrong_depth(seed))):
            if not lens_known:
                assumed = intrinsics.from_focal(intrinsics.focal_of(ASSUMED_DEGREES, across), across, height)
                depth = DepthVideo(depth.depth, intrinsics.per_frame(assumed, count), depth.provider)
            for estimator in estimators.split(","):
                began = time.perf_counter()
                found = ESTIMATORS[estimator](case, depth, lens_known)
                took = time.perf_counter() - began
                row = {"scene": name, "depth": kind, "estimator": estimator, "seconds": took}
                if isinstance(found, str):
                    print(f"{kind:>7} {estimator:>10} no camera: {found}", flush=True)
                    rows.append({**row, "note": found})
                    continue
                made = figures(case, depth, found)
                print(f"{kind:>7} {estimator:>10} {line(made, took)}  {found.note}", flush=True)
                rows.append({**row, **asdict(made), "note": found.note})
    if output is not None:
        output.write_text(json.dumps(rows, indent=1) + "\n")


def line(f: Figures, seconds: float) -> str:
    """The figures of a row."""
    less, by_eye = (
        "-" if ours is None or true is None else f"({true - ours:.2f})"
        for ours, true in ((f.visible, f.visible_true), (f.placed, f.placed_true))
    )
    numbers = [
        *(_number(f.ate, 100, 2), _number(f.rpe_shift, 100, 1), _number(f.rpe_turn, 1, 3), _number(f.end, 1, 2)),
        *(_number(f.focal, 100, 1), _number(f.drift, 1, 2), _number(f.drift_95, 1, 1), _number(f.way, 100, 1)),
        *(_number(f.visible, 1, 2), less, _number(f.placed, 1, 2), by_eye),
        *(_number(f.pumping, 1, 2), _number(f.pumping_95, 1, 1), f"({_number(f.pumping_before, 1, 2)})"),
        f"{seconds:.1f}",
    ]
    return " ".join(f"{number:>8}" for number in numbers)


def _number(value: float | None, times: float, digits: int) -> str:
    return "-" if value is None else f"{times * value:.{digits}f}"


if __name__ == "__main__":
    typer.run(main)
