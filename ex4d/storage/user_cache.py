"""The cache folder, for what can be recreated or downloaded again: models, embedded prompts, unfinished jobs, depth."""

import os
from pathlib import Path

from ex4d.errors import InputError

VARIABLE = "EX4D_CACHE"
"""Environment variable that names the folder."""


def folder(name: str) -> Path:
    """The folder with this name in the cache, which is `EX4D_CACHE` if that is set, otherwise the user's own.

    It is created if it is missing.

    Raises:
        InputError: it cannot be created, or platformdirs, which knows the user's folders, is not installed.
    """
    named = os.environ.get(VARIABLE)
    if named:
        root = Path(named).expanduser()
    else:
        try:
            from platformdirs import user_cache_path
        except ModuleNotFoundError:
            raise InputError(
                f"The user's cache folder is not known without the Python package platformdirs: install it, or name a"
                f" folder in {VARIABLE}."
            ) from None
        root = user_cache_path("ex4d", appauthor=False)
    path = root / name
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"The cache folder {path} cannot be made: {error.strerror}; name another in {VARIABLE}."
        ) from error
    return path
