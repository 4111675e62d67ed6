"""Get Model: the button next to each model with missing files, and its progress."""
# ruff: noqa: N801

import bpy
from bpy.props import StringProperty

from ex4d.errors import InputError
from ex4d.jobs.messages import EstimatorInfo, GeneratorInfo

from ..setup.model_fetch import Wanted
from ..translations import told, word
from ..ui.server_setup import OFFLINE, OnSetup, draw_chore, draw_online
from ..words import count, seconds, size
from ..work import session

USUAL_BYTES_A_SECOND = 100e6 / 8
"""Speed of the connection for which the time is estimated, because the artist's is not known beforehand."""


class EX4D_OT_get_model(OnSetup):
    """Download the model's files from its publisher in the background; an interrupted download resumes"""

    bl_idname = "ex4d.get_model"
    bl_label = "Get Model"

    name: StringProperty(name="Model", description="Name of the generator or depth estimator", options={"SKIP_SAVE"})
    wanted = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs no download under way."""
        if session.current().model_fetch.busy:
            cls.poll_message_set(told("A model is being downloaded"))
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Find out what has to be downloaded, and ask for confirmation."""

        def ask() -> set[str]:
            self.wanted = session.current().look_for_model(self.name)
            title = told("Get {title}", title=self.wanted.title)
            return context.window_manager.invoke_props_dialog(self, width=480, title=title, confirm_text="Download")

        return self.tried(ask)

    def draw(self, context: bpy.types.Context) -> None:
        """Draw what will be downloaded, where to, and what to do if Blender is not allowed to go online."""
        draw_question(self.layout, context, self.wanted, self.name)

    def act(self) -> None:
        """Start the download, or if Blender is not allowed to go online, say which file to put where."""
        if not bpy.app.online_access:
            by_hand = session.current().look_for_model(self.name).by_hand
            raise InputError(
                told(
                    "{offline} Or download the files yourself and place them: {by_hand}",
                    offline=word(OFFLINE),
                    by_hand=by_hand,
                )
            )
        session.current().fetch_model(self.name)


class EX4D_OT_get_model_pause(OnSetup):
    """Pause the download; Get resumes it"""

    bl_idname = "ex4d.get_model_pause"
    bl_label = "Pause"

    def act(self) -> None:
        """Pause."""
        session.current().model_fetch.cancel()


class EX4D_OT_copy_file_list(OnSetup):
    """Copy the web address of each missing file, and the path where it belongs"""

    bl_idname = "ex4d.copy_file_list"
    bl_label = "Copy File List"

    name: StringProperty(name="Model", description="Name of the generator or depth estimator", options={"SKIP_SAVE"})

    def act(self) -> None:
        """Copy."""
        bpy.context.window_manager.clipboard = session.current().look_for_model(self.name).by_hand
        self.report({"INFO"}, told("The list is on the clipboard: a line for each file, with its address and its path"))


def draw_question(layout: bpy.types.UILayout, context: bpy.types.Context, wanted: Wanted, name: str) -> None:
    """Draw the size, time and folder of a download."""
    download, room, free = (size(gigabytes * 1e9) for gigabytes in (wanted.download_gb, wanted.room_gb, wanted.free_gb))
    time = seconds(wanted.download_gb * 1e9 / USUAL_BYTES_A_SECOND)
    text = told("{size} to download, about {time} at 100 Mbit/s", size=download, time=time)
    layout.label(text=text, translate=False)
    layout.label(text=wanted.folder, icon="FILE_FOLDER", translate=False)
    fits = wanted.room_gb <= wanted.free_gb
    text = told("{room} of disk needed, {free} free", room=room, free=free)
    layout.label(text=text, icon="DISK_DRIVE" if fits else "ERROR", translate=False)
    if draw_online(layout, context):
        files = count(len(wanted.files), "file")
        layout.label(text=told("Or download {files} yourself:", files=files), translate=False)
        layout.operator(EX4D_OT_copy_file_list.bl_idname, icon="COPYDOWN").name = name
    else:
        layout.label(text="You can keep working, and pause at any time")


def draw(layout: bpy.types.UILayout, info: GeneratorInfo | EstimatorInfo) -> None:
    """Draw the button for a model with missing files, or the progress of its download; nothing if it is complete."""
    fetch = session.current().model_fetch
    if fetch.busy and fetch.name == info.name:
        draw_chore(layout, fetch, EX4D_OT_get_model_pause.bl_idname, "PAUSE")
    elif fetch.came and fetch.name == info.name:
        layout.label(text=told("{title} can be used after this", title=info.title), icon="CHECKMARK", translate=False)
    elif info.lacking_gb and session.current().hosts.name:
        text = told(
            "{size} of files are missing on {name}", size=size(info.lacking_gb * 1e9), name=session.current().hosts.name
        )
        layout.label(text=text, icon="INFO", translate=False)
    elif info.lacking_gb:
        title = word("Depth Model") if isinstance(info, EstimatorInfo) else info.title  # their own titles are too long
        text = told("Get {title} ({size})", title=title, size=size(info.lacking_gb * 1e9))
        layout.operator(EX4D_OT_get_model.bl_idname, text=text, icon="IMPORT").name = info.name


CLASSES = (EX4D_OT_get_model, EX4D_OT_get_model_pause, EX4D_OT_copy_file_list)
