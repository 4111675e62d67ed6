"""Measure each depth estimator on the two rendered samples: `python benchmarks/depth_quality.py`.

Prints AbsRel and delta1 against the true depth, after the alignment that each estimator needs (one scale, or one scale
and shift in disparity, for the whole shot), the flicker along the optical flow, and how well the mask of a view from 30
and 60 degrees agrees with that from the true depth (IoU of what is real, and of the holes).
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.depth.alignment import fit_disparity, metric_depth
from ex4d.depth.files import read_depth
from ex4d.depth.registry import estimate, estimators, missing
from ex4d.depth.report import flicker
from ex4d.geometry import presets
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import Clip, read_clip
from ex4d.render.conditioning import render
from ex4d.render.scene import Scene
from ex4d.source_camera import pose_files

SAMPLE = Path(__file__).resolve().parents[1] / "sample"
FARTHEST = 80.0
"""In metres; anything farther is left out of the errors, as is usual outdoors."""
ANGLES = ("30", "60")


def main() -> None:
    """Print a table for each sample."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--accept_licence",
        action="store_true",
        help="accept their terms: also measure estimators that are for research use only",
    )
    accept = parser.parse_args().accept_licence
    for folder in (SAMPLE, SAMPLE / "moving"):
        clip = read_clip(folder / "clip.mp4", frames=None)
        truth = read_depth(folder / "clip.depth.npz", clip)
        poses = None
        if (folder / "camera.npz").exists():
            poses = pose_files.load(folder / "camera.npz", clip).camera_to_world
        print(f"\n{folder.name}: {len(clip.frames)} frames of {clip.fit.width}x{clip.fit.height}")
        head = (
            "provider",
            "AbsRel",
            "delta1",
            "flicker",
            *(f"{w} IoU {a}" for a in ANGLES for w in ("real", "hole")),
        )
        print("  ".join(f"{word:>20}" if n == 0 else f"{word:>11}" for n, word in enumerate(head)))
        masks = [mask(clip, truth, poses, truth, angle) for angle in ANGLES]
        line("file (the truth)", figures(clip, truth, truth, poses, masks))
        middle = np.full_like(truth.depth, np.median(truth.depth))
        line("a flat wall", figures(clip, replace(truth, depth=middle), truth, poses, masks))
        for name, spec in estimators().items():
            if spec.is_helper or spec.reads_file:
                continue
            if sentence := missing(spec):
                print(f"{name:>20}  no weights here: {sentence}")
            elif spec.terms and not accept:
                print(f"{name:>20}  for research only: --accept_licence runs it")
            else:
                focal = float(truth.intrinsics[0, 0, 0]) * clip.fit.source_width / clip.fit.scaled_width
                depth = estimate(name, clip, focal_px=focal, accept_licence=accept, again=True).depth
                line(name, figures(clip, aligned(depth, truth), truth, poses, masks))


def aligned(depth: DepthVideo, truth: DepthVideo) -> DepthVideo:
    """The depth fitted to the truth, once for the whole shot: disparity by scale and shift, else by a scale."""
    if depth.is_guess:
        return replace(depth, depth=depth.depth * np.median(truth.depth / depth.depth))
    disparity = np.reciprocal(depth.depth)
    scale, shift = fit_disparity(disparity, 1 / truth.depth)
    return replace(depth, depth=metric_depth(disparity, scale, shift))


def figures(
    clip: Clip, depth: DepthVideo, truth: DepthVideo, poses: NDArray | None, masks: list[NDArray]
) -> list[float]:
    """AbsRel, delta1, flicker, and IoU of the real part and of holes at each angle."""
    near = truth.depth < FARTHEST
    ratio = depth.depth[near] / truth.depth[near]
    change = flicker(clip.frames, depth.depth)[0]
    assert change is not None
    result = [np.abs(ratio - 1).mean(), (np.maximum(ratio, 1 / ratio) < 1.25).mean(), change]
    for angle, true in zip(ANGLES, masks, strict=True):
        found = mask(clip, depth, poses, truth, angle)
        result += [iou(found, true), iou(~found, ~true)]
    return [float(value) for value in result]


def mask(clip: Clip, depth: DepthVideo, poses: NDArray | None, truth: DepthVideo, angle: str) -> NDArray[np.bool_]:
    """The real part (T,h,w) along an orbit around the point in the middle of the true scene."""
    mesh = DWMesh.from_depth(replace(depth, intrinsics=truth.intrinsics), poses)
    radius = float(np.percentile(truth.depth[0], 25))
    path = presets.preset(angle, radius, truth.intrinsics, mesh.width, mesh.height, len(mesh))
    return render(Scene(mesh, clip.frames, path)).mask > 127


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """IoU of two sets of pixels, in all frames except the first, which is the source."""
    a, b = a[1:], b[1:]
    return float((a & b).sum() / max((a | b).sum(), 1))


def line(name: str, values: list[float]) -> None:
    """One row of the table."""
    print("  ".join([f"{name:>20}", *(f"{value:11.3f}" for value in values)]), flush=True)


if __name__ == "__main__":
    main()
