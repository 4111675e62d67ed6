"""Which frames of a clip are estimated together when others already have depth. No dependencies."""

from dataclasses import dataclass

OVERLAP = 8
"""Frames with depth that the estimator sees in a run besides the new ones."""


@dataclass(frozen=True)
class Run:
    """Frames that are estimated together, numbered within the clip.

    Attributes:
        start, stop: the first frame, and the one after the last.
        shared: how many of them already have depth: the last ones in a run that leads up to the frames with depth, the
            first ones in a run that follows them.
        leads: whether the run leads up to the frames with depth.
    """

    start: int
    stop: int
    shared: int
    leads: bool

    @property
    def new(self) -> int:
        """Number of frames that have no depth yet."""
        return self.stop - self.start - self.shared


def runs(count: int, first: int, standing: int) -> tuple[Run, ...]:
    """The runs to estimate in a clip of `count` frames, of which `standing` frames from `first` on have depth."""
    last = first + standing
    both = first > 0 and last < count
    shared = min(OVERLAP, max(1, standing // 2) if both else standing)
    leading = (Run(0, first + shared, shared, True),) if first > 0 else ()
    following = (Run(last - shared, count, shared, False),) if last < count else ()
    return leading + following
