"""Operators: Generate, Preview Path, Cancel, and Suggest for prompts."""
# ruff: noqa: N801, RUF012

import bpy
from bpy.props import StringProperty

from ..shot import estimates, suggestion, takes
from ..translations import told, word
from ..ui.operator import Job, Safe, poll_shot, poll_takes
from ..work import requests, session, state


class AlongPath(Job):
    """Base of operators that follow the chosen camera; Blender cannot register subclasses of registered classes."""

    preview = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot, and no clip being opened."""
        return poll_shot(cls, context) and poll_takes(cls, context)

    def request(self, context: bpy.types.Context) -> requests.TakeRequest:
        """The request, for which the camera is sampled."""
        return takes.request_take(context.scene, self.preview, session.current().capabilities)


class EX4D_OT_generate(AlongPath):
    """Reshoot the clip through the chosen camera; the take becomes a strip in the sequencer"""

    bl_idname = "ex4d.generate"
    bl_label = "Generate EX-4D"


class EX4D_OT_preview(AlongPath):
    """Preview what the chosen camera sees of the footage; what must be invented is magenta"""

    bl_idname = "ex4d.preview"
    bl_label = "Preview Path"
    preview = True

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip, with an estimate."""
        facts = context.scene.ex4d
        found = estimates.of_take(facts, preview=True) if facts.shot else None
        help_ = word(cls.__doc__)
        return f"{help_}. {found.told}" if found is not None and found.is_worth_telling else help_


class EX4D_OT_cancel(bpy.types.Operator):
    """Stop the current job and discard its result; waiting takes continue"""

    bl_idname = "ex4d.cancel"
    bl_label = "Cancel"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs something to stop."""
        return session.current().state.busy

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Stop it."""
        session.current().dispatch(state.CancelPressed())
        return {"FINISHED"}


class EX4D_OT_suggest_prompt(Safe):
    """Fill the empty prompt from the clip's name; an existing prompt stays"""

    bl_idname = "ex4d.suggest_prompt"
    bl_label = "Suggest"

    generator: StringProperty(name="Generator", description="Name of the generator whose prompt to fill")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return poll_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Fill it."""
        prompt = suggestion.fill(context.scene.ex4d, self.generator)
        self.tell(told("The prompt is filled in. It is now “{prompt}”: edit it as you like.", prompt=prompt))


CLASSES = (
    EX4D_OT_generate,
    EX4D_OT_preview,
    EX4D_OT_cancel,
    EX4D_OT_suggest_prompt,
)
