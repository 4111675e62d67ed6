"""A take: the files of one result, and the record (take.json) that says how to remake it. Needs numpy only."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from ex4d import __version__
from ex4d.errors import InputError
from ex4d.pipeline import since_0_1
from ex4d.pipeline.requests import Blob, Fill, Generate, blobs_of
from ex4d.plain import Facts, PlainError, between, from_plain, matches, to_plain
from ex4d.storage.atomic import replacing
from ex4d.storage.places import found_from, seen_from

FORMAT = 2
"""Version of the record's layout."""

RESULT, COLOUR, MASK, CAMERA, SIDECAR = "result.mp4", "colour.mp4", "mask.mp4", "camera.npz", "take.json"
"""Names of a take's files: the video, its conditioning, the camera path, and the record."""

GENERATED, COMPOSITED = "generated.mp4", "composited.mp4"
"""Names of the other version of a take: the generator's own frames, or those with the source's pixels put back."""

MASTERS = {"prores": "result.mov", "ffv1": "result.mkv"}
"""Name of the result for grading, by its format, if one was requested."""

VIEW = "view.mp4"
"""Name of the video that a preview of a path adds: the colour, with the legend's tint where nothing real is seen."""

THUMBNAIL = "thumbnail.jpg"
"""Name of the small picture of a take or view: its middle frame. Older takes have none."""

SOURCE_CAMERA = "source_camera.npz"
"""Motion of the source camera: as found from its frames, or joined from several camera files."""

MOVING = "moving.mp4"
"""Independently moving things, in white, if they were found together with the clip's own camera."""

EARLIER_DEPTH = "earlier_depth.npz"
"""Estimated depth of the frames of an earlier take that this take was made with."""

PLATE = "plate.npz"
"""Depth and cameras of the frames of a clean plate, as they were placed in the shot's world; for Live Coverage."""

FILES = frozenset(
    {
        RESULT,
        COLOUR,
        MASK,
        CAMERA,
        SIDECAR,
        GENERATED,
        COMPOSITED,
        SOURCE_CAMERA,
        MOVING,
        EARLIER_DEPTH,
        PLATE,
        THUMBNAIL,
        *MASTERS.values(),
    }
)
"""All names that can occur in the folder of a take."""


Size = Annotated[int, between(1, 2**31 - 1)]


@dataclass(frozen=True)
class TakeRecord:
    """The content of take.json.

    Attributes:
        job: the job that made the take, see `ex4d.pipeline.requests`; its files by content.
        generator: name of the generator that really ran.
        title: its title.
        is_preview: whether the preview made it, without a model.
        seed: of all random numbers.
        settings: each setting of the generator with the value in use, even if that is the default, and what the
            generator adds.
        width, height, frames: of the result.
        fps: rate of the movie as "numerator/denominator".
        coverage: real part of each frame, 0 to 1.
        borrowed: the part of each frame that only other frames saw; empty if no other frames were used.
        earlier: the part of each frame that comes from an earlier take, which is not real; empty if there is none.
        notes: sentences for the user.
        seconds: duration of each stage.
        depth: where the depth came from: provider, scale (a sentence) and licence; empty if unknown.
        inputs: where the job's files are, by their hash; paths relative to the take's folder if possible.
        device: of the worker that made it, such as "GPU 0, NVIDIA H100 80GB HBM3"; empty if that is unknown.
        version: of ex4d.
        format: of this record.
    """

    job: Generate | Fill
    generator: str
    title: str
    is_preview: bool
    seed: Annotated[int, between(0, 2**63 - 1)]
    settings: Facts
    width: Size
    height: Size
    frames: Size
    fps: Annotated[str, matches("[1-9][0-9]*(/[1-9][0-9]*)?", "a frame rate such as 24 or 24000/1001")]
    coverage: list[float]
    notes: list[str]
    seconds: dict[str, float]
    depth: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    borrowed: list[float] = field(default_factory=list)
    earlier: list[float] = field(default_factory=list)
    device: str = ""
    version: str = __version__
    format: int = FORMAT


def write_record(path: Path, record: TakeRecord) -> None:
    """Write the record; all or nothing.

    Raises:
        InputError: the folder cannot be written, or the disk is full.
    """
    plain = {**vars(record), "job": to_plain(record.job)}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")


def read_record(path: Path) -> TakeRecord:
    """Read a record, including those of version 0.1.

    Raises:
        InputError: the file is missing, is not a record, or has a later format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] > FORMAT:
            raise InputError(f"{path} was written by a later version of EX-4D ({data['version']}): update this one.")
        if data["format"] == 1:
            data = since_0_1.record(data)
        if "generation" in data["job"]:  # before there was a choice, another aspect was squeezed
            data["job"]["generation"].setdefault("fit", "squeeze")
    except OSError as error:
        raise InputError(f"The take's record {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not the record of a take.") from error
    try:
        return from_plain(TakeRecord, data, "take")
    except PlainError as error:
        raise InputError(f"{path} is the record of a take that this version cannot read: {error}") from error


def with_inputs(record: TakeRecord, folder: Path, files: Mapping[str, Path]) -> TakeRecord:
    """The record with the locations of the job's files, as seen from the take's folder.

    Args:
        record: of the take.
        folder: of the take.
        files: where files are, by their hash; files other than the job's are left out.
    """
    wanted = [blob.sha256 for blob in blobs_of(record.job)]
    places = {sha256: seen_from(folder, Path(files[sha256])) for sha256 in wanted if sha256 in files}
    return replace(record, inputs=places)


def place_of(record: TakeRecord, folder: Path, blob: Blob) -> Path | None:
    """Where a file of the job is, according to the record in `folder`; None if it does not say."""
    said = record.inputs.get(blob.sha256)
    return None if said is None else found_from(folder, said)
