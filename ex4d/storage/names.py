"""What names of files say: their order, and which depth belongs to which clip."""

import re
from pathlib import Path

CLIP_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".exr")
"""Endings of pictures that make a clip."""

VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".mxf", ".dv"),
    *(".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".m2v", ".ogv", ".ogg", ".gif", ".apng", ".ivf", ".y4m"),
    *(".h264", ".264", ".avc", ".hevc", ".h265", ".265"),
)
"""Endings that videos have. One with another ending, or none, is opened too: its content tells what it is. Blender's
file dialog takes no longer list."""


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
    # Every second part is a number; other digits than these are letters here, though some of them count as digits too.
    parts = re.split(r"([0-9]+)", path.name)
    return [int(part) if place % 2 else part.lower() for place, part in enumerate(parts)]


def with_name(path: Path) -> Path:
    """The same path, ending in a name: "." and ".." have none that files beside them could be named after."""
    return path.resolve() if path.name in ("", "..") else path


def clip_name(path: Path) -> str:
    """The name of a clip, after which the files that belong to it are named: without its ending, where it is a file."""
    path = with_name(path)
    return path.name if path.is_dir() else path.stem


def beside(path: Path) -> Path | None:
    """The depth that belongs to a clip by its name.

    For clip.mp4 (or the folder clip): clip.depth.npz, clip_depth.npz, clip.depth/ or clip_depth/.
    """
    path = with_name(Path(path))
    name = clip_name(path)
    for ending in (".depth.npz", "_depth.npz"):
        if (found := path.with_name(name + ending)).is_file():
            return found
    for ending in (".depth", "_depth"):
        if (found := path.with_name(name + ending)).is_dir():
            return found
    return None
