"""Making a take again from its record."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ex4d.depth import registry
from ex4d.errors import InputError
from ex4d.generate.registry import AUTO, choose, generators
from ex4d.pipeline import take
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.open import gather
from ex4d.pipeline.requests import Blob, Fill, Generate, blobs_of
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.progress import Progress


def again(
    folder: Path, out: Path, work: Path, runtime: Runtime, progress: Progress, video: Path | None = None
) -> dict[str, Any]:
    """Make a take again: the same bytes, with the same version on the same machine.

    Args:
        folder: of the take.
        out: an empty folder for the new one.
        work: an empty folder for links to the files.
        runtime, progress: as for `ex4d.pipeline.run`.
        video: where the clip lies by now, if it was moved.

    Returns:
        Facts, as `ex4d.pipeline.run`.

    Raises:
        InputError: the record cannot be read, or a file of the take is gone or is another one now.
    """
    record = take.read_record(folder / take.SIDECAR)
    job = _with_camera(record.job, folder)
    places: dict[str, Path] = {}
    moved = {} if video is None else {blob_of(path).sha256: path for path in _pictures(video)}
    for blob in blobs_of(job):
        places[blob.sha256] = _found(record, folder, blob, moved)
    job = _as_then(job, record)
    facts = run(job, gather(job, lambda blob: places[blob.sha256], work, in_place=True), out, runtime, progress)
    made = take.read_record(out / take.SIDECAR)
    take.write_record(out / take.SIDECAR, take.with_inputs(made, out, places))
    return facts


def _with_camera(job: Generate | Fill, folder: Path) -> Generate | Fill:
    """The job with the take's own camera file as its path: that is kept with the take, the file that was asked for is
    not."""
    if isinstance(job, Fill) or job.path is None:
        return job
    return replace(job, path=blob_of(folder / take.CAMERA))


def _found(record: take.TakeRecord, folder: Path, blob: Blob, moved: dict[str, Path]) -> Path:
    """A file of the take, with the content that it had then."""
    own = folder / take.CAMERA
    if own.is_file() and blob == blob_of(own):
        return own
    said = take.place_of(record, folder, blob)
    if found := moved.get(blob.sha256):
        return found
    if blob.name in [path.name for path in moved.values()]:
        raise InputError(f"{blob.name} is not the file that the take was made from: its content differs.")
    if said is not None and said.is_file() and blob_of(said).sha256 == blob.sha256:
        return said
    if said is None:
        raise InputError(f"Where {blob.name} lies is not in the take's record: name the clip with --input_video.")
    if not said.is_file():
        raise InputError(f"{said} is gone: bring it back, or say with --input_video where the clip lies now.")
    raise InputError(f"{said} has changed since the take was made: bring the file back that it was made from.")


def _pictures(video: Path) -> list[Path]:
    if not video.exists():
        raise InputError(f"There is no clip {video}: check the name.")
    return sorted(path for path in video.iterdir() if path.is_file()) if video.is_dir() else [video]


def _as_then(job: Generate | Fill, record: take.TakeRecord) -> Generate | Fill:
    """The job with what "auto" chose then, where it would choose another today."""
    wish = job.generation
    if wish.generator == AUTO and choose(AUTO, generators(), wish.options).spec.name != record.generator:
        job = replace(job, generation=replace(wish, generator=record.generator))
    if isinstance(job, Generate) and not job.source.depth and job.source.settings.estimator == AUTO:
        provider = record.depth.get("provider", "")
        if provider and registry.choose(AUTO).spec.name != provider:
            settings = replace(job.source.settings, estimator=provider)
            job = replace(job, source=replace(job.source, settings=settings))
    return job
