"""Takes: requests for them, and their strips, files and list entries. Nothing is ever overwritten."""

import json
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import bpy

from ex4d.errors import InputError
from ex4d.frame_numbers import renumbered
from ex4d.geometry import camera_path
from ex4d.geometry.camera_path import CameraPath
from ex4d.jobs.messages import Capabilities
from ex4d.pipeline import take
from ex4d.pipeline.hashing import KnownFiles, blob_of
from ex4d.pipeline.requests import EarlierTake, Generate, Preview
from ex4d.pipeline.settings import GenerateSettings, RenderSettings
from ex4d.plain import from_plain, to_plain

from .. import translations
from ..scene import bystanders, camera, comparison, compat, objects
from ..shot import earlier, files, follow, options, part, placed_plate
from ..shot.matching import rate_of
from ..shot.source import Steps, hash_files, plate_files, read_source
from ..words import count
from ..work import capabilities
from ..work.requests import TakeRequest

VIEW_BEGINS = "view.json"
"""File in the folder of a path preview with the first frame of the clip that it shows, counted from 0."""


def take_folder(scene: bpy.types.Scene, number: int, view: bool = False) -> Path | None:
    """Folder of a take, or of a view (the result of Preview Path); None without a shot."""
    word, folder = "view" if view else "take", scene.ex4d.folder
    return folder and folder / f"{word}s" / f"{word}_{number:03d}"


def new_folder(scene: bpy.types.Scene, shot: Path, view: bool) -> tuple[int, Path]:
    """Make the folder for a take or view with the next free number, at once; returns number and folder.

    A number is free if no folder, list entry or strip of the shot has it.
    """
    word, facts = "view" if view else "take", scene.ex4d
    listed = [entry.number for entry in facts.takes if entry.view == view]
    strips = [s for s in compat.all_strips(scene) if s.get("ex4d_shot") == facts.shot]
    shown = [s["ex4d_take"] for s in strips if s.get("ex4d_view", False) == view]
    return files.numbered(shot / f"{word}s", word, max(listed + shown, default=0))


def title_of(number: int, view: bool = False, level: str = "") -> str:
    """The initial title of a take or view; `level` says how well it is made."""
    named = f"{'Path Preview' if view else 'Take'} {number:03d}"
    return f"{named} ({level})" if level else named


def free_channel(scene: bpy.types.Scene, start: int, end: int) -> int:
    """The lowest channel of the sequencer without strips in scene frames [start, end)."""
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
        raise InputError(
            translations.told(
                "Blender reads {read} from {file} instead of {frames}: take it again.",
                read=read,
                file=movie.name,
                frames=frames,
            )
        )
    compat.show_in_sequencer(scene, compat.empty_sequencers())
    return strip


def keep_rendering_the_scene(scene: bpy.types.Scene) -> str:
    """Before a scene's first strip, which would make F12 render strips, keep it rendering the camera's view.

    If there are strips already, their editor has decided. Returns a message for the artist.
    """
    if compat.all_strips(scene) or not scene.render.use_sequencer:
        return ""
    scene.render.use_sequencer = False
    return translations.told(
        "F12 still renders the scene: turn on Sequencer under Post Processing in the Output properties for strips."
    )


def show_in_new_workspaces() -> None:
    """Show the takes in workspaces added after the last take, such as *Video Editing*."""
    new = [workspace for workspace in compat.empty_sequencers() if not compat.is_filled(workspace)]
    if new and (scene := next((s for s in (bpy.context.scene, *bpy.data.scenes) if s and s.ex4d.takes), None)):
        compat.show_in_sequencer(scene, new)


def request_take(scene: bpy.types.Scene, preview: bool, server: Capabilities | None = None) -> TakeRequest:
    """Sample the chosen camera, write its path to a file, and return the request for `prepare`.

    Args:
        scene: with the shot.
        preview: whether to make only a path preview.
        server: the server's capabilities, if known.

    Raises:
        InputError: see `camera.sample`, `read_source` and `earlier.check`, or the generator does not accept a setting.
    """
    facts = scene.ex4d
    if facts.shot and facts.folder is None:
        raise InputError(
            translations.told("The video of the shot was removed from the file: press Open Again to restore it.")
        )
    read_source(facts.source)  # check it before anything is written or sent
    generation = GenerateSettings(
        generator=facts.generator_name,
        seed=facts.seed,
        keep_source=facts.keep_source,
        lead_in=facts.lead_in,
        result_size=facts.result_size,
        master=facts.master,
        fps=str(rate_of(scene)),
        options=options.for_job(facts, server),
    )
    path, file = camera.sample(scene), new_path_file()
    camera_path.save(file, path)
    return TakeRequest(
        scene=scene.name,
        shot=facts.shot,
        path=str(file),
        source=facts.source,
        files=facts.input_files,
        generation=to_plain(generation),
        render=to_plain(RenderSettings(persistence=facts.persistence)),
        preview=preview,
        scene_uid=scene.session_uid,
        seen=scene.frame_current,
        camera=camera.path_camera(scene).name,
        bystanders="" if preview else bystanders.told(scene, path),
        plate=bpy.path.abspath(facts.plate_path) if uses_plate(facts) else "",
        earlier=_earlier(scene),
    )


def uses_plate(facts: bpy.types.PropertyGroup) -> bool:
    """Whether takes use a clean plate: one is chosen, and Other Frames is not off, which would leave it unused."""
    return bool(facts.plate_path) and facts.persistence != "off"


def _earlier(scene: bpy.types.Scene) -> str:
    """The folder of the chosen earlier take; "" if there is none, or if Other Frames is off.

    Raises:
        InputError: the take cannot be used.
    """
    facts = scene.ex4d
    number = earlier.chosen(facts)
    if not number or facts.persistence == "off":
        return ""
    entry = entry_of(facts, number)
    return earlier.check(facts, take_folder(scene, number), entry, entry.title if entry else title_of(number))


def request_again(
    scene: bpy.types.Scene,
    number: int,
    generator: str = "",
    changed: Mapping[str, Any] | None = None,
    server: Capabilities | None = None,
) -> TakeRequest:
    """The request to remake a take from its record.

    Args:
        scene: with the shot of the take.
        number: number of the take.
        generator: name of another generator; "" for the one that made the take.
        changed: settings of the generator to change.
        server: the server's capabilities, if known.

    Raises:
        InputError: files of the take are gone or damaged, its record cannot be read, or it was not made from a shot.
    """
    folder, facts = take_folder(scene, number), scene.ex4d
    if folder is None:
        raise InputError(
            translations.told("The shot of this take is no longer in the scene: press Undo until it is back.")
        )
    record = take.read_record(folder / take.SIDECAR)
    job = record.job
    if not isinstance(job, Generate):
        raise InputError(
            translations.told(
                "Take {number:03d} was made from colour and mask, not from a shot: it cannot be remade here.",
                number=number,
            )
        )
    camera_of(scene, number)  # reports what is wrong with the file
    taken = job.source.earlier
    if taken is not None and (folder / take.EARLIER_DEPTH).is_file():  # do not estimate it again
        taken = replace(taken, depth=blob_of(folder / take.EARLIER_DEPTH))
        job = replace(job, source=replace(job.source, earlier=taken))
    of_take = (taken.result, taken.camera) if taken is not None else ()
    others = {  # files that the shot does not know
        blob.sha256: take.place_of(record, folder, blob) for blob in (*job.source.plate, *of_take)
    }
    if taken is not None and taken.depth is not None:
        others[taken.depth.sha256] = folder / take.EARLIER_DEPTH
    file = new_path_file()
    shutil.copyfile(folder / take.CAMERA, file)
    return TakeRequest(
        scene=scene.name,
        shot=facts.shot,
        path=str(file),
        source=json.dumps(to_plain(job.source)),
        files={**facts.input_files, **{sha256: str(place) for sha256, place in others.items() if place is not None}},
        generation=to_plain(_generation_again(job.generation, record.generator, generator, changed or {}, server)),
        render=to_plain(job.render),
        scene_uid=scene.session_uid,
        seen=scene.frame_current,
        camera=entry.camera if (entry := entry_of(facts, number)) is not None else "",
    )


def _generation_again(
    then: GenerateSettings, made_by: str, generator: str, changed: Mapping[str, Any], server: Capabilities | None
) -> GenerateSettings:
    """The settings to remake a take that a generator, `made_by`, made, with or without changes.

    If the server chose the generator then and would choose another now, the former is requested by name: a preview
    instead of a model's take would be a different take.
    """
    if not generator and not changed:
        today = capabilities.generator_for(then.generator, server).info if server is not None else None
        stays = then.generator != capabilities.AUTO or (today is not None and today.name == made_by)
        return then if stays else replace(then, generator=made_by)
    name = generator or made_by
    return replace(then, generator=name, options={**then.options, name: {**then.of(name), **changed}})


def new_path_file() -> Path:
    """A new path for a camera path that waits for its take, named as in the take, because jobs include file names."""
    folder = files.paths_folder() / secrets.token_hex(8)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / take.CAMERA


def forget_path(request: TakeRequest) -> None:
    """Delete the camera path that waited for a take, but only where `new_path_file` places them."""
    path = Path(request.path)
    if not _waits_here(path):
        return
    path.unlink(missing_ok=True)
    with suppress(OSError):  # already moved into the take, and its folder removed
        path.parent.rmdir()


def _waits_here(path: Path) -> bool:
    """Whether a camera path was placed by `new_path_file`."""
    return path.name == take.CAMERA and files.lies_in(path.parent, files.paths_folder())


def _bring(request: TakeRequest, update: Any, folder: Path) -> dict[str, Path]:
    """Move the files of a take and its camera path into its folder; returns their new paths."""
    placed, path = files.bring(update.files, folder), Path(request.path)
    # The server's camera file is the same but rounded; keep ours, which the job was run from, to the bit.
    if _waits_here(path):
        return placed | files.bring({take.CAMERA: path}, folder)
    return placed | {take.CAMERA: Path(shutil.copyfile(path, folder / take.CAMERA))}


def prepare(request: TakeRequest, known_files: KnownFiles | None = None) -> Steps:
    """Hash the camera file, clean plate and earlier take; returns the request with them, and the job.

    Args:
        request: the take's request.
        known_files: see `hash_files`.

    Raises:
        InputError: the clean plate or the earlier take does not exist.
    """
    plates, taken = plate_files(request.plate), earlier.files_of(request.earlier)
    blob, *others = yield from hash_files([Path(request.path), *plates, *taken], known_files)
    plate, of_take = others[: len(plates)], others[len(plates) :]
    source = read_source(request.source)
    if plate:
        known = {one.sha256: str(file) for one, file in zip(plate, plates, strict=True)}
        source, request = replace(source, plate=tuple(plate)), replace(request, files={**request.files, **known})
        request = replace(request, source=json.dumps(to_plain(source)), plate="")
    if of_take:
        known = {one.sha256: str(file) for one, file in zip(of_take, taken, strict=True)}
        is_preview = take.read_record(Path(request.earlier) / take.SIDECAR).is_preview
        source = replace(source, earlier=EarlierTake(*of_take, is_preview=is_preview))
        request = replace(request, files={**request.files, **known}, earlier="")
        request = replace(request, source=json.dumps(to_plain(source)))
    render = from_plain(RenderSettings, request.render, "render")
    request = replace(request, files={**request.files, blob.sha256: request.path})
    if request.preview:
        return request, Preview(source, blob, render)
    generation = from_plain(GenerateSettings, request.generation, "generation")
    return request, Generate(source, blob, render=render, generation=generation)


def bring_in(request: TakeRequest, update: Any, server: Capabilities | None = None) -> Steps:
    """Number the result, keep its files, insert its strip, and list it; returns a message for the artist.

    Args:
        request: the take's request.
        update: the client's update with facts and files of the result.
        server: the server's capabilities, if known.

    Raises:
        InputError: the shot or the scene is gone, so that the files were kept but not listed, or Blender cannot read
            the movie.
    """
    yield ("Adding Take", 0, 1)
    plate = yield from placed_plate.hashed(update.files)
    scene = objects.find_scene(request)
    facts = scene.ex4d if scene is not None else None
    shot = facts.folder if facts is not None and facts.shot == request.shot else None
    if scene is None or facts is None or shot is None:
        raise InputError(_keep_on_disk(request, update))
    number, folder = new_folder(scene, shot, request.preview)
    made = _made_by(request, update.facts, server)
    try:
        placed = _bring(request, update, folder)
        _tell_inputs(folder, request, placed)
        rendered = keep_rendering_the_scene(scene)
        title, strip = _insert(scene, request, update, number, placed, made)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    strip["ex4d_camera"] = str(placed[take.CAMERA].relative_to(shot))
    comparison.rise(scene)
    compat.select_only(scene, strip)
    entry = facts.takes.add()
    entry.number, entry.view, entry.title, entry.name = number, request.preview, title, title
    entry.start, entry.frames = json.loads(request.source)["settings"]["start"], len(update.facts["coverage"])
    entry.pixels = update.facts.get("width", 0) * update.facts.get("height", 0)  # older servers do not report these
    entry.made, entry.generator, entry.quality = made.told, made.generator, made.quality
    entry.camera = request.camera
    follow.place(facts, entry)  # if this fails, no listed take shares this take's world
    facts.take_index = len(facts.takes) - 1
    placed_plate.keep(facts, request, plate)
    facts.own_objects_told |= bool(request.bystanders)
    coverage, known = update.facts["coverage"], facts.notes.splitlines()
    said = translations.told(
        "{title} is ready. It is in the sequencer: {invented}.", title=title, invented=invented(coverage)
    )
    notes = [renumbered(note, facts.start) for note in update.facts.get("notes", ())]
    new = [note for note in notes if note not in known]
    return " ".join(sentence for sentence in (said, *new, rendered, request.bystanders) if sentence)


def invented(coverage: Sequence[float]) -> str:
    """How much is invented, in words, if these fractions of the frames, 0 to 1, are real."""
    mean = sum(coverage) / len(coverage)
    return translations.told(
        "{part:.0f}% invented, {worst:.0f}% in the worst frame", part=100 * (1 - mean), worst=100 * (1 - min(coverage))
    )


def _keep_on_disk(request: TakeRequest, update: Any) -> str:
    """Keep a result whose shot was undone or whose scene was deleted; returns a message for the artist.

    It is stored with the other takes of the shot, so that *List from Disk* can bring it back.
    """
    gone = translations.told("The shot of this take is no longer in the scene")
    if objects.find_scene(request) is None:
        gone = translations.told("The scene that this was for is gone")
    shot = next((found for path in request.files.values() if (found := _shot_around(Path(path), request.shot))), None)
    if shot is None:
        return translations.told("{gone}, and its folder is gone: open the clip again, and take it again.", gone=gone)
    word = "view" if request.preview else "take"
    _number, folder = files.numbered(shot / f"{word}s", word)
    try:
        placed = _bring(request, update, folder)
        _tell_inputs(folder, request, placed)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if request.preview:
        kept = translations.told(
            "The path preview is kept in {folder}: press Undo or Redo until the shot is back, then press List from"
            " Disk.",
            folder=folder,
        )
    else:
        kept = translations.told(
            "The take is kept in {folder}: press Undo or Redo until the shot is back, then press List from Disk.",
            folder=folder,
        )
    return f"{gone}. {kept}"


def _shot_around(file: Path, shot: str) -> Path | None:
    """The existing folder of a shot that contains a file; None if the file is elsewhere."""
    return next((folder for folder in file.parents if folder.name == shot and folder.is_dir()), None)


def _tell_inputs(folder: Path, request: TakeRequest, placed: dict[str, Path]) -> None:
    """Write the paths of the take's input files into its record, for `ex4d again`; a server knows only their content.

    A view has no record, so only its first frame of the clip is stored.
    """
    if request.preview:
        begins = {"start": json.loads(request.source)["settings"]["start"]}
        (folder / VIEW_BEGINS).write_text(json.dumps(begins), encoding="utf-8")
    if take.SIDECAR not in placed:
        return
    record, kept = take.read_record(placed[take.SIDECAR]), str(placed[take.CAMERA])
    places = {sha: Path(kept if path == request.path else path) for sha, path in request.files.items()}
    take.write_record(placed[take.SIDECAR], take.with_inputs(record, folder, places))


@dataclass(frozen=True)
class _MadeBy:
    """How a take was made, for its title, list entry and strip; empty for a view.

    Attributes:
        generator: name of the generator.
        options: requested settings of the generator.
        quality: value of its setting of this name, if it has one.
        level: level for the title: the quality in words, or that it is a preview.
        told: generator and settings in words, and any caution about the depth.
    """

    generator: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    quality: str = ""
    level: str = ""
    told: str = ""


def _made_by(request: TakeRequest, facts: Mapping[str, Any], server: Capabilities | None) -> _MadeBy:
    if request.preview:
        return _MadeBy()
    name, generation = facts["generator"], request.generation
    chosen = generation.get("options", {}).get(name, {})
    used = {**chosen, **facts.get("settings", {})}
    # The words include only choices; numbers and texts are in the take's record.
    info = capabilities.find(name, server.generators) if server is not None else None
    shown = [setting.name for setting in info.settings if setting.kind == "choice"] if info is not None else ["quality"]
    words = [
        facts.get("title", name),
        *(options.told(info, choice, used[choice]) for choice in shown if used.get(choice)),
    ]
    words += [
        translations.told("seed {seed}", seed=generation["seed"]),
        *([] if generation["keep_source"] else [translations.told("source not kept")]),
    ]
    told = ", ".join(words) + _of_depth(facts.get("depth", {}), server)
    quality = str(used.get("quality") or "")
    level = "Preview" if facts["is_preview"] else options.told(info, "quality", quality) if quality else ""
    return _MadeBy(name, chosen, quality, level, told)


def _of_depth(about: Mapping[str, Any], server: Capabilities | None) -> str:
    """The caution about a take's depth: that it is a guess, or that its licence limits its use; "" if there is none."""
    if about.get("caution"):
        licence = translations.told("Its licence: {licence}.", licence=about["licence"])
        return f". {about['caution']} {licence}"
    estimator = capabilities.find(about.get("provider", ""), server.estimators) if server is not None else None
    if estimator is None or estimator.commercial:
        return ""
    said = translations.told("The depth is by {estimator}.", estimator=estimator.title)
    return f". {said} {about['licence']}"


def _insert(
    scene: bpy.types.Scene, request: TakeRequest, update: Any, number: int, placed: dict[str, Path], made: _MadeBy
) -> tuple[str, compat.Strip]:
    """Insert the strip of a take, with how it was made in custom properties; returns the take's title and the strip."""
    if request.preview:
        movie = take.VIEW if take.VIEW in placed else take.COLOUR  # servers of earlier versions make no tinted movie
        title, generator, is_preview = title_of(number, view=True), "conditioning", True
    else:
        generator, is_preview = made.generator, update.facts["is_preview"]
        title, movie = title_of(number, level=made.level), take.RESULT
    frames, generation = len(update.facts["coverage"]), request.generation
    start = part.scene_frame(scene.ex4d, json.loads(request.source)["settings"]["start"])
    strip = insert_strip(scene, f"EX-4D {title}", placed[movie], start, frames)
    strip["ex4d_take"], strip["ex4d_shot"], strip["ex4d_job"] = number, request.shot, update.job_id
    strip["ex4d_generator"], strip["ex4d_options"] = generator, json.dumps(dict(made.options))
    strip["ex4d_seed"], strip["ex4d_fps"] = generation["seed"], generation["fps"]
    strip["ex4d_is_preview"], strip["ex4d_source"] = is_preview, request.source
    strip["ex4d_quality"], strip["ex4d_keep_source"] = made.quality, generation["keep_source"]
    strip["ex4d_view"], strip["ex4d_coverage"] = request.preview, update.facts["coverage"]
    return title, strip


def strip_of(scene: bpy.types.Scene, number: int, view: bool = False) -> compat.Strip | None:
    """The strip of a take or view of the scene's shot; None if it was deleted."""
    shot = scene.ex4d.shot
    for strip in compat.all_strips(scene):
        same = strip.get("ex4d_take") == number and strip.get("ex4d_view", False) == view
        if same and strip.get("ex4d_shot") == shot:
            return strip
    return None


def strip_to_show(scene: bpy.types.Scene, entry: bpy.types.PropertyGroup) -> compat.Strip:
    """The strip of a listed take or view.

    Raises:
        InputError: the strip was deleted.
    """
    strip = strip_of(scene, entry.number, entry.view)
    if strip is None:
        raise InputError(
            translations.told(
                "The strip of {title} was deleted; its files are still in the shot's folder.", title=entry.title
            )
        )
    return strip


def camera_of(scene: bpy.types.Scene, number: int, view: bool = False) -> CameraPath:
    """The camera path of a take or view, in the current world of the shot, library axes.

    Raises:
        InputError: the camera file is gone or damaged.
    """
    folder, facts = take_folder(scene, number, view), scene.ex4d
    if folder is None or not (folder / take.CAMERA).is_file():
        raise InputError(
            translations.told(
                "The camera of {title} is gone: its folder has no {file}.",
                title=title_of(number, view),
                file=take.CAMERA,
            )
        )
    entry = entry_of(facts, number, view)
    frames = entry.frames if entry is not None and entry.frames else facts.frames
    path = camera_path.load(folder / take.CAMERA, frames, facts.width, facts.height)
    return path if entry is None else replace(path, camera_to_world=follow.placed(entry) @ path.camera_to_world)


def entry_of(facts: bpy.types.PropertyGroup, number: int, view: bool = False) -> bpy.types.PropertyGroup | None:
    """The list entry of a take or view; None if it is not listed."""
    return next((entry for entry in facts.takes if (entry.number, entry.view) == (number, view)), None)


def rates_differ(scene: bpy.types.Scene) -> Fraction | None:
    """The scene's frame rate if it differs from the clip's, else None."""
    rate = rate_of(scene)
    return rate if rate != scene.ex4d.fraction else None
