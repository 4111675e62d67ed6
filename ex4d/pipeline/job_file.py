"""Job files: a job and where its files are, for machines that run it later, such as those of a render farm."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ex4d import __version__
from ex4d.errors import InputError
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, Fill, Generate, blobs_of
from ex4d.plain import PlainError, from_plain, to_plain
from ex4d.storage.atomic import replacing
from ex4d.storage.places import found_from, seen_from

FORMAT = 1


@dataclass(frozen=True)
class JobFile:
    """The content of a job file.

    Attributes:
        job: the job; its files by content.
        inputs: where the files are, by their hash; relative to the job file's folder if possible.
        version: of ex4d.
        format: of this file.
    """

    job: Generate | Fill
    inputs: dict[str, str] = field(default_factory=dict)
    version: str = __version__
    format: int = FORMAT


def write_job(path: Path, job: Generate | Fill, places: Mapping[str, Path]) -> None:
    """Write a job and where its files are; all or nothing.

    Raises:
        InputError: it cannot be written.
    """
    inputs = {blob.sha256: seen_from(path.parent, places[blob.sha256]) for blob in blobs_of(job)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(to_plain(JobFile(job, inputs)), indent=1) + "\n", encoding="utf-8")


def read_job(path: Path) -> JobFile:
    """Read a job file.

    Raises:
        InputError: the file is missing, is not a job file, or has a later format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] > FORMAT:
            raise InputError(f"{path} was written by a later version of EX-4D ({data['version']}): update this one.")
    except OSError as error:
        raise InputError(f"The job file {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path} is not a job file, or is damaged: create it again.") from error
    try:
        return from_plain(JobFile, data, "job file")
    except PlainError as error:
        raise InputError(f"{path} is a job file that this version cannot read: {error}") from error


def located(found: JobFile, path: Path) -> dict[str, Path]:
    """Where the files of a job are, by their hash; each is there and unchanged.

    Args:
        found: read from `path`.
        path: the job file.

    Raises:
        InputError: a file is missing or has changed.
    """
    return {blob.sha256: _located(found, path, blob) for blob in blobs_of(found.job)}


def _located(found: JobFile, path: Path, blob: Blob) -> Path:
    said = found.inputs.get(blob.sha256)
    if said is None:
        raise InputError(f"The location of {blob.name} is not in {path}: create the job file again.")
    place = found_from(path.parent, said)
    if not place.is_file():
        raise InputError(f"{place} is not there: bring it back, or make it visible to this machine.")
    if blob_of(place).sha256 != blob.sha256:
        raise InputError(f"{place} has changed since the job file was made: create the job file again.")
    return place
