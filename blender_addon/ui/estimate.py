"""Estimates of time and disk space next to buttons for long tasks."""

import bpy

from ..ui.details import draw_line
from ..work import pace


def draw_estimate(layout: bpy.types.UILayout, estimate: pace.Estimate | None) -> None:
    """Draw what a job will take, if worth showing."""
    if estimate is not None and estimate.is_worth_telling:
        for number, line in enumerate(estimate.lines):
            layout.label(text=line, icon="BLANK1" if number else "TIME")


def draw_estimate_of(layout: bpy.types.UILayout, button: str, estimate: pace.Estimate) -> None:
    """Draw it on one line that begins with the button's label, for use with several buttons."""
    if estimate.is_worth_telling:
        short, whole = (f"{button}: {text[:1].lower()}{text[1:]}" for text in (estimate.lines[0], estimate.told))
        draw_line(layout, f"{whole}.", "TIME", short)
