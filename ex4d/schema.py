"""Settings described once: label, help, unit, range and choices of each field.

A class of settings is a frozen dataclass derived from `Settings` whose fields are made with `setting`. The command
line's options, the fields of a job, a take's record and the panel in Blender are all generated from `describe`. To add
a setting, add a field and the code that uses it.

    @dataclass(frozen=True)
    class Blur(Settings):
        radius: float = setting(2.0, "Radius", "How far colours are spread", unit="pixels", minimum=0)
"""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ex4d.errors import InputError

Kind = Literal["whole", "number", "switch", "text", "choice"]
"""What values a setting accepts: integers, numbers, on and off, text, or one of its choices."""

Scalar = bool | int | float | str | None
"""The value of a setting; None stands for "not given" if that is allowed."""

AUTO = "auto"
"""The value of a setting that leaves the choice to us: the best that can run here."""

LARGEST = 2**31 - 1
"""Largest integer that a Blender panel accepts; negated, the smallest."""

TEXT_LENGTH = 2000
"""Maximum length of a text setting."""

_KEY, _BEFORE = "ex4d_setting", "ex4d_before"
_KINDS: dict[Any, Kind] = {int: "whole", float: "number", bool: "switch", str: "text"}


@dataclass(frozen=True)
class Choice:
    """One of the values that a setting of the kind "choice" accepts.

    Attributes:
        value: as it is stored and sent.
        label: as people read it, in title case.
        help: one sentence without a full stop; empty if the label says everything.
    """

    value: str
    label: str
    help: str = ""


@dataclass(frozen=True)
class Setting:
    """The description of one setting.

    Attributes:
        name: of the field.
        kind: which values it accepts.
        default: its value if none is given.
        label: as people read it, in title case.
        help: one sentence without a full stop, like Blender's own tooltips.
        unit: of the value, in words ("degrees"); empty if it has none.
        minimum, maximum: range of numbers, both inclusive; None if there is no limit.
        choices: of the kind "choice".
        optional: whether the value may be None, meaning "not given".
        option: its name on the command line if that is not `--name`.
    """

    name: str
    kind: Kind
    default: Scalar
    label: str
    help: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Choice, ...] = ()
    optional: bool = False
    option: str = ""

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return self.option or f"--{self.name}"

    def checked(self, value: Any) -> Scalar:
        """Return the value as it is stored: integers become floats if the setting is a number.

        Raises:
            InputError: of another kind, out of range, or not one of the choices; one sentence with the label.
        """
        if value is None and self.optional:
            return None
        if self.kind == "switch":
            if type(value) is not bool:
                raise InputError(f"{self.label} is either on or off, not {value!r}.")
            return value
        if self.kind in ("whole", "number"):
            return self._checked_number(value)
        if not isinstance(value, str):
            raise InputError(f"{self.label} is a text, not {value!r}.")
        if self.kind == "choice" and value not in (known := [choice.value for choice in self.choices]):
            raise InputError(f"{self.label} is one of {', '.join(known)}, not {value[:100]!r}.")
        if len(value) > TEXT_LENGTH:
            raise InputError(f"{self.label} may have at most {TEXT_LENGTH} characters, not {len(value)}.")
        return value

    def _checked_number(self, value: Any) -> int | float:
        if type(value) is int and abs(value) >= 2**64:  # too large for the code below to compute with, or print
            raise InputError(f"{self.label} is far too large a number.")
        if self.kind == "number" and type(value) is int and abs(value) <= 2**53:
            value = float(value)
        if type(value) is not (int if self.kind == "whole" else float):
            article = "a whole number" if self.kind == "whole" else "a number"
            raise InputError(f"{self.label} is {article}, not {value!r}.")
        low, high = self.minimum, self.maximum
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            unit = f" {self.unit}" if self.unit else ""
            if low is not None and high is not None:
                wanted = f"between {low:g} and {high:g}{unit}"
            elif low is not None:
                wanted = f"at least {low:g}{unit}"
            elif high is not None:
                wanted = f"at most {high:g}{unit}"
            else:
                wanted = "a finite number"
            raise InputError(f"{self.label} must be {wanted}, not {value:g}.")
        return value


def setting(
    default: Any,
    label: str,
    help: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[Choice, ...] = (),
    option: str = "",
    before: Any = MISSING,
) -> Any:
    """Make a field of a class of settings; the arguments are those of `Setting`, the kind follows from the annotation.

    `before` is the value assumed for jobs and records written before the setting existed, see `lacking`; if omitted,
    the default is assumed.
    """
    described = {
        "label": label,
        "help": help,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "option": option,
    }
    return field(default=default, metadata={_KEY: described, _BEFORE: before})


@dataclass(frozen=True)
class Settings:
    """Base of all settings; every value is checked on construction.

    Raises:
        InputError: a value that its field does not accept; one sentence with the field's label.
    """

    def __post_init__(self) -> None:
        for described in describe(type(self)):
            value = described.checked(getattr(self, described.name))
            object.__setattr__(self, described.name, value)

    def plain(self) -> dict[str, Scalar]:
        """Values by name, for JSON and the wire."""
        return {described.name: getattr(self, described.name) for described in describe(type(self))}


S = TypeVar("S", bound=Settings)


def describe(kind: type[Settings]) -> tuple[Setting, ...]:
    """Describe every setting of a class, in the order of its fields."""
    hints = get_type_hints(kind)
    described = []
    for known in fields(kind):
        if (about := known.metadata.get(_KEY)) is None:
            continue
        inner, optional = _without_none(hints[known.name])
        described.append(
            Setting(
                name=known.name,
                kind="choice" if about["choices"] else _KINDS[inner],
                default=None if known.default is MISSING else known.default,
                optional=optional,
                **about,
            )
        )
    return tuple(described)


def build(kind: type[S], values: Mapping[str, Any]) -> S:
    """Build settings from plain values; fields that are not given take their defaults.

    Raises:
        InputError: a name that the class does not know, or a value that its field does not accept.
    """
    known = [known.name for known in fields(kind)]
    if unknown := [name for name in values if name not in known]:
        names = ", ".join(known) or "none"
        raise InputError(f"There is no setting {str(unknown[0])[:100]!r} here; known are: {names}.")
    return kind(**values)


def lacking(kind: type[Settings]) -> dict[str, Scalar]:
    """Values, by name, of settings that mean something other than their default in an old record without them."""
    known = {known.name: known.metadata.get(_BEFORE, MISSING) for known in fields(kind)}
    return {name: value for name, value in known.items() if value is not MISSING}


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """The type inside `X | None`, and whether None is allowed; a Literal counts as text."""
    optional = False
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not types.NoneType]
        optional = len(members) < len(get_args(annotation))
        (annotation,) = members
    return (str if get_origin(annotation) is Literal else annotation), optional
