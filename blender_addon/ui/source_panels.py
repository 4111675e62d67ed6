"""Panels of the clip: its frames, its depth, its own camera, and notes on it."""

import bpy

from ..scene import moving_tint
from ..shot import checks, drawn_mask, estimates, found_camera, lens, takes
from ..translations import told
from ..ui import get_model, server_setup
from ..ui.clip_operators import EX4D_OT_open_again, EX4D_OT_open_clip, EX4D_OT_set_scale
from ..ui.detail import draw_detail
from ..ui.estimate import draw_estimate
from ..ui.find_camera import EX4D_OT_find_camera
from ..ui.floor import EX4D_OT_set_floor
from ..ui.layout import Context, Layout, advise, has_shot, say, settings_column
from ..ui.part import draw_opened, draw_part
from ..ui.preferences import preferences
from ..ui.scene_operators import EX4D_OT_show_scene
from ..ui.server_operators import EX4D_OT_connect
from ..work import capabilities, session


def is_beside_a_shot(scene: bpy.types.Scene) -> bool:
    """Whether clips are open only in other scenes."""
    return not has_shot(scene) and any(has_shot(other) for other in bpy.data.scenes)


def draw_elsewhere(layout: Layout, context: Context) -> None:
    """Draw a way back from a scene without a shot, such as one made by New in the sequencer's header."""
    for scene in bpy.data.scenes:
        if has_shot(scene):
            clip = bpy.path.basename(scene.ex4d.opened)
            say(layout, context, told("{clip} is open in the scene {scene}.", clip=clip, scene=scene.name), "INFO")
            layout.operator(EX4D_OT_show_scene.bl_idname, text=told("Show {scene}", scene=scene.name)).name = scene.name


def draw_source(layout: Layout, context: Context) -> None:
    """Draw the button that opens a clip, and the open one; of constant height with a shot, so that nothing moves."""
    facts, now = context.scene.ex4d, session.current()
    if now.lacks_server and not facts.shot:
        box = layout.box()
        say(box, context, told("EX-4D needs a server on this machine. Set it up once, here."), "INFO")
        server_setup.draw(box)
    row = layout.row(align=True)
    row.operator(EX4D_OT_open_clip.bl_idname, icon="FILE_MOVIE")
    if facts.clip_path and facts.clip_path != facts.opened and not now.state.busy:
        text = told("Open {name}", name=bpy.path.basename(facts.clip_path))
        row.operator(EX4D_OT_open_clip.bl_idname, text=text, icon="FILE_REFRESH").filepath = facts.clip_path
    if facts.shot:
        draw_opened(layout, facts)
    else:
        layout.prop(facts, "match_scene")
        draw_clip_trouble(layout, context)


def draw_clip_trouble(layout: Layout, context: Context) -> None:
    """Draw what is wrong with the clip or its depth, and the button for a missing depth model."""
    facts, server = context.scene.ex4d, session.current().capabilities
    column = layout.column(align=True)
    for advice in [*checks.clip_trouble(context.scene), *checks.depth_trouble(context.scene)]:
        advise(column, context, advice)
    wanted = capabilities.estimator_to_get(facts.estimator_name, server) if server is not None else None
    if wanted is not None and not facts.uses_depth_file:
        get_model.draw(layout, wanted)


def draw_frames(layout: Layout, context: Context) -> None:
    """Draw the fields for other frames or another size of the clip, and the viewport detail."""
    facts = context.scene.ex4d
    draw_part(layout, facts)
    draw_detail(layout, context.scene)
    layout.prop(facts, "match_scene")


def draw_depth(layout: Layout, context: Context) -> None:
    """Draw the source of the depth, the meaning of a file's numbers, and the scale of the shot."""
    facts, now, column = context.scene.ex4d, session.current(), settings_column(layout)
    column.prop(facts, "estimator")
    if facts.estimator_name in (capabilities.AUTO, capabilities.FILE):
        column.prop(facts, "depth_path", text="File")
        if facts.depth_found and not facts.depth_path:
            column.label(text=bpy.path.basename(facts.depth_found), icon="FILE", translate=False)
    if not facts.uses_depth_file:
        column.prop(facts, "depth_detail")
    column.prop(facts, "depth_edges")
    if now.client is None and not now.lacks_server:
        column.label(text="Connect to see all estimators", icon="INFO")
        column.operator(EX4D_OT_connect.bl_idname)
    server = now.capabilities
    chosen = capabilities.find(facts.estimator_name, server.estimators) if server is not None else None
    if chosen is not None and chosen.terms:
        box = layout.box()
        say(box, context, f"{chosen.terms}.", "INFO")
        box.prop(preferences(), "accept_licence")
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
        row = layout.row(align=True)
        row.operator(EX4D_OT_open_again.bl_idname, icon="FILE_REFRESH")
        if not facts.uses_depth_file:
            row.operator(EX4D_OT_open_again.bl_idname, text="Estimate Again").estimate = True
        say(layout, context, facts.depth.get("scale", ""))
        column = settings_column(layout)
        column.prop(facts, "known_distance")
        scale = column.operator(EX4D_OT_set_scale.bl_idname, icon="PIVOT_CURSOR")
        scale.distance = facts.known_distance


def draw_source_camera(layout: Layout, context: Context) -> None:
    """Draw the lens and motion of the clip's own camera."""
    facts, column = context.scene.ex4d, settings_column(layout)
    column.prop(facts, "field_of_view")
    if facts.shot:
        column.label(text=told("In use: {lens}", lens=lens.in_use(facts)), icon="BLANK1", translate=False)
    column.prop(facts, "motion")
    if facts.motion == "FILE":
        column.prop(facts, "motion_path")
        column.prop(facts, "motion_scale")
    elif facts.motion == "CAMERA":
        column.prop(facts, "tracked_camera")
    searched = facts.motion in found_camera.MOTIONS
    if facts.motion != "STILL":
        column.prop(facts, "moving_mask")
        file = column.row()
        file.active = facts.moving_mask is None
        file.prop(facts, "moving_path")
        if searched:
            column.prop(facts, "zooms")
        column.prop(facts, "steady_depth")
        plate = column.row()
        plate.active = facts.persistence != "off"
        plate.prop(facts, "plate_path")  # used if it is known what moves
        if facts.plate_path and not takes.uses_plate(facts):
            say(layout, context, told("The clean plate is not used while Other Frames is off."), "INFO")
        if facts.shot and facts.moving_mask is not None:
            say(layout, context, drawn_mask.note(facts))
        if facts.shot and searched:
            layout.operator(EX4D_OT_find_camera.bl_idname, icon="TRACKER")
            if not session.current().state.busy:
                draw_estimate(layout, estimates.of_camera(facts))
    tint = moving_tint.strength(context.scene) if facts.shot else None
    if tint is not None:
        column.prop(tint, "default_value", text="Motion Tint", slider=True)
    if facts.shot:
        layout.operator(EX4D_OT_set_floor.bl_idname, icon="AXIS_TOP")


def draw_notes(layout: Layout, context: Context) -> None:
    """Draw the server's notes on the clip."""
    for note in context.scene.ex4d.notes.splitlines():
        say(layout, context, note)
