"""What is known about a take, read from its record, or about a path preview, read from its strip."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bpy

from ex4d.errors import InputError
from ex4d.jobs.messages import GeneratorInfo
from ex4d.pipeline import take
from ex4d.pipeline.requests import Generate

from ..shot import options, takes
from ..translations import told
from ..words import seconds


@dataclass(frozen=True)
class TakeFacts:
    """Facts about a take or path preview.

    Attributes:
        coverage: real fraction of each frame, 0 to 1; empty if not known.
        seconds: time that the server took for all stages; None if not known.
        settings: the generator's settings by name, with the values used.
        seed: the seed; None for a path preview.
        trouble: why its folder or its record, which a path preview does not have, cannot be read; "" if they can.
    """

    coverage: tuple[float, ...] = ()
    seconds: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    trouble: str = ""

    @property
    def lines(self) -> list[str]:
        """Coverage and time, short enough for a sidebar."""
        found = []
        if self.coverage:
            found.append(takes.invented(self.coverage))
        if self.seconds is not None:
            found.append(told("Made in {seconds}", seconds=seconds(self.seconds)))
        return found


def read(scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> TakeFacts:
    """Read the facts about a listed take or path preview from disk."""
    folder = takes.take_folder(scene, entry.number, entry.view)
    if folder is None or not folder.is_dir():
        return TakeFacts(trouble=told("Its folder is gone."))
    strip = takes.strip_of(scene, entry.number, entry.view)
    coverage = tuple(strip.get("ex4d_coverage", ())) if strip is not None else ()
    if entry.view:
        return TakeFacts(coverage)
    try:
        return _of_record(take.read_record(folder / take.SIDECAR))
    except InputError as error:
        return TakeFacts(coverage, trouble=str(error))


def _of_record(record: take.TakeRecord) -> TakeFacts:
    asked = record.job.generation.of(record.generator) if isinstance(record.job, Generate) else {}
    return TakeFacts(
        tuple(record.coverage),
        sum(record.seconds.values()) if record.seconds else None,
        {**asked, **record.settings},  # records of earlier versions have only the requested values
        record.seed,
    )


def in_words(facts: TakeFacts, info: GeneratorInfo | None) -> list[tuple[str, str]]:
    """Labels and values of the settings that a take was made with.

    With `info`, the server's description of the generator, these are the settings in it, with its labels; without it,
    everything in the record.
    """
    names = facts.settings if info is None else [each.name for each in info.settings if each.name in facts.settings]
    return [(options.label_of(info, name), options.told(info, name, facts.settings[name])) for name in names]


def movie_of(folder: Path, view: bool) -> Path | None:
    """The video of a take or path preview to show it with; None if it is gone."""
    names = (take.VIEW, take.COLOUR) if view else (take.RESULT,)
    return next((folder / name for name in names if (folder / name).is_file()), None)
