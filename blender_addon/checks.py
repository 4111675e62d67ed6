"""What an artist should know before generating, cheap enough to be asked each time a panel is drawn."""

from dataclasses import dataclass

import bpy

from ex4d.errors import InputError

from . import camera, session, takes

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
    facts, found = scene.ex4d, []
    try:
        chosen = camera.path_camera(scene)
        camera.lens_of(chosen.data)
    except InputError as error:
        return [Advice(str(error))]
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
    if facts.frames % 4 != 1:
        near = facts.frames // 4 * 4 + 1
        found.append(Advice(f"{facts.frames} frames: video models like 4k+1 best, such as {near}."))
    return found


def server_trouble() -> Advice | None:
    """What is wrong with the connection, with the button that starts a server."""
    text = session.current().trouble
    return Advice(text, "ex4d.server_start", (), "Start Server") if text else None
