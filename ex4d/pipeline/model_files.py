"""The model files of all generators and depth estimators that are installed: what is lacking, and fetching it."""

from collections.abc import Callable
from pathlib import Path

from ex4d.depth import registry as depth_registry
from ex4d.errors import InputError
from ex4d.generate import registry as generate_registry
from ex4d.progress import Progress, silent
from ex4d.weights import store
from ex4d.weights.store import Part


def fetchable() -> dict[str, tuple[Part, ...]]:
    """What can be fetched, by the name of the generator or estimator."""
    parts = {name: spec.parts for name, spec in generate_registry.generators().items()}
    parts |= {name: spec.usual_parts for name, spec in depth_registry.estimators().items()}
    return {name: needed for name, needed in parts.items() if needed}


def lacking_gigabytes(name: str, root: Path) -> float:
    """Size of the files that a generator or estimator lacks; 0 where all are there, or none are needed."""
    found = generate_registry.generators().get(name)
    if found is not None:
        listing = store.listing(name, found.parts, root)
    else:
        estimator = depth_registry.estimators()[name]
        listing = store.listing(name, estimator.parts, root, any_part=estimator.any_part)
    return sum(part.gigabytes for part in listing.wanted)


def fetch(
    name: str,
    root: Path,
    tell: Callable[[str], None],
    progress: Progress = silent,
    *,
    accept_licence: bool = False,
) -> None:
    """Fetch what a generator or estimator lacks from its publishers; what was begun earlier goes on.

    Args:
        name: of the generator or estimator.
        root: folder of all models.
        tell: takes sentences for the user.
        progress: told while files come, in megabytes.
        accept_licence: the user accepts the licence of what is for research only.

    Raises:
        InputError: unknown name, too little disk, or see `ex4d.weights.store.fetch`.
    """
    known = fetchable()
    if name not in known:
        raise InputError(f"{name!r} has no files to fetch: choose one of {', '.join(known)}.")
    store.check_disk(known[name], root)
    for part in known[name]:
        if not part.revision and store.state(part, root) != "ready":
            tell(f"The {part.name} is not pinned: what {part.hub} has today was asked for, and only names are checked.")
    for part in known[name]:
        store.fetch(part, root, progress, accept_licence=accept_licence)
