"""The videos that a dataset is made from: a folder, a list, or a table of names and captions such as OpenVid's."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ex4d.errors import InputError
from ex4d.storage.atomic import check_there
from ex4d.storage.names import VIDEO_ENDINGS, natural_order

NAME_COLUMNS, CAPTION_COLUMNS = ("video", "video_path", "path", "file"), ("caption", "text", "prompt")
"""Possible columns of a table, of which the first that exists is used; OpenVid's are `video` and `caption`."""

CAPTION_BYTES = 1 << 16
"""Maximum size in bytes of a caption file beside a video."""


@dataclass(frozen=True)
class Video:
    """A video to take clips from.

    Attributes:
        path: the file.
        caption: what it shows; empty if there is none.
    """

    path: Path
    caption: str = ""


def videos(source: Path, tell: Callable[[str], None] = lambda sentence: None) -> list[Video]:
    """The videos that a path names, in a fixed order.

    A folder gives all videos in it and its subfolders, a text file (.txt) one path per line, and a table (.csv) one
    video per row. Paths are relative to the file. A table's names may also be in any folder beside it, as OpenVid's
    archives unpack; those that do not exist are left out, because few people have all of them. Captions come from the
    table, or from a text file with the video's name beside it.

    Args:
        source: folder, list, table, or a single video.
        tell: called with a sentence about rows of a table that were left out.

    Raises:
        InputError: there is nothing at that path, or no video in it.
    """
    source = check_there(source, "folder, list or table of videos")
    if source.is_dir():
        found = [_captioned(path) for path in _below(source)]
    elif source.suffix.lower() == ".txt":
        lines = (line.strip() for line in _text(source).splitlines())
        found = [_captioned(source.parent / line) for line in lines if line and not line.startswith("#")]
    elif source.suffix.lower() == ".csv":
        found = _of_table(source, tell)
    else:
        found = [_captioned(source)]
    if not found:
        raise InputError(f"There is no video in {source}: name a folder with videos, a list of them, or a table.")
    return found


def _below(folder: Path) -> list[Path]:
    """All videos in a folder and its subfolders, in natural order."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_ENDINGS and path.is_file())
    mine = [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return sorted(mine, key=lambda path: ([natural_order(Path(part)) for part in path.relative_to(folder).parts], path))


def _captioned(path: Path) -> Video:
    beside = path.with_suffix(".txt")
    if not beside.is_file() or beside.stat().st_size > CAPTION_BYTES:
        return Video(path)
    return Video(path, " ".join(_text(beside).split()))


def _of_table(table: Path, tell: Callable[[str], None]) -> list[Video]:
    """The videos of a table that exist; OpenVid's has a million rows, so it is read row by row."""
    by_name = {path.name: path for path in reversed(_below(table.parent))}
    found: list[Video] = []
    total = 0
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            columns = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
            name_of = next((columns[name] for name in NAME_COLUMNS if name in columns), None)
            caption_of = next((columns[name] for name in CAPTION_COLUMNS if name in columns), None)
            if name_of is None:
                there = ", ".join(columns) or "none"
                raise InputError(f"{table} has no column {NAME_COLUMNS[0]!r}, but {there}: add one.")
            for row in rows:
                name = (row[name_of] or "").strip()
                total += bool(name)
                path = table.parent / name if name else table
                # A table comes from elsewhere, so it may not name anything outside its folder.
                if Path(name).is_absolute() or ".." in Path(name).parts or not _is_file(path):
                    path = by_name.get(path.name, table)
                if path != table:
                    found.append(Video(path, " ".join(((row[caption_of] or "") if caption_of else "").split())))
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{table} cannot be read as a table ({error}): write it as CSV in UTF-8.") from error
    if found and len(found) < total:
        tell(f"{total - len(found)} of the {total} videos in {table.name} are not in its folder or below.")
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the text is too long for a name, or in a folder without permission
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not text in UTF-8: save it so.") from error
