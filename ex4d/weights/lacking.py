"""A sentence about what keeps a model from running here. Does not need torch."""

from collections.abc import Sequence

from ex4d.extras import Package, models_to_get
from ex4d.weights import store
from ex4d.weights.store import Part


def lacking(title: str, packages: Sequence[Package], parts: Sequence[Part], *, any_part: bool = False) -> str:
    """A sentence about what a model needs but lacks here; "" if it can run.

    Args:
        title: display name of the model.
        packages: Python packages that it needs.
        parts: model files that it needs, best first if one is enough.
        any_part: whether one of the parts is enough.
    """
    for package in packages:
        if not package.is_there:
            return f"{title} needs the Python package {package.name}: {package.install}."
    if not parts:
        return ""
    root = store.folder()
    listing = store.listing(title, parts, root, any_part=any_part)
    if not listing.wanted:
        return ""
    wrong = {part.name: state for part, state in listing.states if state != "ready"}
    if damaged := next((state for state in wrong.values() if state.endswith(".")), ""):
        return damaged
    found = "; ".join(f"{name}: {state}" for name, state in wrong.items())
    return f"{title} lacks model files in {root} ({found}): {models_to_get()}."
