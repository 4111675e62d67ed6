"""The file of figures that a run writes, and from which tables are made: JSON."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from ex4d import __version__
from ex4d.errors import InputError
from ex4d.metrics.measure import Figures, Measured
from ex4d.plain import PlainError, from_plain, to_plain
from ex4d.storage.atomic import replacing

FORMAT = 1
LIMIT = 256 << 20
"""Version of the layout, and maximum size of a file in bytes."""


@dataclass(frozen=True)
class Report:
    """The figures of one generator on one data set.

    Attributes:
        generator: its name, the head of its column.
        dataset: name of the data set.
        results: one for each shot.
        sets: figures of sets of results, such as FID, by range; "all" is all results together.
        missing: by name of a figure, sentences about why it could not be measured.
        version: of ex4d.
        format: of this file.
    """

    generator: str
    dataset: str
    results: tuple[Measured, ...]
    sets: dict[str, Figures] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    version: str = __version__
    format: int = FORMAT


def write(path: Path, report: Report) -> None:
    """Write a report; all or nothing.

    Raises:
        InputError: it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(to_plain(report), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read(path: Path) -> Report:
    """Read a report.

    Raises:
        InputError: the file is missing, has a later format, or is not a report.
    """
    try:
        if path.stat().st_size > LIMIT:
            raise InputError(f"{path} is too large for a file of figures: check the name.")
        report: Report = from_plain(Report, json.loads(path.read_text(encoding="utf-8")), "report")
    except OSError as error:
        raise InputError(f"The figures {path} cannot be read: {error.strerror}; check the name.") from error
    except (ValueError, PlainError, RecursionError) as error:
        raise InputError(f"{path} is no file of figures of this version: measure the results again.") from error
    if report.format != FORMAT:
        raise InputError(f"{path} is no file of figures of this version: measure the results again.")
    return report
