"""Array files (.npz): reading them without pickles and without allocating memory on a header's word alone, and writing
them so that equal arrays give equal files.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.storage.atomic import replacing

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
"""The header before each member of a zip; it ends with the lengths of the name and the extra field that follow."""

LIMIT_BYTES = 8 << 30
"""Most memory that an array may take if it is read as a whole."""


@dataclass(frozen=True)
class Header:
    """What the header of an array announces."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool

    @property
    def nbytes(self) -> int:
        """Size of the values in bytes."""
        return prod(self.shape) * self.dtype.itemsize


class Arrays:
    """An open .npz file, made by `open_arrays`.

    Attributes:
        headers: the header of each array, by key.

    Raises:
        ValueError: an array is not in .npy format, holds Python objects, or its size differs from its header's.
    """

    def __init__(self, path: Path, what: str, archive: zipfile.ZipFile) -> None:
        self.path = path
        self.what = what
        self.archive = archive
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        self.headers = {name.removesuffix(".npy"): self._header(name) for name in names}

    def read(self, key: str) -> NDArray:
        """Read a whole array.

        Raises:
            InputError: the array is larger than `LIMIT_BYTES`, damaged or truncated.
        """
        header = self.headers[key]
        if header.nbytes > LIMIT_BYTES:
            raise InputError(
                f"{key} in {self.path} claims {header.nbytes / 2**30:.0f} GB, which is too much: the file is"
                " damaged, or too large and has to be split."
            )
        with readable(self.path, self.what), self._values(key) as values:
            flat = np.frombuffer(exactly(values, header.nbytes), header.dtype)
        return flat.reshape(header.shape, order="F" if header.fortran_order else "C")

    def rows(self, key: str, start: int, stop: int) -> Iterator[NDArray]:
        """`array[start], ..., array[stop - 1]`, holding one at a time if the file's order allows it.

        When reading from the first row through the last, the checksum is verified at the end; a later start seeks to
        its position instead. An array in Fortran order is read as a whole.

        Raises:
            InputError: the array is damaged or truncated, or see `read`.
        """
        header = self.headers[key]
        if header.fortran_order:
            yield from self.read(key)[start:stop]
            return
        size = prod(header.shape[1:]) * header.dtype.itemsize
        with readable(self.path, self.what), self._values(key, start * size) as values:
            for _ in range(start, stop):
                yield np.frombuffer(exactly(values, size), header.dtype).reshape(header.shape[1:])

    def piece(self, key: str, start: int, stop: int) -> NDArray:
        """`array[start:stop]` of a one-dimensional array, without reading the rest.

        Raises:
            InputError: the range is outside the array or larger than `LIMIT_BYTES`, or the array is damaged or
                truncated.
        """
        header = self.headers[key]
        size = header.dtype.itemsize
        with readable(self.path, self.what):
            inside = len(header.shape) == 1 and 0 <= start <= stop <= header.shape[0]
            if not inside or (stop - start) * size > LIMIT_BYTES:
                raise ValueError(f"{key} has no numbers {start} to {stop}")
            with self._values(key, start * size) as values:
                return np.frombuffer(exactly(values, (stop - start) * size), header.dtype)

    def _header(self, name: str) -> Header:
        with self.archive.open(name) as file:
            header, begin = read_header(file)
        if header.dtype.hasobject:
            raise ValueError(f"{name} holds Python objects, which are never read")
        if self.archive.getinfo(name).file_size != begin + header.nbytes:
            raise ValueError(f"{name} does not hold the numbers that it announces")
        return header

    @contextmanager
    def _values(self, key: str, skip: int = 0) -> Iterator[IO[bytes]]:
        """The file, positioned at byte `skip` of an array's data."""
        with self.archive.open(f"{key}.npy") as file:
            _, begin = read_header(file)
            entry = self.archive.getinfo(f"{key}.npy")
            if not skip or entry.compress_type != zipfile.ZIP_STORED:
                file.seek(skip, 1)
                yield file
                return
        # Python's zipfile reads everything it skips, so uncompressed data is read directly from the file.
        with self.path.open("rb") as file:
            file.seek(entry.header_offset)
            local = file.read(_LOCAL_HEADER.size)
            name, extra = _LOCAL_HEADER.unpack(local)[-2:] if len(local) == _LOCAL_HEADER.size else (0, 0)
            file.seek(name + extra + begin + skip, 1)
            yield file


@contextmanager
def open_arrays(path: Path, what: str) -> Iterator[Arrays]:
    """Open an .npz file; the messages call it `what` ("depth file").

    Raises:
        InputError: the file is missing, not .npz, damaged or truncated.
    """
    with readable(path, what):
        archive = zipfile.ZipFile(path)
    with archive:
        with readable(path, what):
            arrays = Arrays(path, what, archive)
        yield arrays


def write_arrays(path: Path, arrays: Mapping[str, NDArray]) -> None:
    """Write an .npz file atomically; the same arrays in the same order always give the same bytes.

    It is not compressed, because compressed bytes differ between versions of zlib; numpy gives every array the same
    date.

    Raises:
        InputError: the file cannot be written (disk full, no permission).
    """
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


@contextmanager
def readable(path: Path, what: str, kind: str = ".npz arrays") -> Iterator[None]:
    """Turn whatever the zip and npy readers raise for a bad file into one sentence.

    Raises:
        InputError: the file cannot be read; names the file, `what` it is and the `kind` it should be.
    """
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"There is no {what} {path}: check the name.") from None
    except PermissionError:
        raise InputError(f"The {what} {path} cannot be opened: change its permissions.") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder: give the .npz file of the {what.split()[0]}.") from None
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"The {what} {path} cannot be read as {kind} ({error}): it is damaged or of another kind;"
            f" write plain numbers with numpy.save{'z' if kind == '.npz arrays' else ''}."
        ) from error


def read_header(file: IO[bytes]) -> tuple[Header, int]:
    """The header of an array in .npy format, and the byte offset of its data.

    Raises:
        ValueError: it is not in .npy format, its version is unknown, or its shape is negative.
    """
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, fortran_order, dtype = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran_order, dtype = npy.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version} of the array format is not known")
    if any(n < 0 for n in shape):
        raise ValueError("negative size")
    return Header(shape, dtype, fortran_order), file.tell()


def exactly(file: IO[bytes], size: int) -> bytes:
    """Read exactly `size` bytes from a file.

    Raises:
        EOFError: fewer are left.
    """
    data = file.read(size)
    if len(data) != size:
        raise EOFError("it ends early")
    return data
