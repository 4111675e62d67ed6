"""What file names reveal: the order of images, which depth belongs to which clip, and what a clip shows."""

import re
from pathlib import Path

CLIP_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".exr")
"""Endings of images that can make up a clip."""

VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".wmv", ".asf", ".flv", ".mxf", ".dv"),
    *(".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".vob", ".m2v", ".ogv", ".ogg", ".gif", ".apng", ".ivf", ".y4m"),
    *(".h264", ".264", ".avc", ".hevc", ".h265", ".265"),
)
"""Usual endings of videos. A video with another ending, or none, can be opened too, because its content identifies it.
Blender's file dialog does not accept a longer list."""


DEPTH_ENDINGS = (".png", ".exr")
"""Endings of images that hold depth."""

DEPTH_FILES = (".depth.npz", "_depth.npz", ".depth.npy", "_depth.npy", "_depths.npz", "_sgd_cvd_hr.npz")
"""What follows "clip" in the names of files with the depth of clip.mp4; the first that exists is used. The last but one
is Video-Depth-Anything's, the last MegaSaM's."""

DEPTH_FOLDERS = (".depth", "_depth", "_depths", "_depths_exr")
"""The same for folders of images; the last is Video-Depth-Anything's."""

DEPTH_VIDEOS = tuple(
    name + ending for name in ("_depth", ".depth", "_depths") for ending in (".mp4", ".mov", ".mkv", ".avi", ".webm")
)
"""The same for videos; clip_depth.mp4 is DepthCrafter's."""

DEPTH_VIEWS = "_depth_views"
"""How the preview video of `ex4d depth` ends, which is not a depth file."""

_DEPTH_SUFFIXES = {".npz", ".npy", ".zip", ".mp4", ".mov", ".mkv", ".avi", ".webm", *DEPTH_ENDINGS}


def pictures_in(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The images in a folder that have these endings, in natural order.

    Names that begin with a dot are skipped: macOS leaves "._a.png" beside "a.png" on disks of other systems.
    """
    found = (path for path in folder.iterdir() if path.suffix.lower() in endings and not path.name.startswith("."))
    return sorted(found, key=natural_order)


def natural_order(path: Path) -> list[int | str]:
    """Sort key for file names that puts image 10 after image 9."""
    # Every second part is a number. Only ASCII digits count: other Unicode digits are treated as letters.
    parts = re.split(r"([0-9]+)", path.name)
    return [int(part) if place % 2 else part.lower() for place, part in enumerate(parts)]


def with_name(path: Path) -> Path:
    """The same path, but ending in a name: "." and ".." are resolved, because nothing can be named after them."""
    return path.resolve() if path.name in ("", "..") else path


def clip_name(path: Path) -> str:
    """The name of a clip, after which the files that belong to it are named; without its ending if it is a file."""
    path = with_name(path)
    return path.name if path.is_dir() else path.stem


def beside(path: Path) -> Path | None:
    """The depth that belongs to a clip by its name, see `DEPTH_FILES`, `DEPTH_FOLDERS` and `DEPTH_VIDEOS`; None if
    there is none."""
    path = with_name(Path(path))
    name = clip_name(path)
    for endings, is_there in ((DEPTH_FILES, Path.is_file), (DEPTH_FOLDERS, Path.is_dir), (DEPTH_VIDEOS, Path.is_file)):
        for ending in endings:
            if is_there(found := path.with_name(name + ending)):
                return found
    return None


def maybe_depth_of(path: Path) -> list[Path]:
    """What lies beside a clip and may be its depth, judging by its name, but has no name that `beside` knows."""
    path = with_name(Path(path))
    try:
        there = sorted(path.parent.iterdir(), key=natural_order)
    except OSError:  # the folder cannot be listed
        return []
    # DepthCrafter names its array after the clip alone.
    name = re.escape(clip_name(path))
    pattern = re.compile(rf"{name}([ ._-].*(depth|disp)|\.np[yz]$)", re.IGNORECASE)
    return [
        other
        for other in there
        if pattern.match(other.name)
        and not other.stem.endswith(DEPTH_VIEWS)
        and (other.suffix.lower() in _DEPTH_SUFFIXES or other.is_dir())
        and other != path
    ]


def maybe_depth_note(path: Path) -> str:
    """A sentence that names what may be the depth of a clip but was not used; "" if there is nothing."""
    names = [found.name for found in maybe_depth_of(path)]
    if not names:
        return ""
    more = f" (and {len(names) - 3} more)" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more} beside {path.name} may be its depth: if so, name it as the depth file."


_CAMERAS_AND_VERSIONS = """
aces alexa arri at bmpcc cam camera canon clip clips comp copy cut dcim dji dsc dscf dscn edit export exr fin final
finals footage fps frame frames gopr gopro grade graded hd hdr image images img input iphone mov movie mvi out output
picture pictures plate plates preview proxy pxl raw rec recording render rendered renders result sample sc screen
seq sequence shot shots sony source src take test tests tmp uhd untitled ver version vid video videos whatsapp wip
youtube
"""
OF_NO_SUBJECT = frozenset(_CAMERAS_AND_VERSIONS.split())
"""Words that cameras and people put into clip names and that do not say what the clip shows."""


def words_in(name: str) -> str:
    """What a clip's name says about what it shows: "old-town_walk v03" gives "old town walk", "IMG_2034" gives "".

    Args:
        name: without its ending, see `clip_name`.
    """
    # Numbers, sizes, versions and camera counters (2034, 1080p, v03, C0012) contain digits.
    words = [word for word in re.findall(r"[^\W_]+", name) if word.isalpha() and word.lower() not in OF_NO_SUBJECT]
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", " ".join(words)).lower().split()  # OldTown is two words
    said = [part for part in parts if part not in OF_NO_SUBJECT]
    return " ".join(said) if any(len(part) > 2 or not part.isascii() for part in said) else ""
