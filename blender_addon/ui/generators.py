"""The generators' settings as Blender properties, created from what the server announces.

    scene.ex4d_generators.painter.quality = "draft"

Each generator has a property group. The groups store nothing: each property reads and writes the scene's `ex4d.options`
(see `shot/options.py`), so values are undone, saved and kept like any others, whatever the server knows.
"""

import keyword
import re
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import bpy
from bpy.props import PointerProperty

from ex4d.jobs.messages import Capabilities, GeneratorInfo
from ex4d.schema import Setting

from ..shot import options
from ..translations import told
from .from_schema import NOT_GIVEN, Item, from_blender, in_blender, items_of, property_of, within

ATTRIBUTE = "ex4d_generators"
"""Name of the scene property with the groups."""


@dataclass(frozen=True)
class Shown:
    """What Blender can show of a generator.

    Attributes:
        attribute: name of its group; empty if Blender refuses the whole group.
        properties: names of its properties, in the order of its settings.
        refused: a sentence about everything that Blender cannot show.
    """

    attribute: str
    properties: tuple[str, ...]
    refused: tuple[str, ...]


class Groups:
    """The classes currently registered with Blender. Must not change while a panel is drawn."""

    def __init__(self) -> None:
        self._announced: tuple[GeneratorInfo, ...] = ()
        self._classes: list[type] = []
        self._shown: dict[str, Shown] = {}

    def follow(self, server: Capabilities | None) -> None:
        """Create the groups for what the server announces; without a server, nothing changes.

        Blender refuses a whole group for a single bad property, so each property is tried on its own first.
        """
        if server is None or server.generators == self._announced:
            return
        self.remove()
        self._announced, pointers = server.generators, {}
        attributes = identifiers(info.name for info in server.generators)
        for info in server.generators:
            properties, refused = _properties(info)
            group = self._register(f"EX4DGenerator{len(self._classes)}", properties)  # its own name may be too long
            attribute = attributes[info.name]
            pointer = partial(PointerProperty, type=group, name=info.title, description=info.help)
            if (made := _accepted(attribute, pointer)) is None:
                refused.append(
                    told(
                        "Blender cannot show the settings of the generator {title!r}: they stay as they are.",
                        title=info.name,
                    )
                )
                attribute, properties = "", {}
            else:
                pointers[attribute] = made
            self._shown[info.name] = Shown(attribute, tuple(properties), tuple(refused))
        everything = self._register("EX4DGenerators", pointers)
        setattr(bpy.types.Scene, ATTRIBUTE, PointerProperty(type=everything))

    def _register(self, name: str, properties: dict[str, Any]) -> type:
        group = type(name, (bpy.types.PropertyGroup,), {"__annotations__": properties})
        self._classes.append(group)  # first, because a refused class is half registered
        bpy.utils.register_class(group)
        return group

    def remove(self) -> None:
        """Remove all groups."""
        if hasattr(bpy.types.Scene, ATTRIBUTE):
            delattr(bpy.types.Scene, ATTRIBUTE)
        for cls in reversed(self._classes):
            if cls.is_registered:
                bpy.utils.unregister_class(cls)
        self._announced, self._classes, self._shown = (), [], {}

    def of(self, scene: bpy.types.Scene, info: GeneratorInfo) -> bpy.types.PropertyGroup | None:
        """The settings of a generator; None if it was announced only just now, or if Blender cannot show them."""
        attribute = self.shown(info).attribute
        return getattr(getattr(scene, ATTRIBUTE, None), attribute, None) if attribute else None

    def shown(self, info: GeneratorInfo) -> Shown:
        """What Blender can show of a generator; empty if it was announced only just now."""
        nothing = Shown("", (), ())
        return self._shown.get(info.name, nothing) if info in self._announced else nothing


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """The server's names as unique identifiers valid in Blender and Python, none of which property groups already have.

    A property called `id_data` would replace Blender's own and crash Blender.
    """
    group = bpy.types.PropertyGroup
    taken = {*dir(group), *dir(type(group)), *group.bl_rna.properties.keys(), *keyword.kwlist}
    found = {}
    for name in sorted(names, key=lambda name: _cleaned(name) != name):  # valid names first, so that they are kept
        candidates = (f"{_cleaned(name)}_{number}" if number > 1 else _cleaned(name) for number in count(1))
        if name not in found:
            found[name] = next(candidate for candidate in candidates if candidate not in taken)
            taken.add(found[name])
    return found


def _cleaned(name: str) -> str:
    return re.sub(r"\W", "_", name, flags=re.ASCII)[:50].lstrip("_") or "unnamed"


def _properties(info: GeneratorInfo) -> tuple[dict[str, Any], list[str]]:
    """Properties that Blender accepts, and a sentence about each setting that it refuses."""
    names, properties, refused = identifiers(setting.name for setting in info.settings), {}, []
    for setting in info.settings:
        made = _accepted(names[setting.name], partial(_property, info.name, setting))
        if made is not None:
            properties[names[setting.name]] = made
        else:
            refused.append(
                told(
                    "Blender cannot show the setting {setting!r} of the generator {title!r}: it stays as it is.",
                    setting=setting.name,
                    title=info.name,
                )
            )
    return properties, refused


def _accepted(name: str, make: Callable[[], Any]) -> Any | None:
    """A property if Blender accepts it; otherwise None, with the reason on the console."""
    trial = None
    try:
        made = make()
        trial = type("EX4DTrial", (bpy.types.PropertyGroup,), {"__annotations__": {name: made}})
        bpy.utils.register_class(trial)
    except Exception:  # a server may announce anything, and Blender raise anything
        traceback.print_exc()
        return None
    finally:
        if trial is not None and trial.is_registered:
            bpy.utils.unregister_class(trial)
    return made


def _property(generator: str, setting: Setting) -> Any:
    """A property that stores nothing itself, but reads and writes the file's options."""

    def get(group: bpy.types.PropertyGroup) -> Any:
        held = options.value(group.id_data.ex4d, generator, setting)
        return in_blender(setting, held if options.is_taken(setting, held) else setting.default)

    def put(group: bpy.types.PropertyGroup, held: Any) -> None:
        options.put(group.id_data.ex4d, generator, setting.name, within(setting, from_blender(setting, held)))

    if setting.kind != "choice":
        return property_of(setting, get=get, set=put)

    kept: dict[str, list[Item]] = {}  # Blender reads item texts after the callback has returned

    def items(group: bpy.types.PropertyGroup | None, context: Any) -> list[Item]:
        """The choices, and the file's value if the server does not know it, until another is chosen."""
        held = setting.default if group is None else options.value(group.id_data.ex4d, generator, setting)
        known = items_of(setting)
        if not options.is_taken(setting, held):
            known.append((str(held), str(held), told("Not known to this server"), len(known)))
        return kept.setdefault(repr(held), known)

    def get_choice(group: bpy.types.PropertyGroup) -> int:
        held = options.value(group.id_data.ex4d, generator, setting)
        wanted = NOT_GIVEN if held is None else str(held)
        return next(number for name, _, _, number in items(group, None) if name == wanted)

    def put_choice(group: bpy.types.PropertyGroup, number: int) -> None:
        name = items(group, None)[number][0]
        options.put(group.id_data.ex4d, generator, setting.name, from_blender(setting, name))

    return property_of(setting, items=items, get=get_choice, set=put_choice)
