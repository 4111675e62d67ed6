"""Small files that are for one user alone: written so, and not used where somebody else can reach them.

A key that others can read proves nothing. On systems with POSIX modes a folder must have mode 700 and a file 600, both
must belong to the user, and links are not followed. Windows keeps a user's folders from others by itself: there, only
links are refused, and owner and access lists are not looked at.
"""

import os
import secrets
import stat
from pathlib import Path

from ex4d.errors import InputError

START_AGAIN = "start the server again"
"""What to do about a file that a server makes."""
MOST_BYTES = 16 * 1024


def read(path: Path, remedy: str) -> str:
    """Content of a small file that is for this user alone; `remedy` is what to do where it is not.

    Raises:
        OSError: it cannot be read. InputError: others can use it, too.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise InputError(f"{path} is a link, and links are not followed here: delete it and {remedy}.")
    with os.fdopen(os.open(path, flags), "rb") as file:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{path} is not a file: delete it and {remedy}.")
        _check_private(path, about, remedy)
        return file.read(MOST_BYTES).decode("utf-8")


def check_folder(folder: Path, remedy: str = START_AGAIN) -> None:
    """Raises `InputError` where a folder is not for this user alone, `OSError` where it cannot be looked at."""
    about = os.lstat(folder)
    if not stat.S_ISDIR(about.st_mode):
        raise InputError(f"{folder} is not a folder, and links are not followed here: delete it and {remedy}.")
    _check_private(folder, about, remedy)


def _check_private(path: Path, about: os.stat_result, remedy: str) -> None:
    """Raises `InputError` where somebody else can read or change a file; systems without users' modes know none."""
    user = getattr(os, "getuid", None)
    if user is None:
        return
    if about.st_uid != user():
        raise InputError(f"{path} belongs to another user of this machine: use your own folder.")
    if about.st_mode & 0o077:
        raise InputError(
            f"{path} is open to other users of this machine, who may have seen or changed it: delete it and"
            f" {remedy}, which recreates it."
        )


def write_new(path: Path, text: str) -> None:
    """Write a file for this user alone that is not there yet. Others may see it before it is whole.

    Raises:
        FileExistsError: it is there. OSError: it cannot be written.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def write(path: Path, text: str) -> None:
    """Write a file for this user alone, in one step."""
    written = path.with_name(f".{secrets.token_hex(4)}.new")
    try:
        with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(written, path)
    except BaseException:
        written.unlink(missing_ok=True)
        raise
