"""Figures published by others, which we have not measured; each has its source in published.csv."""

import csv
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Published:
    """One figure.

    Attributes:
        generator: that made the results.
        dataset: used for the measurement.
        range: of angles, see `ranges`.
        metric: by our name.
        value: as published.
        source: of the figure.
    """

    generator: str
    dataset: str
    range: str
    metric: str
    value: float
    source: str


def published() -> tuple[Published, ...]:
    """All published figures, in the order of the file."""
    text = files("ex4d.metrics").joinpath("published.csv").read_text(encoding="utf-8")
    return tuple(
        Published(row["generator"], row["dataset"], row["range"], row["metric"], float(row["value"]), row["source"])
        for row in csv.DictReader(text.splitlines())
    )
