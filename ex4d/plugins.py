"""Plugins: things that installed packages provide through entry points.

ex4d's own generators and estimators are found in the same way, so that nothing outside their folders names them.
"""

import re
from collections.abc import Callable
from dataclasses import is_dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from ex4d.errors import EX4DError
from ex4d.plain import Described, PlainError, check, check_fields
from ex4d.schema import AUTO, LARGEST, Setting, Settings, describe

Kind = type | Callable[[Any], None]
"""What an entry point must provide: an instance of this class, or something this check accepts by not raising."""


def ranked(group: str, kind: Kind) -> dict[str, Any]:
    """Specifications provided by the entry points of a group, by their own names, best first; see `found`.

    Each has `name` and `rank`; if two share a name, the better rank wins.
    """
    by_name: dict[str, Any] = {}
    for spec in sorted(found(group, kind).values(), key=lambda spec: (-spec.rank, spec.name)):
        by_name.setdefault(spec.name, spec)
    return by_name


def found(group: str, kind: Kind = object) -> dict[str, Any]:
    """What the entry points of a group provide, by name.

    Anything that cannot be imported or used for the group's purpose is left out, so that one broken package does not
    take the others down. `broken` says what is wrong with it.

    Args:
        group: name of the entry points' group.
        kind: what each must be; the fields of a dataclass are also checked against their annotations, and its settings
            against what Blender and the wire accept.
    """
    return {name: thing for name, (thing, wrong) in _loaded(group, kind).items() if not wrong}


def broken(group: str, kind: Kind = object) -> dict[str, str]:
    """A sentence about each entry point of a group that `found` leaves out, by name; the arguments are the same."""
    return {name: wrong for name, (_, wrong) in _loaded(group, kind).items() if wrong}


def _loaded(group: str, kind: Kind) -> dict[str, tuple[Any, str]]:
    """What each entry point provides and what is wrong with it, by name; the first of each name wins."""
    loaded: dict[str, tuple[Any, str]] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        if point.name not in loaded:
            loaded[point.name] = _load(point, kind)
    return loaded


def _load(point: EntryPoint, kind: Kind) -> tuple[Any, str]:
    said = f"{point.name} ({point.value})"
    try:
        thing = point.load()
    except (Exception, SystemExit) as error:  # third-party code, which may even try to exit the process
        return None, f"{said} cannot be imported: {type(error).__name__}: {error}"
    if isinstance(kind, type) and not isinstance(thing, kind):
        found = type(thing)
        name = f"{found.__module__}.{found.__name__}" if found.__name__ == kind.__name__ else found.__name__
        return None, f"{said} is no {kind.__name__} but a {name}."
    try:
        if not isinstance(kind, type):
            kind(thing)
        elif is_dataclass(kind):
            _check_spec(thing)
    except EX4DError as error:
        return None, f"{said} cannot be used: {error}"
    except (Exception, SystemExit) as error:
        return None, f"{said} cannot be used: {type(error).__name__}: {error}"
    return thing, ""


def _check_spec(spec: Any) -> None:
    """Refuse a specification that could not be listed, chosen, sent to a client or shown in a panel."""
    check_fields(spec)
    if spec.name == AUTO:
        raise PlainError(f"name must be another than {AUTO!r}, which leaves the choice to us.")
    if (settings := getattr(spec, "settings", None)) is not None:
        _check_settings(settings)


def _check_settings(settings: type[Settings]) -> None:
    try:
        described = describe(settings)
    except Exception as error:  # third-party code
        raise PlainError(f"its settings cannot be described: {error!r}") from error
    check(Described, described, "settings")
    for about in described:
        _check_setting(about)
    settings()  # every setting has a default, and accepts it


def _check_setting(about: Setting) -> None:
    where = f"settings.{about.name}"
    if not re.fullmatch(r"--\w[\w-]*", about.flag):
        raise PlainError(f"{where}.option must be two hyphens and a name, not {about.flag!r}.")
    if about.kind == "whole":
        for name in ("default", "minimum", "maximum"):
            value = getattr(about, name)
            if isinstance(value, int | float) and abs(value) > LARGEST:
                raise PlainError(f"{where}.{name} must be between {-LARGEST} and {LARGEST}, not {value}.")
