"""Numbers and sentences as people write them."""

import re
import textwrap

from ex4d.progress import OF_FRAMES

from .translations import told, word


def count(number: int, noun: str) -> str:
    """`number` of what `noun` names, as people say it, in Blender's language."""
    return told(f"{{number}} {noun}" if number == 1 else f"{{number}} {noun}s", number=number)


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
    return told("{number} bytes", number=round(bytes_))


def part_of(part: float, whole: float) -> str:
    """So many bytes of so many, as people say it.

    >>> part_of(16_686_639, 18_775_187)
    '17 of 19 MB'
    """
    total, unit = size(whole).split()
    held = size(part).split()
    some = held[0] if held[1] == unit else " ".join(held)
    return told("{some} of {total} {unit}", some=some, total=total, unit=unit)


SENDING, FETCHING = "Sending to server", "Fetching result"
TRANSFERS = {"Uploading": SENDING, "Upload": SENDING, "Downloading": FETCHING, "Download": FETCHING}
"""What artists read instead of a stage's own title: the server is mostly their own machine, and no cloud."""


def titled(stage: str) -> str:
    """A stage in title case, as Blender writes it; names keep their own capitals."""
    small = ("a", "and", "at", "by", "for", "from", "in", "of", "on", "the", "to", "with")
    words = stage.replace("_", " ").split()
    return " ".join(w if n and w in small else w[:1].upper() + w[1:] for n, w in enumerate(words))


def how_far(stage: str, step: int, steps: int) -> str:
    """A stage and how far it is; what is sent or fetched is counted in bytes."""
    title = word(TRANSFERS.get(stage, stage))
    if not steps:
        return title
    return f"{title}: {part_of(step, steps)}" if stage in TRANSFERS else f"{title} {step}/{steps}"


def pace(stage: str, rate: float) -> str:
    """How fast a stage is, whether its steps take moments or minutes."""
    if stage in map(titled, OF_FRAMES):
        return told("{rate:.1f} frames/s", rate=rate) if rate >= 1 else told("{time} per frame", time=seconds(1 / rate))
    return told("{rate:.1f} steps/s", rate=rate) if rate >= 1 else told("{time} per step", time=seconds(1 / rate))


def listed(things: list[str]) -> str:
    """Things as people list them."""
    return (
        told("{some} and {last}", some=", ".join(things[:-1]), last=things[-1]) if len(things) > 1 else "".join(things)
    )


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
