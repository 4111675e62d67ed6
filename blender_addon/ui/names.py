"""A choice among what the server announces, stored in the .blend by name, because the server may be away or change."""

from collections.abc import Callable, Sequence
from typing import Any

from bpy.props import EnumProperty

from ex4d.schema import Setting

from ..translations import told
from .from_schema import Item, label, tooltip


def choice_by_name(
    setting: Setting,
    stored_in: str,
    always: Sequence[tuple[str, str, str]],
    announced: Callable[[], Sequence[Any]],
) -> Any:
    """An enum whose value is stored as text in another property.

    Args:
        setting: setting with the label and tooltip.
        stored_in: name of the text property that stores the chosen name.
        always: identifier, label and tooltip of choices available with any server.
        announced: returns the server's choices, each with name, title, help and licence.
    """
    kept: dict[tuple, list[Item]] = {}  # Blender reads item texts after the callback has returned

    def items(group: Any, context: Any) -> list[Item]:
        texts = [*always]
        texts += [(i.name, i.title, f"{i.help} ({i.licence})") for i in announced() if i.name not in _names(always)]
        held = always[0][0] if group is None else getattr(group, stored_in)
        if held not in _names(texts):
            texts.append((held, held, told("Not known to this server")))
        return kept.setdefault(tuple(texts), [(*text, number) for number, text in enumerate(texts)])

    def get(group: Any) -> int:
        return next(number for name, _, _, number in items(group, None) if name == getattr(group, stored_in))

    def put(group: Any, number: int) -> None:
        setattr(group, stored_in, items(group, None)[number][0])

    return EnumProperty(name=label(setting), description=tooltip(setting), items=items, get=get, set=put)


def _names(texts: Sequence[tuple[str, str, str]]) -> list[str]:
    return [name for name, _label, _help in texts]
