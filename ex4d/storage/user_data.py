"""The user's data folder, for what cannot be recreated; known without other packages, as Blender has none for it."""

import os
import sys
from pathlib import Path

VARIABLE = "EX4D_DATA"
"""Environment variable that names the folder."""


def folder() -> Path:
    """Where it is: in `EX4D_DATA` if that is set, else where the system keeps data of a user. Nothing is made."""
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
