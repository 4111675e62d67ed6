"""Every message and every job, for both ends of the wire, and the strict coding of them.

A message is one msgpack map ``{"kind": "submit", ...fields}`` in one frame; `Put` and `Chunk` have one raw
frame of file content after it. The decoder checks each field by its annotation and names the field it
refuses. File names on the wire are checked base names; paths never travel. docs/protocol.md tells the story.
"""

import hashlib
import ipaddress
import json
import math
import re
import types
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgpack

from ex4d.depth.encoding import DepthEncoding
from ex4d.errors import EX4DError, InputError
from ex4d.generate.wan.quality import ModelSize, QualityName
from ex4d.geometry.intrinsics import FIELD_OF_VIEW

PROTOCOL_VERSION = 2
DEFAULT_ADDRESS = "tcp://127.0.0.1:5750"
CONTROL_BYTES = 256 * 1024
"""Largest message without file content; larger ones are not read at all."""
CHUNK_BYTES = 256 * 1024
"""File content in one `Put` or `Chunk`."""
CREDIT = 10
"""Chunks that may be under way to or from one client."""
PICTURE_BYTES = 16 * 1024
"""Largest picture of what is being made, a JPEG, that comes with an event."""
MESSAGE_FRAMES = 4
"""Most frames in one message, the address that ZeroMQ adds included."""
BLOB_BYTES = 64 * 1024**3
"""Largest file."""
SOURCE_FILES = 1000
"""Most files of an image folder in one job."""
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 2000, 8000


class ProtocolError(EX4DError):
    """A message that cannot be read; the sentence names the field."""


# -- checks for fields ------------------------------------------------------------------------------


def _between(low: float, high: float) -> Callable[[Any], None]:
    def check(value: float) -> None:
        if not low <= value <= high:
            raise ValueError(f"must be between {low} and {high}, not {value}")

    return check


def _length(low: int, high: int) -> Callable[[Any], None]:
    def check(value: Sequence) -> None:
        if not low <= len(value) <= high:
            raise ValueError(f"must have a length between {low} and {high}, not {len(value)}")

    return check


def _matches(pattern: str, meaning: str) -> Callable[[Any], None]:
    def check(value: str) -> None:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"must be {meaning}")

    return check


_FORBIDDEN_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\<>:"|?*]')
_RESERVED_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def _check_name(value: str) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("must be valid Unicode") from None
    if not 1 <= size <= 255 or _FORBIDDEN_IN_NAMES.search(value) or value[-1] in ". ":
        raise ValueError("must be a plain file name without folders or special characters, 255 bytes at most")
    if _RESERVED_NAMES.fullmatch(value):
        raise ValueError("must not be a name that some systems reserve for devices")


def _check_json(value: Any, depth: int = 8) -> None:
    if isinstance(value, dict | list):
        if depth == 0:
            raise ValueError("is nested too deeply")
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise ValueError("must have text as keys")
        for item in value.values() if isinstance(value, dict) else value:
            _check_json(item, depth - 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that is not finite")
    elif not isinstance(value, str | int | float | None):
        raise ValueError(f"holds a {type(value).__name__}, which is not a JSON value")


Text = Annotated[str, _length(0, 2000)]
Word = Annotated[str, _length(1, 100)]
Count = Annotated[int, _between(0, 2**53)]
Sha256 = Annotated[str, _matches("[0-9a-f]{64}", "64 hexadecimal digits")]
JobId = Annotated[str, _matches("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a uuid in lower case")]
Rate = Annotated[str, _matches(r"[1-9]\d{0,8}(/[1-9]\d{0,8})?", 'a frame rate such as "24" or "24000/1001"')]
Jpeg = Annotated[bytes, _length(0, PICTURE_BYTES)]
Facts = Annotated[dict, _check_json]
State = Literal["queued", "running", "done", "failed", "cancelled"]
TERMINAL = ("done", "failed", "cancelled")


# -- jobs -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Blob:
    """A file by its content; `name` is the base name it had, for people and for its suffix."""

    sha256: Sha256
    size: Annotated[int, _between(0, BLOB_BYTES)]
    name: Annotated[str, _check_name]


PLAIN_READING = DepthEncoding()
"""Of depth files: distances along the optical axis."""


@dataclass(frozen=True)
class Source:
    """A clip, where its depth comes from, and the part of them to use.

    Attributes:
        clip: one video file, or the pictures of a folder in order.
        depth: one .npz file, or PNG or EXR pictures in order; empty where it is to be estimated.
        estimator: where the depth comes from; "auto" takes the file where there is one.
        accept_licence: the user accepts that an estimator is for research only.
        reading: what the numbers of the depth file mean.
        camera: how the camera of the clip moved, see `ex4d.source_camera.pose_files`; None where it stands still.
        start, frames: first frame of the clip (from 0) and how many.
        longest_side: limit of the working size in pixels; None keeps the clip's.
        field_of_view: degrees that the clip's displayed picture is wide; None for what depth file or estimator say.
        fps: rate of an image folder, frames a second as a fraction; None for the default.
    """

    clip: Annotated[tuple[Blob, ...], _length(1, SOURCE_FILES)]
    depth: Annotated[tuple[Blob, ...], _length(0, SOURCE_FILES)] = ()
    estimator: Word = "auto"
    accept_licence: bool = False
    reading: DepthEncoding = PLAIN_READING
    camera: Blob | None = None
    start: Count = 0
    frames: Annotated[int, _between(1, 100_000)] = 49
    longest_side: Annotated[int, _between(16, 16384)] | None = None
    field_of_view: Annotated[float, _between(*FIELD_OF_VIEW)] | None = None
    fps: Rate | None = None


class Tagged:
    """Base of what carries its kind on the wire: messages and jobs."""


@dataclass(frozen=True)
class Reconstruct(Tagged):
    """Clip and depth to the working size -> source.mp4, reliable.mp4, depth.npz, source_camera.npz.

    `again` estimates the depth anew, even where it was kept from an earlier job.
    """

    source: Source
    again: bool = False


@dataclass(frozen=True)
class Preview(Tagged):
    """What a camera path will see -> colour.mp4, mask.mp4. `path` is a file of `ex4d.geometry.camera_path.save`."""

    source: Source
    path: Blob


@dataclass(frozen=True)
class Generate(Tagged):
    """The shot from the path -> result.mp4, colour.mp4, mask.mp4, take.json and the files of `ex4d.pipeline.take`.

    Attributes:
        generator: "wan" is the EX-4D model; "auto" takes it where it can run, and the preview elsewhere.
        quality, model_size: of the model, see `ex4d.generate.wan.quality`.
        keep_source: whether what the source saw stays as it is in the result.
        seed: of everything that is drawn.
        fps: of the result; None takes the source's.
    """

    source: Source
    path: Blob
    generator: Literal["preview", "auto", "wan"] = "auto"
    quality: QualityName = "final"
    model_size: ModelSize = "512x512"
    keep_source: bool = True
    seed: Annotated[int, _between(0, 2**63 - 1)] = 0
    fps: Rate | None = None


Job = Reconstruct | Preview | Generate


# -- messages of the control socket -----------------------------------------------------------------


@dataclass(frozen=True)
class Hello(Tagged):
    """First message of a client. Its shape, and that of `Error`, never change between versions."""

    protocol: Count
    client: Word


@dataclass(frozen=True)
class Limits:
    """What one client may send."""

    chunk: Count = CHUNK_BYTES
    credit: Annotated[int, _between(1, 1000)] = CREDIT
    control_bytes: Count = CONTROL_BYTES
    blob_bytes: Count = BLOB_BYTES


@dataclass(frozen=True)
class DepthChoice:
    """A way to depth: title and licence for people, and a sentence about what it lacks, where it cannot run."""

    name: Word
    title: Word
    licence: Word
    commercial: bool
    missing: Text = ""


@dataclass(frozen=True)
class Capabilities:
    """What the server can run, and a sentence why not the EX-4D model, where it cannot."""

    generators: tuple[Word, ...]
    wan_missing: Text = ""
    depth: Annotated[tuple[DepthChoice, ...], _length(0, 100)] = ()


@dataclass(frozen=True)
class Welcome(Tagged):
    """Answer to `Hello`. `instance` is new each time the server starts; `bulk_port` is where files go."""

    protocol: Count
    version: Word
    instance: Word
    bulk_port: Annotated[int, _between(1, 65535)]
    capabilities: Capabilities
    limits: Limits


@dataclass(frozen=True)
class Submit(Tagged):
    """Run this job. Sending it twice is harmless; answered by `Status`, `Missing` or `Error`."""

    job_id: JobId
    hash: Sha256
    job: Job


@dataclass(frozen=True)
class Follow(Tagged):
    """Send the events of this job after number `since`, now and as they come; answer: `Status` or `Error`."""

    job_id: JobId
    since: Count


@dataclass(frozen=True)
class Cancel(Tagged):
    """Stop this job; answered by `Status` or `Error`. A finished result is not taken back."""

    job_id: JobId


@dataclass(frozen=True)
class Unload(Tagged):
    """Free all memory that models hold, on the GPU too; answered by `Unloaded`."""


@dataclass(frozen=True)
class Unloaded(Tagged):
    """Whether something was freed, and a sentence about it."""

    freed: bool
    message: Text


@dataclass(frozen=True)
class Ping(Tagged):
    """Are you there?"""


@dataclass(frozen=True)
class Pong(Tagged):
    """Yes."""


@dataclass(frozen=True)
class Holds(Tagged):
    """The server holds the first `offset` bytes of this file; when that is its size, the hash was right."""

    sha256: Sha256
    offset: Count


@dataclass(frozen=True)
class Missing(Tagged):
    """The job was not taken: send the rest of these files, then submit again."""

    job_id: JobId
    blobs: Annotated[tuple[Holds, ...], _length(1, 2 * SOURCE_FILES + 2)]


@dataclass(frozen=True)
class Status(Tagged):
    """Where a job stands in the journal."""

    job_id: JobId
    state: State
    attempt: Count
    seq: Count


@dataclass(frozen=True)
class Result:
    """What a finished job made: plain facts, and files to be fetched with `Get`."""

    facts: Facts
    files: Annotated[tuple[Blob, ...], _length(0, 1000)]


@dataclass(frozen=True)
class Event(Tagged):
    """Something happened to a job; `seq` rises by job. `elapsed` is seconds since the stage began.

    `picture` is a small view of what is being made, with the latest event of a running job only.
    """

    job_id: JobId
    seq: Count
    state: State
    attempt: Count
    stage: Annotated[str, _length(0, 100)] = ""
    step: Count = 0
    steps: Count = 0
    elapsed: Annotated[float, _between(0, 1e9)] = 0.0
    message: Text = ""
    result: Result | None = None
    picture: Jpeg = b""


@dataclass(frozen=True)
class Error(Tagged):
    """A refusal: a code for programs, a sentence for people, and the job id or hash that it is about."""

    code: Word
    message: Text
    about: Annotated[str, _length(0, 100)] = ""


# -- messages of the bulk socket --------------------------------------------------------------------


@dataclass(frozen=True)
class Put(Tagged):
    """The raw frame after this is file content from `offset`; each gets one `Holds` or `Error`."""

    sha256: Sha256
    offset: Count


@dataclass(frozen=True)
class Get(Tagged):
    """Send up to one chunk from `offset`; each gets one `Chunk` or `Error`."""

    sha256: Sha256
    offset: Count


@dataclass(frozen=True)
class Chunk(Tagged):
    """The raw frame after this is file content from `offset`."""

    sha256: Sha256
    offset: Count


CLIENT_CONTROL = (Hello, Submit, Follow, Cancel, Unload, Ping)
SERVER_CONTROL = (Welcome, Status, Missing, Event, Unloaded, Error, Pong)
CLIENT_BULK = (Put, Get)
SERVER_BULK = (Holds, Chunk, Error)


# -- coding -----------------------------------------------------------------------------------------


def kind_of(cls: type) -> str:
    """The word that stands for a message or job on the wire."""
    return cls.__name__.lower()


@cache
def _annotations(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in fields(cls)}


def to_plain(value: Any) -> Any:
    """Maps, lists and scalars of a message or job."""
    if is_dataclass(value) and not isinstance(value, type):
        plain = {name: to_plain(getattr(value, name)) for name in _annotations(type(value))}
        return {"kind": kind_of(type(value)), **plain} if isinstance(value, Tagged) else plain
    return [to_plain(item) for item in value] if isinstance(value, tuple) else value


def from_plain(annotation: Any, value: Any, where: str = "message") -> Any:
    """The value that `annotation` describes, checked in every field.

    Raises:
        ProtocolError: names the field and says what it must be.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        result = from_plain(arguments[0], value, where)
        for check in arguments[1:]:
            try:
                check(result)
            except ValueError as error:
                raise ProtocolError(f"{where} {error}.") from None
        return result
    if origin in (Union, types.UnionType):
        if value is None and types.NoneType in arguments:
            return None
        members = [member for member in arguments if member is not types.NoneType]
        return from_plain(members[0], value, where) if len(members) == 1 else _tagged(members, value, where)
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ProtocolError(f"{where} must be one of {', '.join(arguments)}.")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise ProtocolError(f"{where} must be a list, not {type(value).__name__}.")
        return tuple(from_plain(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(annotation, type) and is_dataclass(annotation):
        check_kind = issubclass(annotation, Tagged)
        return _tagged([annotation], value, where) if check_kind else _structure(annotation, value, where)
    if annotation is float and type(value) is int and abs(value) <= 2**53:
        value = float(value)
    if type(value) is not annotation:
        raise ProtocolError(f"{where} must be of type {annotation.__name__}, not {type(value).__name__}.")
    if annotation is float and not math.isfinite(value):
        raise ProtocolError(f"{where} must be a finite number.")
    return value


def _tagged(members: Sequence[type], value: Any, where: str) -> Any:
    by_kind = {kind_of(member): member for member in members}
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in by_kind:
        raise ProtocolError(f"{where}.kind must be one of {', '.join(by_kind)}, not {str(kind)[:100]!r}.")
    return _structure(by_kind[kind], {name: v for name, v in value.items() if name != "kind"}, kind)


def _structure(cls: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ProtocolError(f"{where} must be a map, not {type(value).__name__}.")
    annotations = _annotations(cls)
    if unknown := [name for name in value if name not in annotations]:
        raise ProtocolError(f"{where} has no field {str(unknown[0])[:100]!r} in protocol {PROTOCOL_VERSION}.")
    for field in fields(cls):
        if field.name not in value and field.default is MISSING:
            raise ProtocolError(f"{where}.{field.name} is missing.")
    checked = {name: from_plain(annotations[name], v, f"{where}.{name}") for name, v in value.items()}
    try:
        return cls(**checked)
    except InputError as error:  # of a type of the library, which checks how its fields go together
        raise ProtocolError(f"{where}: {error}") from None


def encode(message: Any) -> bytes:
    """The control frame of a message.

    Raises:
        ProtocolError: it is larger than one control frame may be, or holds what msgpack does not know.
    """
    try:
        frame = msgpack.packb(to_plain(message))
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(f"A {kind_of(type(message))} message cannot be written: {error}.") from error
    if len(frame) > CONTROL_BYTES:
        raise ProtocolError(
            f"A {kind_of(type(message))} message of {len(frame)} bytes is over the limit of {CONTROL_BYTES}:"
            " it names too many files or facts."
        )
    return frame


def unpack(frame: bytes) -> dict:
    """The plain map in a control frame, its fields not yet checked.

    Raises:
        ProtocolError: too large, not msgpack, or not a map.
    """
    if len(frame) > CONTROL_BYTES:
        raise ProtocolError(f"A message of {len(frame)} bytes is over the limit of {CONTROL_BYTES}.")
    try:
        plain = msgpack.unpackb(
            frame,
            raw=False,
            strict_map_key=True,
            ext_hook=_refuse_extension,
            max_bin_len=PICTURE_BYTES,
        )
    except (ValueError, TypeError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise ProtocolError(f"A message is not msgpack as used here: {str(error)[:200]}.") from None
    if not isinstance(plain, dict):
        raise ProtocolError(f"A message must be a map, not {type(plain).__name__}.")
    return plain


def _refuse_extension(code: int, data: bytes) -> None:
    raise ValueError(f"extension type {code}")


def decode(frame: bytes, allowed: Sequence[type]) -> Any:
    """The message in a control frame, if it is one of the `allowed` classes.

    Raises:
        ProtocolError: names the field that is unknown, missing, of another type or out of range.
    """
    return _tagged(allowed, unpack(frame), "message")


def canonical(job: Job) -> str:
    """A job as JSON that is the same wherever it is written."""
    return json.dumps(to_plain(job), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def job_hash(job: Job) -> str:
    """Identity of a job: sha256 of `canonical`."""
    return hashlib.sha256(canonical(job).encode()).hexdigest()


def blobs_of(job: Job) -> list[Blob]:
    """Every file that a job reads, each content once."""
    source = job.source
    blobs = [*source.clip, *source.depth, *([source.camera] if source.camera else [])]
    if not isinstance(job, Reconstruct):
        blobs.append(job.path)
    return list({blob.sha256: blob for blob in blobs}.values())


def safe_name(name: str) -> str:
    """The nearest name that may travel: forbidden characters become "_", very long stems are cut."""
    name = _FORBIDDEN_IN_NAMES.sub("_", name.encode(errors="replace").decode()).rstrip(". ") or "_"
    stem, suffix = Path(name).stem, Path(name).suffix[:12]
    name = stem.encode()[:200].decode(errors="ignore") + suffix
    return f"_{name}" if _RESERVED_NAMES.fullmatch(name) else name


def sentence(message: object) -> str:
    """Any text as a `Text` field takes it."""
    return str(message).encode(errors="replace").decode()[:2000]


def parse_address(address: str) -> tuple[str, int]:
    """Host and port (0 for any free one) of a loopback address such as "tcp://127.0.0.1:5750".

    Raises:
        InputError: another transport, a name or address that other machines can reach, or no port.
    """
    match = re.fullmatch(r"tcp://([^/:\s]+):(\d{1,5}|\*)", address)
    if not match or (match[2] != "*" and int(match[2]) > 65535):
        raise InputError(f"{address!r} is not a server address: write it like {DEFAULT_ADDRESS}.")
    host = "127.0.0.1" if match[1] == "localhost" else match[1]
    try:
        loopback = ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise InputError(
            f"{address} can be reached from other machines, and this version guards only this one:"
            f" use a loopback address such as {DEFAULT_ADDRESS}."
        )
    return host, 0 if match[2] == "*" else int(match[2])
