"""How completely what moves by itself is found: `python benchmarks/what_moves.py [--scenes NAMES]`.

Generated scenes with a known mask. "true" is with the true camera and depth; "found" is what opening a clip finds with
depth that has the errors of models. "missed" is the part of what moves that is not found; "false" is the part of
everything else that is; "far" is the part of that which is more than 6 pixels from anything that moves, at the size of
the mask. "without" is the same place without anything that moves, with the true camera and depth.
"""

import time
from dataclasses import replace
from typing import Annotated

import cv2
import numpy as np
import typer
from camera_cases import CASES, Take
from numpy.typing import NDArray
from persistence import opened

from ex4d.source_camera.masks import resized
from ex4d.source_camera.moving import LEAST_OFF, moving_mask
from ex4d.synthetic import scenes
from ex4d.synthetic.footage import Footage, Recording, shoot

SCENES = "street,drone,still,telephoto,tripod"
FAR_PX = 6


def told(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> str:
    """The figures of a mask."""
    size = mask.shape[:0:-1]
    true = np.stack([cv2.resize(one.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5 for one in truth])
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * FAR_PX + 1, 2 * FAR_PX + 1))
    near = np.stack([cv2.dilate(one.astype(np.uint8), around) > 0 for one in true])
    missed = (true & ~mask).sum() / max(1, true.sum())
    false, far = ((mask & ~where).sum() / (~true).sum() for where in (true, near))
    return f"{missed:8.1%}{false:8.1%}{far:8.1%}{(mask & true).sum() / max(1, (mask | true).sum()):8.2f}"


def known(source: Footage) -> NDArray[np.bool_]:
    """What moves, with true camera and depth."""
    cameras = source.cameras
    return moving_mask(source.frames, source.depth, cameras.camera_to_world, cameras.intrinsics, depth_off=LEAST_OFF)


def main(
    names: Annotated[str, typer.Option("--scenes", help="Comma-separated names of scenes.")] = SCENES,
    frames: Annotated[int | None, typer.Option(help="Frames per scene. Default: the scene's own number.")] = None,
    width: Annotated[int, typer.Option(help="Width of the scenes in pixels.")] = 512,
    seed: Annotated[int, typer.Option(help="Seed of the scenes and of the depth errors.")] = 0,
) -> None:
    """Print a table."""
    print(f"{'':24s}" + "".join(f"{head:>8s}" for head in ("missed", "false", "far", "IoU", "s")))
    for name in names.split(","):
        case = CASES[name](name, Take(frames, width, seed))
        assert case.moving is not None
        source = scenes.make(name, frames, width, width * 9 // 16, seed).source
        began = time.monotonic()
        mask = known(source)
        print(f"{name:16s}true    {told(mask, case.moving)}{time.monotonic() - began:8.1f}", flush=True)
        found = opened(case, case.wrong_depth(seed))[2]
        print(f"{name:16s}found   {told(resized(found, mask.shape[:0:-1]), case.moving)}", flush=True)
        count = len(case.clip.frames)
        world = scenes.SCENES[name](count, seed)
        empty = replace(world, things=tuple(thing for thing in world.things if thing.motion is None))
        alone = shoot(empty, Recording(width, width * 9 // 16, count, seed=seed))[0]
        print(f"{name:16s}without {told(known(alone), alone.moving)}", flush=True)


if __name__ == "__main__":
    typer.run(main)
