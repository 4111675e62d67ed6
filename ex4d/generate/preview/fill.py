"""The preview generator: no neural network; things and the background are continued where the source saw nothing."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.generate.base import Generated, Request
from ex4d.generate.preview import steady
from ex4d.generate.preview.background import FRAMES, background
from ex4d.generate.preview.inpaint import inpaint
from ex4d.generate.preview.sides import sides
from ex4d.progress import FILLING, Progress, silent
from ex4d.render.conditioning import Conditioning, without_rim
from ex4d.render.engines import engine as default_engine
from ex4d.render.scene import Engine, Scene

NOTE = (
    "Holes show the background that the clip saw there or, where it saw none, the mean of what it saw at that"
    " height. The sides of things have the colour of their edges."
)

NOTE_STEADY = (
    "What is invented of things that stand still is averaged over about four frames, so changes of light reach it late."
)

NOTE_WITHOUT_DEPTH = "Holes are filled smoothly from their surroundings."


class PreviewGenerator:
    """The preview as a generator. It keeps nothing between requests, and nothing in it is random."""

    def generate(self, request: Request, progress: Progress) -> Generated:
        """Fill the holes, and with them the rim of the mask; see `ex4d.generate.base.Generator`."""
        sure = without_rim(request.conditioning, request.seed)
        frames = filled(sure, request.scene, request.engine, progress)
        if request.scene is None:
            return Generated(frames, {"background_frames": 0}, (NOTE_WITHOUT_DEPTH,))
        notes = (NOTE,) if request.scene.moving is None else (NOTE, NOTE_STEADY)
        return Generated(frames, {"background_frames": min(FRAMES, len(request.scene.mesh))}, notes)

    def unload(self) -> None:
        """Do nothing, because nothing is held."""


def filled(
    conditioning: Conditioning,
    scene: Scene | None = None,
    engine: Engine | None = None,
    progress: Progress = silent,
) -> NDArray[np.uint8]:
    """Fill the holes of the conditioning, and return the frames (T,h,w,3); real pixels stay as they are.

    Args:
        conditioning: T frames.
        scene: what it was rendered from. Holes show the sides of things (`ex4d.generate.preview.sides`), and elsewhere
            the background (`ex4d.generate.preview.background`), averaged over some frames where it is known what stands
            still (`ex4d.generate.preview.steady`). Without a scene they are inpainted.
        engine: renders the scene; None uses the fastest that can run here.
        progress: called after each frame; raises `Cancelled` to stop.
    """
    result = conditioning.colour.copy()
    holes = [t for t in range(len(result)) if not conditioning.mask[t].all()]
    if not holes:
        return result
    pictures: Iterator[NDArray[np.uint8]]
    if scene is None:
        pictures = (inpaint(result[t], conditioning.mask[t] == 0) for t in holes)
    else:
        pictures = _behind(scene, engine or default_engine(), holes, conditioning)
    for done, (t, picture) in enumerate(zip(holes, pictures, strict=True), 1 + len(result) - len(holes)):
        cv2.copyTo(picture, (conditioning.mask[t] == 0).astype(np.uint8), result[t])
        progress(FILLING, done, len(result))
    return result


def _behind(
    scene: Scene, engine: Engine, cameras: Sequence[int], conditioning: Conditioning
) -> Iterator[NDArray[np.uint8]]:
    """Pictures (h,w,3) for the holes of the conditioning: the background, and the sides of things in front of it."""
    panorama, path = background(scene), scene.path
    last: steady.Frame | None = None
    for t, beside in zip(cameras, sides(scene, engine, cameras), strict=True):
        picture = panorama.view(path.camera_to_world[t], path.intrinsics[t], path.width, path.height)
        picture = np.asarray(cv2.blendLinear(beside.colour, picture, beside.weight, 1 - beside.weight), np.uint8)
        if beside.still is not None:
            hole = conditioning.mask[t] == 0
            colour = np.where(hole[..., None], picture, conditioning.colour[t]).astype(np.float32)
            frame = steady.Frame(t, colour, beside.still)
            if last is not None and last.camera == t - 1:
                frame = steady.steadied(frame, hole, last, path)
            last, picture = frame, (frame.colour + 0.5).astype(np.uint8)
        yield picture
