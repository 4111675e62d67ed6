"""Small files private to one user: written with restricted access, and refused if others have access.

A key that others can read proves nothing. On systems with POSIX modes, only the user may have any access to a folder
or file, both must belong to the user, and links are not followed. Windows protects a user's folders by itself: there,
only links are refused, and owners and access lists are not checked.
"""

import os
import secrets
import stat
from pathlib import Path

from ex4d.errors import InputError

START_AGAIN = "start the server again"
"""Remedy for a damaged or exposed file that the server creates."""
MOST_BYTES = 16 * 1024


def read(path: Path, remedy: str) -> str:
    """Content of a small file private to this user; `remedy` says what to do if it is not private.

    Raises:
        OSError: the file cannot be read.
        InputError: others have access to it, or it is a link or not a regular file.
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
    """Check that a folder is private to this user.

    Raises:
        OSError: the folder cannot be examined.
        InputError: others have access to it, or it is not a folder.
    """
    about = os.lstat(folder)
    if not stat.S_ISDIR(about.st_mode):
        raise InputError(f"{folder} is not a folder, and links are not followed here: delete it and {remedy}.")
    _check_private(folder, about, remedy)


def _check_private(path: Path, about: os.stat_result, remedy: str) -> None:
    """Raise `InputError` if other users have access; nothing is checked on systems without user ids."""
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
    """Create a file private to this user. It is not atomic: readers may see a partial file.

    Raises:
        FileExistsError: the file already exists.
        OSError: it cannot be written.
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
    """Write a file private to this user, atomically.

    Raises:
        OSError: the file cannot be written.
    """
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
