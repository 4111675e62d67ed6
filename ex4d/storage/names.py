"""What names of files say: their order, and which depth belongs to which clip."""

import re
from pathlib import Path


def natural_order(path: Path) -> list[int | str]:
    """Sort key by the file's name that puts picture 10 after picture 9."""
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"([0-9]+)", path.name)]


def beside(path: Path) -> Path | None:
    """The depth that belongs to a clip by its name.

    For clip.mp4 (or the folder clip): clip.depth.npz, clip_depth.npz, clip.depth/ or clip_depth/.
    """
    path = Path(path)
    name = path.name if path.is_dir() else path.stem
    for ending in (".depth.npz", "_depth.npz"):
        if (found := path.with_name(name + ending)).is_file():
            return found
    for ending in (".depth", "_depth"):
        if (found := path.with_name(name + ending)).is_dir():
            return found
    return None
