"""Reading lines of numbers, with a limit on the file's size, and errors that name the line."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras.track import MOST_POSES
from ex4d.errors import InputError
from ex4d.storage.atomic import check_there

TEXT_BYTES = 64 << 20
"""Maximum size of a pose file in bytes; 100,000 lines of 19 numbers need half of it."""

LINE_BYTES = 1 << 20
"""Maximum number of bytes read per line; the rest of a longer line is skipped."""


@dataclass(frozen=True)
class Row:
    """The words of one line, and its line number."""

    number: int
    words: tuple[str, ...]


def lines(path: Path, most: int = TEXT_BYTES) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, counted from 1; lines longer than `LINE_BYTES` are cut there.

    Raises:
        InputError: missing, a folder, larger than `most` bytes, or not text.
    """
    check_there(path, "camera file")
    if not path.is_file():
        raise InputError(f"{path} is a folder: name the camera file in it.")
    if path.stat().st_size > most:
        raise InputError(
            f"The camera file {path} has {path.stat().st_size >> 20} MB, and {most >> 20} MB is the most that can"
            " be read."
        )
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_BYTES):
            number += 1
            if not line.endswith(b"\n") and len(line) == LINE_BYTES:
                while (rest := file.readline(LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
            try:
                # A cut line may end inside a character; a byte order mark is not part of the first line.
                text = line.decode("utf-8-sig", "strict" if len(line) < LINE_BYTES else "ignore")
            except UnicodeDecodeError:
                raise InputError(
                    f"Line {number} of {path} is not text: the file is damaged or of another kind."
                ) from None
            yield number, text.strip()


def rows(path: Path, most: int = TEXT_BYTES) -> Iterator[Row]:
    """The lines that are not blank, split into words at blanks or commas; # starts a comment."""
    for number, line in lines(path, most):
        words = line.split("#", 1)[0].replace(",", " ").split()
        if words:
            yield Row(number, tuple(words))


def numbers(path: Path, row: Row, first: int = 0, last: int | None = None) -> list[float]:
    """Convert the words of a row from `first` up to `last` to numbers.

    Raises:
        InputError: a word is not a number, or not finite; names the line.
    """
    found = []
    for word in row.words[first:last]:
        try:
            value = float(word)
        except ValueError:
            value = np.nan
        if not np.isfinite(value):
            raise InputError(
                f"Line {row.number} of {path} has {word[:40]!r} where a number should be: correct the line."
            )
        found.append(value)
    return found


def table(path: Path, columns: tuple[int, ...], what: str, found: Iterator[Row] | None = None) -> NDArray[np.float64]:
    """Read all rows (N, columns) of a file of numbers; every row must have as many columns as the first.

    Args:
        path: the file.
        columns: the allowed numbers of columns.
        what: what a line holds, for messages.
        found: the rows, if some have been read already.

    Raises:
        InputError: no rows, or a row with another number of columns or with something other than numbers; names the
            line.
    """
    values: list[list[float]] = []
    for row in found if found is not None else rows(path):
        wanted = (len(values[0]),) if values else columns
        if len(row.words) not in wanted:
            raise InputError(
                f"Line {row.number} of {path} has {len(row.words)} values instead of"
                f" {' or '.join(map(str, wanted))} ({what}): correct the line."
            )
        values.append(numbers(path, row))
        if len(values) > MOST_POSES:
            raise InputError(f"{path} holds more than {MOST_POSES} cameras, the most that can be read: shorten it.")
    if not values:
        raise InputError(f"The camera file {path} holds no cameras.")
    return np.array(values)


def as_lines(values: NDArray) -> list[str]:
    """Format rows (N, columns) as lines of text that parse back bit for bit; integers have no decimal point."""
    return [" ".join(str(int(v)) if v == int(v) else repr(float(v)) for v in row) for row in values]


def poses_of(rotations: NDArray, positions: NDArray) -> NDArray[np.float64]:
    """Transforms (N,4,4) from rotations (N,3,3) and translations (N,3)."""
    poses = np.zeros((len(rotations), 4, 4))
    poses[:, :3, :3], poses[:, :3, 3], poses[:, 3, 3] = rotations, positions, 1
    return poses


def frame_numbers(path: Path, values: NDArray) -> NDArray[np.int64]:
    """Check frame numbers (N,): integers, ascending.

    Raises:
        InputError: names the frame that is not an integer, or appears twice.
    """
    wrong = np.flatnonzero((values != np.round(values)) | (np.abs(values) > 2**31))
    if len(wrong):
        raise InputError(
            f"{path} has the frame {values[wrong[0]]:g}: frame numbers must be integers; correct the line."
        )
    again = np.flatnonzero(np.diff(values) == 0)
    if len(again):
        raise InputError(f"Frame {values[again[0]]:g} appears twice in {path}: remove one of the two lines.")
    return values.astype(np.int64)
