"""The generators' settings as Blender properties, made from what the server announces.

    scene.ex4d_generators.wan.quality = "draft"

A group of properties stands for each generator. The groups hold nothing: each property reads and writes the scene's
`ex4d.options` (see `shot/options.py`), so values are undone, saved and kept like all else, whatever the server knows.
"""

import keyword
import re
from typing import Any

import bpy
from bpy.props import PointerProperty

from ex4d.jobs.messages import Capabilities, GeneratorInfo
from ex4d.schema import Setting

from ..shot import options
from .from_schema import NOT_GIVEN, Item, from_blender, in_blender, items_of, property_of, within

ATTRIBUTE = "ex4d_generators"
"""Name of the groups in a scene."""


class Groups:
    """The classes that are registered with Blender at present. Never to be changed while a panel is drawn."""

    def __init__(self) -> None:
        self._announced: tuple[GeneratorInfo, ...] = ()
        self._classes: list[type] = []

    def follow(self, server: Capabilities | None) -> None:
        """Make the groups of what the server announces; a server that is away changes nothing."""
        if server is None or server.generators == self._announced:
            return
        self.remove()
        self._announced, pointers = server.generators, {}
        for info in server.generators:
            group = self._register(f"EX4DGenerator_{identifier(info.name)}", _properties(info))
            pointers[identifier(info.name)] = PointerProperty(type=group, name=info.title, description=info.help)
        everything = self._register("EX4DGenerators", pointers)
        setattr(bpy.types.Scene, ATTRIBUTE, PointerProperty(type=everything))

    def _register(self, name: str, properties: dict[str, Any]) -> type:
        group = type(name, (bpy.types.PropertyGroup,), {"__annotations__": properties})
        self._classes.append(group)  # first, as one that is refused is registered by half
        bpy.utils.register_class(group)
        return group

    def remove(self) -> None:
        """Take all groups away."""
        if hasattr(bpy.types.Scene, ATTRIBUTE):
            delattr(bpy.types.Scene, ATTRIBUTE)
        for cls in reversed(self._classes):
            if cls.is_registered:
                bpy.utils.unregister_class(cls)
        self._announced, self._classes = (), []

    def of(self, scene: bpy.types.Scene, info: GeneratorInfo) -> bpy.types.PropertyGroup | None:
        """The settings of a generator; None where it was announced a moment ago and its group is not there yet."""
        return getattr(getattr(scene, ATTRIBUTE), identifier(info.name)) if info in self._announced else None


def identifier(name: str) -> str:
    """A name of the server's as Blender and Python take it."""
    cleaned = re.sub(r"\W", "_", name)[:60]
    return f"{cleaned}_" if keyword.iskeyword(cleaned) else cleaned.lstrip("_") or "unnamed"


def _properties(info: GeneratorInfo) -> dict[str, Any]:
    return {identifier(setting.name): _property(info.name, setting) for setting in info.settings}


def _property(generator: str, setting: Setting) -> Any:
    """A property that holds nothing itself; what the file holds is looked up."""

    def get(group: bpy.types.PropertyGroup) -> Any:
        held = options.value(group.id_data.ex4d, generator, setting)
        return in_blender(setting, held if options.is_taken(setting, held) else setting.default)

    def put(group: bpy.types.PropertyGroup, held: Any) -> None:
        options.put(group.id_data.ex4d, generator, setting.name, within(setting, from_blender(setting, held)))

    if setting.kind != "choice":
        return property_of(setting, get=get, set=put)

    kept: dict[str, list[Item]] = {}  # Blender reads the texts of items after the callback has returned

    def items(group: bpy.types.PropertyGroup | None, context: Any) -> list[Item]:
        """Also what the file holds and the server does not know: it is shown until another is chosen."""
        held = setting.default if group is None else options.value(group.id_data.ex4d, generator, setting)
        known = items_of(setting)
        if not options.is_taken(setting, held):
            known.append((str(held), str(held), "Not known to this server", len(known)))
        return kept.setdefault(repr(held), known)

    def get_choice(group: bpy.types.PropertyGroup) -> int:
        held = options.value(group.id_data.ex4d, generator, setting)
        wanted = NOT_GIVEN if held is None else str(held)
        return next(number for name, _, _, number in items(group, None) if name == wanted)

    def put_choice(group: bpy.types.PropertyGroup, number: int) -> None:
        name = items(group, None)[number][0]
        options.put(group.id_data.ex4d, generator, setting.name, from_blender(setting, name))

    return property_of(setting, items=items, get=get_choice, set=put_choice)
