"""Remaking a take from its record."""

import itertools
import shutil
from dataclasses import replace
from functools import cache
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
from ex4d.storage.names import beside, with_name


def again(
    folder: Path, out: Path, work: Path, runtime: Runtime, progress: Progress, video: Path | None = None
) -> dict[str, Any]:
    """Remake a take: byte for byte the same, given the same version on the same machine.

    Args:
        folder: of the take.
        out: an empty folder for the new take.
        work: an empty folder for links to the files.
        runtime, progress: as for `ex4d.pipeline.run`.
        video: where the clip is now, if it was moved.

    Returns:
        Facts, as `ex4d.pipeline.run`.

    Raises:
        InputError: the record cannot be read, or a file of the take is missing or has changed.
    """
    record = take.read_record(folder / take.SIDECAR)
    job = _with_earlier_depth(_with_source_camera(_with_camera(record.job, folder), folder), folder)
    places: dict[str, Path] = {}
    moved = None if video is None else _Moved(video, blobs_of(job))
    for blob in blobs_of(job):
        places[blob.sha256] = _found(record, folder, blob, moved)
    job = _as_then(job, record)
    facts = run(job, gather(job, lambda blob: places[blob.sha256], work, in_place=True), out, runtime, progress)
    for sha256, place in places.items():
        for name in _KEPT:
            if place.resolve() == (folder / name).resolve():  # kept with each take, so the old take may be deleted
                shutil.copyfile(place, out / name)
                places[sha256] = out / name
    made = take.read_record(out / take.SIDECAR)
    take.write_record(out / take.SIDECAR, take.with_inputs(made, out, places))
    return facts


_KEPT = (take.SOURCE_CAMERA, take.MOVING, take.EARLIER_DEPTH)
"""Files that were found for a take and are kept with it."""


def _with_camera(job: Generate | Fill, folder: Path) -> Generate | Fill:
    """The job with the take's own camera file as its path, because that file is kept with the take and the one that was
    given is not."""
    if isinstance(job, Fill) or job.path is None:
        return job
    as_it_is = replace(job.preset, camera_scale=1.0, camera_world="source")  # scaled and placed already
    return replace(job, path=blob_of(folder / take.CAMERA), preset=as_it_is)


def _with_source_camera(job: Generate | Fill, folder: Path) -> Generate | Fill:
    """The job with the source camera and the moving mask that were found for the take and are kept with it, so that
    they are not searched for again."""
    kept = folder / take.SOURCE_CAMERA
    if isinstance(job, Fill) or job.source.camera is not None or not kept.is_file():
        return job
    settings = replace(job.source.settings, camera_motion="file")
    moving = job.source.moving
    if not moving and (folder / take.MOVING).is_file():
        moving = (blob_of(folder / take.MOVING),)
    return replace(job, source=replace(job.source, camera=blob_of(kept), moving=moving, settings=settings))


def _with_earlier_depth(job: Generate | Fill, folder: Path) -> Generate | Fill:
    """The job with the earlier take's depth, which is kept with the take, so that it is not estimated again."""
    kept = folder / take.EARLIER_DEPTH
    if isinstance(job, Fill) or job.source.earlier is None or not kept.is_file():
        return job
    return replace(job, source=replace(job.source, earlier=replace(job.source.earlier, depth=blob_of(kept))))


def _found(record: take.TakeRecord, folder: Path, blob: Blob, moved: "_Moved | None") -> Path:
    """Path of a file of the take that still has the content it had then."""
    for own in (folder / name for name in (take.CAMERA, *_KEPT)):
        if own.is_file() and blob == blob_of(own):
            return own
    said = take.place_of(record, folder, blob)
    found = moved.find(blob) if moved else None
    if moved and not found and moved.has_another(blob.name):  # another file was named, though the old one may exist
        raise InputError(f"{blob.name} is not the file that the take was made from: its content differs.")
    if said is not None and said.is_file() and blob_of(said).sha256 == blob.sha256:
        return said
    if found:
        return found
    if said is None:
        raise InputError(f"The location of {blob.name} is not in the take's record: say where the clip is.")
    if not said.is_file():
        raise InputError(f"{said} is gone: bring it back, or say where the clip is now.")
    raise InputError(f"{said} has changed since the take was made: bring back the file that it was made from.")


class _Moved:
    """The files at the place that the user gave for a clip that was moved.

    Args:
        video: the clip, its folder of images, or a folder that holds it.
        wanted: the take's files.

    Raises:
        InputError: there is nothing at that place.
    """

    def __init__(self, video: Path, wanted: list[Blob]) -> None:
        if not video.exists():
            raise InputError(f"There is no clip {video}: check the name.")
        video = with_name(video)
        self._wanted = {blob.sha256 for blob in wanted}
        self._named = _files_in(video) if video.is_dir() else [video]
        below = _folders_in(video) if video.is_dir() else []
        depth = beside(video)
        folders = [*below, video.parent, *([depth] if depth and depth.is_dir() else [])]
        self._by_size: dict[int, list[Path]] = {}  # so that only files of the right size are read
        for path in itertools.chain(self._named, *map(_files_in, folders)):
            self._by_size.setdefault(path.stat().st_size, []).append(path)
        self._hash = cache(lambda path: blob_of(path).sha256)

    def find(self, blob: Blob) -> Path | None:
        """A file with this content: the clip itself, a file in its folder or a subfolder, or one beside it."""
        same_size = self._by_size.get(blob.size, [])
        return next((path for path in same_size if self._hash(path) == blob.sha256), None)

    def has_another(self, name: str) -> bool:
        """Whether a file of this name was given that is not one of the take's."""
        return any(path.name == name and self._hash(path) not in self._wanted for path in self._named)


def _files_in(folder: Path) -> list[Path]:
    """The files of a folder; none if it cannot be read, because it may be one that the user did not name."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except PermissionError:
        return []


def _folders_in(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except PermissionError:
        return []


def _as_then(job: Generate | Fill, record: take.TakeRecord) -> Generate | Fill:
    """The job with the choices that "auto" made then, wherever it would choose differently today."""
    wish = job.generation
    if wish.generator == AUTO and choose(AUTO, generators(), wish.options).spec.name != record.generator:
        job = replace(job, generation=replace(wish, generator=record.generator))
    if isinstance(job, Generate) and not job.source.depth and job.source.settings.estimator == AUTO:
        provider = record.depth.get("provider", "")
        if provider and registry.choose(AUTO).spec.name != provider:
            settings = replace(job.source.settings, estimator=provider)
            job = replace(job, source=replace(job.source, settings=settings))
    return job
