"""Which pixels of a frame another camera sees, by the frame's mesh: what a rendering mask is made of."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.render.conditioning import coincides
from ex4d.render.engines.cpu import reliable_vertices
from ex4d.render.engines.numpy_reference import clip_coordinates
from ex4d.render.scene import NEAR, Engine, Scene, View

SAME_SURFACE = 0.02
"""A vertex is front-most if it is no farther than what is drawn there, up to this part of its distance."""

AT_ONCE = 8
"""Frames are drawn in groups of so many, so that the views of a whole clip are never in memory together."""


@dataclass(frozen=True)
class Projected:
    """Where the vertices of a frame are in a camera's picture.

    Attributes:
        x, y: (H,W) float64 pixels, centres at +0.5; 0 for what is behind the camera.
        distance: (H,W) float64, along the camera's axis.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    distance: NDArray[np.float64]


def seen_from(scene: Scene, engine: Engine) -> Iterator[NDArray[np.bool_]]:
    """For each frame of a scene, which of its pixels (H,W) the path's camera of that frame sees.

    A vertex is seen if it projects into the picture, is front-most there and belongs to no face that bridges an
    occlusion. The outermost pixels, which the mesh bends back to its shell, go with their neighbours. A camera that
    stands where the source camera does sees everything, as `ex4d.render.conditioning` has it.

    Args:
        scene: T frames and T cameras; its pictures do not matter.
        engine: what draws.
    """
    for (t, drawn), reliable in zip(_views(scene, engine), reliable_vertices(scene.mesh), strict=True):
        yield _seen(scene, t, drawn, projected(scene, t), reliable)


def double_reprojected(
    scene: Scene, wrong: Scene, engine: Engine
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Frames seen through a camera elsewhere whose depth was wrong: colours (H,W,3), and where (H,W) they are known.

    The camera's picture is drawn from the wrong depth, and the frame's pixels look themselves up in it where they
    really are. So colours slip along edges, bend and miss pieces as they do in a render from an estimator's depth.

    Args:
        scene: the frames and where they really are.
        wrong: the same pictures and path with wrong depth, an `open_mesh`.
        engine: what draws.
    """
    views = zip(_views(scene, engine), _views(wrong, engine), reliable_vertices(scene.mesh), strict=True)
    for (t, own), (_, slipped), reliable in views:
        if coincides(scene.mesh, scene.path, t, t):
            yield scene.pictures[t], np.ones(scene.mesh.depth.shape[1:], np.bool_)
            continue
        place = projected(scene, t)
        x, y = (a.astype(np.float32) - np.float32(0.5) for a in (place.x, place.y))  # OpenCV's centres are whole
        colour = np.asarray(cv2.remap(slipped.colour, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.uint8)
        known = cv2.remap(slipped.mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) == 255
        yield colour, known & _seen(scene, t, own, place, reliable)


def _views(scene: Scene, engine: Engine) -> Iterator[tuple[int, View]]:
    for start in range(0, len(scene.mesh), AT_ONCE):
        part = range(start, min(start + AT_ONCE, len(scene.mesh)))
        yield from zip(part, engine.views(scene, [(t, t) for t in part], surfaces=True), strict=True)


def projected(scene: Scene, t: int) -> Projected:
    """The vertices of frame `t` in the picture of the path's camera `t`."""
    clip = clip_coordinates(scene.mesh.depth[t], scene.projection(t, t)).reshape(*scene.mesh.depth.shape[1:], 3)
    distance = clip[..., 2]
    there = np.where(distance > NEAR, distance, np.inf)
    return Projected(clip[..., 0] / there, clip[..., 1] / there, distance)


def _seen(scene: Scene, t: int, drawn: View, place: Projected, reliable: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """`seen_from` for one frame, of which `reliable` (H,W) are the vertices in no face that bridges an occlusion."""
    if coincides(scene.mesh, scene.path, t, t):
        return np.ones(scene.mesh.depth.shape[1:], np.bool_)
    assert drawn.surface is not None
    seen = _front_most(place, drawn.surface.inverse_distance) & (reliable > 0)
    return with_border(seen)


def with_border(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The same (H,W), its outer two rows and columns like their neighbours; in place.

    The mesh's border stands at the shell, so that the next row too is in faces that bridge to it, always.
    """
    seen[:2], seen[-2:] = seen[2], seen[-3]
    seen[:, :2], seen[:, -2:] = seen[:, 2:3], seen[:, -3:-2]
    return seen


def open_mesh(source: DepthVideo) -> DWMesh:
    """A mesh whose border stays where it is seen but for the four corners, which hold the faces behind in their place.

    For colours alone: whoever looks past its border sees what the closed mesh hides.
    """
    mesh = DWMesh.from_depth(source)
    depth = source.depth.copy()
    depth[:, [0, 0, -1, -1], [0, -1, 0, -1]] = mesh.shell
    return replace(mesh, depth=depth, border_is_real=True)


def _front_most(place: Projected, inverse_distance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which vertices (H,W) are in a picture of these distances (h,w) and not behind what is drawn there.

    Of the distance at the pixel that a vertex is in and the one interpolated between the four around it, the farther
    counts: beside an edge the interpolated one is too near, and on a slanted surface that of the pixel's centre may be.
    """
    height, width = inverse_distance.shape
    x, y = place.x, place.y
    inside = (place.distance > NEAR) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    x, y = x[inside], y[inside]
    own = inverse_distance[y.astype(np.intp), x.astype(np.intp)]
    left, top = (np.floor(a - 0.5).astype(np.intp).clip(0) for a in (x, y))
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    across, down = (x - 0.5 - left).clip(0), (y - 0.5 - top).clip(0)
    above, below = (
        (1 - across) * inverse_distance[row, left] + across * inverse_distance[row, right] for row in (top, bottom)
    )
    drawn = np.minimum(own, (1 - down) * above + down * below)
    result = np.zeros(place.x.shape, np.bool_)
    result[inside] = place.distance[inside] * drawn * (1 - SAME_SURFACE) < 1
    return result
