"""The user's data folder, for what cannot be recreated; found without platformdirs, which Blender does not have."""

import os
import sys
from pathlib import Path

VARIABLE = "EX4D_DATA"
"""Environment variable that names the folder."""


def folder() -> Path:
    """The folder: `EX4D_DATA` if that is set, otherwise in the system's place for user data. Nothing is created."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = home / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return base / "ex4d"
