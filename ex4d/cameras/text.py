"""Lines of numbers, read with a limit on the file's size and with the number of the line that is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.cameras.track import MOST_POSES
from ex4d.errors import InputError
from ex4d.storage.atomic import check_there

TEXT_BYTES = 64 << 20
"""Largest file of poses; 100,000 lines of 19 numbers need half of it."""

LINE_BYTES = 1 << 20
"""Longest line that is looked at; where it must be whole, a longer one is refused."""


@dataclass(frozen=True)
class Row:
    """The words of one line, and where it stands."""

    number: int
    words: tuple[str, ...]


def lines(path: Path, most: int = TEXT_BYTES) -> Iterator[tuple[int, str]]:
    """The lines of a text file with their numbers, counted from 1; what is longer than `LINE_BYTES` is cut there.

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
                # What is cut may end inside of a letter; a byte order mark is no part of the first line.
                text = line.decode("utf-8-sig", "strict" if len(line) < LINE_BYTES else "ignore")
            except UnicodeDecodeError:
                raise InputError(
                    f"Line {number} of {path} is not text: the file is damaged or of another kind."
                ) from None
            yield number, text.strip()


def rows(path: Path, most: int = TEXT_BYTES) -> Iterator[Row]:
    """The lines that hold something, in words between blanks or commas; what follows a # is a comment."""
    for number, line in lines(path, most):
        words = line.split("#", 1)[0].replace(",", " ").split()
        if words:
            yield Row(number, tuple(words))


def numbers(path: Path, row: Row, first: int = 0, last: int | None = None) -> list[float]:
    """The words of a row from `first` up to `last` as numbers.

    Raises:
        InputError: one is none, or not finite; names the line.
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
    """All rows (N, columns) of a file of numbers, with as many columns in each as in the first.

    Args:
        path: the file.
        columns: how many there may be.
        what: what a line holds, for the messages.
        found: the rows, where some were read before.

    Raises:
        InputError: no row, or one with another number of columns or without numbers; names the line.
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
    """Rows (N, columns) as lines of text from which they come back to the bit; integers without a point."""
    return [" ".join(str(int(v)) if v == int(v) else repr(float(v)) for v in row) for row in values]


def poses_of(rotations: NDArray, positions: NDArray) -> NDArray[np.float64]:
    """Transforms (N,4,4) of rotations (N,3,3) and last columns (N,3)."""
    poses = np.zeros((len(rotations), 4, 4))
    poses[:, :3, :3], poses[:, :3, 3], poses[:, 3, 3] = rotations, positions, 1
    return poses


def frame_numbers(path: Path, values: NDArray) -> NDArray[np.int64]:
    """Numbers of frames (N,), checked: whole, ascending.

    Raises:
        InputError: names the frame that is none, or that comes twice.
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
