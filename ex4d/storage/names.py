"""What names of files say: their order, and which depth belongs to which clip."""

import re
from pathlib import Path

CLIP_ENDINGS = (".png", ".jpg", ".jpeg")
"""Endings of pictures that make a clip."""

DEPTH_ENDINGS = (".png", ".exr")
"""Endings of pictures that hold depth."""


def pictures_in(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The pictures of a folder with these endings, in natural order.

    Names that begin with a dot are not the user's: macOS leaves "._a.png" beside "a.png" on foreign disks.
    """
    found = (path for path in folder.iterdir() if path.suffix.lower() in endings and not path.name.startswith("."))
    return sorted(found, key=natural_order)


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
