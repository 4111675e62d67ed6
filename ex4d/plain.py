"""Convert dataclasses to plain values (maps, lists, scalars) and back, checking each field against its annotation.

Jobs, messages and records of takes are written this way. Nothing is built from values that its fields do not allow, and
errors name the place ("generate.source.clip[0].size").
"""

import math
import re
import types
from collections import abc
from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from ex4d.errors import EX4DError, InputError
from ex4d.schema import Setting, Settings, build, describe, lacking


class PlainError(EX4DError):
    """A plain value that is not what it should be; the message names its place."""


class Tagged:
    """Base of classes that store their kind, so that one field can hold any of several: messages and jobs."""


# -- checks for fields, put into their annotations -------------------------------------------------


def between(low: float, high: float) -> Callable[[Any], None]:
    """Return a check that a number is in a range, both ends included; it raises ValueError."""

    def check(value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"must be between {low} and {high}, not {value}")

    return check


def length(low: int, high: int) -> Callable[[Any], None]:
    """Return a check of the length of a text or list; it raises ValueError."""

    def check(value: Sequence) -> None:
        if not low <= len(value) <= high:
            raise ValueError(f"must have a length between {low} and {high}, not {len(value)}")

    return check


def matches(pattern: str, meaning: str) -> Callable[[Any], None]:
    """Return a check that a whole text matches a regular expression; it raises ValueError with `meaning`."""

    def check(value: str) -> None:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {meaning}")

    return check


def check_text(value: str) -> None:
    """Raise ValueError unless a text can be sent, shown and written everywhere."""
    if "\0" in value:
        raise ValueError("holds a NUL")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("holds half a character, which UTF-8 cannot write")


def check_json(value: Any, depth: int = 8) -> None:
    """Raise ValueError unless everything in a map is a JSON value, nested at most `depth` deep."""
    if isinstance(value, dict | list):
        if depth == 0:
            raise ValueError("is nested too deeply")
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise ValueError("must have text as keys")
        for item in value.values() if isinstance(value, dict) else value:
            check_json(item, depth - 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that is not finite")
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"holds a {type(value).__name__}, which is not a JSON value")


Facts = Annotated[dict, check_json]
"""A map of JSON values."""

# How a generator or an estimator is described, in its specification and on the wire.
Text = Annotated[str, length(0, 2000)]
Word = Annotated[str, length(1, 100)]
Gigabytes = Annotated[float, between(0, 1e6)]
Stride = Annotated[int, between(1, 1000)]
Described = Annotated[tuple[Setting, ...], length(0, 200)]

# -- conversion in both directions ------------------------------------------------------------------

_SCALARS = (bool, int, float, str)


def kind_of(cls: type) -> str:
    """The name of a tagged class's kind."""
    return cls.__name__.lower()


@cache
def _annotations(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in fields(cls)}


def to_plain(value: Any) -> Any:
    """Convert a dataclass to maps, lists and scalars."""
    if is_dataclass(value) and not isinstance(value, type):
        plain = {name: to_plain(getattr(value, name)) for name in _annotations(type(value))}
        return {"kind": kind_of(type(value)), **plain} if isinstance(value, Tagged) else plain
    return [to_plain(item) for item in value] if isinstance(value, tuple) else value


def from_plain(annotation: Any, value: Any, where: str = "value") -> Any:
    """Build the value that `annotation` describes, checking every field.

    Raises:
        PlainError: names the field and says what it must be.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        result = from_plain(arguments[0], value, where)
        for check in arguments[1:]:
            try:
                check(result)
            except ValueError as error:
                raise PlainError(f"{where} {error}.") from None
        return result
    if origin in (Union, types.UnionType):
        if value is None and types.NoneType in arguments:
            return None
        members = [member for member in arguments if member is not types.NoneType]
        if len(members) > 1 and all(member in _SCALARS for member in members):
            if type(value) not in members:
                raise PlainError(f"{where} must be a plain value, not {type(value).__name__}.")
            return from_plain(type(value), value, where)
        return from_plain(members[0], value, where) if len(members) == 1 else tagged(members, value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise PlainError(f"{where} must be one of {', '.join(arguments)}.")
        return value
    if origin in (tuple, list):
        if not isinstance(value, list):
            raise PlainError(f"{where} must be a list, not {type(value).__name__}.")
        return origin(from_plain(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise PlainError(f"{where} must be a map, not {type(value).__name__}.")
        return {from_plain(str, key, where): from_plain(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    if isinstance(annotation, type) and is_dataclass(annotation):
        check_kind = issubclass(annotation, Tagged)
        return tagged([annotation], value, where) if check_kind else _structure(annotation, value, where)
    if annotation is Any:
        return value
    if annotation is float and type(value) is int and abs(value) <= 2**53:
        value = float(value)
    if type(value) is not annotation:
        raise PlainError(f"{where} must be of type {annotation.__name__}, not {type(value).__name__}.")
    if annotation is float and not math.isfinite(value):
        raise PlainError(f"{where} must be a finite number.")
    return value


def check(annotation: Any, value: Any, where: str) -> None:
    """Refuse a value made by other code that does not match `annotation`, as `from_plain` does for plain values.

    Raises:
        PlainError: names the field and says what it must be.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    members = [member for member in arguments if member is not types.NoneType]
    if origin is Annotated:
        check(arguments[0], value, where)
        from_plain(Annotated[(Any, *arguments[1:])], value, where)
    elif origin in (Union, types.UnionType) and len(members) == 1:
        if value is not None:
            check(members[0], value, where)
    elif origin is abc.Callable:
        if not callable(value):
            raise PlainError(f"{where} must be a function, not {type(value).__name__}.")
    elif origin is type:
        if not (isinstance(value, type) and issubclass(value, arguments[0])):
            raise PlainError(f"{where} must be a class below {arguments[0].__name__}, not {value!r:.100}.")
    elif origin is tuple:
        if not isinstance(value, tuple):
            raise PlainError(f"{where} must be a tuple, not {type(value).__name__}.")
        for i, item in enumerate(value):
            check(arguments[0], item, f"{where}[{i}]")
    elif isinstance(annotation, type) and is_dataclass(annotation):
        if not isinstance(value, annotation):
            raise PlainError(f"{where} must be a {annotation.__name__}, not {type(value).__name__}.")
        check_fields(value, f"{where}.")
    else:
        from_plain(annotation, value, where)
        if isinstance(value, str):
            from_plain(Annotated[Any, check_text], value, where)


def check_fields(thing: Any, where: str = "") -> None:
    """`check` every field of a dataclass; `where` is prefixed to the field names."""
    kind: type = type(thing)
    for name, annotation in _annotations(kind).items():
        check(annotation, getattr(thing, name), f"{where}{name}")


def tagged(members: Sequence[type], value: Any, where: str) -> Any:
    """Build one of several tagged classes, chosen by the kind in the plain value.

    Raises:
        PlainError: not one of these kinds, or as `from_plain`.
    """
    by_kind = {kind_of(member): member for member in members}
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in by_kind:
        raise PlainError(f"{where}.kind must be one of {', '.join(by_kind)}, not {str(kind)[:100]!r}.")
    return _structure(by_kind[kind], {name: v for name, v in value.items() if name != "kind"}, kind)


def _structure(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise PlainError(f"{where} must be a map, not {type(value).__name__}.")
    annotations = _annotations(cls)
    if issubclass(cls, Settings):
        return _settings(cls, annotations, value, where)
    if unknown := [name for name in value if name not in annotations]:
        raise PlainError(f"{where} has no field {str(unknown[0])[:100]!r} in this version.")
    for field in fields(cls):
        if field.name not in value and field.default is MISSING and field.default_factory is MISSING:
            raise PlainError(f"{where}.{field.name} is missing.")
    checked = {name: from_plain(annotations[name], v, f"{where}.{name}") for name, v in value.items()}
    try:
        return cls(**checked)
    except InputError as error:  # from a type that checks its fields against each other
        raise PlainError(f"{where}: {error}") from None


def _settings(cls: type[Settings], annotations: dict[str, Any], value: dict, where: str) -> Settings:
    """Build settings, which check themselves and report errors in the words of their labels."""
    described = {about.name for about in describe(cls)}
    plain = {
        name: from_plain(annotations[name], v, f"{where}.{name}") if name in annotations.keys() - described else v
        for name, v in value.items()
    }
    try:
        return build(cls, {**lacking(cls), **plain})
    except InputError as error:
        raise PlainError(str(error)) from None
