"""Takes: what to send for one, and its strip, files and entry in the list. Nothing is ever overwritten."""

import json
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ex4d.depth.estimators import plane
from ex4d.depth.registry import estimators
from ex4d.errors import InputError
from ex4d.generate.wan.quality import QualityName
from ex4d.geometry import camera_path
from ex4d.geometry.camera_path import CameraPath
from ex4d.pipeline import take
from ex4d.pipeline.requests import Generate, Preview, Source
from ex4d.plain import from_plain, to_plain

from ..scene import camera, compat, objects
from ..shot import files
from ..shot.source import Steps, hash_files, rate_of
from ..ui.properties import count
from ..work.state import TakeRequest


def take_folder(scene: bpy.types.Scene, number: int, view: bool = False) -> Path | None:
    """Folder of a take, or of a view (what Preview Path makes), or None without a shot."""
    word, folder = "view" if view else "take", scene.ex4d.folder
    return folder and folder / f"{word}s" / f"{word}_{number:03d}"


def new_folder(scene: bpy.types.Scene, shot: Path, view: bool) -> tuple[int, Path]:
    """The take's or view's folder with the next free number, made here and now.

    Free is what neither a folder, nor the list, nor a strip of the shot has.
    """
    word, facts = "view" if view else "take", scene.ex4d
    listed = [entry.number for entry in facts.takes if entry.view == view]
    strips = [s for s in compat.all_strips(scene) if s.get("ex4d_shot") == facts.shot]
    shown = [s["ex4d_take"] for s in strips if s.get("ex4d_view", False) == view]
    return files.numbered(shot / f"{word}s", word, max(listed + shown, default=0))


def free_channel(scene: bpy.types.Scene, start: int, end: int) -> int:
    """The lowest channel of the sequencer without a strip in the scene frames [start, end)."""
    taken = set()
    for strip in compat.strips(scene):
        first, last = compat.strip_range(strip)
        if first < end and start < last:
            taken.add(strip.channel)
    return next(channel for channel in range(1, 1000) if channel not in taken)


def insert_strip(scene: bpy.types.Scene, name: str, movie: Path, start: int, frames: int) -> compat.Strip:
    """Put a movie of `frames` frames on a free channel at scene frame `start`.

    Raises:
        InputError: Blender reads another number of frames from the movie.
    """
    channel = free_channel(scene, start, start + frames)
    strip = compat.new_movie_strip(scene, name, movie, channel, start)
    strip.filepath = files.as_blender_writes(movie)
    first, end = compat.strip_range(strip)
    if (first, end) != (start, start + frames):
        compat.strips(scene).remove(strip)
        read = count(end - first, "frame")
        raise InputError(f"Blender reads {read} from {movie.name} instead of {frames}: take it again.")
    compat.show_in_sequencer(scene, compat.empty_sequencers())
    return strip


def show_in_new_workspaces() -> None:
    """Let a workspace that was added after the last take, such as *Video Editing*, show the takes as well."""
    new = [workspace for workspace in compat.empty_sequencers() if not compat.is_filled(workspace)]
    if new and (scene := next((s for s in (bpy.context.scene, *bpy.data.scenes) if s and s.ex4d.takes), None)):
        compat.show_in_sequencer(scene, new)


def request_take(scene: bpy.types.Scene, preview: bool) -> TakeRequest:
    """Read the chosen camera and write its path to a file; what `prepare` needs.

    Raises:
        InputError: see `camera.sample`.
    """
    path, facts, file = camera.sample(scene), scene.ex4d, _new_path_file(scene)
    camera_path.save(file, path)
    return TakeRequest(
        scene=scene.name,
        shot=facts.shot,
        path=str(file),
        source=facts.source,
        files=facts.input_files,
        generator=facts.generator,
        seed=facts.seed,
        fps=str(rate_of(scene)),
        quality=facts.quality,
        model_size=facts.model_size,
        keep_source=facts.keep_source,
        preview=preview,
        scene_uid=scene.session_uid,
    )


def request_again(scene: bpy.types.Scene, number: int, quality: QualityName | None = None) -> TakeRequest:
    """What made a take, to make it once more; `quality` asks for the EX-4D model at that quality instead.

    Raises:
        InputError: files of the take are gone or damaged.
        ProtocolError: another version made the take.
    """
    folder, facts, file = take_folder(scene, number), scene.ex4d, _new_path_file(scene)
    if folder is None:
        raise InputError("The shot of this take is not in the scene any more: undo until it is.")
    record = take.read_record(folder / take.SIDECAR)
    job = from_plain(Generate, record.job, f"The record of take {number:03d}")
    camera_of(scene, number)  # says what is wrong with the file
    shutil.copyfile(folder / take.CAMERA, file)
    return TakeRequest(
        scene=scene.name,
        shot=facts.shot,
        path=str(file),
        source=json.dumps(to_plain(job.source)),
        files=facts.input_files,
        generator="wan" if quality else record.generator,
        seed=job.seed,
        fps=job.fps or str(rate_of(scene)),
        quality=quality or job.quality,
        model_size=job.model_size,
        keep_source=job.keep_source,
        scene_uid=scene.session_uid,
    )


def _new_path_file(scene: bpy.types.Scene) -> Path:
    """Where a camera path waits until its take is made."""
    folder = files.user_shots().parent / "paths"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{scene.ex4d.shot}_{secrets.token_hex(8)}.npz"


def prepare(request: TakeRequest) -> Steps:
    """Hash the camera file; returns the request that knows it, and the job."""
    (blob,) = yield from hash_files([Path(request.path)])
    source = from_plain(Source, json.loads(request.source), "source")
    request = replace(request, files={**request.files, blob.sha256: request.path})
    if request.preview:
        return request, Preview(source, blob)
    return request, Generate(
        source,
        blob,
        generator=request.generator,
        quality=request.quality,
        model_size=request.model_size,
        keep_source=request.keep_source,
        seed=request.seed,
        fps=request.fps,
    )


def bring_in(request: TakeRequest, update: Any) -> Steps:
    """Number the result, keep its files, insert its strip, and list it."""
    yield ("Adding Take", 0, 1)
    scene = objects.scene_of(request)
    facts = scene.ex4d
    shot = facts.folder if facts.shot == request.shot else None
    if shot is None:
        raise InputError("The shot of this take is not in the scene any more: undo until it is, then take it again.")
    number, folder = new_folder(scene, shot, request.preview)
    try:
        # The server's camera file says the same, rounded; the job was run from ours, to the bit.
        placed = files.bring(update.files, folder) | files.bring({take.CAMERA: Path(request.path)}, folder)
        title, strip = _insert(scene, request, update, number, placed)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    strip["ex4d_camera"] = str(placed[take.CAMERA].relative_to(shot))
    compat.select_only(scene, strip)
    entry = facts.takes.add()
    entry.number, entry.view, entry.title, entry.name = number, request.preview, title, title
    entry.made = "" if request.preview else _made_by(request, update.facts)
    facts.take_index = len(facts.takes) - 1
    coverage, known = update.facts["coverage"], facts.notes.splitlines()
    said = (
        f"{title} is in the sequencer: {100 * sum(coverage) / len(coverage):.0f}% of the picture is real,"
        f" {100 * min(coverage):.0f}% in the worst frame."
    )
    return " ".join([said, *(note for note in update.facts.get("notes", ()) if note not in known)])


def _insert(
    scene: bpy.types.Scene, request: TakeRequest, update: Any, number: int, placed: dict[str, Path]
) -> tuple[str, compat.Strip]:
    """The strip of a take, with what made it in its custom properties, and the take's title."""
    if request.preview:
        title, movie, generator, is_preview = f"View {number:03d}", take.COLOUR, "conditioning", True
    else:
        generator, is_preview = update.facts["generator"], update.facts["is_preview"]
        made_by = "preview" if is_preview else update.facts.get("quality", "")
        title, movie = f"Take {number:03d}" + (f" ({made_by})" if made_by else ""), take.RESULT
    frames = len(update.facts["coverage"])
    strip = insert_strip(scene, f"EX-4D {title}", placed[movie], scene.ex4d.start, frames)
    strip["ex4d_take"], strip["ex4d_shot"], strip["ex4d_job"] = number, request.shot, update.job_id
    strip["ex4d_generator"], strip["ex4d_seed"], strip["ex4d_fps"] = generator, request.seed, request.fps
    strip["ex4d_is_preview"], strip["ex4d_source"] = is_preview, request.source
    strip["ex4d_quality"], strip["ex4d_model_size"] = update.facts.get("quality", ""), request.model_size
    strip["ex4d_keep_source"] = request.keep_source
    strip["ex4d_view"], strip["ex4d_coverage"] = request.preview, update.facts["coverage"]
    return title, strip


def _made_by(request: TakeRequest, facts: Mapping[str, Any]) -> str:
    """Generator and settings of a take, for people."""
    words = ["Preview"] if facts["is_preview"] else ["EX-4D model", facts.get("quality", ""), request.model_size]
    words += [f"seed {request.seed}", "" if request.keep_source else "source not kept"]
    made = ", ".join(word for word in words if word)
    about = facts.get("depth", {})
    estimator = estimators().get(about.get("provider", ""))
    if estimator is None or (estimator.name != plane.NAME and estimator.commercial):
        return made
    if estimator.name == plane.NAME:
        return f"{made}. {plane.NOTE} Its licence: {about['licence']}."
    return f"{made}. The depth is by {estimator.title}. {about['licence']}"


def strip_of(scene: bpy.types.Scene, number: int, view: bool = False) -> compat.Strip | None:
    """The strip of a take or view of the scene's shot, or None when it was deleted."""
    shot = scene.ex4d.shot
    for strip in compat.all_strips(scene):
        same = strip.get("ex4d_take") == number and strip.get("ex4d_view", False) == view
        if same and strip.get("ex4d_shot") == shot:
            return strip
    return None


def camera_of(scene: bpy.types.Scene, number: int, view: bool = False) -> CameraPath:
    """The camera path of a take or view.

    Raises:
        InputError: its files are gone.
    """
    folder, facts = take_folder(scene, number, view), scene.ex4d
    if folder is None or not (folder / take.CAMERA).is_file():
        raise InputError(
            f"The camera of {'view' if view else 'take'} {number:03d} is gone: its folder has no {take.CAMERA}."
        )
    return camera_path.load(folder / take.CAMERA, facts.frames, facts.width, facts.height)


def rates_differ(scene: bpy.types.Scene) -> Fraction | None:
    """The scene's rate when it is not the clip's."""
    rate = rate_of(scene)
    return rate if rate != scene.ex4d.fraction else None
