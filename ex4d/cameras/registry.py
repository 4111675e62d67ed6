"""The available camera formats: choosing one by name and content, reading and writing."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ex4d.cameras import text
from ex4d.cameras.formats import arrays, chan, colmap, realestate10k, trajectories, transforms_json
from ex4d.cameras.track import CameraTrack
from ex4d.errors import InputError
from ex4d.storage.atomic import check_there


@dataclass(frozen=True)
class Format:
    """A kind of camera file.

    Attributes:
        name: for the command line.
        title: for people.
        ending: file extension used by this format alone; "" if the content decides.
        read: reads a file.
        write: writes a file, and returns notes on what it cannot hold.
        columns: numbers per line, for formats that are recognised by them.
    """

    name: str
    title: str
    ending: str
    read: Callable[[Path], CameraTrack]
    write: Callable[[Path, CameraTrack], tuple[str, ...]]
    columns: int = 0


FORMATS = {
    each.name: each
    for each in (
        Format("npz", ".npz or .npy with camera_to_world or extrinsics", ".npz", arrays.read, arrays.write),
        Format("chan", "Nuke .chan", ".chan", chan.read, chan.write),
        Format(
            "transforms",
            "transforms.json (NeRF, nerfstudio, Instant-NGP)",
            ".json",
            transforms_json.read,
            transforms_json.write,
        ),
        Format("colmap", "COLMAP text model (a folder with images.txt)", "", colmap.read, colmap.write),
        Format("tum", "TUM trajectory", "", trajectories.read_tum, trajectories.write_tum, 8),
        Format("kitti", "KITTI trajectory", "", trajectories.read_kitti, trajectories.write_kitti, 12),
        Format(
            "rows16",
            "rows of 16, world-to-camera (InSpatio-World, Vista4D)",
            "",
            trajectories.read_rows,
            trajectories.write_rows,
            16,
        ),
        Format("re10k", "RealEstate10K", "", realestate10k.read, realestate10k.write, 19),
    )
}
"""All formats by name."""

ENDINGS = (".npz", ".npy", ".chan", ".json", ".txt")
"""Extensions of camera files, for file dialogs."""

KNOWN = "Supported formats: " + "; ".join(each.title for each in FORMATS.values()) + "."


def read(path: Path) -> CameraTrack:
    """Read the track of a camera file, or of a folder with a COLMAP model or a transforms.json.

    Raises:
        InputError: nothing there, not in a known format, or damaged; names the known formats, or the wrong line.
    """
    return format_of(path).read(inside(path))


def inside(path: Path) -> Path:
    """The transforms.json in a folder that has one; otherwise the path itself."""
    return path / "transforms.json" if path.is_dir() and (path / "transforms.json").is_file() else path


def needs_several_files(path: Path) -> bool:
    """Whether a track consists of more than one file, so that it has to be packed before it is sent."""
    of_colmap = path.name in (colmap.IMAGES, colmap.CAMERAS, colmap.POINTS)
    return path.is_dir() or of_colmap or arrays.vipes_lens(path) is not None


def packed(path: Path, file: Path) -> Path:
    """Write the content of a track of several files, such as a COLMAP model, into one .npz `file`, and return `file`.

    Raises:
        InputError: see `read`, or the file cannot be written.
    """
    arrays.write(file, read(path))
    return file


def format_of(path: Path) -> Format:
    """Recognise the format of a file or folder.

    Raises:
        InputError: nothing there, or not in a known format.
    """
    path = inside(check_there(path, "camera file"))
    if path.is_dir() or path.name in (colmap.IMAGES, colmap.CAMERAS, colmap.POINTS):
        return FORMATS["colmap"]
    ending = path.suffix.lower()
    for each in FORMATS.values():
        if ending and each.ending == (".npz" if ending == ".npy" else ending):
            return each
    first = [] if _is_binary(path) else list(islice(text.rows(path), 2))
    for row in first[1:] if first and first[0].words[0].startswith("http") else first:
        for each in FORMATS.values():
            if len(row.words) == each.columns:
                return each
    raise InputError(f"{path} is not in any known camera format. {KNOWN}")


def _is_binary(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" in file.read(4096)


def format_for(path: Path, name: str | None) -> Format:
    """Choose the format to write, by name, or by the file's extension; no extension, or a folder, means COLMAP.

    Raises:
        InputError: the extension does not decide.
    """
    if name is not None:
        return FORMATS[name]
    ending = path.suffix.lower()
    if not ending:
        return FORMATS["colmap"]
    for each in FORMATS.values():
        if ending == each.ending:
            return each
    wanted = ", ".join(f"{name} ({each.title})" for name, each in FORMATS.items())
    raise InputError(f"The extension of {path.name} does not determine the format: choose one of {wanted}.")
