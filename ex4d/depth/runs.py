"""Which frames of a clip are estimated together where others have depth already. Needs nothing."""

from dataclasses import dataclass

OVERLAP = 8
"""Frames with depth that a run of the estimator shows besides the new ones."""


@dataclass(frozen=True)
class Run:
    """Frames that are estimated together, numbered within the clip.

    Attributes:
        start, stop: the first, and the one after the last.
        shared: how many of them have depth already: the last ones of a run that leads up to the standing frames, the
            first ones of one that follows them.
        leads: whether it is such a run.
    """

    start: int
    stop: int
    shared: int
    leads: bool

    @property
    def new(self) -> int:
        """How many frames have no depth yet."""
        return self.stop - self.start - self.shared


def runs(count: int, first: int, standing: int) -> tuple[Run, ...]:
    """What to estimate of a clip of `count` frames, of which `standing` many from `first` on have depth."""
    last = first + standing
    both = first > 0 and last < count
    shared = min(OVERLAP, max(1, standing // 2) if both else standing)
    leading = (Run(0, first + shared, shared, True),) if first > 0 else ()
    following = (Run(last - shared, count, shared, False),) if last < count else ()
    return leading + following
