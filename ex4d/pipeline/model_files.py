"""The model files of all generators, depth estimators and camera models: listing the missing ones, and downloading."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ex4d.depth import registry as depth_registry
from ex4d.errors import InputError
from ex4d.generate import registry as generate_registry
from ex4d.progress import Progress, silent
from ex4d.source_camera import da3
from ex4d.weights import store
from ex4d.weights.store import Part


def fetchable() -> dict[str, tuple[Part, ...]]:
    """Parts that can be downloaded, by the name of the generator, estimator or camera model."""
    parts = {name: spec.parts for name, spec in generate_registry.generators().items()}
    parts |= {name: spec.usual_parts for name, spec in depth_registry.estimators().items()}
    parts |= {da3.NAME: (da3.PART,)}
    return {name: needed for name, needed in parts.items() if needed}


def lacking_gigabytes(name: str, root: Path) -> float:
    """Size in GB of the files that a generator or estimator lacks; 0 if none are missing or needed."""
    found = generate_registry.generators().get(name)
    if name == da3.NAME:
        listing = store.listing(name, (da3.PART,), root)
    elif found is not None:
        listing = store.listing(name, found.parts, root)
    else:
        estimator = depth_registry.estimators()[name]
        listing = store.listing(name, estimator.parts, root, any_part=estimator.any_part)
    return sum(store.still_to_come(part, root) for part in listing.wanted)


@dataclass(frozen=True)
class Wanted:
    """What `fetch` would do for a generator or estimator.

    Attributes:
        folder: of all models.
        download_gb, room_gb, free_gb: size of the download, disk space needed meanwhile, and free disk space there.
        files: address and path of each missing file.
    """

    folder: Path
    download_gb: float
    room_gb: float
    free_gb: float
    files: tuple[tuple[str, Path], ...]


def wanted(name: str, root: Path) -> Wanted:
    """What has to be downloaded for a generator or estimator.

    Raises:
        InputError: the name is unknown.
    """
    parts = [part for part in _parts(name) if store.state(part, root) != "ready"]
    files = [pair for part in parts for pair in store.addresses(part, root, store.unusable(part, root))]
    download = sum(store.still_to_come(part, root) for part in parts)
    return Wanted(root, download, store.room_needed(parts, root), store.free_gigabytes(root), tuple(files))


def fetch(
    name: str,
    root: Path,
    tell: Callable[[str], None],
    progress: Progress = silent,
    *,
    accept_licence: bool = False,
) -> None:
    """Download the files that a generator or estimator lacks from their publishers, and resume interrupted downloads.

    Args:
        name: of the generator or estimator.
        root: folder of all models.
        tell: called with sentences for the user.
        progress: called during the download, in megabytes of all files of the model.
        accept_licence: the user accepts the licence of files that are for research only.

    Raises:
        InputError: the name is unknown, the disk is too small, or see `ex4d.weights.store.fetch`.
    """
    parts = _parts(name)
    store.check_disk(parts, root)
    for part in parts:
        if not part.revision and store.state(part, root) != "ready":
            tell(f"The {part.name} is not pinned: what {part.hub} has today was asked for, and only names are checked.")
    whole = _Whole(f"Fetching {title(name)}", parts, root, progress)
    for part in parts:
        store.fetch(part, root, whole.of(part), accept_licence=accept_licence)
        whole.tell(part, 0.0)


class _Whole:
    """The progress of all files together; `store.fetch` reports that of each file, starting from 0."""

    def __init__(self, stage: str, parts: Sequence[Part], root: Path, progress: Progress) -> None:
        self._stage, self._root, self._progress = stage, root, progress
        self._coming = {part: store.still_to_come(part, root) for part in parts}
        self._total = sum(part.gigabytes for part in parts)

    def of(self, part: Part) -> Progress:
        """The progress function for the download of a part."""

        def came(stage: str, step: int, steps: int, picture: Any = None) -> None:
            self.tell(part, store.still_to_come(part, self._root))

        return came

    def tell(self, part: Part, coming: float) -> None:
        """Report that `coming` gigabytes of a part are still missing."""
        self._coming[part] = coming
        there = self._total - sum(self._coming.values())
        self._progress(self._stage, round(1e3 * there), round(1e3 * self._total))


def _parts(name: str) -> tuple[Part, ...]:
    known = fetchable()
    if name not in known:
        raise InputError(f"{name!r} has no files to download: choose one of {', '.join(known)}.")
    return known[name]


def title(name: str) -> str:
    """The display title of a generator or estimator."""
    if name == da3.NAME:
        return da3.TITLE
    return (generate_registry.generators().get(name) or depth_registry.estimators()[name]).title
