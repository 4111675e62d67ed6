"""The disk that may be full: a reserve for the journal."""

import errno
import logging
import os
import shutil
from pathlib import Path

log = logging.getLogger("ex4d.server")

RESERVE_BYTES = 8 * 1024 * 1024
"""Room for thousands of changes of jobs in the journal."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NEARLY_NOTHING = 1024 * 1024
"""A disk with less than this is full for all that a job may want to write."""


class Reserve:
    """A file that takes space while there is some, and gives it back to the journal when the disk is full.

    Args:
        path: the file; one that an earlier server left is taken over.
        size: how much it takes, in bytes.
    """

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self._path, self._size = path, size

    @property
    def held(self) -> bool:
        """Whether the space is taken."""
        try:
            return self._path.stat().st_size >= self._size
        except OSError:
            return False

    def make(self) -> bool:
        """Take the space, unless that would fill the disk; returns whether it is taken now."""
        if self.held:
            return True
        try:
            if shutil.disk_usage(self._path.parent).free < 3 * self._size:
                return False
            with open(self._path, "wb") as file:  # random, as some file systems store zeros as nothing
                file.write(os.urandom(self._size))
        except OSError as error:
            self.free()
            log.info("no space is kept for the journal: %s", error.strerror)
            return False
        return True

    def free(self) -> bool:
        """Give the space back; returns whether there was any."""
        try:
            os.truncate(self._path, 0)  # works on the fullest of disks, and before something else holds it open
            self._path.unlink()
        except OSError:
            return False
        return True


def says_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, is that of a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False


def nothing_fits(folder: Path) -> bool:
    """Whether the disk of a folder is as good as full. Libraries often raise something that does not say so."""
    try:
        return shutil.disk_usage(folder).free < NEARLY_NOTHING
    except OSError:
        return False
