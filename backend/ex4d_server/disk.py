"""Coping with a full disk: a reserve of space for the journal."""

import errno
import logging
import os
import shutil
from pathlib import Path

log = logging.getLogger("ex4d.server")

RESERVE_BYTES = 8 * 1024 * 1024
"""Enough for thousands of job updates in the journal."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NEARLY_NOTHING = 1024 * 1024
"""With less free space than this, a disk counts as full: no job could write its results."""


class Reserve:
    """A file that holds space while there is some, and releases it for the journal when the disk is full.

    Args:
        path: the file; one left by an earlier server is reused.
        size: in bytes.
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path, self._size = path, size

    @property
    def held(self) -> bool:
        """Whether the space is held."""
        try:
            return self._path.stat().st_size >= self._size
        except OSError:
            return False

    def make(self) -> bool:
        """Reserve the space, unless that would fill the disk; returns whether it is held now."""
        if self.held:
            return True
        try:
            if shutil.disk_usage(self._path.parent).free < 3 * self._size:
                return False
            with open(self._path, "wb") as file:  # random, because some file systems store zeros as holes
                file.write(os.urandom(self._size))
        except OSError as error:
            self.free()
            log.info("no space is kept for the journal: %s", error.strerror)
            return False
        return True

    def free(self) -> bool:
        """Release the space; returns whether there was any."""
        try:
            os.truncate(self._path, 0)  # frees the space even if the disk is full and another process has the file open
            self._path.unlink()
        except OSError:
            return False
        return True


def says_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one of its causes, means that the disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def nothing_fits(folder: Path) -> bool:
    """Whether a folder's disk is practically full. Libraries often raise errors that do not reveal this."""
    try:
        return shutil.disk_usage(folder).free < NEARLY_NOTHING
    except OSError:
        return False
