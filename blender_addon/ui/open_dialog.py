"""The sidebar of the dialog that opens a clip: settings, the part of the clip that they select, and an estimate."""

from pathlib import Path

import bpy

from ex4d.geometry.presets import RELEASE_FRAMES

from .. import translations
from ..shot import estimates, part
from ..ui.estimate import draw_estimate
from ..ui.layout import settings_column
from ..words import capitalised
from ..work import session

NOT_DRAWN = ("rna_type", "filepath", "filter_glob")


def draw_open_dialog(operator: bpy.types.Operator, context: bpy.types.Context) -> None:
    """Draw every property of the operator, and below them what is known about the chosen file."""
    column = settings_column(operator.layout)
    for name in operator.properties.bl_rna.properties.keys():  # noqa: SIM118 - no mapping
        if name not in NOT_DRAWN:
            column.prop(operator, name)
    clip = chosen(context)
    if clip is not None:
        draw_clip(operator.layout, operator, clip, context.scene.ex4d)


def chosen(context: bpy.types.Context) -> Path | None:
    """The file chosen in the dialog; None if there is none."""
    params = getattr(context.space_data, "params", None)
    if params is None or not params.filename:
        return None
    clip = Path(bpy.path.abspath(params.directory.decode())) / params.filename
    return clip if clip.is_file() else None


def draw_clip(
    layout: bpy.types.UILayout, operator: bpy.types.Operator, file: Path, facts: bpy.types.PropertyGroup
) -> None:
    """Draw the number of frames that will be open, and an estimate, as far as Blender can tell."""
    look = session.current().clip_looks.of(file, operator.gaps)
    if look is None or look.frames is None:
        return
    if operator.fps and not look.is_sequence:
        return  # the number of frames changes with the rate
    there, start = look.frames, operator.first_frame - 1
    frames = min(operator.frames or RELEASE_FRAMES, len(range(start, there, operator.step)))
    if frames < 1:
        layout.label(text=translations.told("The clip has {there} frames", there=there), icon="ERROR")
        return
    wanted = part.Part(start, frames, operator.longest_side or None, operator.step)
    told = part.told(wanted, there)
    layout.label(text=capitalised(told), icon="FILE_MOVIE")
    if look.picture is None:
        return
    pixels = part.pixels(look.picture.width, look.picture.height, wanted.longest_side)
    if pixels:
        draw_estimate(layout, estimates.of_opening(facts, look.clip, wanted.frames * pixels))
