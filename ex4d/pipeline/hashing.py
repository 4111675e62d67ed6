"""Files by content: hash, size and name of a file, computed in steps."""

import hashlib
from pathlib import Path
from typing import BinaryIO

from ex4d.errors import InputError
from ex4d.pipeline.requests import Blob, safe_name


class Hasher:
    """The `Blob` of a file, computed in steps, so that a large file does not block anything.

    Raises (from both methods):
        InputError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.blob: Blob | None = None
        self.done = 0
        self._hash = hashlib.sha256()
        try:
            self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed by `step` and `close`
            self.size = path.stat().st_size
        except OSError as error:
            raise _unreadable(path, error) from error

    def step(self, size: int = 1 << 20) -> bool:
        """Hash up to `size` bytes; return True once `blob` is set."""
        if self.blob:
            return True
        try:
            data = self._file.read(size)
        except OSError as error:
            self._file.close()
            raise _unreadable(self.path, error) from error
        self._hash.update(data)
        self.done += len(data)
        if not data:
            self._file.close()
            self.blob = Blob(self._hash.hexdigest(), self.done, safe_name(self.path.name))
        return self.blob is not None

    def close(self) -> None:
        """Stop reading and close the file."""
        self._file.close()


FileAsItIs = tuple[str, int, int]
"""Identifies a file that has not been written since: path, size in bytes, time of its last change in ns."""

KnownFiles = dict[FileAsItIs, Blob]
"""Files that are already hashed and need not be read again."""


def as_it_is(path: Path) -> FileAsItIs:
    """The key that tells whether a file has been written since.

    Raises:
        InputError: the file is not there.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return str(path), about.st_size, about.st_mtime_ns


def blob_of(path: Path) -> Blob:
    """Content hash, size and safe name of a file.

    Raises:
        InputError: it cannot be read.
    """
    hasher = Hasher(path)
    while not hasher.step():
        pass
    assert hasher.blob
    return hasher.blob


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(f"The file {path} cannot be read ({error.strerror}): check that it is there.")
