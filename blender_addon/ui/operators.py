"""The buttons. `invoke` (from the panel) returns at once; `execute` (from scripts) returns when all is done."""
# ruff: noqa: N801, RUF012

import json
import time
from collections.abc import Callable
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ex4d.errors import EX4DError
from ex4d.geometry.presets import RELEASE_FRAMES
from ex4d.storage.names import CLIP_ENDINGS, VIDEO_ENDINGS
from ex4d.storage.sequence import clip_at

from ..scene import bake, camera, camera_files, compat
from ..shot import asking, estimates, part, source, suggestion, takes
from ..ui import properties
from ..ui.from_schema import from_blender, property_of
from ..ui.open_dialog import draw_open_dialog
from ..words import count
from ..work import session, state


def _is_idle(cls: type, context: bpy.types.Context) -> bool:
    if session.current().state.busy:
        cls.poll_message_set("EX-4D is busy: wait, or press Cancel")
        return False
    return True


def _has_shot(cls: type, context: bpy.types.Context) -> bool:
    if not context.scene.ex4d.shot:
        cls.poll_message_set("Open a clip first")
        return False
    return True


class _Safe(bpy.types.Operator):
    """Base: errors that a user can act on become a report and the panel's message."""

    bl_options = {"REGISTER", "UNDO"}
    opening = False

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.current().enter_file()
        try:
            done = self.act(context) or {"FINISHED"}
        except (EX4DError, OSError) as error:
            said = session.current().on_timeline(str(error))
            session.current().dispatch(state.Said(said, failed=True, opening=self.opening))
            self.report({"ERROR"}, said)
            return {"CANCELLED"}
        if not isinstance(self, _Job):
            session.current().dispatch(state.Said(""))
        return done

    def tell(self, text: str) -> None:
        """Say what was done, where the panel says such things and in Blender's status bar."""
        session.current().dispatch(state.Said(text, opening=self.opening))
        self.report({"INFO"}, text)


class _Job(_Safe):
    """Base of what goes to the server. Its result makes its own undo step when it comes."""

    bl_options = {"REGISTER"}
    from_panel = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _is_idle(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.from_panel = True
        return self.execute(context)

    def begin(self, context: bpy.types.Context) -> None:
        request, now = self.request(context), session.current()
        now.press(request)
        if not now.state.message:
            now.dispatch(state.Said(estimates.told_at_start(request), opening=self.opening))

    def act(self, context: bpy.types.Context) -> set[str]:
        self.begin(context)
        if self.from_panel:
            return {"FINISHED"}
        ended = session.current().finish()
        self.report({"ERROR"} if ended.failed else {"INFO"}, ended.message)
        return {"CANCELLED"} if ended.failed else {"FINISHED"}


class EX4D_OT_open_clip(_Job):
    """Open a video or a folder of pictures as geometry that moves"""

    bl_idname = "ex4d.open_clip"
    bl_label = "Open Clip"
    opening = True

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(
        default=";".join(f"*{ending}" for ending in (*VIDEO_ENDINGS, *CLIP_ENDINGS)), options={"HIDDEN"}
    )
    depth: StringProperty(
        name="Depth",
        description="An .npz or .npy file, a folder of EXR or grey PNG pictures, or a grey video; empty: the one beside"
        " the clip",
        options={"SKIP_SAVE"},
    )
    first_frame: IntProperty(
        name="First Frame", description="First frame of the clip to use, counted from 1", min=1, default=1
    )
    frames: property_of(properties.SOURCE["frames"], default=RELEASE_FRAMES)
    step: property_of(properties.SOURCE["step"])
    fps: property_of(properties.SOURCE["fps"])
    gaps: property_of(properties.SOURCE["gaps"])
    longest_side: property_of(properties.SOURCE["longest_side"])

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Choose a file, unless the panel named one."""
        self.from_panel = True
        if self.filepath:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        """The settings, and what they mean for the chosen file."""
        draw_open_dialog(self, context)

    def request(self, context: bpy.types.Context) -> state.OpenRequest:
        """What to open, after a look at whether it is there."""
        clip = Path(bpy.path.abspath(self.filepath))
        if not clip.name:
            raise source.InputError("No clip is named: choose a video file or a folder of pictures.")
        return asking.request_open(
            context.scene,
            clip_at(clip),
            str(Path(bpy.path.abspath(self.depth))) if self.depth else "",
            self.first_frame - 1,
            from_blender(properties.SOURCE["frames"], self.frames),
            from_blender(properties.SOURCE["longest_side"], self.longest_side),
            self.step,
            from_blender(properties.SOURCE["fps"], self.fps),
            self.gaps,
        )


class EX4D_OT_open_again(_Job):
    """Open the clip again with the present settings, frames and size; camera, keys, takes and strips stay"""

    bl_idname = "ex4d.open_again"
    bl_label = "Open Again"
    opening = True

    estimate: BoolProperty(
        name="Estimate Again", description="Estimate the depth again, even where it is known", options={"SKIP_SAVE"}
    )

    @classmethod
    def description(cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip, with what it will take."""
        facts = context.scene.ex4d
        if not facts.shot or not part.is_known(facts):
            return cls.__doc__
        return f"{cls.__doc__}. {estimates.of_part(facts, part.asked(facts), properties.estimate).told}"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot, and nothing under way."""
        return _has_shot(cls, context) and _is_idle(cls, context)

    def request(self, context: bpy.types.Context) -> state.OpenRequest:
        """Read the settings."""
        return asking.request_again(context.scene, self.estimate)


class EX4D_OT_set_scale(_Safe):
    """Scale the shot so that what the 3D cursor marks is as far from the source camera as Known Distance says"""

    bl_idname = "ex4d.set_scale"
    bl_label = "Set Scale"
    opening = True

    distance: FloatProperty(name="Distance", description="From the source camera", min=1e-3, default=1.0, unit="LENGTH")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return _has_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Scale it."""
        factor = source.set_scale(context.scene, self.distance)
        self.tell(f"The shot is {factor:.4g} times as big now.")


class _AlongPath(_Job):
    """Base of what follows the chosen camera (Blender cannot register a subclass of a registered class)."""

    preview = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _has_shot(cls, context) and _is_idle(cls, context)

    def request(self, context: bpy.types.Context) -> state.TakeRequest:
        """Read the camera."""
        return takes.request_take(context.scene, self.preview, session.current().capabilities)


class EX4D_OT_generate(_AlongPath):
    """Take the shot again with the chosen camera; the result becomes a strip in the sequencer"""

    bl_idname = "ex4d.generate"
    bl_label = "Generate EX-4D"


class EX4D_OT_preview(_AlongPath):
    """See what is real along the path: the source as the camera sees it, magenta where something must be invented"""

    bl_idname = "ex4d.preview"
    bl_label = "Preview Path"
    preview = True


class EX4D_OT_cancel(bpy.types.Operator):
    """Stop what is under way and discard it"""

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


class EX4D_OT_camera_preset(_Safe):
    """Write a camera move as ordinary keys of the chosen camera, in place of its present move"""

    bl_idname = "ex4d.camera_preset"
    bl_label = "Add Keys"

    preset: property_of(properties.PATH["cam"], default="30")
    amount: property_of(properties.PATH["amount"])
    rise: property_of(properties.PATH["rise"])
    easing: property_of(properties.PATH["easing"])
    shake: property_of(properties.PATH["shake"])
    shake_seed: property_of(properties.PATH["shake_seed"])
    frames: IntProperty(name="Frames", description="Length of the move; 0 takes the clip's", min=0)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return _has_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Write the keys."""
        scene = context.scene
        chosen = camera.path_camera(scene)
        amount = from_blender(properties.PATH["amount"], self.amount)
        style = {"easing": self.easing, "shake": self.shake, "shake_seed": self.shake_seed}
        path = camera.preset_path(scene, self.preset, amount, self.rise, self.frames or None, **style)
        free = chosen.parent is None
        keys = camera.restore(scene, chosen, path)
        also = (
            " It is a child of EX-4D Source now, so that it goes where the shot goes." if free and chosen.parent else ""
        )
        self.tell(f"{chosen.name} has {count(len(keys), 'key')} now.{also}")


class EX4D_OT_import_path(_Safe):
    """Write the camera path of a file (.npz, .chan, transforms.json, COLMAP, TUM, ...) as keys of the chosen camera"""

    bl_idname = "ex4d.import_path"
    bl_label = "Import Camera Path"

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=camera_files.FILTER, options={"HIDDEN"})
    world: property_of(properties.PATH["camera_world"], items=camera_files.WORLDS)
    scale: property_of(properties.PATH["camera_scale"])

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return _has_shot(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Choose a file."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def act(self, context: bpy.types.Context) -> None:
        """Write the keys."""
        chosen, file = camera.path_camera(context.scene), Path(bpy.path.abspath(self.filepath))
        scale = from_blender(properties.PATH["camera_scale"], self.scale)
        keys, notes = camera_files.import_path(context.scene, chosen, file, scale, self.world)
        self.tell(" ".join([f"{chosen.name} has {count(keys, 'key')} now.", *notes]))


class EX4D_OT_export_path(_Safe):
    """Write the chosen camera, as it moves through the shot, for another program"""

    bl_idname = "ex4d.export_path"
    bl_label = "Export Camera Path"
    bl_options = {"REGISTER"}

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    check_existing: BoolProperty(default=True, options={"HIDDEN"})
    format: EnumProperty(name="Format", description="Kind of file to write", items=camera_files.EXPORT_ITEMS)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return _has_shot(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Choose where to write."""
        self.filepath = self.filepath or camera_files.file_for(Path("camera"), self.format).name
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: bpy.types.Context) -> bool:
        """Let the name end as the format's do."""
        self.follow_name()
        named = str(camera_files.file_for(Path(self.filepath), self.format))
        changed, self.filepath = named != self.filepath, named
        return changed

    def act(self, context: bpy.types.Context) -> None:
        """Write it."""
        self.follow_name()
        file = camera_files.file_for(Path(bpy.path.abspath(self.filepath)), self.format)
        self.tell(" ".join(camera_files.export_path(context.scene, file, self.format)))

    def follow_name(self) -> None:
        """As long as nobody has chosen a format, the ending of the name tells it."""
        told = camera_files.format_of_name(Path(self.filepath))
        if told and not self.properties.is_property_set("format"):
            self.format = told


class EX4D_OT_snap_to_source(_Safe):
    """Put the chosen camera on the source view, with its lens; an animated camera gets a key there"""

    bl_idname = "ex4d.snap_to_source"
    bl_label = "Snap to Source"

    at: EnumProperty(
        name="At",
        description="Frame to do it at",
        items=(
            ("CURRENT", "Current Frame", "The frame that is shown"),
            ("FIRST", "First Frame", "The clip's first frame"),
        ),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return _has_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Move the camera."""
        scene = context.scene
        frame = scene.ex4d.start if self.at == "FIRST" else scene.frame_current
        camera.snap_to_source(scene, camera.path_camera(scene), frame)


class EX4D_OT_use_own_camera(_Safe):
    """Choose the shot's own camera; it is made again at the source view when it was deleted"""

    bl_idname = "ex4d.use_own_camera"
    bl_label = "Use the EX-4D Camera"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return _has_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Choose it."""
        camera.choose(context.scene, camera.own_camera(context.scene))


class EX4D_OT_bake_camera(_Safe):
    """Make a new camera with keys alone that moves as the chosen one does, and choose it; the old one stays"""

    bl_idname = "ex4d.bake_camera"
    bl_label = "Bake to New Camera"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return _has_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Make it."""
        before = camera.path_camera(context.scene)
        made = bake.bake(context.scene)
        self.tell(f"{made.name} moves as {before.name} did and has keys alone; it is the chosen camera now.")


class EX4D_OT_hide(_Safe):
    """Hide an object in the viewport and in renders; nothing of it is lost"""

    bl_idname = "ex4d.hide"
    bl_label = "Hide"

    name: StringProperty(name="Object", description="Name of the object")

    def act(self, context: bpy.types.Context) -> None:
        """Hide it."""
        thing = context.scene.objects.get(self.name)
        if thing is None:
            raise source.InputError(f"There is no object {self.name} in the scene.")
        thing.hide_viewport = thing.hide_render = True


class EX4D_OT_match_scene(_Safe):
    """Match the scene to the clip"""

    bl_idname = "ex4d.match_scene"
    bl_label = "Match Scene"

    what: EnumProperty(
        name="What",
        description="What to take from the clip",
        items=(
            ("ALL", "All", "Frame range, frame rate, picture size, view transform and camera"),
            ("RATE", "Frame Rate", "Only the frame rate"),
            ("RANGE", "Frame Range", "Only the frame range"),
            ("CAMERA", "Camera", "Only the camera: the chosen one becomes the scene's"),
        ),
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return _has_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Change the scene."""
        scene = context.scene
        if self.what == "RATE":
            source.set_rate(scene, scene.ex4d.fraction)
        elif self.what == "RANGE":
            source.set_range(scene)
        elif self.what == "CAMERA":
            scene.camera = camera.path_camera(scene)
        else:
            source.match_scene(scene)


class EX4D_OT_server_start(_Safe):
    """Start an EX-4D server on this machine; it ends with Blender"""

    bl_idname = "ex4d.server_start"
    bl_label = "Start Server"
    bl_options = {"REGISTER"}
    from_panel = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs no server of ours that is running."""
        if session.current().server.is_running:
            cls.poll_message_set("The server is running")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Start it and return."""
        self.from_panel = True
        return self.execute(context)

    def act(self, context: bpy.types.Context) -> set[str]:
        """Start it; a script also waits until it answers."""
        now = session.current()
        now.start_server()
        if not self.from_panel and not _answered(session.SERVER_START_S, lambda: bool(now.server.trouble)):
            raise source.InputError(
                now.server.trouble or f"The server was started but does not answer: look into {now.server.log_file}."
            )
        return {"FINISHED"}


class EX4D_OT_server_stop(_Safe):
    """End the server that was started here, also by a Blender that has crashed since. A job goes on when it is back"""

    bl_idname = "ex4d.server_stop"
    bl_label = "Stop Server"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a server of ours."""
        return session.current().may_stop_server

    def act(self, context: bpy.types.Context) -> None:
        """End it."""
        session.current().stop_server()


class EX4D_OT_unload(_Safe):
    """Let the server free the memory that its models hold, on the GPU too; they are loaded again when needed"""

    bl_idname = "ex4d.unload"
    bl_label = "Free Memory"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context) -> None:
        """Ask for it; the timer hears the answer."""
        session.current().connect().unload()


class EX4D_OT_connect(_Safe):
    """Connect to the server, and ask what it can run"""

    bl_idname = "ex4d.connect"
    bl_label = "Connect"
    bl_options = {"REGISTER"}
    from_panel = False

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs no job under way: it would lose its connection."""
        return _is_idle(cls, context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask and return; the timer hears the answer."""
        self.from_panel = True
        return self.execute(context)

    def act(self, context: bpy.types.Context) -> None:
        """Make a new client, since a server says only in its welcome what it can run; a script also hears that."""
        now = session.current()
        now.disconnect()
        now.connect()
        if not self.from_panel:
            _answered(session.PATIENCE_S, lambda: now.client.status in ("refused", "unreachable"))


def _answered(patience: float, hopeless: Callable[[], bool]) -> bool:
    """Wait for the server's welcome, for scripts; whether it has come before all hope or patience was lost."""
    now, end = session.current(), time.monotonic() + patience
    while now.client.status != "ready":
        now.tick()
        if hopeless() or time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class _OnTake(_Safe):
    """Base of what is done to one take of the list."""

    number: IntProperty(name="Take", description="Number of the take; 0 takes the active one", options={"SKIP_SAVE"})
    view: BoolProperty(name="View", description="The number is that of a view", options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return len(context.scene.ex4d.takes) > 0

    def chosen(self, context: bpy.types.Context) -> properties.EX4DTake:
        """The take with the number, or the active one."""
        facts = context.scene.ex4d
        if self.number == 0 and 0 <= facts.take_index < len(facts.takes):
            return facts.takes[facts.take_index]
        for take in facts.takes:
            if (take.number, take.view) == (self.number, self.view):
                return take
        word = "view" if self.view else "take"
        raise source.InputError(f"There is no {word} {self.number} in the list: choose another.")


class EX4D_OT_take_select(_OnTake):
    """Select the strip of the take"""

    bl_idname = "ex4d.take_select"
    bl_label = "Select Strip"

    def act(self, context: bpy.types.Context) -> None:
        """Select it."""
        take = self.chosen(context)
        strip = takes.strip_of(context.scene, take.number, take.view)
        if strip is None:
            raise source.InputError(f"The strip of {take.title} was deleted; its files are still in the shot's folder.")
        compat.select_only(context.scene, strip)
        compat.show_in_sequencer(context.scene, [window.workspace for window in context.window_manager.windows])


class EX4D_OT_show_scene(_Safe):
    """Go to the scene, in the sequencer too"""

    bl_idname = "ex4d.show_scene"
    bl_label = "Show Scene"
    bl_options = {"REGISTER"}

    name: StringProperty(name="Scene", description="Name of the scene")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a window."""
        return context.window is not None

    def act(self, context: bpy.types.Context) -> None:
        """Show it."""
        scene = bpy.data.scenes.get(self.name)
        if scene is None:
            raise source.InputError(f"There is no scene {self.name}: it was renamed or deleted.")
        context.window.scene = scene
        compat.show_in_sequencer(scene, [context.window.workspace])


class EX4D_OT_take_restore_camera(_OnTake):
    """Write the take's camera path as keys of the chosen camera"""

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
        self.tell(f"{chosen.name} has {count(len(keys), 'key')} now, those of {take.title}.")


class EX4D_OT_take_again(_OnTake, _Job):
    """Make a new take with the camera, seed and settings of this one"""

    bl_idname = "ex4d.take_again"
    bl_label = "Take Again"

    generator: StringProperty(
        name="Generator",
        description="Name of another generator; empty: the one that made the take",
        options={"SKIP_SAVE"},
    )
    options: StringProperty(
        name="Options",
        description="Settings of the generator that are to be others than they were, in JSON",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a take, and nothing under way."""
        return super().poll(context) and _is_idle(cls, context)

    def request(self, context: bpy.types.Context) -> state.TakeRequest:
        """Read the take's record."""
        taken = self.chosen(context)
        if taken.view:
            raise source.InputError(f"{taken.title} shows only what is real: choose a take, or press Generate.")
        try:
            changed = json.loads(self.options or "{}")
        except ValueError as error:
            raise source.InputError(f'Options must be JSON such as {{"quality": "final"}}: {error}.') from error
        server = session.current().capabilities
        return takes.request_again(context.scene, taken.number, self.generator, changed, server)


class EX4D_OT_suggest_prompt(_Safe):
    """Fill the empty prompt with what the name of the clip says; a prompt that is there stays"""

    bl_idname = "ex4d.suggest_prompt"
    bl_label = "Suggest"

    generator: StringProperty(name="Generator", description="Name of the generator whose prompt is meant")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Needs a shot."""
        return _has_shot(cls, context)

    def act(self, context: bpy.types.Context) -> None:
        """Fill it."""
        self.tell(f"The prompt is “{suggestion.fill(context.scene.ex4d, self.generator)}” now: make it your own.")


class EX4D_OT_take_remove(_OnTake):
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
    EX4D_OT_open_clip,
    EX4D_OT_open_again,
    EX4D_OT_set_scale,
    EX4D_OT_generate,
    EX4D_OT_preview,
    EX4D_OT_cancel,
    EX4D_OT_camera_preset,
    EX4D_OT_import_path,
    EX4D_OT_export_path,
    EX4D_OT_snap_to_source,
    EX4D_OT_use_own_camera,
    EX4D_OT_bake_camera,
    EX4D_OT_hide,
    EX4D_OT_match_scene,
    EX4D_OT_server_start,
    EX4D_OT_server_stop,
    EX4D_OT_unload,
    EX4D_OT_connect,
    EX4D_OT_take_select,
    EX4D_OT_show_scene,
    EX4D_OT_take_restore_camera,
    EX4D_OT_take_again,
    EX4D_OT_suggest_prompt,
    EX4D_OT_take_remove,
)
