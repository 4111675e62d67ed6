"""How long work reports where it stands."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Progress(Protocol):
    """Called after each step; raises `Cancelled` to stop the work."""

    def __call__(self, stage: str, step: int, steps: int, picture: "NDArray[np.uint8] | None" = None) -> None:
        """Step `step` of `steps` of a stage is done; `picture` (h,w,3) RGB is a small view of what is being made."""


def silent(stage: str, step: int, steps: int, picture: "NDArray[np.uint8] | None" = None) -> None:
    """Report to nobody."""
