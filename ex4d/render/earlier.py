"""What a shot itself knows about the pictures of an earlier take: distances to its own surfaces, and what moves.

A take shows more than the shot saw. Distances are known wherever the shot's own surfaces are visible. Moving things,
and their far sides, which a generator invents anew in every frame, are of no use at any other time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.geometry import transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.render import filling, movers
from ex4d.render.scene import Engine, Scene

LEAST_SHOWN = 0.02
"""Minimum part of a picture that must be comparable with the shot's own surfaces."""

MOST_OTHER = 0.5
"""How much a picture may differ from the shot's own surfaces, as a fraction of their spread about their median; both
are medians."""

LEAST_OTHER = 6.0
"""Levels of 255 by which it may always differ, because a plain wall has no colours to compare."""


@dataclass(frozen=True)
class Known:
    """One picture of a take.

    Attributes:
        colour: (h,w,3) uint8, what the shot's own frame shows from that camera.
        inverse_distance: (h,w) float32, 1 / distance along the optical axis.
        sure: (h,w) bool, where both are certain.
        moves: (h,w) bool, moving things, and where their far side may be visible.
    """

    colour: NDArray[np.uint8]
    inverse_distance: NDArray[np.float32]
    sure: NDArray[np.bool_]
    moves: NDArray[np.bool_]

    def is_shown_by(self, picture: NDArray[np.uint8]) -> bool:
        """Whether a picture (h,w,3) of the take shows the shot's own surfaces where they are visible."""
        off, spread = self.differs(picture)
        return off <= max(LEAST_OTHER, MOST_OTHER * spread)

    def differs(self, picture: NDArray[np.uint8]) -> tuple[float, float]:
        """Difference in levels between a picture (h,w,3) and the static parts of the shot, and their own spread.

        Both are medians, the spread that of the distance from the median; infinite and 0 if too little is known.
        """
        where = self.sure & ~self.moves
        if where.mean() < LEAST_SHOWN:
            return float("inf"), 0.0
        ours, theirs = self.colour[where].astype(np.float32), picture[where].astype(np.float32)
        spread = np.median(np.abs(ours - np.median(ours, axis=0)))
        return float(np.median(np.abs(theirs - ours))), float(spread)


def known(
    mesh: DWMesh,
    pictures: NDArray[np.uint8],
    moving: NDArray[np.bool_],
    path: CameraPath,
    frames: Sequence[int],
    engine: Engine,
) -> Iterator[Known]:
    """What a shot knows about some frames of a take, in their order.

    Args:
        mesh, pictures: of the shot.
        moving: (T,H,W) bool, what moves in it.
        path: cameras of these frames, at the size of the pictures wanted.
        frames: their numbers in the shot.
        engine: draws the views.
    """
    scene = Scene(mesh, pictures, path)
    views = engine.views(scene, [(t, camera) for camera, t in enumerate(frames)], surfaces=True)
    for number, (t, view) in enumerate(zip(frames, views, strict=True)):
        assert view.surface is not None
        sure = filling.eroded(view.mask)
        to_source = transforms.inverse(mesh.source_to_world[t]) @ path.camera_to_world[number]
        camera = filling.Camera(to_source, path.intrinsics[number])
        beside = filling.Frame.of(mesh, t, moving[t]).beside_movers(camera, view.surface, sure)
        moves = movers.widened(_of_movers(moving[t], view.surface.ids) | beside)
        yield Known(view.colour, view.surface.inverse_distance, sure, moves)


def _of_movers(moving: NDArray[np.bool_], ids: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Where (h,w) a face is visible that has a corner on something that moves (H,W)."""
    wide = cv2.dilate(movers.widened(moving).astype(np.uint8), np.ones((2, 2), np.uint8), anchor=(0, 0)).ravel() > 0
    corner = np.clip(ids >> 1, 0, moving.size - 1)
    return np.asarray(wide[corner] & (ids >= 0))
