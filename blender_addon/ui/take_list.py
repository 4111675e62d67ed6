"""Parts of the take list: facts, notes, deleting takes with their files, and listing takes found on disk."""
# ruff: noqa: N801

import bpy

from ..shot import take_facts, take_list, takes
from ..translations import told
from ..ui.layout import Context, Layout, say, say_briefly, settings_column
from ..ui.operator import Safe, poll_shot
from ..ui.take_operators import OnTake
from ..words import count
from ..work import capabilities, session


class EX4D_OT_take_delete(OnTake):
    """Delete the take with its strip and its files"""

    bl_idname = "ex4d.take_delete"
    bl_label = "Delete with Files"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for confirmation."""
        message = told(
            "Delete {take} with its strip and files? Undo will not bring the files back.",
            take=self.chosen(context).title,
        )
        return context.window_manager.invoke_confirm(self, event, title="Delete with Files", message=message)

    def act(self, context: bpy.types.Context) -> None:
        """Delete it."""
        chosen = self.chosen(context)
        title, folder = chosen.title, takes.take_folder(context.scene, chosen.number, chosen.view)
        take_list.delete(context.scene, chosen)
        self.tell(told("{title} was deleted. Its files in {folder} are gone too.", title=title, folder=folder))


class EX4D_OT_takes_list(Safe):
    """Bring back takes that are in the shot's folder but no longer in the list, with their strips"""

    bl_idname = "ex4d.takes_list"
    bl_label = "List from Disk"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """List them."""
        found, damaged = take_list.list_again(context.scene)
        came = told("{takes} came back into the list.", takes=count(found, "take")) if found else ""
        self.tell(" ".join([came, *damaged]).strip() or told("No take is missing from the list."))


def draw_facts(layout: Layout, context: Context, entry: bpy.types.PropertyGroup) -> None:
    """Draw the picture of a take, how it was made, how much of it is invented, and how long it took."""
    looks = session.current().take_looks
    seen, icon = looks.of(context.scene, entry), looks.icon(context.scene, entry)
    if icon:
        layout.template_icon(icon_value=icon, scale=7)
    elif seen is not None and seen.trouble:
        say_briefly(layout, context, seen.trouble)
    if entry.made:
        say(layout, context, entry.made)
    if seen is None:
        return
    if seen.facts.lines:
        say(layout, context, ". ".join(seen.facts.lines))
    if seen.facts.trouble:
        say_briefly(layout, context, seen.facts.trouble)


def has_takes(scene: bpy.types.Scene) -> bool:
    """Whether the list has takes."""
    return len(scene.ex4d.takes) > 0


def draw_settings(layout: Layout, context: Context) -> None:
    """Draw the settings that the active take was made with, and its seed."""
    facts, now = context.scene.ex4d, session.current()
    entry = facts.active_take
    seen = now.take_looks.of(context.scene, entry) if entry is not None else None
    if seen is None or seen.facts.seed is None:
        layout.label(text="Path previews have no settings" if entry is not None and entry.view else "Not known")
        return
    info = capabilities.find(entry.generator, now.capabilities.generators) if now.capabilities is not None else None
    for label, value in [*take_facts.in_words(seen.facts, info), ("Seed", str(seen.facts.seed))]:
        say(layout, context, f"{label}: {value}")


def draw_entry(layout: Layout, entry: bpy.types.PropertyGroup) -> None:
    """Draw the artist's note on a take."""
    settings_column(layout).prop(entry, "note")


def draw_removing(layout: Layout) -> None:
    """Draw the buttons that remove takes from the list and bring them back."""
    row = layout.row(align=True)
    row.operator("ex4d.take_remove", icon="REMOVE").number = 0
    row.operator(EX4D_OT_take_delete.bl_idname, icon="TRASH").number = 0
    layout.operator(EX4D_OT_takes_list.bl_idname, icon="FILE_FOLDER")


CLASSES = (EX4D_OT_take_delete, EX4D_OT_takes_list)
