"""What other packages add: things that are found by the entry points of installed packages.

ex4d's own generators and estimators are found in the same way, so that nothing outside of their folders names them.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ex4d.schema import Settings, describe


def ranked(group: str, kind: type) -> dict[str, Any]:
    """Specifications that the entry points of a group stand for, by their own names, best first; see `found`.

    Each has `name` and `rank`; of two with one name the better one counts.
    """
    by_name: dict[str, Any] = {}
    for spec in sorted(found(group, kind).values(), key=lambda spec: (-spec.rank, spec.name)):
        by_name.setdefault(spec.name, spec)
    return by_name


def found(group: str, kind: type = object) -> dict[str, Any]:
    """What the entry points of a group stand for, by name.

    What cannot be imported or is not of the kind that the group is for is left out: one broken package must not take
    the others along. `broken` says what is wrong with it.

    Args:
        group: name of the entry points' group.
        kind: what each of them must be an instance of.
    """
    return {name: thing for name, (thing, wrong) in _loaded(group, kind).items() if not wrong}


def broken(group: str, kind: type = object) -> dict[str, str]:
    """A sentence about each entry point of a group that `found` leaves out, by name; arguments as there."""
    return {name: wrong for name, (_, wrong) in _loaded(group, kind).items() if wrong}


def _loaded(group: str, kind: type) -> dict[str, tuple[Any, str]]:
    """What each entry point stands for, and what is wrong with it, by name; the first of each name counts."""
    loaded: dict[str, tuple[Any, str]] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        if point.name not in loaded:
            loaded[point.name] = _load(point, kind)
    return loaded


def _load(point: EntryPoint, kind: type) -> tuple[Any, str]:
    try:
        thing = point.load()
    except Exception as error:  # of a package that is not ours
        return None, f"{point.name} ({point.value}) cannot be imported: {type(error).__name__}: {error}"
    if not isinstance(thing, kind):
        return None, f"{point.name} ({point.value}) is no {kind.__name__} but a {type(thing).__name__}."
    settings = getattr(thing, "settings", None)
    if isinstance(settings, type) and issubclass(settings, Settings):
        try:
            describe(settings)
        except Exception as error:  # of a package that is not ours
            return None, f"{point.name} ({point.value}) has settings that cannot be described: {error!r}"
    return thing, ""
