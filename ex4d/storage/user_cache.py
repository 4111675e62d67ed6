"""The folder of what can be made or fetched again: models, embedded prompts, unfinished jobs, estimated depth."""

import os
from pathlib import Path

from ex4d.errors import InputError

VARIABLE = "EX4D_CACHE"
"""Environment variable that names the folder."""


def folder(name: str) -> Path:
    """The part of the cache of that name, made where it is not there: below `EX4D_CACHE`, or in the user's cache.

    Raises:
        InputError: it cannot be made, or the package that knows the user's folders is missing.
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
