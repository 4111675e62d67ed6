"""The output of every estimator."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthVideo, save_depth

NO_UNIT = "The distances have no unit: the disparity of the shot was mapped as in EX-4D's release."
METRES = "The distances are in metres."
ASSUMED_METRES = "The distances are in metres if the file's numbers are millimetres, which was assumed."
THE_FILES = "The distances are in the unit of the file."
UNKNOWN = "The unit of the distances is unknown."
"""Sentences about the unit of distances."""


@dataclass(frozen=True)
class Estimate:
    """Depth of a clip, and its terms of use.

    Attributes:
        depth: distances, lens and notes.
        scale_note: a sentence about the unit of the distances.
        licence: under which the depth was made; a sentence if it forbids something.
        caution: a sentence attached to everything made from it, such as that it is a guess; empty if nothing.
        choice_note: a sentence about why no better estimator was used, if the choice was left to us. It is about this
            machine and this moment, so it is dropped when the depth is saved to a file.
        confidence: (T,H,W) float32 in [0,1] of the values of `depth`; None if the estimator gives none.
        steady: frames that were fitted to what stands still, or needed no fitting according to a camera with points; no
            frame is fitted twice.

    Raises:
        InputError: a confidence of another shape, dtype or range.
    """

    depth: DepthVideo
    scale_note: str
    licence: str
    confidence: NDArray[np.float32] | None = None
    caution: str = ""
    choice_note: str = ""
    steady: range = range(0)

    def save(self, path: Path, part: tuple[int, int, int] | None = None, *, packed: bool = False) -> None:
        """Write an .npz with the depth and everything known about it; all or nothing.

        Args:
            path: of the file.
            part: first frame, step, and number of frames of the source that this is a part of; `read_estimate` can then
                read any frames within it from the file. None leaves this out.
            packed: see `save_depth`; the confidence is then left out, because nothing reads it back from such a file.

        Raises:
            InputError: the file cannot be written (disk full, no permission).
        """
        about: dict[str, NDArray | str] = {}
        if self.confidence is not None and not packed:
            about["confidence"] = self.confidence
        if self.caution:
            about["caution"] = self.caution
        if part is not None:
            about["part"] = np.array(part, np.int64)
        if len(self.steady) == len(self.depth.depth):
            about["steady"] = np.array(True)
        save_depth(path, self.depth, packed=packed, scale_note=self.scale_note, licence=self.licence, **about)

    def __post_init__(self) -> None:
        c = self.confidence
        if c is None:
            return
        if c.shape != self.depth.depth.shape or c.dtype != np.float32 or not (c.min() >= 0 and c.max() <= 1):
            raise InputError(f"The confidence must be float32 in [0, 1] of the depth's shape, not {c.dtype} {c.shape}.")
