"""Opening a clip: preparing the job for the server, and making the shot from its result."""

import json
import math
import re
import secrets
import shutil
from collections.abc import Generator, Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ex4d.depth.lens import ASSUMED, GOES_ON
from ex4d.errors import InputError
from ex4d.frame_numbers import renumbered
from ex4d.geometry.depth_video import open_depth
from ex4d.geometry.light_mesh import LightMesh, thinned
from ex4d.pipeline.hashing import Hasher, KnownFiles, as_it_is
from ex4d.pipeline.pictures import depth_for, shown_by
from ex4d.pipeline.requests import Reconstruct, Source, safe_name
from ex4d.pipeline.settings import SourceSettings
from ex4d.plain import PlainError, from_plain, to_plain
from ex4d.schema import build
from ex4d.source_camera.found import MOVES
from ex4d.storage.names import DEPTH_ENDINGS
from ex4d.storage.npz import open_arrays
from ex4d.storage.sequence import PictureSequence, depth_pictures_at, is_sequence, sequence_at

from .. import translations
from ..scene import axes, camera, cg, framing, going_along, mesh_object, motion, moving_tint, objects, points_object
from ..shot import files, follow, matching, part
from ..words import capitalised
from ..work.capabilities import FILE
from ..work.pace import SOUGHT
from ..work.requests import OpenRequest

Steps = Generator[tuple[str, int, int], None, Any]
"""Work split into steps of a few milliseconds: yields stage, step and steps, and returns its result."""

PART = ("start", "frames", "step", "longest_side", "fps", "gaps")
"""Settings that determine which frames of a clip are used and how they are read."""

FARTHER = 1.25
"""Ratio of new to old distances from which a keyed move looks different after the clip is opened again."""


def new_shot(clip: Path) -> str:
    """A unique name for the shot's folder."""
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '_', clip.stem)[:40] or 'clip'}_{secrets.token_hex(4)}"


def read_source(text: str) -> Source:
    """Parse the source that a scene or a request stores.

    Raises:
        InputError: the text is damaged.
    """
    try:
        return from_plain(Source, json.loads(text), "source")
    except (ValueError, PlainError):
        raise InputError(translations.word(part.DAMAGED)) from None


def depth_files(path: Path, clip: PictureSequence | None) -> list[Path]:
    """A single depth file, or the images of a folder, or of the sequence that one image stands for, in order.

    Raises:
        InputError: the path does not exist, or the folder contains no images.
    """
    if path.is_file() and path.suffix.lower() not in DEPTH_ENDINGS:
        return [path]
    if not path.exists():
        raise InputError(translations.told("There is no depth {path}: choose another file.", path=path))
    found = depth_pictures_at(path, alone=clip is not None and len(clip.files) == 1)
    if not found:
        raise InputError(translations.told("The folder {path} holds no images: choose another depth.", path=path))
    return found


def hash_files(paths: list[Path], known: KnownFiles | None = None) -> Steps:
    """Hash files, a chunk at a time; returns their blobs.

    Args:
        paths: the files.
        known: files hashed before, which are not read again; files in `paths` are added.
    """
    blobs = []
    for number, path in enumerate(paths):
        at = as_it_is(path)
        if known is not None and at in known:
            blobs.append(known[at])
            continue
        hasher = Hasher(path)
        try:
            while not hasher.step():
                yield ("Reading Files", number, len(paths))
        finally:
            hasher.close()
        blobs.append(hasher.blob)
        if known is not None and as_it_is(path) == at:
            known[at] = hasher.blob
    return blobs


def mask_files(mask: str) -> list[Path]:
    """A mask's file, or the images of a folder in order; empty if `mask` is "".

    Raises:
        InputError: the mask does not exist.
    """
    if not mask:
        return []
    path = Path(mask)
    if not path.exists():
        raise InputError(
            translations.told(
                "There is no mask {path}: choose another file as Mask of What Moves, or leave it empty.", path=path
            )
        )
    return list(sequence_at(path).files) if path.is_dir() else [path]


def plate_files(plate: str) -> list[Path]:
    """A clean plate's file, or the images of a folder in order; empty if `plate` is "".

    Raises:
        InputError: the clean plate does not exist.
    """
    if not plate:
        return []
    path = Path(plate)
    if not path.exists():
        raise InputError(
            translations.told(
                "There is no clean plate {path}: choose another file as Clean Plate, or leave it empty.", path=path
            )
        )
    return list(sequence_at(path).files) if path.is_dir() else [path]


def clip_files(clip: Path, settings: SourceSettings) -> list[Path]:
    """The files of a clip that a job needs: the video, or the used images of a sequence.

    Raises:
        InputError: the folder contains no images.
    """
    if not is_sequence(clip):
        return [clip]
    pictures = sequence_at(clip)
    return [pictures.files[number] for number in np.unique(shown_by(pictures.numbering, settings))]


def prepare(request: OpenRequest) -> Steps:
    """Hash the files of a clip, only the used ones of an image sequence; returns the request with them, and the job.

    Raises:
        InputError: a file does not exist.
    """
    clip, settings = Path(request.clip), build(SourceSettings, request.settings)
    if not clip.exists():
        raise InputError(translations.told("There is no clip {clip}: choose another file.", clip=clip))
    pictures = sequence_at(clip) if is_sequence(clip) else None
    clips = clip_files(clip, settings)
    depths = depth_files(Path(request.depth), pictures) if request.depth else []
    if pictures is not None:
        depths = depth_for(depths, pictures.numbering, settings) if len(depths) > 1 else depths
    masks = mask_files(request.moving)
    paths = [*clips, *depths, *masks, *(Path(file) for file in (request.camera, request.standing) if file)]
    blobs = yield from hash_files(paths)
    known = {blob.sha256: str(path) for blob, path in zip(blobs, paths, strict=True)}
    in_order = iter(blobs)
    source = Source(
        clip=tuple(islice(in_order, len(clips))),
        depth=tuple(islice(in_order, len(depths))),
        moving=tuple(islice(in_order, len(masks))),
        camera=next(in_order) if request.camera else None,
        standing=next(in_order) if request.standing else None,
        settings=settings,
        folder=safe_name(clips[0].parent.name) if pictures else None,
        numbering=pictures.numbering if pictures else None,
    )
    if request.standing and not _shows_the_same(source, read_source(request.standing_source)):
        source = replace(source, standing=None)
        note = translations.told(
            "The depth of all frames was estimated again: {clip} has changed since it was opened.", clip=clip.name
        )
        request = replace(request, standing="", notes="\n".join(filter(None, (request.notes, note))))
    return replace(request, source=json.dumps(to_plain(source)), files=known), Reconstruct(source, request.again)


def _shows_the_same(now: Source, then: Source) -> bool:
    """Whether files of the same name have the same content in two sources."""
    known = {blob.name: blob.sha256 for blob in then.clip}
    return all(known.get(blob.name, blob.sha256) == blob.sha256 for blob in now.clip)


def bring_in(request: OpenRequest, update: Any) -> Steps:
    """Make or update the shot from a finished `reconstruct` job: files and caches first, then all objects at once.

    If stopped early, the new files are removed and the scene is unchanged. The scene is looked up after the last step,
    because an undo between two steps would invalidate a reference to it.
    """
    shot = _folder_of(request)
    folder = files.numbered(shot / files.AGAIN, "again")[1] if shot.exists() else shot
    folder.mkdir(parents=True, exist_ok=True)
    try:
        placed = files.bring(update.files, folder)
        if motion.is_recording(request.camera) and Path(request.camera).is_file():
            kept = files.bring({"tracked_camera.npz": Path(request.camera)}, folder)["tracked_camera.npz"]
            known = {sha: str(kept) if path == request.camera else path for sha, path in request.files.items()}
            request = replace(request, files=known)
        request = yield from _with_depth(request, placed)
        mesh = yield from write_mesh(folder, objects.scene_of(request).ex4d.detail, _poses(placed))
        shot, before = _folder_of(request), shot
        if shot != before and folder != before:  # the file was saved in the meantime, and its shots were brought along
            target = shot / folder.relative_to(before)
            shutil.rmtree(target, ignore_errors=True)  # an incomplete copy
            files.link_or_copy(folder, target)
            folder = target
        scene = objects.scene_of(request)
        said = _stand_up(scene, request, update.facts, mesh, folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return said


def _folder_of(request: OpenRequest) -> Path:
    """The folder of the shot's files, whether it exists yet or not."""
    facts = objects.scene_of(request).ex4d
    standing = facts.folder if facts.shot == request.shot else None
    return standing or files.shots_folder(bpy.data.filepath) / request.shot


def _with_depth(request: OpenRequest, placed: dict[str, Path]) -> Steps:
    """The request with the resulting depth, including its lens, as its depth file, and with the found camera and mask.

    So takes are made with what the viewport shows, whatever models the server gains or loses.
    """
    depth, camera, moving = (placed.get(name) for name in ("depth.npz", "source_camera.npz", moving_tint.MOVING))
    assert depth is not None
    (blob,) = yield from hash_files([depth])
    known = {**request.files, blob.sha256: str(depth)}
    source = read_source(request.source)
    old = source.settings
    # Drop settings for reading, estimating or changing depth, and the lens: the file now contains the result.
    part = {name: getattr(old, name) for name in PART}
    scale = old.camera_scale
    if old.camera_motion in SOUGHT and camera is not None:
        source, scale = replace(source, camera=None), None  # the result has the unit of the depth
    settings = SourceSettings(**part, estimator=FILE, depth_edges="off", camera_motion="file", camera_scale=scale)
    source = replace(source, depth=(blob,), settings=settings, moving=(), standing=None)
    if source.camera is None and camera is not None:
        (found,) = yield from hash_files([camera])
        source, known = replace(source, camera=found), {**known, found.sha256: str(camera)}
    if moving is not None:
        masks = yield from hash_files([moving])
        source, known = replace(source, moving=tuple(masks)), {**known, masks[0].sha256: str(moving)}
    return replace(request, source=json.dumps(to_plain(source)), files=known)


def standing_depth(facts: bpy.types.PropertyGroup) -> str:
    """The file with the depth of the open shot; "" if it is gone or incomplete."""
    try:
        known, (blob,) = facts.input_files, json.loads(facts.source)["depth"]
        depth, size = known.get(blob["sha256"], ""), blob["size"]
    except (ValueError, KeyError, TypeError):  # damaged, which is reported elsewhere
        return ""
    return depth if depth and Path(depth).is_file() and Path(depth).stat().st_size == size else ""


def write_mesh(folder: Path, detail: str, poses: NDArray[np.float64] | None) -> Steps:
    """Write the cache of the mesh for the depth in `folder`; returns the mesh.

    Args:
        folder: folder of an opening of the shot.
        detail: viewport detail, a choice of `ClipChoices.detail`.
        poses: (T,4,4) of the clip's own camera; None if it was still.

    Raises:
        InputError: the depth is missing or damaged, or the cache cannot be written.
    """
    with open_depth(folder / mesh_object.DEPTH) as depth:
        frames, height, width = depth.shape
        reading = thinned(depth, mesh_object.step_of(detail, width, height), poses)
        while True:
            try:
                yield ("Reading Depth", next(reading), frames)
            except StopIteration as end:
                mesh = end.value
                break
    for done in mesh_object.write_pc2(folder / mesh_object.cache_name(mesh.step), mesh):
        yield ("Writing Mesh", done, frames)
    return mesh


def _poses(placed: dict[str, Path]) -> NDArray[np.float64] | None:
    """Poses (T,4,4) of the clip's own camera, in the unit of the depth; None if it was still."""
    path = placed.get("source_camera.npz")
    if path is None:
        return None
    with open_arrays(path, "camera file") as arrays:
        return arrays.read("camera_to_world")


def _points(folder: Path) -> NDArray[np.float64]:
    """Points (M,3) from the camera search, in library axes; empty if there was none."""
    path = folder / "source_camera.npz"
    if not path.is_file():
        return np.zeros((0, 3))
    with open_arrays(path, "camera file") as arrays:
        return arrays.read("points") if "points" in arrays.headers else np.zeros((0, 3))


def _stand_up(scene: bpy.types.Scene, request: OpenRequest, job: dict, mesh: LightMesh, folder: Path) -> str:
    """Make all objects of a new shot, or update those of the scene's shot; returns a message for the artist.

    An existing shot keeps its place, its camera with its keys, its takes and its material.
    """
    facts = scene.ex4d
    was, earlier = follow.before(facts) if facts.shot == request.shot else None, len(facts.takes)
    stood = was is not None
    start = json.loads(request.source)["settings"]["start"]
    first = part.scene_frame(facts, start) if stood else scene.frame_start
    part.check_room(first, len(mesh))
    if not stood:
        cg.remove(scene)
    facts.start = first
    plate = _plate_of_before(facts, request)
    _write_facts(scene, request, job, mesh, stood)
    root = objects.find(scene, objects.ROOT)
    if root is None:
        root = objects.make(scene, objects.ROOT, "EX-4D Source", None, None)
        objects.adopt(scene, root)
    root.empty_display_size = facts.radius / 10
    moved, old = "", None
    if was is not None:
        follow.takes_stay(facts, was)
        follow.scene_follows(scene, was)
        old = follow.old_world(facts, was)
        moved = follow.world_stays(scene, old, root)
        camera.place_source(scene, root)
        camera.follow_lens(scene, was.lens, was.size)
    else:
        facts.takes.clear()
        camera.make_cameras(scene, root)
    mesh_object.stand(scene, mesh, folder, root)
    moving_tint.stand(scene, movie if (movie := folder / moving_tint.MOVING).is_file() else None)
    points_object.stand(scene, root, _points(folder))
    points_object.stand_path(scene, root)
    see_all(scene)
    went = ""
    if was is not None and old is not None and request.settings.get("camera_motion") in SOUGHT:
        went = going_along.go_along(scene, was.start, old @ was.poses)
    if request.only_camera:
        return " ".join(filter(None, (request.said, *facts.camera_notes.splitlines(), went)))
    name, frames = Path(request.clip).name, capitalised(part.told(part.opened(facts), facts.clip_frames))
    size = " " + translations.told(
        "{frames}, {width}x{height} px.", frames=frames, width=facts.width, height=facts.height
    )
    if was is not None:
        told = _ratio(facts.radius / was.radius)
        told += _still_scaled(root) if told or facts.depth.get("scale") != was.unit else ""
        now = size if part.opened(facts) != was.part else ""
        unchanged = (
            " " + f"{translations.told('Takes are unchanged.')} {went}"
            if went
            else " " + translations.told("The camera and takes are unchanged.")
        )
        return translations.told("{name} is open again.", name=name) + now + unchanged + told + moved
    objects.hide_other_shots(scene)
    looks = matching.colours(scene, request.match_scene)
    if request.match_scene:
        matching.match_scene(scene)
        matching.show_footage(window.workspace for window in bpy.context.window_manager.windows)
        if (area := framing.view_to_use(request.viewport)) is not None:
            framing.frame_shot(scene, area)
    cube = objects.hide_factory_cube(scene) if request.match_scene else ""  # otherwise a warning offers to hide it
    return (
        translations.told("{name} is open.", name=name)
        + size
        + (
            " " + translations.told("Open more of it under Frames and Size.")
            if facts.frames < facts.clip_frames
            else ""
        )
        + looks
    ) + (
        (" " + translations.told("{cube} surrounded the camera and is now hidden.", cube=cube) if cube else "")
        + (
            " " + translations.told("The earlier shot is hidden; its takes stay in the sequencer and in its folder.")
            if earlier
            else ""
        )
        + plate
    )


def _plate_of_before(facts: bpy.types.PropertyGroup, request: OpenRequest) -> str:
    """Clear the clean plate if it belongs to another clip than the request's; returns a message for the artist."""
    if not facts.plate_path or facts.opened in ("", request.clip):
        return ""
    name, facts.plate_path = bpy.path.basename(facts.plate_path.rstrip("/\\")), ""
    return " " + translations.told(
        "The clean plate {plate} was cleared: it belongs to the clip that was open before.", plate=name
    )


def _write_facts(scene: bpy.types.Scene, request: OpenRequest, job: dict, mesh: LightMesh, stood: bool) -> None:
    facts = scene.ex4d
    known = json.loads(facts.inputs) if stood else {}  # inputs of earlier takes, for Take Again
    depth = standing_depth(facts) if stood else ""
    facts.source, facts.inputs = request.source, json.dumps({**known, **request.files})
    facts.shot, facts.clip_path, facts.opened = request.shot, request.clip, request.clip
    facts.owner = str(scene.session_uid)
    facts.asked = request.asked
    if not depth or request.depth != depth:  # otherwise it is part of the previous depth
        facts.depth_found = request.depth
    facts.take_settings(request.before, json.loads(request.asked or "[]"))
    if not request.only_camera:
        facts.depth_made = json.dumps(job.get("depth", {}))
    (facts.height, facts.width), facts.frames = mesh.size, len(mesh)
    facts.rate = str(Fraction(job["fps"]))
    for name in ("clip_frames", "clip_width", "clip_height"):
        setattr(facts, name, job.get(name, 0))
    part.show(facts)
    k, poses = mesh.intrinsics, mesh.source_to_world
    facts.lens = json.dumps(k[0].tolist())
    facts.zoom = "" if (k == k[0]).all() else json.dumps(k.tolist())
    facts.path = "" if (poses == np.eye(4)).all() else json.dumps(poses.tolist())
    facts.radius = mesh.pivot
    facts.reach = mesh.shell + float(np.linalg.norm(poses[:, :3, 3], axis=-1).max())
    if request.only_camera:
        tell_of_search(facts, job.get("notes", ()))
        return
    notes = [*job.get("notes", ()), *request.notes.splitlines()]
    facts.notes, facts.camera_notes = "\n".join(renumbered(note, facts.start) for note in notes), ""


def tell_of_search(facts: bpy.types.PropertyGroup, notes: Iterable[str]) -> None:
    """Replace the notes of an earlier camera search by those of a new one.

    Notes on the clip and its depth are kept, except one on an assumed lens that is now known.
    """
    told, earlier = [renumbered(note, facts.start) for note in notes], facts.camera_notes.splitlines()
    moves = [note for note in facts.notes.splitlines() if note.startswith(MOVES)]  # its unit may be another now
    gone = {ASSUMED, GOES_ON, *earlier, *moves} - {note for note in told if note not in earlier}
    stays = [note for note in facts.notes.splitlines() if note not in gone]
    new = [note for note in told if note not in stays]
    facts.notes, facts.camera_notes = "\n".join([*stays, *new]), "\n".join(new)


def _ratio(ratio: float) -> str:
    """A message for when the same clip has other distances than before, with their ratio; "" for a small change."""
    if 1 / FARTHER < ratio < FARTHER:
        return ""
    return " " + translations.told(
        "The nearest surface is {ratio:.2g} times as far away as before, so the same camera move looks different.",
        ratio=ratio,
    )


def _still_scaled(root: bpy.types.Object) -> str:
    """A message for when Set Scale was used and distances have changed; "" if the root is not scaled."""
    scale = max(abs(value) for value in root.scale)
    if math.isclose(scale, 1, rel_tol=1e-4):
        return ""
    return " " + translations.told(
        "{name} is still scaled by {scale:.4g}: set its scale to 1 to see the original distances.",
        name=root.name,
        scale=scale,
    )


def see_all(scene: bpy.types.Scene) -> None:
    """Widen the clipping ranges of the shot's cameras and the 3D Views to the whole shot; never narrows them."""
    facts, root = scene.ex4d, objects.find(scene, objects.ROOT)
    scale = max(abs(value) for value in root.scale)
    for thing in (objects.find(scene, objects.SOURCE_CAMERA), objects.find(scene, objects.CAMERA), facts.camera):
        if thing is not None:
            camera.see_all(thing.data, facts, scale)
    for space in _views():
        space.clip_end = max(space.clip_end, facts.reach * scale * 4)


def _views() -> list[bpy.types.SpaceView3D]:
    return [a.spaces.active for screen in bpy.data.screens for a in screen.areas if a.type == "VIEW_3D"]


def set_scale(scene: bpy.types.Scene, distance: float) -> float:
    """Scale the shot so that the 3D cursor's point is `distance` from the current frame's source camera.

    The cursor moves along, so that it still marks the same point. Returns the scale factor.

    Raises:
        InputError: there is no shot, its root was deleted or is scaled to zero, or the cursor is at the source camera.
    """
    facts, root = scene.ex4d, objects.find(scene, objects.ROOT)
    camera.frame_facts(scene)
    if root is None:
        raise InputError(
            translations.told("EX-4D Source was deleted: press Undo until it is back, or open the clip again.")
        )
    to_world = camera.with_size(root)
    pose = axes.pose_to_blender(facts.poses[facts.frame_of(scene.frame_current)])
    eye, cursor = (to_world @ pose)[:3, 3], np.array(scene.cursor.location)
    found = float(np.linalg.norm(cursor - eye))
    if found < 1e-3 * facts.radius * np.linalg.norm(to_world[:3, 0]):
        raise InputError(
            translations.told(
                "The 3D cursor is at the source camera: put it on something in the mesh whose distance you"
                " know (Shift and the right mouse button)."
            )
        )
    factor = distance / found
    root.scale *= factor
    scene.cursor.location = to_world[:3, 3] + factor * (cursor - to_world[:3, 3])
    see_all(scene)
    return factor
