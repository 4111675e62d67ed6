"""Checks of the chosen camera's path before a take is made: where it starts, and whether it moves.

Panels must not change the frame, so this reads keys. If more than keys moves the camera, its frames are evaluated when
the artist asks for it, and the result holds as long as the camera is where it was then.
"""

from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry.camera_path import CameraPath

from ..scene import axes, camera, live_camera

FRAMES = 13
"""Number of frames of a keyed path compared with the source camera: the last, the first, and some between."""

MOVES = 1e-3
"""A camera that stays closer to the source camera than this does not count as moving, see `camera.sees_as`."""


@dataclass(frozen=True)
class Verdict:
    """Result of the checks; None where not known.

    Attributes:
        starts_off: whether the path starts off the source view.
        is_clip: whether the path is the source camera's own, so that a take would be the clip itself.
    """

    starts_off: bool | None
    is_clip: bool | None


class PathChecks:
    """Checks of paths in the open file."""

    def __init__(self) -> None:
        self._evaluated: tuple[tuple, CameraPath] | None = None
        self._source: tuple[tuple, NDArray[np.float64], NDArray[np.float64]] | None = None

    def of(self, scene: bpy.types.Scene) -> Verdict:
        """Check the chosen camera's path. Evaluates nothing, and is quick enough for panels.

        Raises:
            InputError: no camera is chosen, or its lens is not perspective.
        """
        facts, chosen = scene.ex4d, camera.path_camera(scene)
        camera.lens_of(chosen.data)
        try:
            keyed = live_camera.Keyed(scene)
        except InputError:
            return self._as_evaluated(scene)
        picture, (poses, lenses) = axes.Picture(facts.width, facts.height), self._source_of(facts)

        def is_source(frame: int, near: float) -> bool:
            k = axes.intrinsics_from_lens(keyed.lens(frame), picture)
            return camera.sees_as(keyed.pose(frame), k, poses[frame], lenses[frame], facts.radius, near)

        frames = np.linspace(facts.frames - 1, 0, FRAMES).astype(int).tolist()
        # Keys that follow a source camera match it up to their tolerance, a fraction of the extent of its path.
        near = MOVES + camera.KEY_TOLERANCE * float(np.ptp(poses[:, :3, 3], axis=0).max()) / facts.radius
        try:
            return Verdict(not is_source(0, camera.ON_SOURCE), all(is_source(frame, near) for frame in frames))
        except InputError:  # no valid pose, which Generate will report
            return Verdict(True, False)

    def evaluate(self, scene: bpy.types.Scene) -> None:
        """Evaluate the chosen camera in every frame.

        Raises:
            InputError: see `camera.sample`.
        """
        self._evaluated = _key(scene), camera.sample(scene)

    def forget(self) -> None:
        """Forget everything, because another file is loaded."""
        self._evaluated = self._source = None

    def _as_evaluated(self, scene: bpy.types.Scene) -> Verdict:
        """The result for a camera that more than keys moves."""
        facts, number = scene.ex4d, scene.frame_current - scene.ex4d.start
        if self._evaluated is None or self._evaluated[0] != _key(scene):
            return Verdict(camera.off_source(scene) if number == 0 else None, None)
        path, (poses, lenses) = self._evaluated[1], self._source_of(facts)
        if number in range(facts.frames):
            now, then = camera.pose_now(scene), path.camera_to_world[number]
            if now is None or not np.allclose(now, then, atol=camera.ON_SOURCE * max(1, facts.radius)):
                self._evaluated = None  # its path has changed
                return self._as_evaluated(scene)

        def is_source(frame: int, near: float) -> bool:
            pose, k = path.camera_to_world[frame], path.intrinsics[frame]
            return camera.sees_as(pose, k, poses[frame], lenses[frame], facts.radius, near)

        return Verdict(
            not is_source(0, camera.ON_SOURCE), all(is_source(frame, MOVES) for frame in range(facts.frames))
        )

    def _source_of(self, facts: bpy.types.PropertyGroup) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Poses (T,4,4) and lenses (T,3,3) of the source camera, parsed once because the scene stores them as JSON."""
        key = facts.path, facts.zoom, facts.lens, facts.frames
        if self._source is None or self._source[0] != key:
            self._source = key, facts.poses, facts.every_intrinsics
        return self._source[1:]


def _key(scene: bpy.types.Scene) -> tuple:
    facts = scene.ex4d
    return facts.shot, facts.camera.name if facts.camera else "", facts.start, facts.frames, facts.path
