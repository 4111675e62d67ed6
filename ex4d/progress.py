"""How long work reports where it stands."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as ``progress(stage, step, steps)`` after each step; raises `Cancelled` to stop the work."""


def silent(stage: str, step: int, steps: int) -> None:
    """Report to nobody."""
