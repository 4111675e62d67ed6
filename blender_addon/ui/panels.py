"""The sidebar of the 3D View and of the Sequencer, tab "EX-4D".

Each `draw_...` draws one panel's content into any layout; `PANELS` says which there are, and `CLASSES` are what
Blender registers.
"""
# ruff: noqa: N801

import json
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import bpy

from ex4d.geometry.presets import RISING
from ex4d.jobs.messages import GeneratorInfo

from ..scene import backdrop
from ..shot import checks, estimates, options, suggestion
from ..ui import get_model, operators, result, server_setup, view
from ..ui.disk import draw_disk
from ..ui.estimate import draw_estimate
from ..ui.part import draw_part
from ..ui.preferences import preferences
from ..ui.properties import EX4DTake
from ..ui.take_list import EX4D_OT_takes_list, draw_entry, draw_removing
from ..words import pace, seconds
from ..work import capabilities, session

Layout, Context = bpy.types.UILayout, bpy.types.Context

# -- parts of panels --------------------------------------------------------------------------------


def say(layout: Layout, context: Context, text: str, icon: str = "NONE") -> None:
    """A sentence over as many lines as the sidebar's width needs."""
    scale = context.preferences.system.ui_scale
    characters = max(18, int(context.region.width / (6.6 * scale)) - 9)
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, characters)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")


def advise(layout: Layout, context: Context, advice: checks.Advice) -> None:
    """A warning and its button."""
    box = layout.box()
    say(box, context, advice.text, "ERROR" if advice.operator else "INFO")
    if advice.operator:
        button = box.operator(advice.operator, text=advice.label)
        for name, value in advice.settings:
            setattr(button, name, value)


def settings_column(layout: Layout) -> Layout:
    """A column of properties with their names beside them."""
    column = layout.column()
    column.use_property_split, column.use_property_decorate = True, False
    return column


def draw_progress(layout: Layout, context: Context) -> None:
    """What was said last, and where the work under way stands, with Cancel."""
    now, picture = session.current().state, session.current().picture
    if now.message:
        say(layout, context, now.message, "ERROR" if now.failed else "INFO")
    if now.busy:
        column = layout.column(align=True)
        share = now.step / now.steps if now.steps else 0.0
        counted = f" {now.step}/{now.steps}" if now.steps else ""
        column.progress(factor=share, text=f"{now.stage}{counted}")
        details = [pace(now.rate)] if now.rate else []
        details += [f"{seconds(now.eta_s)} left"] if now.eta_s else []
        if details:
            column.label(text=", ".join(details))
        if picture.icon:
            layout.template_icon(icon_value=picture.icon, scale=8)
        layout.operator(operators.EX4D_OT_cancel.bl_idname, icon="CANCEL")


def draw_trouble(layout: Layout, context: Context) -> None:
    """What is wrong with the connection, with Start Server; nothing where all is well."""
    trouble = checks.server_trouble()
    if trouble is not None:
        advise(layout, context, trouble)


def draw_options(layout: Layout, context: Context) -> None:
    """The settings of the generator that will run, as the server describes them."""
    scene, now = context.scene, session.current()
    facts, server = scene.ex4d, now.capabilities
    if not options.are_readable(facts):
        text = "The settings that this file keeps cannot be read, so the usual ones hold; setting one replaces them."
        say(layout, context, text, "ERROR")
    if server is None:
        kept = options.stored(facts)
        told = [f"{name} {value}" for settings in kept.values() for name, value in settings.items()]
        if told:
            say(layout, context, f"Settings that this file keeps until a server answers: {', '.join(told)}.")
        return
    info = capabilities.generator_for(facts.generator_name, server).info
    if info is None:
        return
    shown, group = now.generators.shown(info), now.generators.of(scene, info)
    for text in shown.refused:
        say(layout, context, text, "INFO")
    if group is None:
        return
    if facts.generator_name == capabilities.AUTO:
        layout.label(text=f"{info.title} will be used", icon="BLANK1")
    for name in shown.properties:
        if name == suggestion.PROMPT and has_shot(scene) and suggestion.is_empty(facts, info):
            row = layout.row(align=True)
            row.prop(group, name)
            row.operator(operators.EX4D_OT_suggest_prompt.bl_idname).generator = info.name
        else:
            layout.prop(group, name)


# -- panels -----------------------------------------------------------------------------------------


def has_shot(scene: bpy.types.Scene) -> bool:
    """Whether a clip is open in the scene."""
    return bool(scene.ex4d.shot)


def is_beside_a_shot(scene: bpy.types.Scene) -> bool:
    """Whether clips are open in other scenes only."""
    return not has_shot(scene) and any(has_shot(other) for other in bpy.data.scenes)


def draw_elsewhere(layout: Layout, context: Context) -> None:
    """The way back from a scene without a shot, such as the one that New in the sequencer's header makes."""
    for scene in bpy.data.scenes:
        if has_shot(scene):
            clip = bpy.path.basename(scene.ex4d.opened)
            say(layout, context, f"{clip} is open in the scene {scene.name}.", "INFO")
            layout.operator(operators.EX4D_OT_show_scene.bl_idname, text=f"Show {scene.name}").name = scene.name


def draw_source(layout: Layout, context: Context) -> None:
    """The clip, where its depth comes from, and opening it."""
    facts, now = context.scene.ex4d, session.current()
    if now.lacks_server:
        box = layout.box()
        say(box, context, "EX-4D works with a server on this machine, which is not set up yet.", "INFO")
        server_setup.draw(box)
    open_clip = operators.EX4D_OT_open_clip.bl_idname
    layout.operator(open_clip, icon="FILE_MOVIE")
    layout.prop(facts, "match_scene")
    if facts.shot:
        draw_part(layout, facts)
    column = settings_column(layout)
    column.prop(facts, "estimator")
    if facts.estimator_name in (capabilities.AUTO, capabilities.FILE):
        column.prop(facts, "depth_path")
        if facts.depth_found and not facts.depth_path:
            column.label(text=bpy.path.basename(facts.depth_found), icon="FILE")
    if now.client is None and not now.lacks_server:
        column.label(text="Estimators are listed once connected", icon="INFO")
        column.operator(operators.EX4D_OT_connect.bl_idname)
    server = now.capabilities
    chosen = capabilities.find(facts.estimator_name, server.estimators) if server is not None else None
    if chosen is not None and chosen.terms:
        box = layout.box()
        say(box, context, f"{chosen.terms}.", "INFO")
        box.prop(preferences(), "accept_licence")
    wanted = capabilities.estimator_to_get(facts.estimator_name, server) if server is not None else None
    if wanted is not None and not facts.uses_depth_file:
        get_model.draw(layout, wanted)
    for advice in [*checks.clip_trouble(context.scene), *checks.depth_trouble(context.scene)]:
        advise(layout, context, advice)
    if facts.shot:
        row = layout.row(align=True)
        row.operator(operators.EX4D_OT_open_again.bl_idname, icon="FILE_REFRESH")
        if not facts.uses_depth_file:
            row.operator(operators.EX4D_OT_open_again.bl_idname, text="Estimate Again").estimate = True
    if facts.clip_path and facts.clip_path != facts.opened and not now.state.busy:
        name = bpy.path.basename(facts.clip_path)
        layout.operator(open_clip, text=f"Open {name}", icon="FILE_REFRESH").filepath = facts.clip_path
    if not facts.shot or now.state.opening:
        draw_progress(layout, context)
    if not now.lacks_server:
        draw_trouble(layout, context)


def draw_depth(layout: Layout, context: Context) -> None:
    """What the numbers of the depth file mean, and the scale of the shot."""
    facts = context.scene.ex4d
    if facts.uses_depth_file or (facts.estimator_name == capabilities.AUTO and facts.clip_path != facts.opened):
        column = settings_column(layout)
        column.prop(facts, "depth_convention")
        if facts.depth_convention != "disparity":
            column.prop(facts, "depth_unit")
            if facts.depth_unit == "other":
                column.prop(facts, "depth_metres")
            column.prop(facts, "depth_distance")
        column.prop(facts, "depth_channel")
    if facts.shot:
        say(layout, context, facts.depth.get("scale", ""))
        column = settings_column(layout)
        column.prop(facts, "known_distance")
        scale = column.operator(operators.EX4D_OT_set_scale.bl_idname, icon="PIVOT_CURSOR")
        scale.distance = facts.known_distance


def draw_source_camera(layout: Layout, context: Context) -> None:
    """Lens and motion of the clip's own camera."""
    facts, column = context.scene.ex4d, settings_column(layout)
    column.prop(facts, "field_of_view")
    column.prop(facts, "motion")
    if facts.motion == "FILE":
        column.prop(facts, "motion_path")
        column.prop(facts, "motion_scale")
    elif facts.motion == "CAMERA":
        column.prop(facts, "tracked_camera")


def draw_notes(layout: Layout, context: Context) -> None:
    """What the server had to say about the clip."""
    for note in context.scene.ex4d.notes.splitlines():
        say(layout, context, note)


def draw_camera(layout: Layout, context: Context) -> None:
    """The camera to take the shot with, and presets for it."""
    facts = context.scene.ex4d
    layout.prop(facts, "camera", text="")
    for advice in checks.rig_trouble(context.scene):
        advise(layout, context, advice)
    column = layout.column(align=True)
    column.prop(facts, "preset", text="")
    row = column.row(align=True)
    amount, rise = row.row(align=True), row.row(align=True)
    amount.active, rise.active = facts.preset != "hold", facts.preset in RISING
    amount.prop(facts, "amount")
    rise.prop(facts, "rise")
    column.prop(facts, "easing", text="")
    row = column.row(align=True)
    row.prop(facts, "shake")
    seed = row.row(align=True)
    seed.active = facts.shake > 0
    seed.prop(facts, "shake_seed", text="Seed")
    keys = column.operator(operators.EX4D_OT_camera_preset.bl_idname, icon="KEYINGSET")
    for name in ("preset", "amount", "rise", "easing", "shake", "shake_seed"):
        setattr(keys, name, getattr(facts, name))
    layout.operator(operators.EX4D_OT_snap_to_source.bl_idname, icon="SNAP_ON").at = "CURRENT"
    row = layout.row(align=True)
    row.operator(operators.EX4D_OT_import_path.bl_idname, text="Import", icon="IMPORT")
    row.operator(operators.EX4D_OT_export_path.bl_idname, text="Export", icon="EXPORT")
    layout.operator(view.EX4D_OT_look_through_source.bl_idname, icon="VIEW_CAMERA")
    row = layout.row(align=True)
    row.operator(view.EX4D_OT_show_footage.bl_idname, text="Footage", icon="SHADING_TEXTURE").shading = "MATERIAL"
    row.operator(view.EX4D_OT_show_footage.bl_idname, text="Footage, Fast", icon="SHADING_SOLID").shading = "SOLID"
    chosen = facts.camera
    if chosen is not None and backdrop.is_tinted(chosen.data):
        layout.prop(chosen.data, "show_background_images", text="Tint Outside of the Mesh")
    else:
        layout.operator(view.EX4D_OT_tint_outside.bl_idname)


def draw_check(layout: Layout, context: Context) -> None:
    """What should be known before generating."""
    found = checks.warnings(context.scene)
    for advice in found:
        advise(layout, context, advice)
    if not found:
        layout.label(text="Ready to generate", icon="CHECKMARK")
    layout.operator(operators.EX4D_OT_preview.bl_idname, icon="HIDE_OFF")
    if not session.current().state.busy:
        draw_estimate(layout, estimates.of_take(context.scene.ex4d, preview=True))
    layout.label(text="Magenta: to be invented", icon="COLOR")


def draw_generate(layout: Layout, context: Context) -> None:
    """The button, how far it is, and how the unseen parts are filled."""
    facts = context.scene.ex4d
    button = layout.column()
    button.scale_y = 1.6
    button.operator(operators.EX4D_OT_generate.bl_idname, icon="RENDER_ANIMATION")
    if not session.current().state.busy:
        draw_estimate(layout, estimates.of_take(facts))
    draw_trouble(layout, context)
    if not session.current().state.opening:
        draw_progress(layout, context)
    column = settings_column(layout)
    column.prop(facts, "generator")
    draw_options(column, context)
    column.prop(facts, "keep_source")
    column.prop(facts, "seed")
    for advice in checks.generator_trouble(context.scene):
        advise(layout, context, advice)


def draw_models(layout: Layout, context: Context) -> None:
    """What the server can generate with, best first: memory, files, licence, and what is missing."""
    server = session.current().capabilities
    if server is None:
        layout.label(text="Models are listed once connected", icon="INFO")
        return
    for info in server.generators:
        box = layout.box()
        box.label(text=info.title, icon="CANCEL" if info.missing else "CHECKMARK")
        column = box.column(align=True)
        column.scale_y = 0.8
        for line in about_model(info):
            column.label(text=line, icon="BLANK1")
        if info.missing:
            say(box, context, info.missing)
        get_model.draw(box, info)


def about_model(info: GeneratorInfo) -> list[str]:
    """Memory with the settings that it begins with, files and licence of a generator, a line each."""
    memory = "No GPU needed"
    if info.least_gb:
        memory = f"GPU of {math.ceil(info.least_gb)} GB, faster with {math.ceil(info.best_gb)} GB"
    files = f"{info.files_gb:.0f} GB of files" if info.files_gb else "No files needed"
    return [memory, files, f"Licence: {info.licence}"]


def draw_takes(layout: Layout, context: Context) -> None:
    """The list of takes, and what can be done with the active one."""
    facts = context.scene.ex4d
    if not facts.takes:
        layout.label(text="No takes yet")
        layout.operator(EX4D_OT_takes_list.bl_idname, icon="FILE_FOLDER")
        return
    layout.template_list("EX4D_UL_takes", "", facts, "takes", facts, "take_index", rows=3)
    active = facts.takes[facts.take_index] if 0 <= facts.take_index < len(facts.takes) else None
    if active is not None:
        draw_entry(layout, active)
    if active is not None and active.made:
        say(layout, context, active.made)
    layout.operator(result.EX4D_OT_show_result.bl_idname, icon="PLAY").number = 0
    layout.operator(operators.EX4D_OT_take_restore_camera.bl_idname, icon="CAMERA_DATA").number = 0
    row = layout.row(align=True)
    row.enabled = active is not None and not active.view
    row.operator(operators.EX4D_OT_take_again.bl_idname, icon="FILE_REFRESH").number = 0
    better = better_than(active) if active is not None else None
    if better is not None:
        again = row.operator(operators.EX4D_OT_take_again.bl_idname, text=better.label)
        again.number, again.generator, again.options = 0, better.generator, better.options
    draw_removing(layout)


@dataclass(frozen=True)
class Better:
    """What a take can be made again with: label of the button, and values of Take Again's properties."""

    label: str
    generator: str
    options: str


def better_than(take: EX4DTake) -> Better | None:
    """The best quality that the take's generator has; for a preview, that of the generator that the server prefers."""
    server = session.current().capabilities
    if server is None or take.view:
        return None
    info = capabilities.find(take.generator, server.generators)
    if info is None or info.is_preview:
        info = capabilities.generator_for(capabilities.AUTO, server).info
    if info is None or info.is_preview or info.missing:
        return None
    best = _best_quality(info)
    if best is None:
        return None if info.name == take.generator else Better(f"With {info.title}", info.name, "")
    if info.name == take.generator and take.quality == best[0]:
        return None
    return Better(f"As {best[1]}", info.name, json.dumps({"quality": best[0]}))


def _best_quality(info: GeneratorInfo) -> tuple[str, str] | None:
    """Value and label of the first choice of a generator's setting "quality"; None where it has no such setting."""
    quality = next((setting for setting in info.settings if setting.name == "quality" and setting.choices), None)
    return None if quality is None else (quality.choices[0].value, quality.choices[0].label)


def draw_backend(layout: Layout, context: Context) -> None:
    """The connection, and a server on this machine."""
    now, settings = session.current(), preferences()
    connected = now.client
    if connected is None:
        layout.label(text="Not connected", icon="UNLINKED")
    elif connected.status == "ready":
        layout.label(text=f"Connected, version {connected.server.version}", icon="LINKED")
    else:
        say(layout, context, now.state.trouble or "Connecting", "ERROR")
    layout.label(text=settings.address)
    row = layout.row(align=True)
    if now.may_stop_server:
        row.operator(operators.EX4D_OT_server_stop.bl_idname)
    elif now.server_python and (connected is None or connected.status != "ready"):
        row.operator(operators.EX4D_OT_server_start.bl_idname)
    if connected is None:
        row.operator(operators.EX4D_OT_connect.bl_idname)
    elif connected.status == "ready":
        row.operator(operators.EX4D_OT_unload.bl_idname)
    server_setup.draw(layout.column())


class EX4D_UL_takes(bpy.types.UIList):
    """Takes of the shot, one a row."""

    def draw_item(
        self,
        context: Context,
        layout: Layout,
        data: bpy.types.AnyType,
        item: bpy.types.AnyType,
        icon: int,
        active_data: bpy.types.AnyType,
        active_property: str,
    ) -> None:
        """Name and a button that selects the strip."""
        row = layout.row(align=True)
        row.prop(item, "favourite", text="", icon="SOLO_ON" if item.favourite else "SOLO_OFF", emboss=False)
        row.prop(item, "title", text="", emboss=False)
        button = row.operator(
            operators.EX4D_OT_take_select.bl_idname, text="", icon="RESTRICT_SELECT_OFF", emboss=False
        )
        button.number, button.view = item.number, item.view


@dataclass(frozen=True)
class Panel:
    """A panel of the sidebar.

    Attributes:
        label: its title.
        draw: draws its content.
        is_there: whether it is there in a scene; None where it always is.
        inside: label of the panel that it is a part of, closed at first; "" where it stands alone.
        in_sequencer: whether the Sequencer has it too.
    """

    label: str
    draw: Callable[[Layout, Context], None]
    is_there: Callable[[bpy.types.Scene], bool] | None = None
    inside: str = ""
    in_sequencer: bool = False


PANELS = (
    Panel("Shots in Other Scenes", draw_elsewhere, is_beside_a_shot, in_sequencer=True),
    Panel("Source", draw_source),
    Panel("Depth", draw_depth, inside="Source"),
    Panel("Source Camera", draw_source_camera, inside="Source"),
    Panel("Notes", draw_notes, has_shot, inside="Source"),
    Panel("Disk", draw_disk, has_shot, inside="Source"),
    Panel("Camera", draw_camera, has_shot),
    Panel("Check", draw_check, has_shot),
    Panel("Generate", draw_generate, has_shot, in_sequencer=True),
    Panel("Models", draw_models, has_shot, inside="Generate", in_sequencer=True),
    Panel("Takes", draw_takes, has_shot, in_sequencer=True),
    Panel("Backend", draw_backend),
)


def _class_of(panel: Panel, space: str, prefix: str, order: int) -> type:
    """What Blender registers for a panel in one kind of editor."""

    def name_of(label: str) -> str:
        return prefix + label.replace(" ", "").lower()

    def poll(cls: type, context: Context) -> bool:
        return panel.is_there is None or panel.is_there(context.scene)

    members = {
        "bl_idname": name_of(panel.label),
        "bl_label": panel.label,
        "bl_space_type": space,
        "bl_region_type": "UI",
        "bl_category": "EX-4D",
        "bl_order": order,
        "poll": classmethod(poll),
        "draw": lambda self, context: panel.draw(self.layout, context),
    }
    if panel.inside:
        members |= {"bl_parent_id": name_of(panel.inside), "bl_options": {"DEFAULT_CLOSED"}}
    return type(members["bl_idname"], (bpy.types.Panel,), members)


CLASSES = (
    EX4D_UL_takes,
    *(_class_of(panel, "VIEW_3D", "EX4D_PT_", order) for order, panel in enumerate(PANELS)),
    *(
        _class_of(panel, "SEQUENCE_EDITOR", "EX4D_PT_sequencer_", order)
        for order, panel in enumerate(panel for panel in PANELS if panel.in_sequencer)
    ),
)
