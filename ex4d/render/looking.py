"""Which pixels are real in one view of a shot, from its depth file: quick enough to look while a camera is moved.

Frames of depth are read when they are looked at, and the last ones are kept, so memory does not grow with the shot.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.frame_numbers import in_shot
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthFile, DepthVideo, open_depth
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.occlusion import FILTERS, OcclusionName
from ex4d.render import classes
from ex4d.render.conditioning import coincides
from ex4d.render.engines import engine, missing
from ex4d.render.scene import Scene

KEPT_BYTES = 256 << 20
"""Depth that is kept, of whatever shots."""

MOST_PIXELS = 1 << 26
"""Of one frame of depth: its mesh, and what is made of it, take some 20 bytes each."""


@dataclass(frozen=True)
class View:
    """One camera that looks at one frame of a shot.

    Attributes:
        frame: of the shot, from 0.
        camera: a path of this one camera, with the size of the picture.
        source_to_world: (4,4) pose of the source camera in that frame.
        occlusion, release_compat: which faces are no surface, and whether all is as the release has it; see
            `ex4d.pipeline.settings.RenderSettings`.
    """

    frame: int
    camera: CameraPath
    source_to_world: NDArray[np.float64]
    occlusion: OcclusionName | None = None
    release_compat: bool = False


class Looker:
    """Looks at shots by their depth files, and keeps what it is likely to need again.

    Args:
        kept_bytes: most memory for depth that is kept.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._engine = engine("numba" if not missing("numba") else "numpy")
        self._kept_bytes = kept_bytes
        self._shells: dict[str, float] = {}
        self._meshes: OrderedDict[tuple, DWMesh] = OrderedDict()
        self._black = np.zeros((1, 3, 3, 3), np.uint8)

    def look(self, key: str, path: Path, view: View) -> NDArray[np.uint8]:
        """Classes (h,w) of the pixels of a view, see `ex4d.render.classes`: the same as the mask of `render.render`.

        From the source's own view nothing is missing, however small the picture.

        Args:
            key: names the content of the file.
            path: what `ex4d.geometry.depth_video.save_depth` wrote.
            view: frame and camera.

        Raises:
            InputError: the file cannot be read, or has no such frame, or is too large.
        """
        mesh = self._mesh(key, path, view)
        mesh = replace(mesh, source_to_world=view.source_to_world[None])
        is_source = (
            view.frame == 0 if view.release_compat else coincides(mesh, view.camera.in_size(mesh.width, mesh.height), 0)
        )
        if is_source:
            return np.full((view.camera.height, view.camera.width), classes.OWN, np.uint8)
        if self._black.shape != (*mesh.depth.shape, 3):
            self._black = np.zeros((*mesh.depth.shape, 3), np.uint8)
        scene = Scene(mesh, self._black, view.camera, view.release_compat)
        (seen,) = self._engine.views(scene, [(0, 0)])
        return classes.of_mask(seen.mask)

    def _mesh(self, key: str, path: Path, view: View) -> DWMesh:
        """The mesh of one frame, with its source camera at the origin."""
        wanted = (key, view.frame, view.occlusion, view.release_compat)
        if wanted not in self._meshes:
            self._meshes[wanted] = self._read(key, path, view)
            while len(self._meshes) > 1 and sum(m.depth.nbytes for m in self._meshes.values()) > self._kept_bytes:
                self._meshes.popitem(last=False)
        self._meshes.move_to_end(wanted)
        return self._meshes[wanted]

    def _read(self, key: str, path: Path, view: View) -> DWMesh:
        with open_depth(path) as file:
            frames, height, width = file.shape
            if height * width > MOST_PIXELS:
                raise InputError(f"The depth of this shot is {width}x{height}, which is too large for Live Coverage.")
            if not 0 <= view.frame < frames:
                raise InputError(f"The depth of this shot has {frames} frames and no {in_shot(view.frame)}.")
            if key not in self._shells:
                self._shells[key] = DWMesh.shell_behind(_farthest(file))
            at = slice(view.frame, view.frame + 1)
            depth = DepthVideo(file.frames(at.start, at.stop), file.intrinsics[at], file.provider)
        limits = FILTERS[view.occlusion] if view.occlusion else None
        return DWMesh.from_depth(depth, None, view.release_compat, limits, self._shells[key])


def _farthest(file: DepthFile) -> float:
    """The greatest distance in all frames, read one at a time."""
    return max(float(frame.max()) for frame in file.each(0, file.shape[0]))
