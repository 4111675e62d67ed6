"""Formatting numbers and sentences for people."""

import re
import textwrap

from ex4d.progress import OF_FRAMES

from .translations import told, word


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural if needed, in Blender's language."""
    return told(f"{{number}} {noun}" if number == 1 else f"{{number}} {noun}s", number=number)


def capitalised(text: str) -> str:
    """A text with its first letter capitalised and all others unchanged."""
    return text[:1].upper() + text[1:]


def seconds(value: float) -> str:
    """A duration in seconds, formatted in s, min or h."""
    if value < 100:
        return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.1f} h"


def size(bytes_: float) -> str:
    """A number of bytes, formatted in units of powers of 1000, as disks are sold."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= 0.95 * factor:
            amount = bytes_ / factor
            return f"{amount:.1f} {unit}" if amount < 9.95 and unit == "GB" else f"{amount:.0f} {unit}"
    return told("{number} bytes", number=round(bytes_))


def part_of(part: float, whole: float) -> str:
    """Bytes out of a total, formatted with the unit given once if possible.

    >>> part_of(16_686_639, 18_775_187)
    '17 of 19 MB'
    """
    total, unit = size(whole).split()
    held = size(part).split()
    some = held[0] if held[1] == unit else " ".join(held)
    return told("{some} of {total} {unit}", some=some, total=total, unit=unit)


SENDING, FETCHING = "Sending to server", "Fetching result"
TRANSFERS = {"Uploading": SENDING, "Upload": SENDING, "Downloading": FETCHING, "Download": FETCHING}
"""Titles shown for these stages instead of their own: the server is usually the artist's own machine, not a cloud."""


def titled(stage: str) -> str:
    """A stage in title case, as in Blender; names keep their own capitals."""
    small = ("a", "and", "at", "by", "for", "from", "in", "of", "on", "the", "to", "with")
    words = stage.replace("_", " ").split()
    return " ".join(w if n and w in small else w[:1].upper() + w[1:] for n, w in enumerate(words))


def how_far(stage: str, step: int, steps: int) -> str:
    """A stage and its progress; transfers are counted in bytes."""
    title = word(TRANSFERS.get(stage, stage))
    if not steps:
        return title
    return f"{title}: {part_of(step, steps)}" if stage in TRANSFERS else f"{title} {step}/{steps}"


def pace(stage: str, rate: float) -> str:
    """The speed of a stage in steps per second, or the time per step if it is slow."""
    if stage in map(titled, OF_FRAMES):
        return told("{rate:.1f} frames/s", rate=rate) if rate >= 1 else told("{time} per frame", time=seconds(1 / rate))
    return told("{rate:.1f} steps/s", rate=rate) if rate >= 1 else told("{time} per step", time=seconds(1 / rate))


def listed(things: list[str]) -> str:
    """Things as a list in words, such as "a, b and c"."""
    return (
        told("{some} and {last}", some=", ".join(things[:-1]), last=things[-1]) if len(things) > 1 else "".join(things)
    )


def brief(text: str, most: int) -> str:
    """The first sentence of a text, or as much as fits into `most` characters: a clause, else whole words."""
    first = re.split(r"(?<=[.!?]) ", text, maxsplit=1)[0]
    if len(first) <= most:
        return first
    clause = re.split(r"[:;] ", first, maxsplit=1)[0]
    if len(clause) <= most:
        return clause
    shortened = textwrap.shorten(first, most, placeholder="…")
    return shortened if len(shortened) > 1 else first  # a single overlong word, which Blender truncates
