"""Get Model: the button beside each model whose files are not there, and how far it is."""
# ruff: noqa: N801

import bpy
from bpy.props import StringProperty

from ex4d.jobs.messages import EstimatorInfo, GeneratorInfo

from ..ui.server_setup import OnSetup, check_online
from ..work import session


class EX4D_OT_get_model(OnSetup):
    """Download the model's files from its publisher in the background; an interrupted download resumes"""

    bl_idname = "ex4d.get_model"
    bl_label = "Get Model"

    name: StringProperty(name="Model", description="Name of the generator or depth estimator", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """One at a time."""
        if session.current().model_fetch.busy:
            cls.poll_message_set("A model is being fetched")
            return False
        return True

    def act(self) -> None:
        """Begin."""
        check_online()
        session.current().fetch_model(self.name)


class EX4D_OT_get_model_pause(OnSetup):
    """Pause the download; Get resumes it"""

    bl_idname = "ex4d.get_model_pause"
    bl_label = "Pause"

    def act(self) -> None:
        """Pause."""
        session.current().model_fetch.cancel()


def draw(layout: bpy.types.UILayout, info: GeneratorInfo | EstimatorInfo) -> None:
    """The button for a model that lacks files, or how far its files are; nothing where all are there."""
    fetch = session.current().model_fetch
    if fetch.busy and fetch.name == info.name:
        column = layout.column(align=True)
        column.progress(factor=fetch.progress.share, text=fetch.progress.stage)
        column.operator(EX4D_OT_get_model_pause.bl_idname, icon="PAUSE")
    elif info.lacking_gb:
        size = f"{info.lacking_gb:.1f}" if info.lacking_gb < 10 else f"{info.lacking_gb:.0f}"
        text = f"Get {info.title} ({size} GB)"
        layout.operator(EX4D_OT_get_model.bl_idname, text=text, icon="IMPORT").name = info.name


CLASSES = (EX4D_OT_get_model, EX4D_OT_get_model_pause)
