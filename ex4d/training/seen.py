"""Which pixels of a frame another camera sees, according to the frame's mesh: the basis of rendering masks."""

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
"""A vertex is front-most if it is no farther than the surface drawn there, within this fraction of its distance."""

AT_ONCE = 8
"""Frames per group; drawing in groups keeps the views of a whole clip from being in memory together."""


@dataclass(frozen=True)
class Projected:
    """Positions of a frame's vertices in a camera's picture.

    Attributes:
        x, y: (H,W) float64 pixels, centres at +0.5; 0 behind the camera.
        distance: (H,W) float64, along the camera's axis.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    distance: NDArray[np.float64]


def seen_from(scene: Scene, engine: Engine) -> Iterator[NDArray[np.bool_]]:
    """Yield, for each frame of a scene, which of its pixels (H,W) the path's camera of that frame sees.

    A vertex is seen if it projects into the picture, is front-most there and belongs to no face that bridges an
    occlusion. The outermost pixels, which the mesh bends back to its shell, take the value of their neighbours. A
    camera in the same place as the source camera sees everything, as in `ex4d.render.conditioning`.

    Args:
        scene: T frames and T cameras; its pictures are not used.
        engine: draws the views.
    """
    for (t, drawn), reliable in zip(_views(scene, engine), reliable_vertices(scene.mesh), strict=True):
        yield _seen(scene, t, drawn, projected(scene, t), reliable)


def double_reprojected(
    scene: Scene, wrong: Scene, engine: Engine
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Yield frames seen through another camera with wrong depth: colours (H,W,3), and where (H,W) they are known.

    The camera's picture is drawn from the wrong depth, and each pixel of the frame is looked up there at its true
    position. So colours are displaced along edges, bent, or missing, just as in a render from estimated depth.

    Args:
        scene: the frames with true depth.
        wrong: the same pictures and path with wrong depth, as an `open_mesh`.
        engine: draws the views.
    """
    views = zip(_views(scene, engine), _views(wrong, engine), reliable_vertices(scene.mesh), strict=True)
    for (t, own), (_, slipped), reliable in views:
        if coincides(scene.mesh, scene.path, t, t):
            yield scene.pictures[t], np.ones(scene.mesh.depth.shape[1:], np.bool_)
            continue
        place = projected(scene, t)
        x, y = (a.astype(np.float32) - np.float32(0.5) for a in (place.x, place.y))  # OpenCV's centres: integers
        colour = np.asarray(cv2.remap(slipped.colour, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT), np.uint8)
        known = cv2.remap(slipped.mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) == 255
        yield colour, known & _seen(scene, t, own, place, reliable)


def _views(scene: Scene, engine: Engine) -> Iterator[tuple[int, View]]:
    for start in range(0, len(scene.mesh), AT_ONCE):
        part = range(start, min(start + AT_ONCE, len(scene.mesh)))
        yield from zip(part, engine.views(scene, [(t, t) for t in part], surfaces=True), strict=True)


def projected(scene: Scene, t: int) -> Projected:
    """Project the vertices of frame `t` into the picture of the path's camera `t`."""
    clip = clip_coordinates(scene.mesh.depth[t], scene.projection(t, t)).reshape(*scene.mesh.depth.shape[1:], 3)
    distance = clip[..., 2]
    there = np.where(distance > NEAR, distance, np.inf)
    return Projected(clip[..., 0] / there, clip[..., 1] / there, distance)


def _seen(scene: Scene, t: int, drawn: View, place: Projected, reliable: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """`seen_from` for one frame, whose `reliable` (H,W) vertices are in no face that bridges an occlusion."""
    if coincides(scene.mesh, scene.path, t, t):
        return np.ones(scene.mesh.depth.shape[1:], np.bool_)
    assert drawn.surface is not None
    seen = _front_most(place, drawn.surface.inverse_distance) & (reliable > 0)
    return with_border(seen)


def with_border(seen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Set the outer two rows and columns (H,W) to their neighbours' values, in place.

    The mesh's border is at the shell, so the faces of the adjacent row always bridge to it as well.
    """
    seen[:2], seen[-2:] = seen[2], seen[-3]
    seen[:, :2], seen[:, -2:] = seen[:, 2:3], seen[:, -3:-2]
    return seen


def open_mesh(source: DepthVideo) -> DWMesh:
    """A mesh whose border stays where it is seen, apart from the four corners, which hold the faces behind it in place.

    For colours only: a camera that looks past its border sees what the closed mesh hides.
    """
    mesh = DWMesh.from_depth(source)
    depth = source.depth.copy()
    depth[:, [0, 0, -1, -1], [0, -1, 0, -1]] = mesh.shell
    return replace(mesh, depth=depth, border_is_real=True)


def _front_most(place: Projected, inverse_distance: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which vertices (H,W) are inside a picture with these inverse distances (h,w), and not behind the surface there.

    The farther of two distances counts: that of the pixel that the vertex is in, and the one interpolated between the
    four pixels around it. At an edge the interpolated one is too near; on a slanted surface, the pixel's own may be.
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
