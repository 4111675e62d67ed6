"""The jobs that can be requested, with their files by content. Needs only the standard library and numpy.

A job contains everything that its result depends on, and no path: the same job means the same on every machine.
"""

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
from ex4d.plain import Tagged, between, length, matches, to_plain
from ex4d.storage.sequence import Numbering

MOST_PICTURES = 100_000
"""Maximum number of images of a folder in one job; far fewer are sent to a server, see `ex4d.jobs.limits`."""

BLOB_BYTES = 64 * 1024**3
"""Maximum size of a file."""

_FORBIDDEN_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*]')
_RESERVED_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def _check_name(value: str) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    if not 1 <= size <= 255 or _FORBIDDEN_IN_NAMES.search(value) or value[-1] in ". ":
        raise ValueError("must be a plain file name without folders or special characters, at most 255 bytes")
    if _RESERVED_NAMES.fullmatch(value):
        raise ValueError("must not be a name that some systems reserve for devices")


Sha256 = Annotated[str, matches("[0-9a-f]{64}", "64 hexadecimal digits")]
Name = Annotated[str, _check_name]


@dataclass(frozen=True)
class Blob:
    """A file by its content; `name` is the base name it had, for people and for its extension."""

    sha256: Sha256
    size: Annotated[int, between(0, BLOB_BYTES)]
    name: Name


@dataclass(frozen=True)
class EarlierTake:
    """An earlier take of the same part of the same clip, whose invented parts are shown again.

    Attributes:
        result: its video.
        camera: its camera path, a file of `ex4d.geometry.camera_path`.
        depth: of some of its frames, as kept by a take that was made with it; None if it has to be estimated.
        is_preview: whether the preview made it, without a model.
    """

    result: Blob
    camera: Blob
    depth: Blob | None = None
    is_preview: bool = False


@dataclass(frozen=True)
class Source:
    """A clip, where its depth comes from, and the part of them to use.

    Attributes:
        clip: one video file, or the images of a folder in order, those within the range of the settings.
        depth: one file (.npz, .npy, a video), or PNG or EXR images in order; empty if it has to be estimated.
        camera: how the camera of the clip moved, see `ex4d.source_camera`; None if it stands still.
        settings: everything else.
        folder: name of the folder that the images of the clip are from; None for a video file.
        numbering: of the whole sequence that the images are from; None if they are all there is, one per frame.
        moving: a mask of moving things, in white: a video, an image, or images in order; empty
            if it has to be found.
        standing: depth of a part of the clip that is to be kept, a file of EX-4D that says which part it covers: only
            other frames are estimated, and fitted to it. None if there is none.
        plate: a clean plate, a second clip of the same place: a video, an image, or images in order; empty if
            there is none.
        earlier: an earlier take, whose pixels fill what nobody saw; None if there is none.
    """

    clip: Annotated[tuple[Blob, ...], length(1, MOST_PICTURES)]
    depth: Annotated[tuple[Blob, ...], length(0, MOST_PICTURES)] = ()
    camera: Blob | None = None
    settings: SourceSettings = field(default_factory=SourceSettings)
    folder: Name | None = None
    numbering: Numbering | None = None
    moving: Annotated[tuple[Blob, ...], length(0, MOST_PICTURES)] = ()
    standing: Blob | None = None
    plate: Annotated[tuple[Blob, ...], length(0, MOST_PICTURES)] = ()
    earlier: EarlierTake | None = None


@dataclass(frozen=True)
class Reconstruct(Tagged):
    """Clip and depth at the working size -> source.mp4, reliable.mp4 and depth.npz. If the camera moves, also
    source_camera.npz, with static points; if what moves could be found, also moving.mp4, white where things move
    independently.

    `again` estimates the depth again, even if it was cached by an earlier job.
    """

    source: Source
    again: bool = False


@dataclass(frozen=True)
class Preview(Tagged):
    """What a camera path will see -> colour.mp4, mask.mp4, view.mp4.

    `path` is a file of `ex4d.geometry.camera_path.save`.
    """

    source: Source
    path: Blob
    render: RenderSettings = field(default_factory=RenderSettings)


@dataclass(frozen=True)
class Generate(Tagged):
    """The shot from another camera -> result.mp4, colour.mp4, mask.mp4, take.json and the files of `pipeline.take`.

    Attributes:
        path: a file of `ex4d.geometry.camera_path`; None uses the preset.
        preset: the camera move if there is no file.
        render: how the mesh is rendered.
        generation: how the unseen parts are filled.
    """

    source: Source
    path: Blob | None = None
    preset: PathSettings = field(default_factory=PathSettings)
    render: RenderSettings = field(default_factory=RenderSettings)
    generation: GenerateSettings = field(default_factory=GenerateSettings)


@dataclass(frozen=True)
class Fill(Tagged):
    """The shot from colour and mask that were rendered earlier -> the files of `Generate`, without a camera.

    Attributes:
        colour, mask: videos, or images of folders in order.
        frames: number of frames to use, from the first; None uses the default, as for a clip.
        generation: how the unseen parts are filled; its width and height squeeze colour and mask, as the release does.
        release_compat: do everything as the EX-4D release does.
    """

    colour: Annotated[tuple[Blob, ...], length(1, MOST_PICTURES)]
    mask: Annotated[tuple[Blob, ...], length(1, MOST_PICTURES)]
    frames: Annotated[int, between(1, 100_000)] | None = None
    generation: GenerateSettings = field(default_factory=GenerateSettings)
    release_compat: bool = False


Job = Reconstruct | Preview | Generate | Fill


def canonical(job: Job) -> str:
    """A job as JSON that is the same wherever it is written."""
    return json.dumps(to_plain(job), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def job_hash(job: Job) -> str:
    """Identity of a job: sha256 of `canonical`."""
    return hashlib.sha256(canonical(job).encode()).hexdigest()


def blobs_of(job: Job) -> list[Blob]:
    """Every file that a job reads, each content once."""
    if isinstance(job, Fill):
        blobs = [*job.colour, *job.mask]
    else:
        source = job.source
        alone = [blob for blob in (source.camera, source.standing) if blob is not None]
        taken = source.earlier
        of_take = [] if taken is None else [taken.result, taken.camera, *([taken.depth] if taken.depth else [])]
        blobs = [*source.clip, *source.depth, *alone, *source.moving, *source.plate, *of_take]
        if not isinstance(job, Reconstruct) and job.path is not None:
            blobs.append(job.path)
    return list({blob.sha256: blob for blob in blobs}.values())


def safe_name(name: str) -> str:
    """The nearest name that may be sent: forbidden characters become "_", very long stems and suffixes are cut."""
    name = _FORBIDDEN_IN_NAMES.sub("_", name.encode(errors="replace").decode()).rstrip(". ") or "_"
    if _RESERVED_NAMES.fullmatch(name):
        name = f"_{name}"
    stem, suffix = Path(name).stem, Path(name).suffix[:12]
    name = stem.encode()[:200].decode(errors="ignore") + suffix
    return re.sub("[. ]$", "_", name)  # if it was cut right after one of them
