"""The settings of generators. The .blend keeps them by the generators' names, whatever server is at hand.

The truth is JSON in `scene.ex4d.options`: {"painter": {"quality": "draft"}}. It holds what somebody has set, and only
that. The panel's properties (`ui/generators.py`) read and write it, scripts may do so too.
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
    """All that was set, by generator and setting; nothing where the text cannot be read, see `are_readable`."""
    return _read(facts.options) or {}


def are_readable(facts: bpy.types.PropertyGroup) -> bool:
    """Whether the file's settings can be read; where not, the panel says so, and `put` writes a new text."""
    return _read(facts.options) is not None


def _read(text: str) -> dict[str, dict[str, Scalar]] | None:
    """What a text says; None if it is no JSON, or not in the form that this module writes."""
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
    """What was set, or the default; what was set may be nothing that the setting takes, see `troubles`."""
    return stored(facts).get(generator, {}).get(setting.name, setting.default)


def label_of(info: GeneratorInfo | None, name: str) -> str:
    """A setting's name as panels show it; made of its own where no server says what it means."""
    known = _known(info, name)
    return known.label if known is not None else name.replace("_", " ").title()


def told(info: GeneratorInfo | None, name: str, held: Any) -> str:
    """A setting's value as panels show it, with its unit: of a choice its label."""
    known = _known(info, name)
    if known is not None and (label := next((c.label for c in known.choices if c.value == held), None)):
        return translations.word(label)
    if isinstance(held, bool):
        return translations.told("On") if held else translations.told("Off")
    if held is None or held == "":
        return translations.told("Default") if held is None else translations.told("Empty")
    if isinstance(held, str):
        is_name = known is None and held.isidentifier()  # else a text that somebody wrote
        return held.replace("_", " ").title() if is_name else held
    unit = f" {translations.word(known.unit)}" if known is not None and known.unit else ""
    return (f"{held:g}" if isinstance(held, float) else f"{held}") + unit


def _known(info: GeneratorInfo | None, name: str) -> Setting | None:
    return next((setting for setting in info.settings if setting.name == name), None) if info is not None else None


def is_taken(setting: Setting, held: Any) -> bool:
    """Whether a value is one that the setting takes."""
    try:
        setting.checked(held)
    except InputError:
        return False
    return True


def troubles(facts: bpy.types.PropertyGroup, info: GeneratorInfo) -> list[str]:
    """A sentence about each value in the file that the server does not take for this generator; it stays there."""
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
    """What goes into a job: settings of the chosen generator, or of all where the server chooses.

    What the server says that it does not know is left out, as the panel tells. Where the server has not said what it
    knows yet, all is sent, and the server looks.

    Raises:
        InputError: a value is nothing that its setting takes.
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
