"""Figures that others have published. Nobody here has measured them: each has its source, in published.csv."""

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Published:
    """One figure.

    Attributes:
        generator: whose result it is of.
        dataset: that it was measured on.
        range: of angles, see `ranges`.
        metric: as ours are called.
        value: as published.
        source: who published it.
    """

    generator: str
    dataset: str
    range: str
    metric: str
    value: float
    source: str


def published() -> tuple[Published, ...]:
    """All of them, in the order of the file."""
    text = files("ex4d.metrics").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        Published(row["generator"], row["dataset"], row["range"], row["metric"], float(row["value"]), row["source"])
        for row in csv.DictReader(text.splitlines())
    )
