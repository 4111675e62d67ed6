"""What is drawn, from where, and the result; the interface of the engines that draw."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.transforms import inverse

EngineName = Literal["auto", "numba", "numpy", "cuda", "nvdiffrast"]
"""Names of the engines; see `ex4d.render.engines`."""

Persistence = Literal["off", "fill", "all"]
"""Whether pixels seen by other frames fill those that a frame did not see: never, only where nothing that the frame
knows contradicts it, or always; see `ex4d.render.world`."""

NEAR = 1e-3
"""Distance of the near plane, in the unit of the depth (release, recon.py)."""

RELEASE_FAR = 1e3
"""Far plane of the release, nearer than the depths of up to 10000 that it produces; ours has none."""


@dataclass(frozen=True)
class Plate:
    """Frames of a second clip of the same place, in the shot's world.

    Attributes:
        mesh: n frames, of any size.
        pictures: (n,H,W,3) uint8, the mesh's colours.
    """

    mesh: DWMesh
    pictures: NDArray[np.uint8]


@dataclass(frozen=True)
class Earlier:
    """Frames of an earlier take of a shot, in the shot's world.

    Attributes:
        mesh: n frames, of any size, without what moves in them.
        pictures: (n,H,W,3) uint8, the mesh's colours.
        frames: (n) numbers of the shot's frames that they show.
    """

    mesh: DWMesh
    pictures: NDArray[np.uint8]
    frames: Sequence[int]


@dataclass(frozen=True)
class Scene:
    """What is drawn and from where.

    Attributes:
        mesh: T frames.
        pictures: (T,H,W,3) uint8, the mesh's colours.
        path: cameras.
        release_compat: use the release's far plane and its colours that fade towards unreliable vertices.
        persistence: whether other frames fill what a frame did not see, see `ex4d.render.world`.
        moving: (T,H,W) bool, independently moving things; None if unknown, and then no other frame fills anything.
        lead_in: number of the path's cameras that come before the shot's own and look at its first frame, see
            `ex4d.render.lead_in`.
        plate: what a second clip saw of the place; None if there is none.
        earlier: what an earlier take shows of the place; None if there is none.
    """

    mesh: DWMesh
    pictures: NDArray[np.uint8]
    path: CameraPath
    release_compat: bool = False
    persistence: Persistence = "off"
    moving: NDArray[np.bool_] | None = None
    lead_in: int = 0
    plate: Plate | None = None
    earlier: Earlier | None = None

    def frame_of(self, view: int) -> int:
        """Number of the frame that a camera of the path looks at."""
        return max(0, view - self.lead_in)

    @property
    def without_lead_in(self) -> "Scene":
        """The shot alone: T frames and T cameras."""
        return replace(self, path=self.path.after(self.lead_in), lead_in=0) if self.lead_in else self

    @property
    def far(self) -> float:
        """Distance of the far plane."""
        return RELEASE_FAR if self.release_compat else np.inf

    def projection(self, t: int, view: int) -> NDArray[np.float64]:
        """The (3,4) matrix from depths of frame `t` to clip coordinates of camera `view`.

        clip = depth * matrix[:, :3] @ (column, row, 1) + matrix[:, 3], pixels = clip[:2] / clip[2], and clip[2]
        is the distance along the optical axis.
        """
        source_to_target = inverse(self.path.camera_to_world[view]) @ self.mesh.source_to_world[t]
        return projection(self.path.intrinsics[view], source_to_target, self.mesh.intrinsics[t])


@dataclass(frozen=True)
class View:
    """One picture of the mesh.

    Attributes:
        colour: (h,w,3) uint8, black where nothing real is seen.
        mask: (h,w) uint8, 255 where the colour is real.
        surface: the visible faces and their distances, if requested.
        borrowed: (h,w) bool, where only other frames of the shot saw the real colour; None if none were used.
        lent: which frames saw it, and how far away it is.
        earlier: what an earlier take shows where no frame saw anything: its colours are there, and the mask is 0.
    """

    colour: NDArray[np.uint8]
    mask: NDArray[np.uint8]
    surface: "Surface | None" = None
    borrowed: NDArray[np.bool_] | None = None
    lent: "Lent | None" = None
    earlier: "Lent | None" = None


@dataclass(frozen=True)
class Lent:
    """Pixels (m,) that other frames lend to one picture, stored compactly because a long shot has one for each frame.

    Attributes:
        rows, columns: (m,) uint16, the pixels.
        frames: (m,) uint16, the frame of the shot that saw each; T + n is frame n of the plate of a shot of T frames.
            For an earlier take, n is frame n of `Earlier`.
        inverse_distance: (m,) float32, 1 / distance along the optical axis of the camera that sees them.
        gains: for each lending frame, factors (3,) for its channels that match its exposure to the filled frame's.
    """

    rows: NDArray[np.uint16]
    columns: NDArray[np.uint16]
    frames: NDArray[np.uint16]
    inverse_distance: NDArray[np.float32]
    gains: Mapping[int, NDArray[np.float64]]


@dataclass(frozen=True)
class Surface:
    """The visible surface at each pixel.

    Attributes:
        ids: (h,w) int32, the visible face: 2 * (row * W + column) + k for the quad with that top left vertex, then
            2 * H * W + k for the two closing faces; -1 where there is none.
        inverse_distance: (h,w) float32, 1 / distance along the optical axis; 0 where there is no face.
    """

    ids: NDArray[np.int32]
    inverse_distance: NDArray[np.float32]


class Engine(Protocol):
    """Draws the mesh. `note` is a sentence for the user about the choice of engine, or empty."""

    name: str
    note: str

    def views(self, scene: Scene, pairs: Sequence[tuple[int, int]], surfaces: bool = False) -> Iterator[View]:
        """Pictures of the frames `t` from the cameras `view`, for pairs (t, view), in their order.

        Args:
            scene: what to draw.
            pairs: (t, view) of each picture.
            surfaces: also return the visible faces and their distances.
        """
        ...


def projection(k_target: NDArray, source_to_target: NDArray, k_source: NDArray) -> NDArray[np.float64]:
    """The matrix of `Scene.projection`, from intrinsics (3,3) and a rigid transform (4,4) between cameras."""
    rotation = k_target @ source_to_target[:3, :3] @ np.linalg.inv(k_source)
    matrix = np.empty((3, 4))
    matrix[:, :2] = rotation[:, :2]
    matrix[:, 2] = rotation @ (0.5, 0.5, 1.0)
    matrix[:, 3] = k_target @ source_to_target[:3, 3]
    return matrix
