"""Finding a clip that was moved or renamed since it was opened, recognised by its content."""

import json
from pathlib import Path

import bpy

from ex4d.errors import InputError
from ex4d.pipeline.requests import Source
from ex4d.storage.names import CLIP_ENDINGS, beside, pictures_in

from ..scene import objects
from ..shot import source
from ..translations import told
from ..words import count
from ..work.requests import FindRequest


def is_lost(facts: bpy.types.PropertyGroup) -> bool:
    """Whether the shot's clip is no longer where it was when it was opened."""
    return bool(facts.shot and facts.opened) and not Path(facts.opened).exists()


def find(request: FindRequest) -> source.Steps:
    """Record the new place of the shot's clip; returns a message for the artist.

    Raises:
        InputError: the chosen clip does not exist or its content differs, or the shot is gone.
    """
    clip, facts = Path(request.clip), _facts(request)
    if not clip.exists():
        raise InputError(told("There is no clip {clip}: choose another file.", clip=clip))
    known, opened = json.loads(facts.source)["clip"], Path(facts.opened)
    files = _used_files(clip, source.read_source(facts.source))
    if len(files) != len(known):
        raise InputError(
            told(
                "{clip} is another clip: it has {files}, and the one that is open {known}.",
                clip=clip.name,
                files=count(len(files), "file"),
                known=len(known),
            )
        )
    # Files of different sizes differ without being read.
    sizes_differ = any(file.stat().st_size != blob["size"] for file, blob in zip(files, known, strict=True))
    blobs = yield from source.hash_files([] if sizes_differ else files)
    if [blob.sha256 for blob in blobs] != [blob["sha256"] for blob in known]:
        raise InputError(
            told(
                "{clip} is not the same file as {name}, which is open: its content differs. Choose the one that"
                " was moved, or press Open Clip to open this one as a new shot.",
                clip=clip.name,
                name=opened.name,
            )
        )
    facts = _facts(request)  # look up again: there may have been an undo
    places = {blob.sha256: str(file) for blob, file in zip(blobs, files, strict=True)}
    facts.inputs = json.dumps({**json.loads(facts.inputs or "{}"), **places})
    facts.opened = facts.clip_path = str(clip)
    if facts.depth_found and not Path(facts.depth_found).exists():
        facts.depth_found = str(beside(clip) or "")
    return told("The clip is found: {clip}.", clip=clip)


def _used_files(clip: Path, opened: Source) -> list[Path]:
    """The files of a clip that a shot like `opened` uses."""
    if opened.numbering is None and clip.is_dir():  # opened by an earlier version, which used every image
        return pictures_in(clip, CLIP_ENDINGS)
    return source.clip_files(clip, opened.settings)


def _facts(request: FindRequest) -> bpy.types.PropertyGroup:
    facts = objects.scene_of(request).ex4d
    if facts.shot != request.shot:
        raise InputError(
            told("The shot of this clip is no longer in the scene: press Undo until it is back, then try again.")
        )
    return facts
