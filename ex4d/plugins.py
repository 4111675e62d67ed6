"""What other packages add: things that are found by the entry points of installed packages.

ex4d's own generators and estimators are found in the same way, so that nothing outside of their folders names them.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any


def found(group: str) -> dict[str, Any]:
    """What the entry points of a group stand for, by name.

    Left out is what cannot be imported: one package that is broken must not take the others along. `broken` says why.
    """
    loaded = {}
    for point in _points(group):
        try:
            loaded[point.name] = point.load()
        except Exception:  # of a package that is not ours; `broken` tells it
            continue
    return loaded


def broken(group: str) -> dict[str, str]:
    """A sentence about each entry point of a group that cannot be imported, by name."""
    said = {}
    for point in _points(group):
        try:
            point.load()
        except Exception as error:
            said[point.name] = f"{point.name} ({point.value}) cannot be imported: {type(error).__name__}: {error}"
    return said


def _points(group: str) -> list[EntryPoint]:
    """Entry points in the order of their names; the first of those of one name counts."""
    by_name: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        by_name.setdefault(point.name, point)
    return list(by_name.values())
