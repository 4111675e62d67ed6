"""The input of a training step: a clip, and what a camera elsewhere would have shown of it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """A clip that the model has to make, and the condition to make it from.

    Attributes:
        clip: name of the clip in its dataset; samples of one clip share its frames.
        caption: what it shows, for the text encoder; may be empty.
        frames: (T,H,W,3) uint8 sRGB, the clip.
        colour: (T,H,W,3) uint8 sRGB, the condition: the known parts of the clip, black elsewhere.
        mask: (T,H,W) bool, True where `colour` is known. Frame 0 is True throughout.
    """

    clip: str
    caption: str
    frames: NDArray[np.uint8]
    colour: NDArray[np.uint8]
    mask: NDArray[np.bool_]


class Samples(Protocol):
    """Clips with several masks each, read on demand."""

    @property
    def clips(self) -> tuple[str, ...]:
        """Names of the clips, in a fixed order."""

    @property
    def masks(self) -> int:
        """Number of masks that each clip has."""

    def load(self, clip: str, mask: int) -> Sample:
        """A clip with one of its masks.

        Raises:
            InputError: a file of it is missing or damaged.
        """
