"""A lock between processes. The system releases it when its holder ends, however that happens."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ex4d.errors import InputError

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextmanager
def locked(file: Path, taken: str) -> Iterator[None]:
    """Hold a lock for as long as the block runs.

    Args:
        file: what is locked; created if missing, and left there, empty.
        taken: the sentence for the user if another process holds it.

    Raises:
        InputError: another process holds the lock, or the file cannot be created or locked.
    """
    try:
        opened = file.open("ab")
    except OSError as error:
        raise InputError(f"The file {file} cannot be created: {error.strerror}; check its folder.") from error
    with opened:
        try:
            free = _lock(opened)
        except OSError as error:
            raise InputError(f"The file {file} cannot be locked: {error.strerror}; use another disk.") from error
        if not free:
            raise InputError(taken)
        yield
