"""The sidebar of the 3D View and of the Sequencer, tab "EX-4D"."""
# ruff: noqa: N801, RUF012

import textwrap

import bpy

from ex4d.depth.registry import estimators

from ..shot import checks
from ..ui import operators, picture
from ..ui.preferences import preferences
from ..ui.properties import count
from ..work import server, session

ESTIMATORS = estimators()


def say(layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: str = "NONE") -> None:
    """A sentence over as many lines as the sidebar's width needs."""
    scale = context.preferences.system.ui_scale
    characters = max(18, int(context.region.width / (6.6 * scale)) - 9)
    column = layout.column(align=True)
    column.scale_y = 0.8
    for number, line in enumerate(textwrap.wrap(text, characters)):
        column.label(text=line, icon=icon if number == 0 else "BLANK1" if icon != "NONE" else "NONE")


def advise(layout: bpy.types.UILayout, context: bpy.types.Context, advice: checks.Advice) -> None:
    """A warning and its button."""
    box = layout.box()
    say(box, context, advice.text, "ERROR" if advice.operator else "INFO")
    if advice.operator:
        button = box.operator(advice.operator, text=advice.label)
        for name, value in advice.settings:
            setattr(button, name, value)


def seconds(value: float) -> str:
    """A time as people say it."""
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s" if value < 100 else f"{value / 60:.0f} min"


def pace(rate: float) -> str:
    """Steps a second as people say it, whether they take moments or minutes."""
    return f"{rate:.1f} a second" if rate >= 1 else f"{seconds(1 / rate)} a step"


def _settings(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    """A column of properties with their names beside them."""
    column = layout.column()
    column.use_property_split, column.use_property_decorate = True, False
    return column


class _Panel(bpy.types.Panel):
    bl_region_type = "UI"
    bl_category = "EX-4D"


class _ShotPanel(_Panel):
    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(context.scene.ex4d.shot)


def draw_progress(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What was said last, and where the work under way stands, with Cancel."""
    now = session.current()
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
        if shown := picture.icon():
            layout.template_icon(icon_value=shown, scale=8)
        layout.operator(operators.EX4D_OT_cancel.bl_idname, icon="CANCEL")


def draw_trouble(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """What is wrong with the connection, with Start Server; nothing where all is well."""
    trouble = checks.server_trouble()
    if trouble is not None:
        advise(layout, context, trouble)


class _Elsewhere(_Panel):
    """The way back from a scene without a shot, such as the one that New in the sequencer's header makes."""

    bl_label = "Shots in Other Scenes"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return not context.scene.ex4d.shot and any(scene.ex4d.shot for scene in bpy.data.scenes)

    def draw(self, context: bpy.types.Context) -> None:
        for scene in bpy.data.scenes:
            if scene.ex4d.shot:
                clip = bpy.path.basename(scene.ex4d.opened)
                say(self.layout, context, f"{clip} is open in the scene {scene.name}.", "INFO")
                show = self.layout.operator(operators.EX4D_OT_show_scene.bl_idname, text=f"Show {scene.name}")
                show.name = scene.name


class _Source(_Panel):
    bl_label = "Source"

    def draw(self, context: bpy.types.Context) -> None:
        layout, facts = self.layout, context.scene.ex4d
        open_clip = operators.EX4D_OT_open_clip.bl_idname
        layout.operator(open_clip, icon="FILE_MOVIE")
        layout.prop(facts, "match_scene")
        if facts.shot:
            column = layout.column(align=True)
            column.label(text=bpy.path.basename(facts.opened), icon="CHECKMARK")
            column.label(text=f"{count(facts.frames, 'frame')}, {facts.width}x{facts.height}", icon="BLANK1")
            column.label(text=f"{float(facts.fraction):.5g} frames a second", icon="BLANK1")
        column = _settings(layout)
        column.prop(facts, "estimator")
        if facts.estimator in ("auto", "file"):
            column.prop(facts, "depth_path")
            if facts.depth_found and not facts.depth_path:
                column.label(text=bpy.path.basename(facts.depth_found), icon="FILE")
        if (chosen := ESTIMATORS.get(facts.estimator)) is not None and chosen.terms:
            box = layout.box()
            say(box, context, f"{chosen.terms}.", "INFO")
            box.prop(preferences(), "accept_licence")
        for advice in checks.depth_trouble(context.scene):
            advise(layout, context, advice)
        if facts.shot:
            row = layout.row(align=True)
            row.operator(operators.EX4D_OT_open_again.bl_idname, icon="FILE_REFRESH")
            if not facts.uses_depth_file:
                row.operator(operators.EX4D_OT_open_again.bl_idname, text="Estimate Again").estimate = True
        if facts.clip_path and facts.clip_path != facts.opened and not session.current().busy:
            name = bpy.path.basename(facts.clip_path)
            layout.operator(open_clip, text=f"Open {name}", icon="FILE_REFRESH").filepath = facts.clip_path
        if not facts.shot or session.current().opening:
            draw_progress(layout, context)
        draw_trouble(layout, context)


class _Depth(_Panel):
    bl_label = "Depth"
    bl_parent_id = "EX4D_PT_source"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout, facts = self.layout, context.scene.ex4d
        if facts.uses_depth_file or (facts.estimator == "auto" and facts.clip_path != facts.opened):
            column = _settings(layout)
            column.prop(facts, "depth_convention")
            if facts.depth_convention != "disparity":
                column.prop(facts, "depth_unit")
                if facts.depth_unit == "other":
                    column.prop(facts, "depth_metres")
                column.prop(facts, "depth_distance")
            column.prop(facts, "depth_channel")
        if facts.shot:
            say(layout, context, facts.depth.get("scale", ""))
            column = _settings(layout)
            column.prop(facts, "known_distance")
            scale = column.operator(operators.EX4D_OT_set_scale.bl_idname, icon="PIVOT_CURSOR")
            scale.distance = facts.known_distance


class _SourceCamera(_Panel):
    bl_label = "Source Camera"
    bl_parent_id = "EX4D_PT_source"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        facts, column = context.scene.ex4d, _settings(self.layout)
        column.prop(facts, "field_of_view")
        column.prop(facts, "motion")
        if facts.motion == "FILE":
            column.prop(facts, "motion_path")
        elif facts.motion == "CAMERA":
            column.prop(facts, "tracked_camera")


class _Notes(_ShotPanel):
    bl_label = "Notes"
    bl_parent_id = "EX4D_PT_source"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        for note in context.scene.ex4d.notes.splitlines():
            say(self.layout, context, note)


class _Camera(_ShotPanel):
    bl_label = "Camera"

    def draw(self, context: bpy.types.Context) -> None:
        layout, facts = self.layout, context.scene.ex4d
        layout.prop(facts, "camera", text="")
        column = layout.column(align=True)
        column.prop(facts, "preset", text="")
        row = column.row(align=True)
        row.prop(facts, "amount")
        rise = row.row(align=True)
        rise.active = not facts.preset.startswith("zoom")
        rise.prop(facts, "rise")
        keys = column.operator(operators.EX4D_OT_camera_preset.bl_idname, icon="KEYINGSET")
        keys.preset, keys.amount, keys.rise = facts.preset, facts.amount, facts.rise
        layout.operator(operators.EX4D_OT_snap_to_source.bl_idname, icon="SNAP_ON").at = "CURRENT"


class _Check(_ShotPanel):
    bl_label = "Check"

    def draw(self, context: bpy.types.Context) -> None:
        found = checks.warnings(context.scene)
        for advice in found:
            advise(self.layout, context, advice)
        if not found:
            self.layout.label(text="Ready to generate", icon="CHECKMARK")
        self.layout.operator(operators.EX4D_OT_preview.bl_idname, icon="HIDE_OFF")


class _Generate(_ShotPanel):
    bl_label = "Generate"

    def draw(self, context: bpy.types.Context) -> None:
        layout, facts = self.layout, context.scene.ex4d
        button = layout.column()
        button.scale_y = 1.6
        button.operator(operators.EX4D_OT_generate.bl_idname, icon="RENDER_ANIMATION")
        draw_trouble(layout, context)
        if not session.current().opening:
            draw_progress(layout, context)
        column = _settings(layout)
        column.prop(facts, "generator")
        if facts.generator != "preview" and not session.model_missing():
            column.prop(facts, "quality")
            column.prop(facts, "model_size")
        column.prop(facts, "keep_source")
        column.prop(facts, "seed")
        if (trouble := checks.model_trouble(context.scene)) is not None:
            advise(layout, context, trouble)


class EX4D_UL_takes(bpy.types.UIList):
    """Takes of the shot, one a row."""

    def draw_item(
        self,
        context: bpy.types.Context,
        layout: bpy.types.UILayout,
        data: bpy.types.AnyType,
        item: bpy.types.AnyType,
        icon: int,
        active_data: bpy.types.AnyType,
        active_property: str,
    ) -> None:
        """Name and a button that selects the strip."""
        row = layout.row(align=True)
        row.label(text=item.title, icon="SEQUENCE")
        button = row.operator(
            operators.EX4D_OT_take_select.bl_idname, text="", icon="RESTRICT_SELECT_OFF", emboss=False
        )
        button.number, button.view = item.number, item.view


class _Takes(_ShotPanel):
    bl_label = "Takes"

    def draw(self, context: bpy.types.Context) -> None:
        layout, facts = self.layout, context.scene.ex4d
        if not facts.takes:
            layout.label(text="No takes yet")
            return
        layout.template_list("EX4D_UL_takes", "", facts, "takes", facts, "take_index", rows=3)
        active = facts.takes[facts.take_index] if 0 <= facts.take_index < len(facts.takes) else None
        if active is not None and active.made:
            say(layout, context, active.made)
        layout.operator(operators.EX4D_OT_take_restore_camera.bl_idname, icon="CAMERA_DATA").number = 0
        row = layout.row(align=True)
        row.enabled = active is not None and not active.view
        row.operator(operators.EX4D_OT_take_again.bl_idname, icon="FILE_REFRESH").number = 0
        if not session.model_missing():
            final = row.operator(operators.EX4D_OT_take_again.bl_idname, text="As Final")
            final.number, final.quality = 0, "final"
        layout.operator(operators.EX4D_OT_take_remove.bl_idname, icon="REMOVE").number = 0


class _Backend(_Panel):
    bl_label = "Backend"

    def draw(self, context: bpy.types.Context) -> None:
        layout, connected = self.layout, session.client()
        settings = preferences()
        if connected is None:
            layout.label(text="Not connected", icon="UNLINKED")
        elif connected.status == "ready":
            layout.label(text=f"Connected, version {connected.server.version}", icon="LINKED")
        else:
            say(layout, context, session.current().trouble or "Connecting", "ERROR")
        layout.label(text=settings.address)
        row = layout.row(align=True)
        if server.is_running():
            row.operator(operators.EX4D_OT_server_stop.bl_idname)
        elif connected is None or connected.status != "ready":
            row.operator(operators.EX4D_OT_server_start.bl_idname)
        if connected is None:
            row.operator(operators.EX4D_OT_connect.bl_idname)
        elif connected.status == "ready":
            row.operator(operators.EX4D_OT_unload.bl_idname)
        _settings(layout).prop(settings, "python", text="Server Python")


def _in_space(base: type, space: str, name: str, order: int) -> type:
    parent = {"bl_parent_id": base.bl_parent_id} if hasattr(base, "bl_parent_id") else {}
    return type(name, (base,), {"bl_space_type": space, "bl_order": order, "bl_idname": name, **parent})


CLASSES = (
    EX4D_UL_takes,
    *(
        _in_space(base, "VIEW_3D", f"EX4D_PT_{base.__name__.strip('_').lower()}", order)
        for order, base in enumerate(
            (_Elsewhere, _Source, _Depth, _SourceCamera, _Notes, _Camera, _Check, _Generate, _Takes, _Backend)
        )
    ),
    *(
        _in_space(base, "SEQUENCE_EDITOR", f"EX4D_PT_sequencer_{base.__name__.strip('_').lower()}", order)
        for order, base in enumerate((_Elsewhere, _Generate, _Takes))
    ),
)
