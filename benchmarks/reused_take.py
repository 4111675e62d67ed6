"""What an earlier take adds to another take of the same shot: `python benchmarks/reused_take.py [--scenes NAMES]`.

The earlier take is as good as possible: the true second view of a generated scene, from up to 30 degrees. The new
camera is 40 cm beside that one and 20 cm higher; its true view is known too. "true" uses true depth, camera and moving
mask; "found" uses depth with the errors of models, also for the earlier take, with the camera and mask found with it;
"goes on" is "true" if the depth of the take's invented parts cannot be estimated.

"real" is the part of the picture that any frame of the shot saw, "earlier" what the earlier take adds, both without
rims and averaged over the frames except the first eight. PSNR is that of the real pixels, of what the earlier take
adds, and of what the preview invents there without it. "moves" is the part of what is added that truly shows something
that moves. "match" is how far the frames of the take differ from the shot, and "wrong" how far those of a take of
another scene do, relative to the threshold (`ex4d.render.earlier.Known`): the largest of the first, the smallest of the
second.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import numpy as np
import typer
from camera_cases import CASES, Case, Found, Take, truth
from numpy.typing import NDArray
from persistence import DEGREES, SKIPPED, opened, scene_of

from ex4d.depth import beside_known
from ex4d.generate.base import Request
from ex4d.generate.registry import generators
from ex4d.geometry import transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.metrics.pixels import psnr
from ex4d.progress import silent
from ex4d.render.conditioning import Conditioning, render, without_rim
from ex4d.render.donors import donors
from ex4d.render.earlier import LEAST_OTHER, MOST_OTHER, Known, known
from ex4d.render.engines import engine
from ex4d.render.scene import Earlier, Scene
from ex4d.schema import build
from ex4d.synthetic import depth_errors, scenes
from ex4d.synthetic.footage import Footage, Recording, film

ASIDE, UP = 0.4, 0.2
"""Distances in metres from the earlier take's camera to the new one."""

FRAMES = 49
HEAD = ("real", "earlier", "of real", "of it", "preview", "moves", "match", "wrong")


def filmed(name: str, width: int) -> Footage:
    """What the new camera truly sees."""
    world = scenes.SCENES[name](FRAMES, 0)

    def camera(t: float) -> NDArray[np.float64]:
        pose = world.second_camera(t).copy()
        pose[:3, 3] += ASIDE * pose[:3, 0] - UP * pose[:3, 1]
        return pose

    made = film(replace(world, camera=camera), Recording(width, width * 9 // 16, FRAMES, seed=1))
    to_world = transforms.inverse(world.camera(0.0)) @ camera(0.0)
    return replace(made, cameras=replace(made.cameras, camera_to_world=to_world @ made.cameras.camera_to_world))


def earlier_of(
    scene: Scene, path: CameraPath, taken: NDArray[np.uint8], estimated: NDArray[np.float32] | None
) -> tuple[Earlier, list[Known]]:
    """A take (T,H,W,3) in the world of a shot, from its camera path and an estimate (T,H,W) of its depth."""
    assert scene.moving is not None
    at = list(donors(len(taken)))
    cameras = replace(path, camera_to_world=path.camera_to_world[at], intrinsics=path.intrinsics[at])
    seen = list(known(scene.mesh, scene.pictures, scene.moving, cameras, at, engine()))
    depth = {}
    for n, (t, one) in enumerate(zip(at, seen, strict=True)):
        if estimated is None:
            depth[n] = beside_known.continued(one.inverse_distance, one.sure)
        elif (fitted := beside_known.fitted(estimated[t], one.inverse_distance, one.sure)) is not None:
            depth[n] = fitted
    used = list(depth)
    made = DepthVideo(np.stack(list(depth.values())), cameras.intrinsics[used], "take")
    mesh = DWMesh.from_depth(made, cameras.camera_to_world[used])
    moves = np.stack([seen[n].moves for n in used])
    at = [at[n] for n in used]
    return Earlier(replace(mesh, left_out=moves), taken[at], at), [seen[n] for n in used]


def in_unit(path: CameraPath, unit: float) -> CameraPath:
    """A path with its distances multiplied by `unit`."""
    poses = path.camera_to_world.copy()
    poses[:, :3, 3] *= unit
    return replace(path, camera_to_world=poses)


def part_of_limit(seen: Sequence[Known], pictures: NDArray[np.uint8]) -> list[float]:
    """Difference of frames (n,h,w,3) from the shot relative to the threshold; without those that show nothing of it."""
    rows = [one.differs(picture) for one, picture in zip(seen, pictures, strict=True)]
    return [off / max(LEAST_OTHER, MOST_OTHER * spread) for off, spread in rows if np.isfinite(off)]


def invented(scene: Scene, seen: Conditioning) -> NDArray[np.uint8]:
    """The preview's frames for a path."""
    spec = generators()["preview"]
    return spec.make("cpu").generate(Request(seen, scene, build(spec.settings, {}), 0), silent).frames


def row(
    new: Footage, alone: Conditioning, seen: Conditioning, preview: NDArray[np.uint8]
) -> tuple[float, float, float, float, float, float]:
    """The first six figures of `HEAD`."""
    real = without_rim(alone, 0).mask > 0
    added = (without_rim(seen.with_earlier, 0).mask > 0) & (seen.mask == 0)
    late = range(SKIPPED, len(real))

    def of(pictures: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
        return float(
            np.mean([psnr(pictures[t][where[t]], new.frames[t][where[t]]) for t in late if where[t].sum() > 50])
        )

    moves = float((added & new.moving)[SKIPPED:].sum() / max(1, added[SKIPPED:].sum()))
    parts = float(real[SKIPPED:].mean()), float(added[SKIPPED:].mean())
    return (*parts, of(seen.colour, real), of(seen.colour, added), of(preview, added), moves)


def sides_of(case: Case, second: Footage) -> dict[str, tuple[DepthVideo, Found, NDArray, NDArray | None]]:
    """Depth, camera and mask of the shot, and an estimate of the earlier take's depth, for each row."""
    assert case.moving is not None
    true, wrong = case.depth, case.wrong_depth(0)
    estimated = depth_errors.wrong(second.depth, depth_errors.usual(7), 7)
    known_case = true, truth(case, true), case.moving
    return {
        "true": (*known_case, second.depth),
        "found": (*opened(case, wrong), estimated),
        "goes on": (*known_case, None),
    }


def main(
    names: Annotated[str, typer.Option("--scenes", help="Comma-separated names of scenes.")] = "street,drone,still",
    width: Annotated[int, typer.Option(help="Width in pixels.")] = 512,
) -> None:
    """Print a table."""
    print(f"{'':24s}" + "".join(f"{name:>9s}" for name in HEAD))
    for name in names.split(","):
        case, second = CASES[name](name, Take(FRAMES, width)), scenes.make(name, FRAMES, width, width * 9 // 16).second
        other = scenes.make("tripod", FRAMES, width, width * 9 // 16).second.frames
        new = filmed(name, width)
        for side, (depth, camera, moving, estimated) in sides_of(case, second).items():
            unit = case.unit(depth)
            scene = scene_of(case, depth, camera, moving)
            scene = replace(scene, path=in_unit(new.cameras, unit), persistence="fill")
            alone = render(scene)
            taken, views = earlier_of(scene, in_unit(second.cameras, unit), second.frames, estimated)
            seen = render(replace(scene, earlier=taken))
            assert np.array_equal(seen.mask, alone.mask)
            figures = row(new, alone, seen, invented(scene, alone))
            match = max(part_of_limit(views, taken.pictures))
            wrong = min(part_of_limit(views, other[list(taken.frames)]))
            text = "".join(f"{figure:9.3f}" for figure in figures[:2])
            text += "".join(f"{figure:9.2f}" for figure in figures[2:5])
            print(f"{name:16s}{side:8s}{text}{figures[5]:9.4f}{match:9.2f}{wrong:9.2f}", flush=True)


if __name__ == "__main__":
    scenes.SECOND_DEGREES = DEGREES
    typer.run(main)
