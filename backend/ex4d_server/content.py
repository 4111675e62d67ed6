"""Checking, copying and hashing file content in steps of a few milliseconds."""

import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Generator
from io import FileIO
from pathlib import Path
from typing import TypeVar

from ex4d.errors import ServerError
from ex4d.pipeline.requests import Blob

log = logging.getLogger("ex4d.server")

SLICE_BYTES = 4 << 20
"""How much is read, hashed or copied between two yields."""
PIECE_BYTES = 256 * 1024
"""How much is copied, then hashed while it is still in the CPU cache."""
SMALL_BYTES = 256 * 1024
"""Files up to this size are hashed whenever they are used."""

T = TypeVar("T")
Steps = Generator[None, None, T]
"""Work that yields after every few milliseconds, so that several can be interleaved."""


class BlobError(ServerError):
    """A file cannot be accepted or delivered; `code` is the machine-readable reason."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def run(steps: Steps[T]) -> T:
    """Run steps to the end; returns their result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def stamp(sha256: str) -> int:
    """The modification time of a stored file, in ns: an even second between 2000 and 2017, derived from its hash."""
    return (946_684_800 + 2 * int(sha256[:7], 16)) * 10**9


def check(path: Path, sha256: str) -> Steps[bool]:
    """Whether a stored file still matches the hash in its name. If not, it is removed.

    Raises:
        OSError: the file does not exist or cannot be read.
    """
    with open(path, "rb", buffering=0) as file:
        about = os.fstat(file.fileno())
        if about.st_mtime_ns == stamp(sha256) and about.st_size > SMALL_BYTES:
            return True
        hasher = hashlib.sha256()
        while data := file.read(SLICE_BYTES):
            hasher.update(data)
            yield
    if hasher.hexdigest() == sha256:
        if about.st_mtime_ns != stamp(sha256):
            os.utime(path, ns=(time.time_ns(), stamp(sha256)))
        return True
    log.warning("the stored file %s is damaged and was dropped", sha256)
    remove_file(path)
    return False


def checked(path: Path, blob: Blob) -> Path:
    """The path of a stored input after `check`, for workers.

    Raises:
        BlobError: the file was damaged and has been dropped, or it is gone.
    """
    try:
        if run(check(path, blob.sha256)):
            return path
    except FileNotFoundError:
        pass
    raise BlobError(
        "no_file",
        f"The server's copy of {blob.name} was damaged or removed: open the clip again, which sends it once more.",
    )


def copy_and_hash(source: FileIO, copy: FileIO, size: int, hasher: "hashlib._Hash") -> Steps[None]:
    """Copy `size` bytes and hash the copy. The kernel does the copying, sharing blocks where the file system can."""
    done, buffer = 0, bytearray(PIECE_BYTES)
    copy_in_kernel = getattr(os, "copy_file_range", None)
    while done < size:
        wanted = min(PIECE_BYTES, size - done)
        if copy_in_kernel:
            try:
                count = copy_in_kernel(source.fileno(), copy.fileno(), wanted, done, done)
            except OSError:
                count = 0
            if not count:  # it cannot between some disks
                copy_in_kernel = None
                continue
            copy.seek(done)
            view = memoryview(buffer)[:count]
            count = copy.readinto(view) or 0
        else:
            source.seek(done)
            count = source.readinto(memoryview(buffer)[:wanted]) or 0
            copy.seek(done)
            write_all(copy, memoryview(buffer)[:count])
        if not count:
            return  # shorter than announced: the hash will not match
        hasher.update(memoryview(buffer)[:count])
        done += count
        if done % SLICE_BYTES == 0:
            yield


def open_regular(path: Path, flags: int) -> FileIO:
    """Open an existing regular file, not a device, pipe or link.

    Raises:
        OSError: it is not a regular file, or cannot be opened.
    """
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "r+b" if flags & os.O_RDWR else "rb", buffering=0)
    if not path.is_file():
        file.close()
        raise OSError(22, "not a regular file")
    return file


def remove_file(path: Path) -> None:
    """Remove a file, even a read-only one, if it exists."""
    with contextlib.suppress(FileNotFoundError):
        if os.name == "nt":  # where read-only files can be neither removed nor replaced
            path.chmod(0o600)
        path.unlink()


def write_all(file: FileIO, data: bytes | memoryview) -> None:
    """Write all of `data`, however many partial writes that takes."""
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
