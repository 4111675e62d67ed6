"""Other formats in which a take's videos are written beside its own: the interface, the file for grading in its folder,
and the small proxy to look at first."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d.media import mastering
from ex4d.media.frames import Frames, Stream, in_8_bits
from ex4d.media.movie import write_movie
from ex4d.media.picture import Bits
from ex4d.pipeline import take
from ex4d.pipeline.settings import Master
from ex4d.progress import Progress


class Leave(Protocol):
    """Writes the result of a take, and perhaps its other video, in another format before they are compressed."""

    @property
    def names(self) -> frozenset[str]:
        """Names of the take's videos that it writes."""

    @property
    def bits(self) -> Bits:
        """Bits per channel, 8 or 16, of the frames that it is given."""

    @property
    def wants_mask(self) -> bool:
        """Whether it is also given their masks."""

    def __call__(
        self,
        name: str,
        frames: Frames,
        mask: Frames | None,
        fps: Fraction,
        metadata: dict[str, str],
        *,
        progress: Progress,
    ) -> None:
        """Write the video of this name: (H,W,3) uint8 or uint16 by `bits`, and masks (H,W) uint8; None if the mask has
        another size.

        Raises:
            InputError: it cannot be written.
        """


@dataclass(frozen=True)
class MasterFile:
    """Writes the result into the take's folder as a file for grading.

    Attributes:
        folder: of the take.
        master: the format; not "none".
        bits: per channel, as many as the clip needs.
    """

    folder: Path
    master: Master
    bits: Bits

    @property
    def names(self) -> frozenset[str]:
        """The result alone."""
        return frozenset({take.RESULT})

    @property
    def wants_mask(self) -> bool:
        """ProRes carries the mask as alpha."""
        return self.master == "prores"

    def __call__(
        self,
        name: str,
        frames: Frames,
        mask: Frames | None,
        fps: Fraction,
        metadata: dict[str, str],
        *,
        progress: Progress,
    ) -> None:
        """See `Leave`."""
        place = self.folder / take.MASTERS[self.master]
        if self.master == "prores":
            mastering.write_prores(place, frames, fps, alpha=mask, metadata=metadata, progress=progress)
        else:
            mastering.write_ffv1(place, frames, fps, metadata=metadata, progress=progress)


PROXY_SIDE, PROXY_CRF = 512, 23
"""Longest side of a proxy in pixels, and its CRF: 200 kB for 49 frames of hand-held footage with grain."""


@dataclass(frozen=True)
class ProxyFile:
    """Writes a small movie of the result, to look at while the result itself is still coming over a slow link."""

    path: Path
    bits: Bits = 8
    wants_mask: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The result alone."""
        return frozenset({take.RESULT})

    def __call__(
        self,
        name: str,
        frames: Frames,
        mask: Frames | None,
        fps: Fraction,
        metadata: dict[str, str],
        *,
        progress: Progress,
    ) -> None:
        """See `Leave`."""
        small = Stream(map(_small, frames), len(frames))
        write_movie(self.path, small, fps, crf=PROXY_CRF, metadata=metadata, progress=progress)


def _small(frame: NDArray) -> NDArray[np.uint8]:
    """A frame (H,W,3) of 8 or 16 bits as uint8, with no side longer than `PROXY_SIDE` and both sides even."""
    height, width = frame.shape[:2]
    scale = min(1.0, PROXY_SIDE / max(height, width))
    size = max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2)
    return np.asarray(cv2.resize(in_8_bits(frame), size, interpolation=cv2.INTER_AREA), np.uint8)
