"""Operators on a listed take."""
# ruff: noqa: N801

import json

import bpy
from bpy.props import BoolProperty, IntProperty, StringProperty

from ex4d.errors import InputError

from ..scene import camera, compat
from ..shot import part, takes
from ..translations import told
from ..ui import properties
from ..ui.operator import Job, Safe, poll_own, poll_takes
from ..words import count
from ..work import requests, session


class OnTake(Safe):
    """Base of operators on a take in the list."""

    number: IntProperty(name="Take", description="Number of the take; 0 for the active take", options={"SKIP_SAVE"})
    view: BoolProperty(name="Path Preview", description="The number refers to a path preview", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a take, in a scene of this file."""
        return poll_own(cls, context) and len(context.scene.ex4d.takes) > 0

    def chosen(self, context: bpy.types.Context) -> properties.EX4DTake:
        """The take with this number, or the active one if it is 0.

        Raises:
            InputError: there is no such take.
        """
        facts = context.scene.ex4d
        if self.number == 0 and facts.active_take is not None:
            return facts.active_take
        for take in facts.takes:
            if (take.number, take.view) == (self.number, self.view):
                return take
        if self.view:
            raise InputError(told("There is no path preview {number} in the list: choose another.", number=self.number))
        raise InputError(told("There is no take {number} in the list: choose another.", number=self.number))


class EX4D_OT_take_select(OnTake):
    """Select the strip of the take"""

    bl_idname = "ex4d.take_select"
    bl_label = "Select Strip"

    def act(self, context: bpy.types.Context) -> None:
        """Select it."""
        take = self.chosen(context)
        compat.select_only(context.scene, takes.strip_to_show(context.scene, take))
        compat.show_in_sequencer(context.scene, [window.workspace for window in context.window_manager.windows])


class EX4D_OT_take_restore_camera(OnTake):
    """Key the chosen camera with the take's camera path"""

    bl_idname = "ex4d.take_restore_camera"
    bl_label = "Restore Camera"

    def act(self, context: bpy.types.Context) -> None:
        """Write the keys."""
        scene = context.scene
        take = self.chosen(context)
        path = takes.camera_of(scene, take.number, take.view)
        chosen = camera.path_camera(scene)
        start = part.scene_frame(scene.ex4d, take.start) if take.frames else None
        keys = camera.restore(scene, chosen, path, start)
        self.tell(
            told(
                "{camera} now has {keys}. It moves as in {take}.",
                camera=chosen.name,
                keys=count(len(keys), "key"),
                take=take.title,
            )
        )


class EX4D_OT_take_again(OnTake, Job):
    """Make a new take with the camera, seed and settings of this one"""

    bl_idname = "ex4d.take_again"
    bl_label = "Take Again"

    generator: StringProperty(
        name="Generator",
        description="Name of another generator; empty for the one that made the take",
        options={"SKIP_SAVE"},
    )
    options: StringProperty(
        name="Options",
        description="Generator settings to change, in JSON",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a take, and no clip being opened."""
        return super().poll(context) and poll_takes(cls, context)

    def request(self, context: bpy.types.Context) -> requests.TakeRequest:
        """Read the take's record."""
        taken = self.chosen(context)
        if taken.view:
            raise InputError(
                told("{take} is only a preview of the path: choose a take, or press Generate EX-4D.", take=taken.title)
            )
        try:
            changed = json.loads(self.options or "{}")
        except ValueError as error:
            raise InputError(
                told('Options must be JSON such as {{"quality": "final"}}: {error}.', error=error)
            ) from error
        if not isinstance(changed, dict):
            raise InputError(told('Options must be JSON such as {{"quality": "final"}}, a setting and its value.'))
        server = session.current().capabilities
        return takes.request_again(context.scene, taken.number, self.generator, changed, server)


class EX4D_OT_take_remove(OnTake):
    """Remove the take from the list; its strip and files stay"""

    bl_idname = "ex4d.take_remove"
    bl_label = "Remove from List"

    def act(self, context: bpy.types.Context) -> None:
        """Remove the entry."""
        facts = context.scene.ex4d
        chosen = self.chosen(context)
        facts.takes.remove(next(at for at, take in enumerate(facts.takes) if take == chosen))
        facts.take_index = max(0, min(facts.take_index, len(facts.takes) - 1))


CLASSES = (
    EX4D_OT_take_select,
    EX4D_OT_take_restore_camera,
    EX4D_OT_take_again,
    EX4D_OT_take_remove,
)
