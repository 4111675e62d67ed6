"""How sentences name a frame: the library counts from 0 and says so; who counts otherwise rewrites the sentences."""

import re

_NAMED = re.compile(r"\bframe (\d+) \(from 0( in the file)?\)")


def in_shot(t: int) -> str:
    """Frame `t` of the frames in use, in words."""
    return f"frame {t} (from 0)"


def in_file(t: int) -> str:
    """Frame `t` of a whole file, wherever the frames in use begin, in words."""
    return f"frame {t} (from 0 in the file)"


def renumbered(sentence: str, first: int) -> str:
    """The sentence with `in_shot` and `in_file` as a timeline counts, which shows the first frame in use at `first`.

    Frames of files are counted from 1 there, as timelines count those of a strip.
    """

    def named(found: re.Match[str]) -> str:
        begins = found.start() == 0 or sentence[: found.start()].endswith((". ", "! ", "? "))
        return f"{'Frame' if begins else 'frame'} {int(found[1]) + (1 if found[2] else first)}"

    return _NAMED.sub(named, sentence)
