"""How much time and disk space things take, learned from finished jobs and stored in the user's data folder.

Time is learned per stage, so that a job whose depth already existed does not make the next estimate too small. Most
stages grow with frames times pixels; those that do not are recognised by name.
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
"""Time and size from which an estimate is worth showing."""

WAITING = ("Queued", "Reconnecting", "Sending", "Uploading", "Upload")
"""Stages that say nothing about the next job, because they depend on other jobs and on what the server already has."""

ONCE = ("Running", "Loading", "Starting", "Fetching", "Compiling")
"""Prefixes of stages that take as long for a few frames as for many."""

SOUGHT = ("auto", "rotation")
"""Values of `camera_motion` for which the camera is searched for."""

OF_RESULT = (titled(FINISHING), "Writing Files")
"""Stages that grow with the pixels of the result, which may be as large as the clip; all others grow with the pixels of
the working picture."""

ENOUGH = 5e6
"""Pixels in all frames above which a job says more about the next one than another machine's figures do."""


@dataclass(frozen=True)
class Known:
    """What has been learned about one kind of job.

    Attributes:
        each: seconds per million pixels (frames times width times height), by stage; pixels of the result for the
            stages in `OF_RESULT`.
        once: seconds regardless of size, by stage.
        bytes: bytes on disk per pixel of the result.
        pixels: combined size of the jobs that this was learned from: small ones say little.
    """

    each: Mapping[str, float] = field(default_factory=dict)
    once: Mapping[str, float] = field(default_factory=dict)
    bytes: float = 0.0
    pixels: float = 0.0

    def seconds(self, pixels: int, result: int = 0) -> float:
        """Estimated seconds for `pixels` in all frames; `result` is the pixels of the result, if that is more."""
        result = max(result, pixels)
        each = sum(each * (result if stage in OF_RESULT else pixels) for stage, each in self.each.items())
        return each / 1e6 + sum(self.once.values())


@dataclass(frozen=True)
class Estimate:
    """What a job will take; `seconds` is None if unknown, and `is_learned` says whether it was measured here."""

    seconds: float | None
    bytes: float
    is_learned: bool

    @property
    def is_worth_telling(self) -> bool:
        """Whether the artist would want to know beforehand."""
        return self.seconds is None or self.seconds >= WORTH_TELLING_S or self.bytes >= WORTH_TELLING_BYTES

    @property
    def lines(self) -> tuple[str, ...]:
        """The estimate in lines short enough for a sidebar."""
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
    """Estimate for two consecutive steps that yield the same files, counted once."""
    known = one.seconds is not None and other.seconds is not None
    return Estimate(one.seconds + other.seconds if known else None, one.bytes, one.is_learned and other.is_learned)


def of_both(one: Estimate, other: Estimate) -> Estimate:
    """Estimate for two consecutive steps, each with its own files."""
    return replace(together(one, other), bytes=one.bytes + other.bytes)


def kind_of_opening(estimator: str) -> str:
    """The kind of a job that opens a clip; `estimator` is the name of the depth estimator."""
    return f"open {estimator}"


def kind_of_take(generator: str, quality: str = "") -> str:
    """The kind of a job that makes a take."""
    return f"generate {generator} {quality}".rstrip()


def kind_of_export(written: str) -> str:
    """The kind of Export Shot to the format `written`. It grows with vertices times frames, as `DETAIL` does."""
    return f"export {written.lower()}"


VIEW, CAMERA = "view", "camera"
"""The kinds of Preview Path and of the search for the source camera."""

DETAIL = "detail"
"""The kind of Set Viewport Detail, which Blender does itself; it grows with vertices times frames."""

ELSEWHERE = {
    "open file": Known({"all": 0.9}, {"start": 2.0}, 1.6),
    "open plane": Known({"all": 1.4}, {"start": 2.0}, 1.6),
    "open video-depth-anything": Known({"all": 1.6}, {"start": 10.0}, 1.6),
    CAMERA: Known({"all": 1.0}, {"start": 40.0}, 1.6),  # small frames are enlarged
    VIEW: Known({"all": 0.9}, {"start": 1.0}, 0.1),
    "generate preview": Known({"all": 4.5, titled(FINISHING): 0.3}, {"start": 1.0}, 0.2),
    DETAIL: Known({"all": 0.07}, {}, 12.0),
    "export alembic": Known({"all": 0.25}, {}, 13.5),
    "export usd": Known({"all": 0.12}, {}, 13.0),
}
"""Figures for kinds of which no job has finished here yet: clips of 25 and 49 frames on two cores without a GPU."""

DISK = {"open": 1.6, "camera": 1.6, "view": 0.1, "generate": 0.2}
"""Bytes per pixel by the first word of a kind, for kinds without any figures."""


def of_job(request: Request, facts: Mapping[str, Any], size: tuple[int, int]) -> tuple[str, int] | None:
    """The kind of a finished job and the number of pixels in all its frames; None if nothing can be learned from it.

    Args:
        request: the job's request.
        facts: the server's facts about the result.
        size: width and height of the shot.
    """
    if isinstance(request, OpenRequest):
        pixels = facts.get("frames", 0) * size[0] * size[1]
        if request.only_camera:
            return (CAMERA, pixels) if not request.camera else None  # a known camera takes much less
        if request.settings.get("camera_motion") in SOUGHT:
            return None  # two kinds at once, each of which is learned on its own
        if request.standing:
            return None  # some of the frames were estimated, but all were imported
        maker = capabilities.FILE if request.depth else facts.get("depth", {}).get("provider", "")
        return kind_of_opening(maker), pixels
    if isinstance(request, TakeRequest):
        quality = str(facts.get("settings", {}).get("quality") or "")
        kind = VIEW if request.preview else kind_of_take(facts["generator"], quality)
        return kind, len(facts["coverage"]) * size[0] * size[1]
    return None


def estimate(kind: str, pixels: int, learned: Mapping[str, Known], result: int = 0) -> Estimate:
    """Estimate for a job of a kind with `pixels` in all frames; `result` is the pixels of the result, if more."""
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
    """Update what is known with another finished job.

    Args:
        known: what was known before; None if this is the first job of its kind.
        stages: seconds that each stage took.
        pixels: number of pixels in all its frames.
        bytes_: size of its files on disk.
        result: number of pixels in all frames of the result, if that is more.
    """
    result = max(result, pixels)
    before = known or Known()
    # Like a least-squares line through the origin: jobs are weighted by their size squared, earlier ones by half that.
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
    """What is known about the server at an address, by kind; empty if the file is missing or damaged."""
    try:
        return {kind: Known(**known) for kind, known in _read(file).get(server, {}).items()}
    except (TypeError, AttributeError):
        return {}


def save(file: Path, server: str, known: Mapping[str, Known]) -> None:
    """Store what is known about a server; failure to write is ignored."""
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
    """Measures the stages of the job under way from the states of the session.

    Attributes:
        stages: seconds by stage; None if the job was not seen from its start.
    """

    def __init__(self) -> None:
        self.stages: dict[str, float] | None = None
        self._stage, self._since = "", 0.0

    def begin(self, now: float) -> None:
        """Start measuring a job."""
        self.stages, self._stage, self._since = {}, "", now

    def see(self, stage: str, now: float) -> None:
        """Record that the job is in a stage; "" while time does not count, such as while no server answers."""
        if self.stages is None:
            return
        if self._stage:
            self.stages[self._stage] = self.stages.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now
