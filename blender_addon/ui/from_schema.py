"""Blender properties from the descriptions in `ex4d.schema`: label, tooltip, unit, range and choices come from there.

Blender knows no "not given" and holds numbers in 32 bits, so a setting's value is written in Blender's way and back:

    | setting         | Blender                                                                                |
    | --------------- | -------------------------------------------------------------------------------------- |
    | optional number | 0 where it is not given; the description says what happens then                        |
    | optional text   | empty if it is not given                                                            |
    | optional choice | the first item, "Default", where it is not given                                       |
    | optional switch | off where it is not given                                                              |
    | number          | float32; the shortest decimal that it stands for is the value, so 0.36 stays 0.36      |
    | whole number    | 32 bits                                                                                |
"""

from typing import Any

import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ex4d.schema import LARGEST, Scalar, Setting

NOT_GIVEN = "NOT_GIVEN"
"""The item of an optional choice that stands for None."""

SIGNS = {"pixels": "px", "degrees": "°", "frames per second": "fps", "seconds": "s", "of the radius": "× radius"}
"""Of units, as labels show them; tooltips have them in words."""

Item = tuple[str, str, str, int]
"""Of an enum: identifier, label, tooltip and the number that Blender stores."""

_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_TYPES = {"whole": IntProperty, "number": FloatProperty, "switch": BoolProperty, "text": StringProperty}
_EMPTY: dict[str, Any] = {"whole": 0, "number": 0.0, "switch": False, "text": "", "choice": NOT_GIVEN}


def property_of(setting: Setting, **more: Any) -> Any:
    """The Blender property of a setting; `more` are arguments of Blender's that replace or add to what it says."""
    arguments: dict[str, Any] = {"name": label(setting), "description": tooltip(setting)}
    if setting.kind == "choice":
        items = items_of(setting)
        number = next(item[3] for item in items if item[0] == in_blender(setting, setting.default))
        arguments |= {"items": items, "default": items[number][0]}
        if callable(more.get("items")):
            arguments["default"] = number  # of items that are asked for, Blender wants the number
        return EnumProperty(**{**arguments, **more})
    arguments["default"] = in_blender(setting, setting.default)
    if setting.kind in ("whole", "number"):
        arguments |= _range(setting)
    return _TYPES[setting.kind](**{**arguments, **more})


def label(setting: Setting) -> str:
    """The setting's label, with its unit where that has a sign: Blender shows only units of its own."""
    sign = SIGNS.get(setting.unit, "")
    return f"{setting.label} ({sign})" if sign else setting.label


def tooltip(setting: Setting) -> str:
    """The setting's sentence, with its unit, and what the 0 means that stands where an optional number is not given."""
    told, usual = setting.help, "; by default "
    if setting.optional and setting.kind in ("whole", "number") and setting.default is None:
        told = told.replace(usual, "; 0: ", 1) if usual in told else f"{told}; 0: the default"
    return f"{told} ({setting.unit})" if setting.unit else told


def items_of(setting: Setting) -> list[Item]:
    """Items of a choice, numbered in their order: so a number that a file holds keeps its meaning."""
    texts = [(choice.value, choice.label, choice.help) for choice in setting.choices]
    if setting.optional:
        texts.insert(0, (NOT_GIVEN, "Default", ""))
    return [(*text, number) for number, text in enumerate(texts)]


def in_blender(setting: Setting, value: Scalar) -> Any:
    """A setting's value as its property holds it; a number beyond what Blender holds is shown as the nearest."""
    if value is None:
        return _EMPTY[setting.kind]
    largest = {"whole": LARGEST, "number": _LARGEST_FLOAT}.get(setting.kind)
    return value if largest is None else max(-largest, min(value, largest))


def from_blender(setting: Setting, held: Any) -> Scalar:
    """What a property holds, as the setting's value; nothing is checked here."""
    if setting.optional and held == _EMPTY[setting.kind]:
        return None
    return shortest(held) if setting.kind == "number" else held


def within(setting: Setting, value: Scalar) -> Scalar:
    """A number at the end of the setting's range where it is beyond; Blender does so, but not before a callback."""
    if setting.kind not in ("whole", "number") or value is None:
        return value
    low = value if setting.minimum is None else max(value, type(value)(setting.minimum))
    return low if setting.maximum is None else min(low, type(value)(setting.maximum))


def shortest(number: float) -> float:
    """The decimal number with the fewest digits among those that Blender's float32 stands for."""
    return float(str(np.float32(number)))


def _range(setting: Setting) -> dict[str, Any]:
    """The range; it holds 0 where that stands for "not given"."""
    found = {}
    if setting.minimum is not None:
        found["min"] = min(0, setting.minimum) if setting.optional else setting.minimum
    if setting.maximum is not None:
        found["max"] = max(0, setting.maximum) if setting.optional else setting.maximum
    if setting.kind == "whole":
        return {name: int(max(-LARGEST, min(value, LARGEST))) for name, value in found.items()}
    return {name: float(value) for name, value in found.items()}
