"""File locks between processes. The system releases them when their holder ends, for whatever reason."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ex4d.errors import InputError

if sys.platform == "win32":
    import msvcrt

    _LOCKED_BYTE = 1 << 30
    """On Windows, others cannot read locked bytes, so the locked byte is far beyond the content."""

    def lock(file: IO[bytes]) -> bool:
        """Lock a file until it is closed; False if it is already locked.

        Raises:
            OSError: it cannot be locked at all.
        """
        place = file.tell()
        try:
            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        finally:
            file.seek(place)
        return True

else:
    import fcntl

    def lock(file: IO[bytes]) -> bool:
        """Lock a file until it is closed, here and in processes that inherited it; False if it is already locked.

        Raises:
            OSError: it cannot be locked at all, as on some network disks.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def locked(file: Path, taken: str) -> Iterator[None]:
    """Hold a lock for as long as the block runs.

    Args:
        file: the file to lock; created if missing, and left there, empty.
        taken: the sentence for the user if another process holds the lock.

    Raises:
        InputError: another process holds the lock, or the file cannot be created or locked.
    """
    try:
        opened = file.open("ab")
    except OSError as error:
        raise InputError(f"The file {file} cannot be created: {error.strerror}; check its folder.") from error
    with opened:
        try:
            free = lock(opened)
        except OSError as error:
            raise InputError(f"The file {file} cannot be locked: {error.strerror}; use another disk.") from error
        if not free:
            raise InputError(taken)
        yield
