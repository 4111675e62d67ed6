"""Files by content: the hash, size and name of a file, made a piece at a time."""

import hashlib
from pathlib import Path
from typing import BinaryIO

from ex4d.errors import InputError
from ex4d.pipeline.requests import Blob, safe_name


class Hasher:
    """The `Blob` of a file, a piece at a time, so that nothing waits for a big one.

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
        """Hash up to `size` bytes; True when `blob` is there."""
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
        """Read no more of the file."""
        self._file.close()


FileAsItIs = tuple[str, int, int]
"""A file that was not written since: path, bytes, time of its last change in ns."""

KnownFiles = dict[FileAsItIs, Blob]
"""Files that were hashed, and need not be read again."""


def as_it_is(path: Path) -> FileAsItIs:
    """What tells that a file has not been written since.

    Raises:
        InputError: it is not there.
    """
    try:
        about = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return str(path), about.st_size, about.st_mtime_ns


def blob_of(path: Path) -> Blob:
    """Content hash, size and travelling name of a file.

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
