"""File names from file dialogs, which may be empty or name folders."""

import os
from pathlib import Path

import bpy

from ex4d.errors import InputError

from ..translations import told


def is_named(filepath: str) -> bool:
    """Whether the path names a file, rather than only a folder or nothing."""
    return bool(Path(filepath).name) and not filepath.endswith(("/", os.sep))


def named_file(filepath: str) -> Path:
    """The absolute path of the file to write.

    Raises:
        InputError: none is named.
    """
    if not is_named(filepath):
        raise InputError(told("No file is named: enter a name to write to."))
    return Path(bpy.path.abspath(filepath))
