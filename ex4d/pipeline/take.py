"""A take: the files of one result, and the JSON sidecar that says how to make it again."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ex4d import __version__
from ex4d.errors import InputError

FORMAT = 1
"""Version of the sidecar's layout."""

RESULT, COLOUR, MASK, CAMERA, SIDECAR = "result.mp4", "colour.mp4", "mask.mp4", "camera.npz", "take.json"
"""Names of a take's files: the video, what it was conditioned on, the camera path, and the sidecar."""

GENERATED, COMPOSITED = "generated.mp4", "composited.mp4"
"""Names of the other video of a take: the generator's own frames, or those with the source's pixels put back."""


@dataclass(frozen=True)
class TakeRecord:
    """What the sidecar holds.

    Attributes:
        job: the job as it was submitted, plain values; inputs by content hash (see ex4d.jobs.messages).
        generator: name of the generator that really ran.
        is_preview: no diffusion model was used.
        seed: its seed.
        settings: the generator's own settings.
        width, height, frames: of the result.
        fps: rate of the movie as "numerator/denominator".
        coverage: real part of each frame, 0 to 1.
        notes: sentences for the user.
        seconds: time each stage took.
        depth: where the depth came from: provider, scale (a sentence) and licence; empty in older records.
        version: of ex4d.
        format: of this record.
    """

    job: dict[str, Any]
    generator: str
    is_preview: bool
    seed: int
    settings: dict[str, Any]
    width: int
    height: int
    frames: int
    fps: str
    coverage: list[float]
    notes: list[str]
    seconds: dict[str, float]
    depth: dict[str, str] = field(default_factory=dict)
    version: str = __version__
    format: int = FORMAT


def write_record(path: Path, record: TakeRecord) -> None:
    """Write the sidecar."""
    path.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")


def read_record(path: Path) -> TakeRecord:
    """Read a sidecar.

    Raises:
        InputError: missing, not a sidecar, or of a later format.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] > FORMAT:
            raise InputError(f"{path} was written by a later version of EX-4D ({data['version']}): update this one.")
        return TakeRecord(**data)
    except OSError as error:
        raise InputError(f"The take's record {path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the record of a take.") from error
