"""How sentences name a frame: the library counts from 0 and says so; callers that count differently rewrite them."""

import re

_NAMED = re.compile(r"\bframe (\d+) \(from 0( in the file)?\)")


def in_shot(t: int) -> str:
    """Name frame `t` of the frames in use."""
    return f"frame {t} (from 0)"


def in_file(t: int) -> str:
    """Name frame `t` of the whole file, wherever the frames in use begin."""
    return f"frame {t} (from 0 in the file)"


def renumbered(sentence: str, first: int) -> str:
    """Rewrite `in_shot` and `in_file` names in a sentence for a timeline that shows the first frame in use at `first`.

    Frames of files are then counted from 1, as timelines count those of a strip.
    """

    def named(found: re.Match[str]) -> str:
        begins = found.start() == 0 or sentence[: found.start()].endswith((". ", "! ", "? "))
        return f"{'Frame' if begins else 'frame'} {int(found[1]) + (1 if found[2] else first)}"

    return _NAMED.sub(named, sentence)
