"""Occlusion filters: which faces of the DW-Mesh bridge an occlusion and are not a surface.

Needs only numpy; `ex4d.render.engines.numba_kernels` has the same in compiled form, and tests compare the two.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class OcclusionFilter:
    """A face is an occlusion if it is beyond any of the three limits; its vertices are then unreliable.

    Attributes:
        min_angle: smallest angle of a face in degrees; 0 sets no limit.
        max_extent: largest extent of a face along an axis, as a fraction of the mesh's extent in depth.
        max_slope: largest extent in depth over the largest lateral extent.
    """

    min_angle: float
    max_extent: float = np.inf
    max_slope: float = np.inf

    @property
    def cos_limit(self) -> float:
        """Cosine of `min_angle`; 2, which no cosine reaches, if there is no limit."""
        return float(np.cos(np.radians(self.min_angle))) if self.min_angle > 0 else 2.0


RELEASE = OcclusionFilter(min_angle=2.5)
"""The release's filter "angle" (recon.py)."""

OcclusionName = Literal["default", "release", "angle_and_extent", "boundary"]
FILTERS: dict[OcclusionName, OcclusionFilter] = {
    "default": OcclusionFilter(min_angle=4.0),  # measured best on the sample, see docs/performance.md
    "release": RELEASE,
    "angle_and_extent": OcclusionFilter(min_angle=1.0, max_extent=0.013),  # a later derivative of the release
    "boundary": OcclusionFilter(min_angle=0.0, max_slope=2.0),  # the release's other filter
}


def reliable_vertices(vertices: NDArray[np.float64], occlusion: OcclusionFilter) -> NDArray[np.bool_]:
    """Which vertices (H,W) belong to no face that bridges an occlusion.

    Args:
        vertices: (H,W,3) in the axes of the source camera.
        occlusion: the limits.
    """
    z = vertices[..., 2]
    extent_limit = occlusion.max_extent * (z.max() - z.min())
    top_left, top_right = vertices[:-1, :-1], vertices[:-1, 1:]
    bottom_left, bottom_right = vertices[1:, :-1], vertices[1:, 1:]
    first = _is_occlusion(top_left, bottom_left, top_right, occlusion, extent_limit)
    second = _is_occlusion(top_right, bottom_left, bottom_right, occlusion, extent_limit)
    reliable = np.ones(z.shape, np.bool_)
    reliable[:-1, :-1] &= ~first
    reliable[1:, :-1] &= ~(first | second)
    reliable[:-1, 1:] &= ~(first | second)
    reliable[1:, 1:] &= ~second
    return reliable


def _is_occlusion(
    a: NDArray, b: NDArray, c: NDArray, occlusion: OcclusionFilter, extent_limit: float
) -> NDArray[np.bool_]:
    """Which triangles with the corners (...,3) are beyond a limit."""

    def sharp(corner: NDArray, one: NDArray, other: NDArray) -> NDArray[np.bool_]:
        p, q = one - corner, other - corner
        lengths = np.sqrt((p * p).sum(-1) * (q * q).sum(-1)) + 1e-12  # as released
        return (p * q).sum(-1) > occlusion.cos_limit * lengths

    extent = np.maximum(np.maximum(a, b), c) - np.minimum(np.minimum(a, b), c)
    sideways = np.maximum(extent[..., 0], extent[..., 1]) + 1e-8  # as released
    return (
        sharp(a, b, c)
        | sharp(b, c, a)
        | sharp(c, a, b)
        | (extent.max(-1) >= extent_limit)
        | (extent[..., 2] > occlusion.max_slope * sideways)
    )
