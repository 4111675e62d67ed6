"""Seconds and bytes beside the buttons that take more than a moment."""

import bpy

from ..work import pace


def draw_estimate(layout: bpy.types.UILayout, estimate: pace.Estimate | None) -> None:
    """A line with what a job will take, where that is worth knowing."""
    if estimate is not None and estimate.is_worth_telling:
        for number, line in enumerate(estimate.lines):
            layout.label(text=line, icon="BLANK1" if number else "TIME")
