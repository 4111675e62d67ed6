"""What is known of a take beside its name: read from its record, of a view from its strip."""

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
    """Of one take or view.

    Attributes:
        coverage: real part of each frame, 0 to 1; empty if it is not known.
        seconds: that the server took, in all stages; None if it is not known.
        settings: of the generator by name, with the values that were in use.
        seed: None of a view.
        trouble: why its record says nothing; "" where it does, and of a view, which has none.
    """

    coverage: tuple[float, ...] = ()
    seconds: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    trouble: str = ""

    @property
    def lines(self) -> list[str]:
        """Coverage and time, as short as a sidebar is narrow."""
        found = []
        if self.coverage:
            found.append(takes.invented(self.coverage))
        if self.seconds is not None:
            found.append(told("Made in {seconds}", seconds=seconds(self.seconds)))
        return found


def read(scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> TakeFacts:
    """Look at the disk for what is known of an entry of the list."""
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
        {**asked, **record.settings},  # records of earlier versions have only what was asked for
        record.seed,
    )


def in_words(facts: TakeFacts, info: GeneratorInfo | None) -> list[tuple[str, str]]:
    """Label and value of each setting that a take was made with.

    With `info`, what the server announces of the generator, these are its settings under its labels; without, all
    that the record has.
    """
    names = facts.settings if info is None else [each.name for each in info.settings if each.name in facts.settings]
    return [(options.label_of(info, name), options.told(info, name, facts.settings[name])) for name in names]


def movie_of(folder: Path, view: bool) -> Path | None:
    """The video of a take or view that its picture can be made from; None if it is gone."""
    names = (take.VIEW, take.COLOUR) if view else (take.RESULT,)
    return next((folder / name for name in names if (folder / name).is_file()), None)
