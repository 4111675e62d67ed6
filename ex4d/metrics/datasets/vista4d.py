"""Vista4D-Eval-Data: 110 pairs of a video and a camera, without a true view.

    metadata.csv                              name, video, camera, seed, ...
    recon_and_seg/<video>/{video.mp4,cameras.npz}
    cameras/<video>/<camera>.npz              cam_c2w (T,4,4), intrinsics (T,4)

A result is NAME.mp4, or what Vista4D's own program writes, NAME/video_seed=<seed>.mp4.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from ex4d.errors import InputError
from ex4d.metrics.cases import Case, from_first, read_path, read_poses
from ex4d.metrics.streams import open_stream

TABLE = "metadata.csv"
LONGEST = 10_000
"""Maximum number of rows of the table."""


@dataclass(frozen=True)
class Row:
    """A row of metadata.csv."""

    name: str
    video: str
    camera: str
    seed: str


def cases(data: Path) -> list[tuple[Case, str]]:
    """A case for each pair, without a result, and the name that Vista4D's own program gives the result.

    Raises:
        InputError: the folder or a file in it is not as described.
    """
    return [(_case(data, row), f"video_seed={row.seed}.mp4") for row in rows(data / TABLE)]


def rows(file: Path) -> list[Row]:
    """The rows of metadata.csv.

    Raises:
        InputError: it cannot be read, or is not the table.
    """
    try:
        with file.open(newline="", encoding="utf-8") as opened:
            read = [
                Row(row["name"], row["video"], row["camera"], row["seed"])
                for _, row in zip(range(LONGEST), csv.DictReader(opened), strict=False)
            ]
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}): give the folder of Vista4D-Eval-Data.") from error
    except (KeyError, ValueError, csv.Error) as error:
        raise InputError(f"{file} is not the table of Vista4D-Eval-Data ({error}): use another copy.") from error
    named = [text for row in read for text in vars(row).values()]
    if any(not text or Path(text).name != text for text in named):
        raise InputError(f"{file} has a row without a name, or with a folder in it: use another copy.")
    return read


def _case(data: Path, row: Row) -> Case:
    folder = data / "recon_and_seg" / row.video
    source = folder / "video.mp4"
    size = open_stream(source, f"video of {row.name}")
    path = read_path(data / "cameras" / row.video / f"{row.camera}.npz", size.width, size.height)
    own = folder / "cameras.npz"
    poses = read_poses(own) if own.is_file() else None
    return from_first(Case(row.name, Path(), source, path=path, source_poses=poses))
