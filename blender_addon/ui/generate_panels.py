"""Panels around Generate: warnings, settings, models."""

import math

from ex4d.jobs.messages import GeneratorInfo

from ..shot import checks, earlier, estimates, options, suggestion
from ..translations import told
from ..ui import get_model, server_setup
from ..ui.coverage_panel import draw_coverage
from ..ui.estimate import draw_estimate
from ..ui.generate_operators import EX4D_OT_generate, EX4D_OT_preview, EX4D_OT_suggest_prompt
from ..ui.layout import Context, Layout, advise, has_shot, say, say_briefly, settings_column
from ..ui.others import draw_others
from ..ui.result import EX4D_OT_show_result
from ..ui.source_panels import draw_clip_trouble
from ..ui.take_queue import draw_queue, draw_variations
from ..work import capabilities, session


def draw_check(layout: Layout, context: Context) -> None:
    """Draw what the artist should know before generating, a line each."""
    found = checks.warnings(context.scene)
    column = layout.column(align=True)
    for advice in found:
        advise(column, context, advice)
    if not found:
        column.label(text=checks.ready(context.scene), icon="CHECKMARK", translate=False)
    draw_clip_trouble(layout, context)
    if session.current().environment.busy:
        server_setup.draw(layout)
    draw_coverage(layout, context)


def draw_generate(layout: Layout, context: Context) -> None:
    """Draw the buttons, with an estimate."""
    button = layout.column()
    button.scale_y = 1.6
    button.operator(EX4D_OT_generate.bl_idname, icon="RENDER_ANIMATION")
    row = layout.row(align=True)
    row.operator(EX4D_OT_preview.bl_idname, icon="HIDE_OFF")
    row.operator(EX4D_OT_show_result.bl_idname, icon="PLAY").number = 0
    column = layout.column(align=True)
    for advice in checks.generator_trouble(context.scene):
        advise(column, context, advice)
    draw_queue(layout, context)
    draw_others(layout, context)
    now = session.current()
    if not now.state.busy:
        draw_estimate(layout, estimates.of_take(context.scene.ex4d))
    elif now.picture.icon:
        layout.template_icon(icon_value=now.picture.icon, scale=8)


def draw_generator(layout: Layout, context: Context) -> None:
    """Draw the generator and its settings."""
    facts, column = context.scene.ex4d, settings_column(layout)
    column.prop(facts, "generator")
    draw_options(column, context)
    column.prop(facts, "keep_source")
    column.prop(facts, "lead_in")
    column.prop(facts, "result_size")
    column.prop(facts, "master")
    column.prop(facts, "persistence")
    if facts.persistence != "off" and earlier.choices(facts):
        column.prop(facts, "earlier")
    column.prop(facts, "seed")
    draw_variations(layout, context)


def draw_options(layout: Layout, context: Context) -> None:
    """Draw the settings of the generator that will run, as the server describes them."""
    scene, now = context.scene, session.current()
    facts, server = scene.ex4d, now.capabilities
    if not options.are_readable(facts):
        text = told(
            "The settings in this file are damaged, so the defaults are used. Changing a setting replaces them."
        )
        say_briefly(layout, context, text, "ERROR")
    if server is None:
        kept = options.stored(facts)
        named = [
            f"{options.label_of(None, name)} {options.told(None, name, value)}"
            for settings in kept.values()
            for name, value in settings.items()
        ]
        if named:
            say(layout, context, told("Kept until a server answers: {names}.", names=", ".join(named)))
        return
    info = capabilities.generator_for(facts.generator_name, server).info
    if info is None:
        return
    shown, group = now.generators.shown(info), now.generators.of(scene, info)
    for text in shown.refused:
        say_briefly(layout, context, text)
    if group is None:
        return
    if facts.generator_name == capabilities.AUTO:
        layout.label(text=told("Uses {generator}", generator=info.title), icon="BLANK1", translate=False)
    for name in shown.properties:
        if name == suggestion.PROMPT and has_shot(scene) and suggestion.is_empty(facts, info):
            row = layout.row(align=True)
            row.prop(group, name)
            row.operator(EX4D_OT_suggest_prompt.bl_idname).generator = info.name
        else:
            layout.prop(group, name)


def draw_models(layout: Layout, context: Context) -> None:
    """Draw the server's generators, best first: memory, files, licence, and what is missing."""
    server = session.current().capabilities
    if server is None:
        layout.label(text="Connect to a server to see its models", icon="INFO")
        return
    for info in server.generators:
        box = layout.box()
        box.label(text=info.title, icon="CANCEL" if info.missing else "CHECKMARK")
        column = box.column(align=True)
        column.scale_y = 0.8
        for line in about_model(info):
            column.label(text=line, icon="BLANK1")
        if info.missing:
            say_briefly(box, context, info.missing)
        get_model.draw(box, info)


def about_model(info: GeneratorInfo) -> list[str]:
    """Lines about a generator: GPU memory with default settings, size of its files, and licence."""
    memory = told("No GPU needed")
    if info.least_gb:
        memory = told(
            "GPU with {least} GB, faster with {best} GB", least=math.ceil(info.least_gb), best=math.ceil(info.best_gb)
        )
    files = told("{size:.0f} GB of files", size=info.files_gb) if info.files_gb else told("No files needed")
    return [memory, files, told("Licence: {licence}", licence=info.licence)]
