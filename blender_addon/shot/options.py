"""The settings of generators, which the .blend stores by generator, whatever server is connected.

The source of truth is JSON in `scene.ex4d.options`: {"painter": {"quality": "draft"}}. It holds only values that were
set explicitly. The panel's properties (`ui/generators.py`) read and write it, and so may scripts.
"""

import json
from typing import Any

import bpy

from ex4d.errors import InputError
from ex4d.jobs.messages import Capabilities, GeneratorInfo
from ex4d.schema import Scalar, Setting

from .. import translations
from ..work import capabilities


def stored(facts: bpy.types.PropertyGroup) -> dict[str, dict[str, Scalar]]:
    """All values that were set, by generator and setting; empty if the text cannot be read, see `are_readable`."""
    return _read(facts.options) or {}


def are_readable(facts: bpy.types.PropertyGroup) -> bool:
    """Whether the file's settings can be read; if not, the panel says so, and `put` starts afresh."""
    return _read(facts.options) is not None


def _read(text: str) -> dict[str, dict[str, Scalar]] | None:
    """Parse a text; None if it is not JSON, or not in the form that this module writes."""
    try:
        read = json.loads(text or "{}", parse_int=_whole)
    except (ValueError, RecursionError):
        return None
    is_ours = isinstance(read, dict) and all(isinstance(settings, dict) for settings in read.values())
    return read if is_ours else None


def _whole(digits: str) -> int:
    if abs(number := int(digits)) >= 2**63:
        raise ValueError(translations.told("{digits} is larger than any setting", digits=digits))
    return number


def put(facts: bpy.types.PropertyGroup, generator: str, name: str, value: Scalar) -> None:
    """Set one setting of a generator."""
    options = stored(facts)
    options.setdefault(generator, {})[name] = value
    facts.options = json.dumps(options)


def value(facts: bpy.types.PropertyGroup, generator: str, setting: Setting) -> Scalar:
    """The value that was set, which may be invalid for the setting, see `troubles`; else the default."""
    return stored(facts).get(generator, {}).get(setting.name, setting.default)


def label_of(info: GeneratorInfo | None, name: str) -> str:
    """A setting's label for panels; derived from its name if no server announces the setting."""
    known = _known(info, name)
    return known.label if known is not None else name.replace("_", " ").title()


def told(info: GeneratorInfo | None, name: str, held: Any) -> str:
    """A setting's value for panels, with its unit; for a choice, its label."""
    known = _known(info, name)
    if known is not None and (label := next((c.label for c in known.choices if c.value == held), None)):
        return translations.word(label)
    if isinstance(held, bool):
        return translations.told("On") if held else translations.told("Off")
    if held is None or held == "":
        return translations.told("Default") if held is None else translations.told("Empty")
    if isinstance(held, str):
        is_name = known is None and held.isidentifier()  # otherwise text that somebody typed
        return held.replace("_", " ").title() if is_name else held
    unit = f" {translations.word(known.unit)}" if known is not None and known.unit else ""
    return (f"{held:g}" if isinstance(held, float) else f"{held}") + unit


def _known(info: GeneratorInfo | None, name: str) -> Setting | None:
    return next((setting for setting in info.settings if setting.name == name), None) if info is not None else None


def is_taken(setting: Setting, held: Any) -> bool:
    """Whether a setting accepts a value."""
    try:
        setting.checked(held)
    except InputError:
        return False
    return True


def troubles(facts: bpy.types.PropertyGroup, info: GeneratorInfo) -> list[str]:
    """A sentence about each value in the file that the server does not accept for this generator; the value is kept."""
    known = {setting.name: setting for setting in info.settings}
    found = []
    for name, held in stored(facts).get(info.name, {}).items():
        if name not in known:
            found.append(
                translations.told(
                    "On this server, {title} has no setting {name}: {held} stays in the file and is not used.",
                    title=info.title,
                    name=name,
                    held=held,
                )
            )
        elif not is_taken(known[name], held):
            label = known[name].label
            found.append(
                translations.told(
                    "On this server, {title} does not take {held} as {setting}: choose another value.",
                    title=info.title,
                    held=held,
                    setting=label,
                )
            )
    return found


def for_job(facts: bpy.types.PropertyGroup, server: Capabilities | None) -> dict[str, dict[str, Scalar]]:
    """The settings for a job: those of the chosen generator, or of all if the server chooses.

    Settings unknown to the server are left out, as the panel says. If the server has not announced its settings yet,
    all are sent for the server to check.

    Raises:
        InputError: a setting does not accept its value.
    """
    wish, chosen = facts.generator_name, {}
    for generator, settings in stored(facts).items():
        if wish not in (capabilities.AUTO, generator):
            continue
        if server is not None:
            info = capabilities.find(generator, server.generators)
            known = info.settings if info is not None else ()
            settings = {s.name: s.checked(settings[s.name]) for s in known if s.name in settings}
        if settings:
            chosen[generator] = settings
    return chosen
