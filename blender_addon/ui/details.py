"""One line that opens to all that there is to say, with the button that helps."""
# ruff: noqa: N801

import json
import textwrap

import bpy
from bpy.props import StringProperty

WIDTH = 64
"""Characters in a line of the details."""

BESIDE_A_BUTTON = 0.66
"""Part of a line that a text has which stands beside a button."""

LONGEST_LABEL = 13
"""Characters of a button's label that a line of the sidebar has room for; a longer one is in the details."""


class EX4D_OT_details(bpy.types.Operator):
    """Show the whole message"""

    bl_idname = "ex4d.details"
    bl_label = "Details"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    text: StringProperty(options={"SKIP_SAVE"})
    button: StringProperty(description="Operator that helps", options={"SKIP_SAVE"})
    settings: StringProperty(description="Its properties, in JSON", options={"SKIP_SAVE"})
    label: StringProperty(options={"SKIP_SAVE"})

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """All of the message, for those who only point at it."""
        return properties.text.rstrip(".")  # Blender sets one

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open them."""
        text, button, settings, label = self.text, self.button, json.loads(self.settings or "{}"), self.label

        def draw(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
            draw_details(menu.layout, text, button, settings, label)

        if bpy.app.background or context.window is None:  # Blender crashes where it has no window to show it in
            self.report({"INFO"}, text)
            return {"FINISHED"}
        context.window_manager.popup_menu(draw, title="EX-4D")
        return {"FINISHED"}


def draw_details(layout: bpy.types.UILayout, text: str, button: str, settings: dict[str, str], label: str) -> None:
    """A whole message, and its button."""
    for line in textwrap.wrap(text, WIDTH):
        layout.label(text=line, translate=False)
    if button:
        layout.separator()
        layout.operator_context = "INVOKE_DEFAULT"
        helps = layout.operator(button, text=label)
        for name, value in settings.items():
            setattr(helps, name, value)


def draw_line(
    layout: bpy.types.UILayout,
    text: str,
    icon: str,
    short: str = "",
    button: str = "",
    settings: dict[str, str] | None = None,
    label: str = "",
) -> None:
    """One line: what there is to say in short, which a click opens, and the button.

    Args:
        layout: to draw into.
        text: all of it.
        icon: before it.
        short: a few words that stand for it; by default Blender cuts the text where the line ends.
        button: operator that helps; "" where there is none.
        settings: its properties.
        label: of the button.
    """
    row = layout.split(factor=BESIDE_A_BUTTON, align=True) if button else layout
    left = row.row(align=True)
    left.alignment = "LEFT"
    details = left.operator(EX4D_OT_details.bl_idname, text=short or text, icon=icon, emboss=False)
    details.text, details.button, details.settings, details.label = text, button, json.dumps(settings or {}), label
    if button:
        helps = row.operator(button, text=label if len(label) <= LONGEST_LABEL else "Fix")
        for name, value in (settings or {}).items():
            setattr(helps, name, value)


CLASSES = (EX4D_OT_details,)
