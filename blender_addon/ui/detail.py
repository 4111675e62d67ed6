"""Viewport detail of the mesh and strength of its tint: fields and a button under Frames and Size."""
# ruff: noqa: N801

import bpy

from ..scene import footage, objects
from ..shot import detail, estimates
from ..translations import told
from ..ui.estimate import draw_estimate
from ..ui.layout import settings_column
from ..ui.operator import Job, poll_idle, poll_shot
from ..work import requests, session, state


class EX4D_OT_set_detail(Job):
    """Rebuild the mesh in the viewport with the chosen detail; depth and takes are not affected"""

    bl_idname = "ex4d.set_detail"
    bl_label = "Set Viewport Detail"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot, and nothing under way."""
        return poll_shot(cls, context) and poll_idle(cls, context)

    def begin(self, context: bpy.types.Context) -> None:
        """Start writing the cache, which needs no server."""
        scene = context.scene
        request = requests.DetailRequest(scene.name, scene.ex4d.shot, scene.ex4d.detail, scene.session_uid)
        session.current().dispatch(state.Pressed(request))


def draw_detail(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    """Draw the detail, the button that changes it, and the strength of the tint."""
    facts = scene.ex4d
    column = settings_column(layout, align=True)
    column.prop(facts, "detail")
    column.label(text=detail.told(facts), icon="BLANK1")
    mesh = objects.find(scene, objects.MESH)
    material = mesh.active_material if mesh is not None else None
    strength = footage.tint_strength(material) if material is not None else None
    if strength is not None:
        column.prop(strength, "default_value", text="Mesh Tint", slider=True)
    step = detail.step_asked(facts)
    if step != facts.mesh_step and not session.current().state.busy:
        size = detail.cache_size(facts, step)
        text = (
            told("Show All ({size})", size=size) if step == 1 else told("Show 1/{step} ({size})", step=step, size=size)
        )
        layout.operator(EX4D_OT_set_detail.bl_idname, text=text, icon="FILE_REFRESH")
        across, down = detail.grid(facts, step)
        draw_estimate(layout, estimates.of_detail(facts, across * down))


CLASSES = (EX4D_OT_set_detail,)
