"""What an artist should know before generating, cheap enough to be asked each time a panel is drawn."""

from dataclasses import dataclass

import bpy

from ex4d.depth.estimators import plane
from ex4d.errors import InputError
from ex4d.geometry.camera_path import RELEASE_FRAMES

from ..scene import camera, objects
from ..shot import asking, files, takes
from ..work import server, session

_off_source: dict[str, bool] = {}


@dataclass(frozen=True)
class Advice:
    """A sentence, and the button that helps: operator, its settings and label (none where nothing needs doing)."""

    text: str
    operator: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    label: str = ""


def warnings(scene: bpy.types.Scene) -> list[Advice]:
    """All that is worth saying about the shot and the chosen camera, most important first."""
    facts, found, chosen = scene.ex4d, [*_missing(scene), *_in_the_way(scene)], None
    try:
        chosen = camera.path_camera(scene)
        camera.lens_of(chosen.data)
    except InputError as error:
        button = ("ex4d.use_own_camera", (), "Use the EX-4D Camera") if chosen is None else ()
        return [*found, Advice(str(error), *button)]
    if scene.frame_current == facts.start:  # only there the camera's place is known without evaluating frames
        _off_source[facts.shot] = camera.off_source(scene)
    if _off_source.get(facts.shot):
        found.append(
            Advice(
                "The path does not start at the source view, where the generator needs it.",
                "ex4d.snap_to_source",
                (("at", "FIRST"),),
                "Snap First Frame",
            )
        )
    picture = camera.picture_of(scene)
    if picture.width * facts.height != picture.height * facts.width:
        found.append(
            Advice(
                f"The scene renders {picture.width}x{picture.height}, the clip is {facts.width}x{facts.height}.",
                "ex4d.match_scene",
                (("what", "ALL"),),
                "Match Scene",
            )
        )
    if (rate := takes.rates_differ(scene)) is not None:
        found.append(
            Advice(
                f"The scene runs at {float(rate):.5g} frames a second, the clip at {float(facts.fraction):.5g}.",
                "ex4d.match_scene",
                (("what", "RATE"),),
                "Match Frame Rate",
            )
        )
    fitting = (facts.frames - 1) // 4 * 4 + 1
    if facts.frames <= RELEASE_FRAMES and fitting not in (1, facts.frames):  # longer shots are cut so that all fit
        found.append(
            Advice(
                f"{facts.frames} frames are open, {fitting} would fit the video model best:"
                " it works on one frame and then on groups of four."
            )
        )
    return found


def _missing(scene: bpy.types.Scene) -> list[Advice]:
    """Advice where a part of the shot was deleted that opening again brings back."""
    root, mesh = objects.find(scene, objects.ROOT), objects.find(scene, objects.MESH)
    caches = [m for m in mesh.modifiers if m.type == "MESH_CACHE"] if mesh else []
    if mesh is None:
        text = "The mesh of the shot was deleted."
    elif root is None:
        text = "EX-4D Source, which holds mesh and cameras together, was deleted."
    elif not all(files.absolute(cache.filepath).is_file() for cache in caches):
        text = "The file with the mesh of every frame is gone, so the mesh stands still."
    else:
        return []
    return [Advice(text, "ex4d.open_again", (), "Open Again")]


def _in_the_way(scene: bpy.types.Scene) -> list[Advice]:
    """Advice for each rendered object that stands around the source camera, nearer than all that the clip shows."""
    source = objects.find(scene, objects.SOURCE_CAMERA)
    if source is None:
        return []
    return [
        Advice(f"{thing.name} stands around the source camera.", "ex4d.hide", (("name", thing.name),), "Hide")
        for thing in scene.objects
        if thing.type in ("MESH", "CURVE", "SURFACE", "META", "FONT")
        and not thing.hide_render
        and "ex4d_role" not in thing
        and objects.is_around(thing, source, scene.ex4d.radius)
    ]


def model_trouble(scene: bpy.types.Scene) -> Advice | None:
    """Why the EX-4D model would not make the next take, or that nobody knows; None where it would, or need not."""
    missing, wish = session.model_missing(), scene.ex4d.generator
    if wish == "preview" or missing == "" or session.current().busy:
        return None
    if missing is not None:
        told = "The result will be a preview. " if wish == "auto" else ""
        return Advice(told + missing, "ex4d.connect", (), "Look Again")
    if session.client() is not None:  # the answer is on its way, or what is wrong is told already
        return None
    return Advice("Whether the server can run the EX-4D model is not known yet.", "ex4d.connect", (), "Connect")


def depth_trouble(scene: bpy.types.Scene) -> list[Advice]:
    """What the chosen way to depth lacks, and what is to be known about the depth that stands."""
    facts, found = scene.ex4d, []
    guess = Advice(plane.NOTE) if facts.shot and facts.depth.get("provider") == plane.NAME else None
    if facts.estimator == "auto":
        missing = "" if facts.uses_depth_file else session.depth_missing("video-depth-anything")
        if missing:
            text = guess.text if guess else "Without a depth file, the depth is a guess."
            guess = Advice(f"{text} {missing}", "ex4d.connect", (), "Look Again")
    elif missing := session.depth_missing(facts.estimator):
        found.append(Advice(missing, "ex4d.connect", (), "Look Again"))
    if guess:
        found.append(guess)
    if facts.shot and facts.asked != asking.asked(facts) and not session.current().busy:
        found.append(Advice("The settings have changed since: press Open Again."))
    return found


def server_trouble() -> Advice | None:
    """What is wrong with the connection, with the button that starts a server."""
    text = session.current().trouble
    if not text:
        return None
    return Advice(text) if server.is_running() else Advice(text, "ex4d.server_start", (), "Start Server")
