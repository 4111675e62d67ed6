"""Names that file dialogs hand over; they may be empty, or those of folders."""

import os
from pathlib import Path

import bpy

from ex4d.errors import InputError

from ..translations import told


def is_named(filepath: str) -> bool:
    """Whether a file is named, and not only a folder or nothing."""
    return bool(Path(filepath).name) and not filepath.endswith(("/", os.sep))


def named_file(filepath: str) -> Path:
    """The file to write.

    Raises:
        InputError: none is named.
    """
    if not is_named(filepath):
        raise InputError(told("No file is named: enter a name to write to."))
    return Path(bpy.path.abspath(filepath))
