"""Numbers and sentences as people write them."""

import re
import textwrap


def count(number: int, word: str) -> str:
    """`number` of what `word` names, as people say it."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def capitalised(text: str) -> str:
    """A text as a sentence begins; all other capitals stay."""
    return text[:1].upper() + text[1:]


def seconds(value: float) -> str:
    """A time as people say it."""
    if value < 100:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def size(bytes_: float) -> str:
    """A number of bytes as people say it, in units of 1000 as disks are sold."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= 0.95 * factor:
            amount = bytes_ / factor
            return f"{amount:.1f} {unit}" if amount < 9.95 and unit == "GB" else f"{amount:.0f} {unit}"
    return f"{bytes_:.0f} bytes"


def part_of(part: float, whole: float) -> str:
    """So many bytes of so many, as people say it.

    >>> part_of(16_686_639, 18_775_187)
    '17 of 19 MB'
    """
    total, unit = size(whole).split()
    held = size(part).split()
    return f"{held[0] if held[1] == unit else ' '.join(held)} of {total} {unit}"


TRANSFERS = {
    "Uploading": "Sending to server",
    "Upload": "Sending to server",
    "Downloading": "Fetching result",
    "Download": "Fetching result",
}
"""What artists read in place of a stage's own title: the server is mostly their own machine, and no cloud."""

OF_FRAMES = (
    "Reading the Clip",
    "Reading the Depth",
    "Video-Depth-Anything",
    "Following what Moves",
    "Guessing the Depth",
    "Finding Occlusions",
    "Following Points",
    "Locating the Camera",
    "Rendering Colour and Mask",
    "Filling Holes (preview)",
    "Writing Video",
)
"""Stages whose steps are frames."""


def how_far(stage: str, step: int, steps: int) -> str:
    """A stage and how far it is; what is sent or fetched is counted in bytes."""
    title = TRANSFERS.get(stage, stage)
    if not steps:
        return title
    return f"{title}: {part_of(step, steps)}" if stage in TRANSFERS else f"{title} {step}/{steps}"


def pace(stage: str, rate: float) -> str:
    """How fast a stage is, whether its steps take moments or minutes."""
    one = "frame" if stage in OF_FRAMES else "step"
    return f"{rate:.1f} {one}s/s" if rate >= 1 else f"{seconds(1 / rate)} per {one}"


def listed(things: list[str]) -> str:
    """Things as people list them."""
    return " and ".join([", ".join(things[:-1]), things[-1]]) if len(things) > 1 else "".join(things)


def brief(text: str, most: int) -> str:
    """The first sentence of a text, or what fits into `most` characters of it: a clause, else whole words."""
    first = re.split(r"(?<=[.!?]) ", text, maxsplit=1)[0]
    if len(first) <= most:
        return first
    clause = re.split(r"[:;] ", first, maxsplit=1)[0]
    if len(clause) <= most:
        return clause
    shortened = textwrap.shorten(first, most, placeholder="…")
    return shortened if len(shortened) > 1 else first  # one word that is too long, which Blender cuts
