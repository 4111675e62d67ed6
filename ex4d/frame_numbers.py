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
    return _NAMED.sub(lambda found: f"frame {int(found[1]) + (1 if found[2] else first)}", sentence)
