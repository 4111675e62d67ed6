"""Reading an array file (.npy) without pickles, and without allocating memory on the header's word alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.storage.npz import LIMIT_BYTES, exactly, read_header, readable


class Array:
    """An open .npy file, made by `open_array`.

    Attributes:
        header: shape and dtype of the array.

    Raises:
        ValueError: it is not in .npy format, holds Python objects, or its size differs from the header's.
    """

    def __init__(self, path: Path, what: str, file: IO[bytes]) -> None:
        self.path = path
        self.what = what
        self._file = file
        self.header, self._begin = read_header(file)
        if self.header.dtype.hasobject:
            raise ValueError("it holds Python objects, which are never read")
        if path.stat().st_size != self._begin + self.header.nbytes:
            raise ValueError("it does not hold the numbers that it announces")

    def read(self) -> NDArray:
        """Read the whole array.

        Raises:
            InputError: the array is larger than `LIMIT_BYTES`, or the file has been truncated meanwhile.
        """
        if self.header.nbytes > LIMIT_BYTES:
            raise InputError(f"{self.path} holds {self.header.nbytes / 2**30:.0f} GB, which is too much: split it.")
        flat = self._numbers(0, prod(self.header.shape))
        return flat.reshape(self.header.shape, order="F" if self.header.fortran_order else "C")

    def rows(self, start: int, stop: int) -> Iterator[NDArray]:
        """`array[start], ..., array[stop - 1]`, holding one at a time if the file's order allows it.

        An array in Fortran order is read as a whole.

        Raises:
            InputError: the file has been truncated meanwhile, or see `read`.
        """
        if self.header.fortran_order:
            yield from self.read()[start:stop]
            return
        shape = self.header.shape[1:]
        for number in range(start, stop):
            yield self._numbers(number * prod(shape), prod(shape)).reshape(shape)

    def _numbers(self, first: int, count: int) -> NDArray:
        dtype = self.header.dtype
        with readable(self.path, self.what, "an .npy array"):
            self._file.seek(self._begin + first * dtype.itemsize)
            return np.frombuffer(exactly(self._file, count * dtype.itemsize), dtype)


@contextmanager
def open_array(path: Path, what: str) -> Iterator[Array]:
    """Open an .npy file; the messages call it `what` ("depth file").

    Raises:
        InputError: the file is missing, not .npy, damaged or truncated.
    """
    with readable(path, what, "an .npy array"):
        file = path.open("rb")
    with file:
        with readable(path, what, "an .npy array"):
            array = Array(path, what, file)
        yield array
