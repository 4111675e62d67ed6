"""A one-line message that a click expands, with the button that helps."""
# ruff: noqa: N801

import json
import textwrap

import bpy
from bpy.props import StringProperty

WIDTH = 64
"""Characters per line of the details."""

BESIDE_A_BUTTON = 0.66
"""Fraction of a line for text next to a button."""

LONGEST_LABEL = 13
"""Longest button label, in characters, that fits a line of the sidebar; a longer one appears only in the details."""


class EX4D_OT_details(bpy.types.Operator):
    """Show the whole message"""

    bl_idname = "ex4d.details"
    bl_label = "Details"
    bl_options = {"INTERNAL"}  # noqa: RUF012

    text: StringProperty(options={"SKIP_SAVE"})
    button: StringProperty(description="Operator that the button runs", options={"SKIP_SAVE"})
    settings: StringProperty(description="Properties of the operator, in JSON", options={"SKIP_SAVE"})
    label: StringProperty(options={"SKIP_SAVE"})

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The whole message, as the tooltip."""
        return properties.text.rstrip(".")  # Blender adds one

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Show the details."""
        text, button, settings, label = self.text, self.button, json.loads(self.settings or "{}"), self.label

        def draw(menu: bpy.types.Menu, context: bpy.types.Context) -> None:
            draw_details(menu.layout, text, button, settings, label)

        if bpy.app.background or context.window is None:  # Blender crashes without a window to show it in
            self.report({"INFO"}, text)
            return {"FINISHED"}
        context.window_manager.popup_menu(draw, title="EX-4D")
        return {"FINISHED"}


def draw_details(layout: bpy.types.UILayout, text: str, button: str, settings: dict[str, str], label: str) -> None:
    """Draw a whole message and its button."""
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
    """Draw a line with a short message, which a click expands, and a button.

    Args:
        layout: layout to draw into.
        text: the whole message.
        icon: icon in front of it.
        short: a few words that replace it; without them, Blender truncates the text at the end of the line.
        button: operator that helps; "" if there is none.
        settings: properties of the operator.
        label: label of the button.
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
