"""Blender properties made from the descriptions in `ex4d.schema`, with their label, tooltip, unit, range and choices.

Blender has no "not given" and stores numbers in 32 bits, so values of settings are converted to and from its form:

    | setting         | Blender                                                                                |
    | --------------- | -------------------------------------------------------------------------------------- |
    | optional number | 0 if not given; the tooltip says what happens then                                     |
    | optional text   | empty if not given                                                                     |
    | optional choice | the first item, "Default", if not given                                                |
    | optional switch | off if not given                                                                       |
    | number          | float32; read back as the shortest decimal that it represents, so 0.36 stays 0.36      |
    | whole number    | 32 bits                                                                                |
"""

from typing import Any

import numpy as np
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ex4d.schema import LARGEST, Scalar, Setting

NOT_GIVEN = "NOT_GIVEN"
"""The item of an optional choice that stands for None."""

SIGNS = {"pixels": "px", "degrees": "°", "frames per second": "fps", "seconds": "s", "of the radius": "× radius"}
"""Signs of units for labels; tooltips have the units in words."""

Item = tuple[str, str, str, int]
"""Enum item: identifier, label, tooltip, and the number that Blender stores."""

_LARGEST_FLOAT = float(np.finfo(np.float32).max)
_TYPES = {"whole": IntProperty, "number": FloatProperty, "switch": BoolProperty, "text": StringProperty}
_EMPTY: dict[str, Any] = {"whole": 0, "number": 0.0, "switch": False, "text": "", "choice": NOT_GIVEN}


def property_of(setting: Setting, **more: Any) -> Any:
    """The Blender property for a setting; `more` are arguments to Blender that override or add to its description."""
    arguments: dict[str, Any] = {"name": label(setting), "description": tooltip(setting)}
    if setting.kind == "choice":
        items = items_of(setting)
        number = next(item[3] for item in items if item[0] == in_blender(setting, setting.default))
        arguments |= {"items": items, "default": items[number][0]}
        if callable(more.get("items")):
            arguments["default"] = number  # for dynamic items, Blender needs the number
        return EnumProperty(**{**arguments, **more})
    arguments["default"] = in_blender(setting, setting.default)
    if setting.kind in ("whole", "number"):
        arguments |= _range(setting)
    return _TYPES[setting.kind](**{**arguments, **more})


def label(setting: Setting) -> str:
    """The setting's label, with its unit if that has a sign, because Blender shows only its own units."""
    sign = SIGNS.get(setting.unit, "")
    return f"{setting.label} ({sign})" if sign else setting.label


def tooltip(setting: Setting) -> str:
    """The setting's help, with its unit, and what 0 means if an optional number is not given."""
    told, usual = setting.help, "; by default "
    if setting.optional and setting.kind in ("whole", "number") and setting.default is None:
        told = told.replace(usual, "; 0: ", 1) if usual in told else f"{told}; 0: the default"
    return f"{told} ({setting.unit})" if setting.unit else told


def items_of(setting: Setting) -> list[Item]:
    """Items of a choice, numbered in order, so that numbers stored in files keep their meaning."""
    texts = [(choice.value, choice.label, choice.help) for choice in setting.choices]
    if setting.optional:
        texts.insert(0, (NOT_GIVEN, "Default", ""))
    return [(*text, number) for number, text in enumerate(texts)]


def in_blender(setting: Setting, value: Scalar) -> Any:
    """A setting's value in the form of its property; numbers beyond Blender's range are clamped."""
    if value is None:
        return _EMPTY[setting.kind]
    largest = {"whole": LARGEST, "number": _LARGEST_FLOAT}.get(setting.kind)
    return value if largest is None else max(-largest, min(value, largest))


def from_blender(setting: Setting, held: Any) -> Scalar:
    """A property's value in the form of the setting; nothing is checked."""
    if setting.optional and held == _EMPTY[setting.kind]:
        return None
    return shortest(held) if setting.kind == "number" else held


def within(setting: Setting, value: Scalar) -> Scalar:
    """A number clamped to the setting's range, which Blender does not do before it calls a callback."""
    if setting.kind not in ("whole", "number") or value is None:
        return value
    low = value if setting.minimum is None else max(value, type(value)(setting.minimum))
    return low if setting.maximum is None else min(low, type(value)(setting.maximum))


def shortest(number: float) -> float:
    """The decimal number with the fewest digits that rounds to the same float32."""
    return float(str(np.float32(number)))


def _range(setting: Setting) -> dict[str, Any]:
    """Arguments for the range, which includes 0 if that stands for "not given"."""
    found = {}
    if setting.minimum is not None:
        found["min"] = min(0, setting.minimum) if setting.optional else setting.minimum
    if setting.maximum is not None:
        found["max"] = max(0, setting.maximum) if setting.optional else setting.maximum
    if setting.kind == "whole":
        return {name: int(max(-LARGEST, min(value, LARGEST))) for name, value in found.items()}
    return {name: float(value) for name, value in found.items()}
