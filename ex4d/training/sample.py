"""What a training step learns from: a clip, and what a camera elsewhere would have shown of it."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sample:
    """A clip that the model has to make, and what it is given to make it from.

    Attributes:
        clip: name of the clip in its dataset; samples of one clip share its frames.
        caption: what is seen, for the text encoder; may be empty.
        frames: (T,H,W,3) uint8 sRGB, the clip.
        colour: (T,H,W,3) uint8 sRGB, the condition: what is known of the clip, black elsewhere.
        mask: (T,H,W) bool, True where `colour` is known. Frame 0 is True throughout.
    """

    clip: str
    caption: str
    frames: NDArray[np.uint8]
    colour: NDArray[np.uint8]
    mask: NDArray[np.bool_]


class Samples(Protocol):
    """Clips with several masks each, read when asked for."""

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
