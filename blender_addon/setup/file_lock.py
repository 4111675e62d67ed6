"""A file lock between processes, which the system releases when its holder ends for whatever reason."""

import os
from typing import IO

if os.name == "nt":
    import msvcrt

    _LOCKED_BYTE = 1 << 30
    """On Windows, others cannot read locked bytes, so the locked byte is far beyond the content."""

    def lock(file: IO[bytes]) -> bool:
        """Lock a file until it is closed; False if it is already locked."""
        place = file.tell()
        try:
            file.seek(_LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(place)
        return True

else:
    import fcntl

    def lock(file: IO[bytes]) -> bool:
        """Lock a file until it is closed, here and in processes that inherited it; False if it is already locked."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
