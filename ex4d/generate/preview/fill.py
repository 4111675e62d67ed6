"""The preview generator: no neural network; things and the background are continued where the source saw nothing."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.generate.base import Generated, Request
from ex4d.generate.preview.averaging import Frame, averaged
from ex4d.generate.preview.background import FRAMES, background
from ex4d.generate.preview.inpaint import inpaint
from ex4d.generate.preview.sides import sides
from ex4d.geometry.camera_path import CameraPath
from ex4d.progress import FILLING, Progress, silent
from ex4d.render.conditioning import Conditioning, without_rim
from ex4d.render.engines import engine as default_engine
from ex4d.render.scene import Engine, Scene

_LONGER_SIDE = 512
"""Fills are made with about this many pixels on the longer side and enlarged: the background and the sides of things
have hardly any finer detail, see docs/performance.md."""

NOTE = (
    "Holes are filled with the background that the clip saw there. Where it saw none, they get the average colour at"
    " that height. The sides of things take the colour of their edges."
)

NOTE_AVERAGED = (
    "Invented pixels of static things are averaged over time, so that they do not flicker. If the light changes, the"
    " sides of things follow a few frames late, and the background does not follow at all."
)

NOTE_WITHOUT_DEPTH = "Holes are filled smoothly from their surroundings."


class PreviewGenerator:
    """The preview as a generator. It keeps nothing between requests, and nothing in it is random."""

    def generate(self, request: Request, progress: Progress) -> Generated:
        """Fill the holes, and with them the rim of what each frame itself saw; see `ex4d.generate.base.Generator`."""
        sure = without_rim(request.conditioning, request.seed)
        frames, is_averaged = _filled(sure, request.scene, request.engine, progress)
        if request.scene is None:
            return Generated(frames, {"background_frames": 0}, (NOTE_WITHOUT_DEPTH,))
        notes = (NOTE, NOTE_AVERAGED) if is_averaged else (NOTE,)
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
            the background (`ex4d.generate.preview.background`), averaged in time if the scene knows what moves
            (`ex4d.generate.preview.averaging`). Without a scene they are inpainted.
        engine: renders the scene; None uses the fastest that can run here.
        progress: called after each frame; raises `Cancelled` to stop.
    """
    return _filled(conditioning, scene, engine, progress)[0]


def _filled(
    conditioning: Conditioning, scene: Scene | None, engine: Engine | None, progress: Progress
) -> tuple[NDArray[np.uint8], bool]:
    """The result of `filled`, and whether anything in it is averaged in time."""
    result = conditioning.colour.copy()
    holes = [t for t in range(len(result)) if not conditioning.mask[t].all()]
    if not holes:
        return result, False
    is_averaged = False
    pictures: Iterator[tuple[NDArray[np.uint8], bool]]
    if scene is None:
        pictures = ((inpaint(result[t], conditioning.mask[t] == 0), False) for t in holes)
    else:
        pictures = _behind(scene, engine or default_engine(), holes, conditioning)
    for done, (t, (picture, mixed)) in enumerate(zip(holes, pictures, strict=True), 1 + len(result) - len(holes)):
        is_averaged |= mixed
        cv2.copyTo(picture, (conditioning.mask[t] == 0).astype(np.uint8), result[t])
        progress(FILLING, done, len(result))
    return result, is_averaged


def _behind(
    scene: Scene, engine: Engine, cameras: Sequence[int], conditioning: Conditioning
) -> Iterator[tuple[NDArray[np.uint8], bool]]:
    """Pictures (h,w,3) for the holes of the conditioning: the background, and the sides of things in front of it.

    With each comes whether anything in it is averaged in time.
    """
    size = scene.path.width, scene.path.height
    path = _smaller(scene.path)
    last: Frame | None = None
    things = sides(replace(scene, path=path), engine, cameras)
    with ThreadPoolExecutor(1) as pool:  # makes the sides for the next frame while this one is filled
        coming = pool.submit(next, things)
        panorama = background(scene)
        for t in cameras:
            beside = coming.result()
            if t != cameras[-1]:
                coming = pool.submit(next, things)
            picture = panorama.view(path.camera_to_world[t], path.intrinsics[t], path.width, path.height)
            picture = np.asarray(cv2.blendLinear(beside.colour, picture, beside.weight, 1 - beside.weight), np.uint8)
            is_averaged = False
            if beside.static_inverse_distance is not None:
                new, hole = _frame(t, picture, beside.static_inverse_distance, conditioning, path)
                last = new if last is None else averaged(new, hole, last, path)
                is_averaged = last is not new
                picture = np.asarray(cv2.convertScaleAbs(last.colour), np.uint8)
            yield np.asarray(cv2.resize(picture, size), np.uint8), is_averaged


def _smaller(path: CameraPath) -> CameraPath:
    """The same cameras for pictures a whole number of times smaller, with a longer side close to `_LONGER_SIDE`."""
    times = max(1, round(max(path.width, path.height) / _LONGER_SIDE))
    return path.in_size(-(-path.width // times), -(-path.height // times))


def _frame(
    t: int,
    picture: NDArray[np.uint8],
    static_inverse_distance: NDArray[np.float32],
    conditioning: Conditioning,
    path: CameraPath,
) -> tuple[Frame, NDArray[np.bool_]]:
    """Frame `t` of the conditioning at the size of a path, with its holes filled from a picture (h,w,3), and the holes.

    A pixel is a hole (h,w) if any of those that it stands for is.
    """
    size = path.width, path.height
    colour = np.array(cv2.resize(conditioning.colour[t], size, interpolation=cv2.INTER_AREA), np.float32)
    hole = cv2.resize(conditioning.mask[t], size, interpolation=cv2.INTER_AREA) < 255
    light = np.full(3, np.nan) if hole.all() else np.array(cv2.mean(colour, (~hole).astype(np.uint8))[:3])
    cv2.copyTo(picture.astype(np.float32), hole.astype(np.uint8), colour)
    return Frame(t, colour, static_inverse_distance, light), hole
