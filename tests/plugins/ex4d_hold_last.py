"""A generator in a package of its own: wherever a pixel is not real, it holds the last one that was.

It stands beside ex4d as other people's packages do: its entry point in `ex4d_hold_last-1.0.dist-info` is all that says
so, and nothing in ex4d names it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ex4d.generate.base import Generated, Generator, Request, Spec
from ex4d.progress import Progress
from ex4d.schema import Choice, Settings, setting

BACKDROPS = {"black": 0, "grey": 128}


@dataclass(frozen=True)
class HoldLastSettings(Settings):
    """How long a pixel is held, and what is shown where there is none to hold."""

    longest: int = setting(
        100, "Longest Hold", "For how many frames a pixel is held at most", unit="frames", minimum=1, maximum=1000
    )
    backdrop: str = setting(
        "black",
        "Backdrop",
        "What is shown where nothing was real before, or too long ago",
        choices=(Choice("black", "Black"), Choice("grey", "Grey", "A medium grey, which shows where nothing was held")),
    )


class HoldLast:
    """Holds, for each pixel, the colour of the latest earlier frame in which it was real."""

    def generate(self, request: Request, progress: Progress) -> Generated:
        settings: HoldLastSettings = request.settings
        frames = held(
            request.conditioning.colour,
            request.conditioning.mask,
            settings.longest,
            BACKDROPS[settings.backdrop],
            progress,
        )
        note = f"Pixels that are not real hold the last one that was, for {settings.longest} frames at most."
        return Generated(frames, settings.plain(), (note,))

    def unload(self) -> None:
        """Nothing is held between requests."""


def held(
    colour: NDArray[np.uint8], mask: NDArray[np.uint8], longest: int, backdrop: int, progress: Progress
) -> NDArray[np.uint8]:
    """Frames (T,h,w,3) of colour (T,h,w,3) and mask (T,h,w), with its holes filled from earlier frames."""
    result = np.full_like(colour, backdrop)
    last, age = np.zeros_like(colour[0]), np.full(mask.shape[1:], longest + 1)
    for t, (picture, real) in enumerate(zip(colour, mask > 0, strict=True)):
        last[real], age[real] = picture[real], 0
        shown = age <= longest
        result[t][shown] = last[shown]
        age += 1
        progress("Holding pixels", t + 1, len(colour))
    return result


def make(device: str) -> Generator:
    return HoldLast()


def missing(deep: bool) -> str:
    return ""


SPEC = Spec(
    name="hold_last",
    title="Hold Last",
    help="Hold the last real pixel; for tests of what other packages add",
    settings=HoldLastSettings,
    make=make,
    missing=missing,
    rank=-1,
    is_preview=True,
)
