"""How long things take and how much disk: learned from the jobs that ended, kept in the user's data folder.

Time is learned by stage, so that a job whose depth was there already does not make the next estimate too small. Most of
it grows with frames times pixels; what does not is told apart by the name of its stage.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ex4d.errors import InputError
from ex4d.progress import FINISHING
from ex4d.storage.atomic import replacing

from .. import translations
from ..words import seconds, size, titled
from ..work import capabilities
from ..work.requests import OpenRequest, Request, TakeRequest

WORTH_TELLING_S, WORTH_TELLING_BYTES = 10.0, 1e9
"""From here on an estimate is shown."""

WAITING = ("Queued", "Reconnecting", "Sending", "Uploading", "Upload")
"""Stages that say nothing about the next job: they depend on other jobs, and on what the server has already."""

ONCE = ("Running", "Loading", "Starting", "Fetching", "Compiling")
"""How the names of stages begin that take as long for a few frames as for many."""

SOUGHT = ("auto", "rotation")
"""What `camera_motion` is where the camera is looked for."""

OF_RESULT = (titled(FINISHING), "Writing Files")
"""Stages that grow with the pixels of the result, which may be as large as the clip; all others grow with those of the
working picture."""

ENOUGH = 5e6
"""Pixels in all frames from which on a job tells more of the next one than the figures of another machine do."""


@dataclass(frozen=True)
class Known:
    """What is known of one kind of job.

    Attributes:
        each: seconds for a million pixels (frames times width times height), by stage; those of the result in the
            stages of `OF_RESULT`.
        once: seconds whatever the size, by stage.
        bytes: on disk for a pixel of the result.
        pixels: how large the jobs were that this was learned from: small ones tell little.
    """

    each: Mapping[str, float] = field(default_factory=dict)
    once: Mapping[str, float] = field(default_factory=dict)
    bytes: float = 0.0
    pixels: float = 0.0

    def seconds(self, pixels: int, result: int = 0) -> float:
        """For so many pixels in all frames; `result` where those of the result are more."""
        result = max(result, pixels)
        each = sum(each * (result if stage in OF_RESULT else pixels) for stage, each in self.each.items())
        return each / 1e6 + sum(self.once.values())


@dataclass(frozen=True)
class Estimate:
    """What a job will take; `seconds` is None if nobody knows, and `is_learned` where it was measured here."""

    seconds: float | None
    bytes: float
    is_learned: bool

    @property
    def is_worth_telling(self) -> bool:
        """Whether somebody would want to know beforehand."""
        return self.seconds is None or self.seconds >= WORTH_TELLING_S or self.bytes >= WORTH_TELLING_BYTES

    @property
    def lines(self) -> tuple[str, ...]:
        """What to say, in lines as short as a sidebar is narrow."""
        disk = translations.told("{size} on disk", size=size(self.bytes))
        if self.seconds is None:
            return translations.told("About {disk}", disk=disk), translations.told(
                "Time will be known after the first run"
            )
        told = translations.told("About {seconds}, {disk}", seconds=seconds(self.seconds), disk=disk)
        return (told,) if self.is_learned else (told, translations.told("(measured on another machine)"))

    @property
    def told(self) -> str:
        """`lines` as one sentence, without its full stop."""
        if self.seconds is None:
            return translations.told(
                "About {size} on disk; time will be known after the first run", size=size(self.bytes)
            )
        return " ".join(self.lines)


def together(one: Estimate, other: Estimate) -> Estimate:
    """What two things take, one after the other, whose files are the same."""
    known = one.seconds is not None and other.seconds is not None
    return Estimate(one.seconds + other.seconds if known else None, one.bytes, one.is_learned and other.is_learned)


def of_both(one: Estimate, other: Estimate) -> Estimate:
    """What two things take, one after the other, each with files of its own."""
    return replace(together(one, other), bytes=one.bytes + other.bytes)


def kind_of_opening(estimator: str) -> str:
    """The kind of a job that opens a clip; `estimator` names what makes its depth."""
    return f"open {estimator}"


def kind_of_take(generator: str, quality: str = "") -> str:
    """The kind of a job that makes a take."""
    return f"generate {generator} {quality}".rstrip()


def kind_of_export(written: str) -> str:
    """The kind of Export Shot; `written` names the format. It grows with vertices times frames, as `DETAIL` does."""
    return f"export {written.lower()}"


VIEW, CAMERA = "view", "camera"
"""The kinds of Preview Path, and of looking for the source camera."""

DETAIL = "detail"
"""The kind of Set Viewport Detail, which Blender does itself: what grows is vertices times frames."""

ELSEWHERE = {
    "open file": Known({"all": 0.9}, {"start": 2.0}, 1.6),
    "open plane": Known({"all": 1.4}, {"start": 2.0}, 1.6),
    "open video-depth-anything": Known({"all": 1.6}, {"start": 10.0}, 1.6),
    CAMERA: Known({"all": 1.0}, {"start": 40.0}, 1.6),  # small pictures are enlarged
    VIEW: Known({"all": 0.9}, {"start": 1.0}, 0.1),
    "generate preview": Known({"all": 4.5, titled(FINISHING): 0.3}, {"start": 1.0}, 0.2),
    DETAIL: Known({"all": 0.07}, {}, 12.0),
    "export alembic": Known({"all": 0.25}, {}, 13.5),
    "export usd": Known({"all": 0.12}, {}, 13.0),
}
"""What is known of kinds of which no job has ended here yet: clips of 25 and 49 frames on two cores without a GPU."""

DISK = {"open": 1.6, "camera": 1.6, "view": 0.1, "generate": 0.2}
"""Bytes for a pixel by the first word of a kind, where even the time is not known."""


def of_job(request: Request, facts: Mapping[str, Any], size: tuple[int, int]) -> tuple[str, int] | None:
    """The kind of a job that has ended and the pixels in all its frames; None if it tells nothing.

    Args:
        request: what was asked.
        facts: what the server says of the result.
        size: width and height of the shot.
    """
    if isinstance(request, OpenRequest):
        pixels = facts.get("frames", 0) * size[0] * size[1]
        if request.only_camera:
            return CAMERA, pixels
        if request.settings.get("camera_motion") in SOUGHT:
            return None  # two things at once, of which each is known by itself
        if request.standing:
            return None  # a part of the frames was estimated, and all of them were brought in
        maker = capabilities.FILE if request.depth else facts.get("depth", {}).get("provider", "")
        return kind_of_opening(maker), pixels
    if isinstance(request, TakeRequest):
        quality = str(facts.get("settings", {}).get("quality") or "")
        kind = VIEW if request.preview else kind_of_take(facts["generator"], quality)
        return kind, len(facts["coverage"]) * size[0] * size[1]
    return None


def estimate(kind: str, pixels: int, learned: Mapping[str, Known], result: int = 0) -> Estimate:
    """What a job of a kind will take for so many pixels in all frames; `result` where those of the result are more."""
    result = max(result, pixels)
    here, elsewhere = learned.get(kind), ELSEWHERE.get(kind)
    known = here or elsewhere
    if known is None:
        return Estimate(None, DISK[kind.partition(" ")[0]] * result, False)
    share = 0.0 if here is None else 1.0 if elsewhere is None else here.pixels**2 / (here.pixels**2 + ENOUGH**2)
    time = share * here.seconds(pixels, result) if here is not None else 0.0
    time += (1 - share) * elsewhere.seconds(pixels, result) if elsewhere is not None else 0.0
    return Estimate(time, known.bytes * result, share >= 0.5)


def learn(known: Known | None, stages: Mapping[str, float], pixels: int, bytes_: float, result: int = 0) -> Known:
    """What is known after one more job.

    Args:
        known: before; None if it was the first of its kind.
        stages: seconds that each stage took.
        pixels: in all its frames.
        bytes_: that its files take on disk.
        result: pixels in all frames of the result, where they are more.
    """
    result = max(result, pixels)
    before = known or Known()
    # As a line through the origin is fitted: jobs count by their size squared, earlier ones half.
    each, once, weight = dict(before.each), dict(before.once), pixels**2 + before.pixels**2 / 2
    newest = pixels**2 / weight
    for stage, took in stages.items():
        if stage in WAITING:
            continue
        grows_with = result if stage in OF_RESULT else pixels
        into, value = (once, took) if stage.startswith(ONCE) else (each, 1e6 * took / grows_with)
        into[stage] = newest * value + (1 - newest) * into[stage] if stage in into else value
    on_disk = newest * bytes_ / result + (1 - newest) * before.bytes
    return Known(each, once, on_disk, weight**0.5)


def load(file: Path, server: str) -> dict[str, Known]:
    """What is known of the server at an address, by kind; nothing where the file is missing or damaged."""
    try:
        return {kind: Known(**known) for kind, known in _read(file).get(server, {}).items()}
    except (TypeError, AttributeError):
        return {}


def save(file: Path, server: str, known: Mapping[str, Known]) -> None:
    """Keep what is known of a server; a disk that cannot take it is not worth a word."""
    everything = {**_read(file), server: {kind: vars(each) for kind, each in known.items()}}
    try:
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(everything), encoding="utf-8")
    except (InputError, OSError):
        return


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


class Stopwatch:
    """Measures the stages of the job under way, from what the session goes through.

    Attributes:
        stages: seconds by stage; None if the job was not seen from its beginning.
    """

    def __init__(self) -> None:
        self.stages: dict[str, float] | None = None
        self._stage, self._since = "", 0.0

    def begin(self, now: float) -> None:
        """A job begins."""
        self.stages, self._stage, self._since = {}, "", now

    def see(self, stage: str, now: float) -> None:
        """The job is in a stage; "" where its time does not count, such as while no server answers."""
        if self.stages is None:
            return
        if self._stage:
            self.stages[self._stage] = self.stages.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now
