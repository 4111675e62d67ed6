"""What an artist should know before generating, cheap enough to be asked each time a panel is drawn."""

from dataclasses import dataclass
from pathlib import Path

import bpy

from ex4d.errors import InputError
from ex4d.geometry.presets import RELEASE_FRAMES

from ..scene import bystanders, camera, objects, rig
from ..shot import asking, files, find, options, part, path_check, takes
from ..translations import told
from ..words import count, listed
from ..work import capabilities, session

GUESSING = "plane"
"""The estimator whose depth is a guess."""


@dataclass(frozen=True)
class Advice:
    """What an artist should know, and the button that helps.

    Attributes:
        text: all of it.
        operator, settings, label: of the button; none where nothing needs doing.
        short: a few words that stand for the text on one line of a panel; empty shows its beginning.
    """

    text: str
    operator: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    label: str = ""
    short: str = ""


def warnings(scene: bpy.types.Scene) -> list[Advice]:
    """All that is worth saying about the shot and the chosen camera, most important first."""
    facts, found, chosen = scene.ex4d, [*_no_server(), *_missing(scene), *_in_the_way(scene)], None
    try:
        chosen = camera.path_camera(scene)
        verdict = session.current().paths.of(scene)
    except InputError as error:
        button = ("ex4d.use_own_camera", (), "Use the EX-4D Camera") if chosen is None else ()
        return [*found, Advice(str(error), *button)]
    found += [*_not_shown(scene, chosen), *_path_trouble(scene, chosen, verdict)]
    picture = camera.picture_of(scene)
    if picture.width * facts.height != picture.height * facts.width:
        found.append(
            Advice(
                f"The scene renders {picture.width}x{picture.height} px, but the clip is"
                f" {facts.width}x{facts.height} px.",
                "ex4d.match_scene",
                (("what", "ALL"),),
                "Match Scene",
                "Render size differs",
            )
        )
    if (rate := takes.rates_differ(scene)) is not None:
        found.append(
            Advice(
                f"The scene runs at {float(rate):.5g} fps, but the clip at {float(facts.fraction):.5g} fps.",
                "ex4d.match_scene",
                (("what", "RATE"),),
                "Match Frame Rate",
                "Frame rate differs",
            )
        )
    found += _length(facts)
    try:
        if told := bystanders.told(scene):
            found.append(Advice(told, "ex4d.own_objects_known", (), "Got It"))
    except InputError as error:
        found.append(Advice(str(error)))
    return found


def ready(scene: bpy.types.Scene) -> str:
    """What Generate will make, where nothing stands in its way."""
    facts = scene.ex4d
    return told(
        "Ready: {frames} at {width}x{height} px",
        frames=count(facts.frames, "frame"),
        width=facts.width,
        height=facts.height,
    )


def _not_shown(scene: bpy.types.Scene, chosen: bpy.types.Object) -> list[Advice]:
    """Advice where the scene shows another camera than the take is made with, or other frames."""
    facts, found = scene.ex4d, []
    if scene.camera != chosen:
        shown = f"scene's camera is {scene.camera.name}" if scene.camera is not None else "scene has no camera"
        found.append(
            Advice(
                f"The take will be made with {chosen.name}, but the {shown}.",
                "ex4d.match_scene",
                (("what", "CAMERA"),),
                f"Show {chosen.name}",
                "Another scene camera",
            )
        )
    if scene.frame_end < facts.start or facts.last < scene.frame_start:
        found.append(
            Advice(
                f"The scene plays frames {scene.frame_start} to {scene.frame_end},"
                f" but the clip is in frames {facts.start} to {facts.last}.",
                "ex4d.match_scene",
                (("what", "RANGE"),),
                "Match Frame Range",
                "Clip is out of range",
            )
        )
    return found


def _path_trouble(scene: bpy.types.Scene, chosen: bpy.types.Object, verdict: path_check.Verdict) -> list[Advice]:
    """Advice where the chosen camera starts off the source view or goes nowhere, or where that is not known."""
    if verdict.starts_off:
        text = "The path does not start at the source view, where the generator needs it."
        short = "Starts off source view"
        if rig.movers(scene, chosen):  # keys can be mended
            return [Advice(text, "ex4d.bake_camera", (), "Bake to New Camera", short)]
        return [Advice(text, "ex4d.snap_to_source", (("at", "FIRST"),), "Snap First Frame", short)]
    if verdict.is_clip:
        does = "moves as the source camera does" if scene.ex4d.path else "does not move"
        text = f"{chosen.name} {does}, so the take would be the clip itself: add keys in the Camera panel."
        short = "Moves as the source" if scene.ex4d.path else "The camera does not move"
        return [Advice(text, short=short)]
    if verdict.is_clip is None:
        text = (
            f"{chosen.name} is not moved by keys alone, so its frames have to be evaluated to know where its path"
            " starts and whether it moves."
        )
        return [Advice(text, "ex4d.check_path", (), "Check Path", "Path not checked")]
    return []


def rig_trouble(scene: bpy.types.Scene) -> Advice | None:
    """Why presets and snapping do not write to the chosen camera, with what helps; None where they do."""
    try:
        chosen = camera.path_camera(scene)
    except InputError:
        return None
    found = rig.movers(scene, chosen)
    if not found:
        return None
    text = (
        f"{chosen.name} is moved by {listed(found)}. Takes follow it as it moves, but presets and Snap to Source can"
        " only write to a camera that has nothing but keys."
    )
    return Advice(text, "ex4d.bake_camera", (), "Bake to New Camera", "Not driven by keys")


def _no_server() -> list[Advice]:
    """Advice where no server has answered, and none would be started by Generate."""
    now = session.current()
    if now.state.trouble:  # what it is, and the button that helps, stand at the top of the tab
        text = "No server answers, so takes have to wait: the line at the top of this tab says why."
        return [Advice(text, short="Takes wait for a server")]
    if now.capabilities is not None or (now.client is None and now.server_python):
        return []
    if now.client is not None:
        return [Advice("The server has not answered yet.")]
    text = "No server is connected, and none is set up on this machine."
    return [Advice(text, "ex4d.server_set_up", (), "Set Up Server", "No server")]


def _length(facts: bpy.types.PropertyGroup) -> list[Advice]:
    """The number of frames that would suit the generator better, where that is known and there is one."""
    server = session.current().capabilities
    chosen = capabilities.generator_for(facts.generator_name, server).info if server is not None else None
    if chosen is None or chosen.stride == 1 or facts.frames > RELEASE_FRAMES:  # longer shots are cut so that all fit
        return []
    fitting = (facts.frames - 1) // chosen.stride * chosen.stride + 1
    if fitting in (1, facts.frames):
        return []
    return [
        Advice(
            f"{facts.frames} frames are open, but {fitting} would suit {chosen.title} best:"
            f" it works on one frame, then on groups of {chosen.stride}.",
            short=f"{fitting} frames suit better",
        )
    ]


def _missing(scene: bpy.types.Scene) -> list[Advice]:
    """Advice where a part of the shot was deleted that opening again brings back."""
    root, mesh = objects.find(scene, objects.ROOT), objects.find(scene, objects.MESH)
    caches = [m for m in mesh.modifiers if m.type == "MESH_CACHE"] if mesh else []
    if mesh is None:
        text = "The mesh of the shot was deleted."
    elif root is None:
        text = "EX-4D Source, the parent of the mesh and the cameras, was deleted."
    elif not all(files.absolute(cache.filepath).is_file() for cache in caches):
        text = "The file that moves the mesh is gone, so the mesh stands still."
    else:
        return []
    return [Advice(text, "ex4d.open_again", (), "Open Again", "Part of the shot is missing")]


def _in_the_way(scene: bpy.types.Scene) -> list[Advice]:
    """Advice for each rendered object that stands around the source camera, nearer than all that the clip shows."""
    source = objects.find(scene, objects.SOURCE_CAMERA)
    if source is None:
        return []
    return [
        Advice(
            f"{thing.name} surrounds the source camera and hides the shot.",
            "ex4d.hide",
            (("name", thing.name),),
            "Hide",
            f"{thing.name} is in the way",
        )
        for thing in scene.objects
        if thing.type in ("MESH", "CURVE", "SURFACE", "META", "FONT")
        and not thing.hide_render
        and "ex4d_role" not in thing
        and objects.is_around(thing, source, scene.ex4d.radius)
    ]


def generator_trouble(scene: bpy.types.Scene) -> list[Advice]:
    """Why another generator than the chosen or the best one will make the next take, or none, or that nobody knows."""
    now, wish = session.current(), scene.ex4d.generator_name
    if now.state.busy:
        return []
    server = now.capabilities
    if server is None:
        if now.client is not None:  # the answer is on its way, or what is wrong is told already
            return []
        text = "No server is connected yet, so it is not known which generator will run."
        return [Advice(text, "ex4d.connect", (), "Connect", "Not connected")]
    chosen, found = capabilities.generator_for(wish, server), []
    if chosen.reasons:
        makes = "The take will be a preview. " if chosen.info is not None and chosen.info.is_preview else ""
        first = makes if wish == capabilities.AUTO else ""
        short = "Will be a preview" if makes else "Cannot run"
        found.append(Advice(first + " ".join(chosen.reasons), "ex4d.connect", (), "Check Again", short))
    if chosen.info is not None:
        found += [Advice(text) for text in options.troubles(scene.ex4d, chosen.info)]
    return found


def clip_trouble(scene: bpy.types.Scene) -> list[Advice]:
    """That the clip cannot be opened again as it is; all that was made from it is there and plays."""
    opened = Path(scene.ex4d.opened)
    if scene.ex4d.shot and not part.is_known(scene.ex4d):
        return [Advice(part.DAMAGED)]
    if not find.is_lost(scene.ex4d) or session.current().state.busy:
        return []
    text = (
        f"{opened.name} was moved or deleted. It is needed to open other frames, and by any server that has not read"
        " it yet."
    )
    return [Advice(text, "ex4d.find_clip", (), "Find Clip...", "The clip has moved")]


def depth_trouble(scene: bpy.types.Scene) -> list[Advice]:
    """What the chosen way to depth lacks, and what is to be known about the depth that stands."""
    facts, now = scene.ex4d, session.current()
    made_by, caution = (facts.depth.get(fact, "") if facts.shot else "" for fact in ("provider", "caution"))
    found = [_caution(made_by, caution)] if caution else []
    if now.capabilities is not None and not facts.uses_depth_file and facts.estimator_name != capabilities.FILE:
        chosen = capabilities.estimator_for(facts.estimator_name, now.capabilities)
        if chosen.reasons:
            first = ""
            short = "Estimator cannot run"
            if facts.estimator_name == capabilities.AUTO and chosen.info is not None:
                first = f"Without a depth file, the depth comes from {chosen.info.title}. "
                short = f"Depth: {chosen.info.title}"
                if chosen.info.name == GUESSING:
                    short = "Depth will be a guess"
                if chosen.info.name == made_by and found:  # one matter, and so one line
                    known = found.pop()
                    first, short = f"{known.text} ", known.short or short
            found.insert(0, Advice(first + " ".join(chosen.reasons), "ex4d.connect", (), "Check Again", short))
    if facts.shot and asking.have_changed(facts) and not now.state.busy:
        text = "The settings have changed since the clip was opened: press Open Again to use them."
        found.append(Advice(text, "ex4d.open_again", (), "Open Again", "Settings changed"))
    return found


def _caution(made_by: str, caution: str) -> Advice:
    """What stays to be said of a depth, by the name of what made it."""
    short = ""
    if made_by == GUESSING:
        short = "Depth is a guess"
    return Advice(caution, short=short)


def server_trouble() -> Advice | None:
    """What is wrong with the connection, with the button that starts a server."""
    now = session.current()
    if not now.state.trouble:
        return None
    if now.server.is_running or now.environment.busy:
        return Advice(now.state.trouble)
    if now.taken_port:
        short = told("Port {port} is taken by another server", port=now.taken_port)
        return Advice(now.state.trouble, short=short)
    if not now.server_python:
        return Advice(now.state.trouble, "ex4d.server_set_up", (), "Set Up Server", "No server")
    return Advice(now.state.trouble, "ex4d.server_start", (), "Start Server", "Server does not answer")
