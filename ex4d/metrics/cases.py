"""A result to measure, and what there is to compare it with."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras import registry
from ex4d.cameras.track import CameraTrack
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.camera_path import CameraPath
from ex4d.metrics.ranges import OTHER, range_of, signed_angles

Pictures = Path | tuple[Path, ...]
"""A video, a folder of images, or image files in order."""


@dataclass(frozen=True)
class Case:
    """One result.

    Attributes:
        name: of the shot.
        result: output of a generator.
        source: the clip that it was made from; None if not available.
        truth: what a real camera saw there; None if unknown.
        truth_at: (n,) the frames of the source that the pictures of `truth` belong to, ascending; None for all.
        mask: one picture per frame, white where a pixel of the result is real, black where it is invented; None if
            unknown.
        covisible: DyCheck's masks, one for each picture of the truth; None if there are none.
        path: the requested camera, one per frame of the source; None if unknown.
        source_poses: (T,4,4) camera-to-world of the clip's own camera in the path's world; None if it is still.
        source_at: (T,) the frames of the clip that the result was made from, ascending; None for all, or if unknown.
        notes: sentences about how it was found.
    """

    name: str
    result: Pictures
    source: Pictures | None = None
    truth: Pictures | None = None
    truth_at: NDArray[np.int64] | None = None
    mask: Pictures | None = None
    covisible: Pictures | None = None
    path: CameraPath | None = None
    source_poses: NDArray[np.float64] | None = None
    source_at: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()

    @property
    def angles(self) -> NDArray[np.float64] | None:
        """Degrees (T,) of the path against the source's camera, see `ranges.signed_angles`."""
        if self.path is None:
            return None
        poses, source = self.path.camera_to_world, self.source_poses
        if source is not None and len(source) != len(poses):
            raise InputError(
                f"The camera path of {self.name} has {len(poses)} frames and the clip's own camera {len(source)}: give"
                " files for the same frames."
            )
        return signed_angles(poses, source)

    @property
    def range(self) -> str:
        """The range of its path, see `ranges.range_of`; "other" if the path is unknown."""
        return OTHER if self.angles is None else range_of(self.angles)


def read_path(file: Path, width: int, height: int) -> CameraPath:
    """A camera path from any format that `ex4d.cameras` reads, for pictures of this size.

    Raises:
        InputError: it cannot be read, or gives no lens.
    """
    track = registry.read(file)
    if track.lens is None:
        raise InputError(f"The camera file {file} tells no lens: give one with a lens, such as a take's camera.npz.")
    lens, _notes = track.lens.in_pixels(width, height)
    return CameraPath(track.camera_to_world, lens, width, height)


def read_poses(file: Path) -> NDArray[np.float64]:
    """Camera-to-world poses (T,4,4) from a camera file."""
    track: CameraTrack = registry.read(file)
    return track.camera_to_world


def from_first(case: Case) -> Case:
    """The case in the world of the source's first camera, if the poses of both are in another world."""
    if case.path is None or case.source_poses is None:
        return case
    into = transforms.inverse(case.source_poses[0])
    path = replace(case.path, camera_to_world=into @ case.path.camera_to_world)
    return replace(case, path=path, source_poses=into @ case.source_poses)
