"""Atomic writes: a file is either complete under its name or not there at all."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ex4d.errors import InputError

_REASONS = {
    errno.ENOSPC: "the disk is full: free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up: free some space or choose another folder",
    errno.EFBIG: "it would be larger than this disk or account allows: choose another folder",
    errno.EACCES: "the folder does not let you write: choose another folder or change its permissions",
    errno.EPERM: "the folder does not let you write: choose another folder or change its permissions",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.EISDIR: "a folder of that name exists: choose another name",
    errno.ENOTDIR: "a file of that name exists: choose another name",
    errno.ENOTEMPTY: "a folder of that name exists: choose another name",
}


def check_there(path: Path, what: str) -> Path:
    """The path, after checking that it exists and can be examined.

    Args:
        path: file or folder.
        what: what it should be ("video file or image folder"), for the message.

    Raises:
        InputError: the path does not exist, or a folder on the way to it may not be entered.
    """
    path = Path(path)
    try:
        path.stat()
    except PermissionError:
        raise InputError(f"{path} cannot be opened: its folder does not let you in; change its permissions.") from None
    except OSError:
        raise InputError(f"There is no {what} {path}: check the name.") from None
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; whatever is written there then replaces `path` atomically.

    The temporary name has the same ending as `path`, for writers that depend on the ending. It may become a file or a
    folder; a folder replaces an older folder. Whatever goes wrong, nothing is left behind and an existing `path` is
    untouched.

    Raises:
        InputError: the folder is missing or not writable, or the disk is full; names the file and says what to do.
    """
    path = Path(path)
    if not path.name or path.name == "..":
        raise InputError(f"{path} cannot be written because {_REASONS[errno.EISDIR]}.")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: its folder does not exist; create it first.")
    token = secrets.token_hex(4)
    temporary = path.with_name(f".{token}.part.{path.name}")
    try:
        yield temporary
        if temporary.is_dir():
            _replace_folder(temporary, path, path.with_name(f".{token}.old.{path.name}"))
        else:
            # Some disks (network, quotas) report that they are full only when the data is flushed.
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except Exception as error:
        reason = _REASONS.get(_errno(error))
        if reason is None:
            raise
        raise InputError(f"{path} cannot be written because {reason}.") from error
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def _errno(error: Exception) -> int:
    """The error's errno; writers implemented in Rust, such as safetensors, give it only in their message."""
    if number := getattr(error, "errno", None):
        return int(number)
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else 0


def _replace_folder(new: Path, path: Path, old: Path) -> None:
    """Replace the folder `path` with `new`; `old` is a free name to use in between."""
    if not path.exists():
        os.replace(new, path)
        return
    os.replace(path, old)
    try:
        os.replace(new, path)
    except OSError:
        os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)
