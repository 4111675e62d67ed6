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


_CAMERAS_AND_VERSIONS = """
aces alexa arri at bmpcc cam camera canon clip clips comp copy cut dcim dji dsc dscf dscn edit export exr fin final
finals footage fps frame frames gopr gopro grade graded hd hdr image images img input iphone mov movie mvi out output
picture pictures plate plates preview proxy pxl raw rec recording render rendered renders result sample sc screen
seq sequence shot shots sony source src take test tests tmp uhd untitled ver version vid video videos whatsapp wip
youtube
"""
OF_NO_SUBJECT = frozenset(_CAMERAS_AND_VERSIONS.split())
"""Words in names of clips, as cameras and people give them, that say nothing about what the clip shows."""


def words_in(name: str) -> str:
    """What the name of a clip says of what it shows: "old-town_walk v03" gives "old town walk", "IMG_2034" nothing.

    Args:
        name: without its ending, see `clip_name`.
    """
    # Numbers, sizes, versions and cameras' counts (2034, 1080p, v03, C0012) have digits in them.
    words = [word for word in re.findall(r"[^\W_]+", name) if word.isalpha() and word.lower() not in OF_NO_SUBJECT]
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", " ".join(words)).lower().split()  # OldTown is two
    said = [part for part in parts if part not in OF_NO_SUBJECT]
    return " ".join(said) if any(len(part) > 2 or not part.isascii() for part in said) else ""
