"""Depth of every frame of a clip, and the file in which the project keeps it. Needs numpy only."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry import intrinsics
from ex4d.storage.atomic import replacing
from ex4d.storage.npz import Arrays, open_arrays


@dataclass(frozen=True)
class DepthVideo:
    """Distances along the optical axis at the clip's working size.

    Attributes:
        depth: (T,H,W) float32, finite, > 0, in the unit of the provider.
        intrinsics: (T,3,3) float64 in pixels of (H, W), pixel centres at +0.5; (3,3) is taken for all frames.
        provider: where the depth comes from, a short name.
        notes: sentences about what was assumed or changed, for the user.
        repaired: part of the values, 0 to 1, that were no distances and took a neighbour's.
    """

    depth: NDArray[np.float32]
    intrinsics: NDArray[np.float64]
    provider: str
    notes: tuple[str, ...] = ()
    repaired: float = 0.0

    def __post_init__(self) -> None:
        d = self.depth
        if d.ndim != 3 or d.dtype != np.float32 or 0 in d.shape:
            raise InputError(f"Depth must be float32 of the shape (T, H, W), not {d.dtype} {d.shape}.")
        # One frame at a time, without a temporary as large as the video; NaN fails both comparisons.
        for number, frame in enumerate(d):
            if not (frame.min() > 0 and frame.max() < np.inf):
                raise InputError(f"Depth must be finite and above 0 everywhere, which frame {number} is not.")
        object.__setattr__(self, "intrinsics", intrinsics.per_frame(self.intrinsics, len(d)))


def save_depth(path: Path, depth: DepthVideo, **about: NDArray | str) -> None:
    """Write .npz with the fields of `DepthVideo` and what else is to be told `about` it; all or nothing.

    Not compressed: float depth shrinks little, and packing it would take longer than all other steps.

    Raises:
        InputError: the file cannot be written (disk full, no permission).
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            depth=depth.depth,
            intrinsics=depth.intrinsics,
            provider=np.array(depth.provider),
            notes=np.array(depth.notes, np.str_),
            repaired=np.array(depth.repaired),
            **{name: np.asarray(value) for name, value in about.items()},  # type: ignore[arg-type]
        )


def load_depth_npz(path: Path) -> DepthVideo:
    """What `save_depth` wrote, as it is; needs numpy only.

    Raises:
        InputError: missing, damaged, or without one of its arrays.
    """
    with open_arrays(path, "depth file") as arrays:
        for key in ("depth", "intrinsics", "provider", "notes"):
            if key not in arrays.headers:
                raise InputError(f"The depth file {path} has no {key!r}: EX-4D for Blender did not write it.")
        return DepthVideo(
            arrays.read("depth"),
            arrays.read("intrinsics"),
            str(arrays.read("provider")),
            tuple(str(note) for note in arrays.read("notes")),
            _number(arrays, "repaired"),
        )


def _number(arrays: Arrays, key: str) -> float:
    """A single number; 0 where it is missing, as in files of older versions."""
    if key not in arrays.headers or arrays.headers[key].shape != () or arrays.headers[key].dtype.kind != "f":
        return 0.0
    return float(arrays.read(key))
