"""Variations, and the list of waiting takes."""
# ruff: noqa: N801, RUF012

from dataclasses import replace

import bpy
from bpy.props import IntProperty, StringProperty

from ex4d.errors import InputError
from ex4d.jobs.messages import GeneratorInfo

from .. import translations
from ..shot import estimates, options, variations
from ..ui.estimate import draw_estimate
from ..ui.layout import Context, Layout, say_briefly
from ..ui.operator import Job, Safe, poll_shot, poll_takes
from ..words import count
from ..work import capabilities, queue, requests, session, state


class EX4D_OT_variations(Job):
    """Make several takes with the camera as it is now, with consecutive seeds starting at Seed"""

    bl_idname = "ex4d.variations"
    bl_label = "Variations"

    number: IntProperty(
        name="Number",
        description="Number of takes; 0 uses the number in the panel",
        min=0,
        max=64,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot, no clip being opened, and a generator whose result depends on the seed."""
        if not (poll_shot(cls, context) and poll_takes(cls, context)):
            return False
        if refusal := variations.refusal(context.scene, session.current().capabilities):
            cls.poll_message_set(refusal.rstrip("."))
            return False
        return True

    def begin(self, context: bpy.types.Context) -> None:
        """Request the takes, which may have to wait."""
        now, number = session.current(), self.number or context.scene.ex4d.variations
        wanted = variations.requests(context.scene, number, now.capabilities)
        for request in wanted:
            now.press(request)
        first, last = (request.generation["seed"] for request in (wanted[0], wanted[-1]))
        said = translations.told(
            "{takes} queued, with seeds {first} to {last}. They use the camera as it is now.",
            takes=count(number, "take"),
            first=first,
            last=last,
        )
        if number == 1:
            said = translations.told("1 take queued, with seed {seed}. It uses the camera as it is now.", seed=first)
        now.dispatch(state.Said(said))


class EX4D_OT_queue_cancel(bpy.types.Operator):
    """Remove waiting takes from the queue; the one under way continues"""

    bl_idname = "ex4d.queue_cancel"
    bl_label = "Cancel Waiting Takes"
    bl_options = {"REGISTER"}

    path: StringProperty(
        name="Path",
        description="Camera path of the take; empty cancels all waiting takes",
        options={"SKIP_SAVE", "HIDDEN"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a waiting take."""
        return bool(session.current().queue.waiting)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Remove it, or all of them."""
        session.current().dispatch(queue.CancelWaiting(self.path))
        return {"FINISHED"}


class EX4D_OT_queue_first(Safe):
    """Make this take before your other waiting takes; other people's places in the queue do not change"""

    bl_idname = "ex4d.queue_first"
    bl_label = "Next"
    bl_options = {"REGISTER"}

    path: StringProperty(name="Path", description="Camera path of the take", options={"SKIP_SAVE", "HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a connected server, and a waiting take."""
        now = session.current()
        return bool(now.queue.waiting) and now.client is not None and now.client.status == "ready"

    def act(self, context: bpy.types.Context) -> None:
        """Put it before the others."""
        now = session.current()
        if not any(each.request.path == self.path and each.taken for each in now.queue.waiting):
            raise InputError(translations.told("This take is not waiting on the server."))
        now.dispatch(queue.NextPressed(self.path))


class EX4D_OT_queue_dismiss(bpy.types.Operator):
    """Clear the list of takes that failed"""

    bl_idname = "ex4d.queue_dismiss"
    bl_label = "Dismiss Take Errors"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a failed take."""
        return bool(session.current().queue.lost)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Clear them."""
        session.current().dispatch(queue.Dismissed())
        return {"FINISHED"}


def draw_variations(layout: Layout, context: Context) -> None:
    """Draw the button, the number of takes, and an estimate."""
    facts = context.scene.ex4d
    row = layout.row(align=True)
    row.operator(EX4D_OT_variations.bl_idname, icon="DUPLICATE")
    row.prop(facts, "variations", text="")
    if refusal := variations.refusal(context.scene, session.current().capabilities):
        say_briefly(layout, context, refusal)
        return
    one = estimates.of_take(facts)
    if one is not None and not session.current().state.busy:
        seconds = None if one.seconds is None else one.seconds * facts.variations
        draw_estimate(layout, replace(one, seconds=seconds, bytes=one.bytes * facts.variations))


def draw_queue(layout: Layout, context: Context) -> None:
    """Draw failed takes and, in order, waiting takes, if there are any."""
    held, client = session.current().queue, session.current().client
    for sentence in held.lost:
        say_briefly(layout, context, sentence, "ERROR")
    if held.lost:
        layout.operator(EX4D_OT_queue_dismiss.bl_idname, text="Dismiss", icon="X")
    if not held.waiting:
        return
    box = layout.box()
    row = box.row()
    row.label(text=translations.told("{takes} waiting", takes=count(len(held.waiting), "take")), icon="SORTTIME")
    row.operator(EX4D_OT_queue_cancel.bl_idname, text="Cancel All").path = ""
    column = box.column(align=True)
    column.label(text=translations.told("Now: {take}", take=told(session.current().state.request, context)))
    for place, each in enumerate(held.waiting, start=1):
        row = column.row(align=True)
        row.label(text=f"{place}. {told(each.request, context)}")
        if each.taken and client is not None and client.status == "ready":
            row.operator(EX4D_OT_queue_first.bl_idname, text="", icon="TRIA_UP_BAR").path = each.request.path
        row.operator(EX4D_OT_queue_cancel.bl_idname, text="", icon="X", emboss=False).path = each.request.path


def told(request: requests.Request, context: Context) -> str:
    """A request in a few words: its name, its quality, and its scene if that is not the current one."""
    quality = ""
    if isinstance(request, requests.TakeRequest) and not request.preview:
        name = request.generation.get("generator", "")
        quality = request.generation.get("options", {}).get(name, {}).get("quality", "")
        quality = options.told(_generator(name), "quality", quality) if quality else ""
    quality = f" ({quality})" if quality else ""
    scene = f", {request.scene}" if request.scene_uid != context.scene.session_uid else ""
    return f"{queue.name_of(request)}{quality}{scene}"


def _generator(name: str) -> GeneratorInfo | None:
    server = session.current().capabilities
    return capabilities.find(name, server.generators) if server is not None else None


CLASSES = (EX4D_OT_variations, EX4D_OT_queue_cancel, EX4D_OT_queue_first, EX4D_OT_queue_dismiss)
