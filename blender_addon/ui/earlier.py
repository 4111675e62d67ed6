"""The menu of earlier takes whose pixels can be kept."""

from typing import Any

from bpy.props import EnumProperty

from ..shot import earlier
from ..translations import told
from .from_schema import Item


def earlier_property() -> Any:
    """An enum of the shot's takes, whose value is stored in the text property `earlier_take`."""
    kept: dict[tuple, list[Item]] = {}  # Blender reads item texts after the callback has returned

    def items(facts: Any, context: Any) -> list[Item]:
        found = [("NONE", told("None"), told("Reuse no other take"), 0)]
        known = [] if facts is None else earlier.choices(facts)
        number = 0 if facts is None else earlier.chosen(facts)
        if number and number not in [one for one, _title in known]:
            known.append((number, told("Take {number:03d}", number=number)))  # deleted, or for another part of the clip
        found += [(str(one), title, told("Reuse what {title} invented", title=title), one) for one, title in known]
        return kept.setdefault(tuple(found), found)

    def put(facts: Any, number: int) -> None:
        facts.earlier_take = earlier.stored(facts, number) if number else ""

    return EnumProperty(
        name="Earlier Take",
        description="Reuse what this take invented for static parts of the scene wherever nothing real is seen, so that"
        " takes from different cameras match",
        items=items,
        get=earlier.chosen,
        set=put,
    )
