"""The library for scripts: the steps of the pipeline as functions. `import ex4d` exposes them at its top level."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

from ex4d.generate.base import Generated
from ex4d.generate.registry import choose, generators
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.mesh import DWMesh
from ex4d.pipeline import generate as generation
from ex4d.pipeline import render as rendering
from ex4d.pipeline.earlier import of_folder
from ex4d.pipeline.open import Shot, SourceFiles, open_shot
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.progress import Progress, silent
from ex4d.render.conditioning import Conditioning
from ex4d.render.engines import engine
from ex4d.render.lead_in import with_lead_in
from ex4d.render.scene import Scene
from ex4d.schema import build, describe
from ex4d.storage.sequence import clip_at

Where = str | PathLike[str]


@dataclass(frozen=True)
class Rendering:
    """A shot as seen along a camera path.

    Attributes:
        scene: mesh, frames and cameras.
        conditioning: colour and mask, and how much of each frame is real.
        settings: how it was rendered.
        fps: frame rate of the clip.
        notes: sentences for the user.
    """

    scene: Scene
    conditioning: Conditioning
    settings: RenderSettings
    fps: Fraction
    notes: tuple[str, ...]


def open_clip(
    clip: Where,
    *,
    depth: Where | None = None,
    source_camera: Where | None = None,
    moving: Where | None = None,
    plate: Where | None = None,
    earlier: Where | None = None,
    release_lens: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> Shot:
    """Open a video file or a folder of images, with its depth and its lens.

    Args:
        clip: the file or folder, or one image of a sequence.
        depth: a depth file or folder; None uses the one next to the clip, or estimates depth if there is none.
        source_camera: a file with the motion of the clip's own camera, compared with the clip unless `camera_motion` is
            "file"; None finds it as `camera_motion` says.
        moving: a mask with moving things in white; None finds them.
        plate: a clean plate: a second clip, or an image of the same place; None uses none.
        earlier: the folder of an earlier take of the same frames, which fills in where nothing real is seen; None uses
            none.
        release_lens: assume the EX-4D release's focal length if no other is known; goes with `release_compat`.
        progress: called after each step.
        settings: fields of `ex4d.pipeline.settings.SourceSettings`, such as `frames`, `field_of_view`, `estimator`.

    Raises:
        InputError: something cannot be read, does not fit, or cannot be estimated here; or a setting is out of range.
    """
    files = SourceFiles(
        clip_at(Path(clip)),
        Path(depth) if depth is not None else None,
        Path(source_camera) if source_camera is not None else None,
        moving=Path(moving) if moving is not None else None,
        plate=Path(plate) if plate is not None else None,
        earlier=of_folder(Path(earlier)) if earlier is not None else None,
    )
    return open_shot(
        files, build(SourceSettings, settings), look_beside=True, release_lens=release_lens, progress=progress
    )


def reconstruct(shot: Shot, **settings: Any) -> DWMesh:
    """Build the depth watertight mesh of a shot.

    Args:
        shot: from `open_clip`.
        settings: fields of `ex4d.pipeline.settings.RenderSettings`, such as `occlusion`.

    Raises:
        InputError: a setting is out of range.
    """
    return rendering.mesh_of(shot, build(RenderSettings, settings))


def render_path(
    shot: Shot, path: CameraPath | Where | None = None, *, progress: Progress = silent, **settings: Any
) -> Rendering:
    """Render colour and mask of a shot along a camera path.

    Args:
        shot: from `open_clip`.
        path: cameras, or a file with them; None uses the preset named by `cam`.
        progress: called after each frame.
        settings: fields of `PathSettings` (`cam`, `amount`, `easing`, ...) and `RenderSettings` (`engine`, `occlusion`,
            ...) in `ex4d.pipeline.settings`.

    Raises:
        InputError: the path does not fit the shot, or a setting is out of range.
    """
    moves = {about.name for about in describe(PathSettings)}
    how = build(RenderSettings, {name: value for name, value in settings.items() if name not in moves})
    move = build(PathSettings, {name: value for name, value in settings.items() if name in moves})
    cameras = path if path is None or isinstance(path, CameraPath) else Path(path)
    scene = rendering.scene_of(shot, cameras, move, how)
    seen = rendering.view(scene, how, progress)
    return Rendering(scene, seen, how, shot.clip.fps, (*shot.choice_notes, *shot.notes, *scene.path.notes, *seen.notes))


def generate_video(
    view: Rendering,
    generator: str = "auto",
    *,
    seed: int = 0,
    keep_source: bool = True,
    lead_in: bool = False,
    options: Mapping[str, Any] | None = None,
    runtime: Runtime | None = None,
    progress: Progress = silent,
) -> Generated:
    """Generate the finished video: what the source saw stays, and a generator fills in the rest.

    Args:
        view: from `render_path`.
        generator: its name; "auto" uses the best that can run here.
        seed: the same seed and settings give the same result.
        keep_source: keep what the source saw unchanged.
        lead_in: also generate frames that lead from the source view to the start of the path, and cut them off.
        options: settings of the generator by name; `ex4d generate --help` lists them.
        runtime: keeps models loaded between calls; if None, they are loaded for this call and unloaded afterwards.
        progress: called after each step.

    Raises:
        InputError: the generator does not exist or cannot run here, or a setting is out of range.
    """
    generation.refuse_stereo(view.settings)
    name = choose(generator, generators()).spec.name
    wanted = generation.plan(GenerateSettings(generator, seed, keep_source, options={name: dict(options or {})}))
    used, scene, conditioning = runtime or Runtime(), view.scene, view.conditioning
    if lead_in:
        generation.refuse_lead_in(view.settings)
        scene = with_lead_in(scene, wanted.spec.stride)
        conditioning = rendering.view(scene, view.settings, progress) if scene.lead_in else conditioning
    try:
        released = view.settings.release_compat
        made = generation.generate(
            conditioning,
            scene,
            wanted,
            used,
            progress,
            engine=engine(view.settings.engine),
            as_released=released,
        )
        made, _other = generation.put_back(conditioning, made, wanted, released)
    finally:
        if runtime is None:
            used.unload()
    return replace(made, notes=(*wanted.choice.notes, *made.notes))
