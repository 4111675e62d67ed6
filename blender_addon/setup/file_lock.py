"""A lock on a file, between processes. The system lets go of it when its holder ends in any way."""

import os
from typing import IO

if os.name == "nt":
    import msvcrt

    _LOCKED_BYTE = 1 << 30
    """What is locked cannot be read by others on Windows, so it lies far behind the content."""

    def lock(file: IO[bytes]) -> bool:
        """Lock a file until it is closed; False where somebody has it."""
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
        """Lock a file until it is closed, here and in processes that inherited it; False where somebody has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
