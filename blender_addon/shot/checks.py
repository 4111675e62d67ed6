"""What an artist should know before generating, cheap enough to check each time a panel is drawn."""

from dataclasses import dataclass
from pathlib import Path

import bpy

from ex4d.errors import InputError
from ex4d.geometry.presets import RELEASE_FRAMES

from ..scene import bystanders, camera, objects, rig
from ..shot import asking, files, find, options, part, path_check, takes
from ..translations import told, word
from ..words import count, listed
from ..work import capabilities, session


@dataclass(frozen=True)
class Advice:
    """Something an artist should know, and the button that helps.

    Attributes:
        text: the full text.
        operator, settings, label: of the button; empty if nothing needs doing.
        short: a few words that replace the text on one line of a panel; if empty, the text's beginning is shown.
    """

    text: str
    operator: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    label: str = ""
    short: str = ""


def warnings(scene: bpy.types.Scene) -> list[Advice]:
    """Everything worth saying about the shot and the chosen camera, most important first."""
    facts, found, chosen = scene.ex4d, [*_no_server(), *_missing(scene), *_in_the_way(scene)], None
    try:
        chosen = camera.path_camera(scene)
        verdict = session.current().paths.of(scene)
    except InputError as error:
        button = ("ex4d.use_own_camera", (), "Use the EX-4D Camera") if chosen is None else ()
        return [*found, Advice(str(error), *button)]
    found += [*_not_shown(scene, chosen), *_path_trouble(scene, chosen, verdict)]
    picture = camera.picture_of(scene)
    across, down = part.take_size(facts)
    if all(
        picture.width * tall != picture.height * wide for wide, tall in ((facts.width, facts.height), (across, down))
    ):
        found.append(
            Advice(
                told(
                    "The scene renders {width}x{height} px, but the clip is {clip_width}x{clip_height} px.",
                    width=picture.width,
                    height=picture.height,
                    clip_width=across,
                    clip_height=down,
                ),
                "ex4d.match_scene",
                (("what", "ALL"),),
                "Match Scene",
                "Render size differs",
            )
        )
    if (rate := takes.rates_differ(scene)) is not None:
        found.append(
            Advice(
                told(
                    "The scene runs at {rate:.5g} fps, but the clip at {clip:.5g} fps.",
                    rate=float(rate),
                    clip=float(facts.fraction),
                ),
                "ex4d.match_scene",
                (("what", "RATE"),),
                "Match Frame Rate",
                "Frame rate differs",
            )
        )
    found += _length(facts)
    try:
        if unseen := bystanders.told(scene):
            found.append(Advice(unseen, "ex4d.own_objects_known", (), "Got It"))
    except InputError as error:
        found.append(Advice(str(error)))
    return found


def ready(scene: bpy.types.Scene) -> str:
    """What Generate will make, for a panel without warnings."""
    facts = scene.ex4d
    return told(
        "Ready: {frames} at {width}x{height} px",
        frames=count(facts.frames, "frame"),
        width=facts.width,
        height=facts.height,
    )


def _not_shown(scene: bpy.types.Scene, chosen: bpy.types.Object) -> list[Advice]:
    """Advice if the scene shows another camera than that of the take, or other frames."""
    facts, found = scene.ex4d, []
    if scene.camera != chosen:
        text = told("The take will be made with {camera}, but the scene has no camera.", camera=chosen.name)
        if scene.camera is not None:
            text = told(
                "The take will be made with {camera}, but the scene's camera is {other}.",
                camera=chosen.name,
                other=scene.camera.name,
            )
        found.append(
            Advice(
                text,
                "ex4d.match_scene",
                (("what", "CAMERA"),),
                told("Show {camera}", camera=chosen.name),
                "Another scene camera",
            )
        )
    if scene.frame_end < facts.start or facts.last < scene.frame_start:
        found.append(
            Advice(
                told(
                    "The scene plays frames {first} to {end}, but the clip is in frames {start} to {last}.",
                    first=scene.frame_start,
                    end=scene.frame_end,
                    start=facts.start,
                    last=facts.last,
                ),
                "ex4d.match_scene",
                (("what", "RANGE"),),
                "Match Frame Range",
                "Clip is out of range",
            )
        )
    return found


def _path_trouble(scene: bpy.types.Scene, chosen: bpy.types.Object, verdict: path_check.Verdict) -> list[Advice]:
    """Advice if the chosen camera starts off the source view or does not move, or if that is not known."""
    if verdict.starts_off and not scene.ex4d.lead_in:
        text = told(
            "The path does not start at the source view, where the generator needs it: start it there, or turn on"
            " Lead-In in the Generator panel."
        )
        short = "Starts off source view"
        if rig.movers(scene, chosen):  # only keys can be corrected by snapping
            return [Advice(text, "ex4d.bake_camera", (), "Bake to New Camera", short)]
        return [Advice(text, "ex4d.snap_to_source", (("at", "FIRST"),), "Snap First Frame", short)]
    if verdict.is_clip:
        text = told(
            "{camera} does not move, so the take would be the clip itself: add keys in the Camera panel.",
            camera=chosen.name,
        )
        if scene.ex4d.path:
            text = told(
                "{camera} moves as the source camera does, so the take would be the clip itself: add keys in the Camera"
                " panel.",
                camera=chosen.name,
            )
        short = "Moves as the source" if scene.ex4d.path else "The camera does not move"
        return [Advice(text, short=short)]
    if verdict.is_clip is None:
        text = told(
            "{camera} is not moved by keys alone, so its frames have to be evaluated to know where its"
            " path starts and whether it moves.",
            camera=chosen.name,
        )
        return [Advice(text, "ex4d.check_path", (), "Check Path", "Path not checked")]
    return []


def rig_trouble(scene: bpy.types.Scene) -> Advice | None:
    """Why presets and snapping cannot write to the chosen camera, with the button that helps; None if they can."""
    try:
        chosen = camera.path_camera(scene)
    except InputError:
        return None
    found = rig.movers(scene, chosen)
    if not found:
        return None
    text = told(
        "{camera} is moved by {movers}. Takes follow it as it moves, but presets and Snap to Source"
        " can only write to a camera that has nothing but keys.",
        camera=chosen.name,
        movers=listed(found),
    )
    return Advice(text, "ex4d.bake_camera", (), "Bake to New Camera", "Not driven by keys")


def _no_server() -> list[Advice]:
    """Advice if no server has answered, and Generate would not start one."""
    now = session.current()
    if now.state.trouble:  # details, and the button that helps, are at the top of the tab
        text = told("No server answers, so takes have to wait: the line at the top of this tab says why.")
        return [Advice(text, short="Takes wait for a server")]
    if now.capabilities is not None or (now.client is None and (now.server_python or now.hosts.name)):
        return []
    if now.client is not None:
        return [Advice(told("The server has not answered yet."))]
    text = told("No server is connected, and none is set up on this machine.")
    return [Advice(text, "ex4d.server_set_up", (), "Set Up Server", "No server")]


def _length(facts: bpy.types.PropertyGroup) -> list[Advice]:
    """Advice if another number of frames is known to suit the generator better."""
    server = session.current().capabilities
    chosen = capabilities.generator_for(facts.generator_name, server).info if server is not None else None
    if chosen is None or chosen.stride == 1 or facts.frames > RELEASE_FRAMES:  # longer shots are split to fit
        return []
    fitting = (facts.frames - 1) // chosen.stride * chosen.stride + 1
    if fitting in (1, facts.frames):
        return []
    return [
        Advice(
            told(
                "{frames} frames are open, but {fitting} would suit {generator} best: it works on one frame,"
                " then on groups of {stride}.",
                frames=facts.frames,
                fitting=fitting,
                generator=chosen.title,
                stride=chosen.stride,
            ),
            short=told("{fitting} frames suit better", fitting=fitting),
        )
    ]


def _missing(scene: bpy.types.Scene) -> list[Advice]:
    """Advice if part of the shot was deleted that Open Again can restore."""
    root, mesh = objects.find(scene, objects.ROOT), objects.find(scene, objects.MESH)
    caches = [m for m in mesh.modifiers if m.type == "MESH_CACHE"] if mesh else []
    if mesh is None:
        text = told("The mesh of the shot was deleted.")
    elif root is None:
        text = told("EX-4D Source, the parent of the mesh and the cameras, was deleted.")
    elif not all(files.absolute(cache.filepath).is_file() for cache in caches):
        text = told("The file that moves the mesh is gone, so the mesh stands still.")
    else:
        return []
    return [Advice(text, "ex4d.open_again", (), "Open Again", "Part of the shot is missing")]


def _in_the_way(scene: bpy.types.Scene) -> list[Advice]:
    """Advice for each rendered object that surrounds the source camera, closer than anything the clip shows."""
    source = objects.find(scene, objects.SOURCE_CAMERA)
    if source is None:
        return []
    return [
        Advice(
            told("{name} surrounds the source camera and hides the shot.", name=thing.name),
            "ex4d.hide",
            (("name", thing.name),),
            "Hide",
            told("{name} is in the way", name=thing.name),
        )
        for thing in scene.objects
        if thing.type in ("MESH", "CURVE", "SURFACE", "META", "FONT")
        and not thing.hide_render
        and "ex4d_role" not in thing
        and objects.is_around(thing, source, scene.ex4d.radius)
    ]


def generator_trouble(scene: bpy.types.Scene) -> list[Advice]:
    """Advice if the next take will not be made by the chosen or the best generator, or if that is not known."""
    now, wish = session.current(), scene.ex4d.generator_name
    if now.state.busy:
        return []
    server = now.capabilities
    if server is None:
        if now.client is not None:  # the answer is under way, or the problem is already shown
            return []
        text = told("No server is connected yet, so it is not known which generator will run.")
        return [Advice(text, "ex4d.connect", (), "Connect", "Not connected")]
    chosen, found = capabilities.generator_for(wish, server), []
    if chosen.reasons:
        makes = told("The take will be a preview.") + " " if chosen.info is not None and chosen.info.is_preview else ""
        first = makes if wish == capabilities.AUTO else ""
        short = "Will be a preview" if makes else "Cannot run"
        found.append(Advice(first + " ".join(chosen.reasons), "ex4d.connect", (), "Check Again", short))
    if chosen.info is not None:
        found += [Advice(text) for text in options.troubles(scene.ex4d, chosen.info)]
    return found


def clip_trouble(scene: bpy.types.Scene) -> list[Advice]:
    """Advice if the clip cannot be opened again; everything made from it still exists and plays."""
    opened = Path(scene.ex4d.opened)
    if scene.ex4d.shot and not part.is_known(scene.ex4d):
        return [Advice(word(part.DAMAGED))]
    if not find.is_lost(scene.ex4d) or session.current().state.busy:
        return []
    text = told(
        "{name} was moved or deleted. It is needed to open other frames, and by any server that has not read it yet.",
        name=opened.name,
    )
    return [Advice(text, "ex4d.find_clip", (), "Find Clip...", "The clip has moved")]


def depth_trouble(scene: bpy.types.Scene) -> list[Advice]:
    """What keeps the chosen depth estimator from running, and what to know about the shot's current depth."""
    facts, now = scene.ex4d, session.current()
    made_by, caution = (facts.depth.get(fact, "") if facts.shot else "" for fact in ("provider", "caution"))
    found = [_caution(made_by, caution)] if caution else []
    if now.capabilities is not None and not facts.uses_depth_file and facts.estimator_name != capabilities.FILE:
        chosen = capabilities.estimator_for(facts.estimator_name, now.capabilities)
        if chosen.reasons:
            first = ""
            short = "Estimator cannot run"
            if facts.estimator_name == capabilities.AUTO and chosen.info is not None:
                first = told("Without a depth file, the depth comes from {title}.", title=chosen.info.title) + " "
                short = told("Depth: {title}", title=chosen.info.title)
                if chosen.info.is_guess:
                    short = "Depth will be a guess"
                if chosen.info.name == made_by and found:  # one issue, so one line
                    known = found.pop()
                    first, short = f"{known.text} ", known.short or short
            found.insert(0, Advice(first + " ".join(chosen.reasons), "ex4d.connect", (), "Check Again", short))
    if facts.shot and asking.have_changed(facts) and not now.state.busy:
        text = told("The settings have changed since the clip was opened: press Open Again to use them.")
        found.append(Advice(text, "ex4d.open_again", (), "Open Again", "Settings changed"))
    return found


def _caution(made_by: str, caution: str) -> Advice:
    """A lasting caution about the depth, by the name of its estimator."""
    server = session.current().capabilities
    info = capabilities.find(made_by, server.estimators) if server is not None else None
    short = "Depth is a guess" if info is not None and info.is_guess else ""
    return Advice(word(caution), short=short)


def server_trouble() -> Advice | None:
    """What is wrong with the connection, with the button that helps; None if nothing is."""
    now = session.current()
    if not now.state.trouble:
        return None
    if name := now.hosts.name:
        if now.client is not None and now.client.status == "refused" and now.client.lacks_admission:
            return Advice(
                now.state.trouble, "ex4d.copy_key", (), "Copy My Key", told("{name} does not let you in", name=name)
            )
        return Advice(now.state.trouble, short=told("{name} cannot be used now", name=name))
    answers = now.client is not None and now.client.status == "ready" and now.client.trouble
    if answers or now.server.is_running or now.environment.busy:
        return Advice(now.state.trouble)
    if now.taken_port:
        short = told("Port {port} is taken by another server", port=now.taken_port)
        return Advice(now.state.trouble, short=short)
    if not now.server_python:
        return Advice(now.state.trouble, "ex4d.server_set_up", (), "Set Up Server", "No server")
    return Advice(now.state.trouble, "ex4d.server_start", (), "Start Server", "Server does not answer")
