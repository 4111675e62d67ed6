"""What the add-on is doing, as a pure state machine: `transition(state, event)` returns a state and effects.

    idle -> preparing (hash files) -> working (the server) -> importing (write caches, make objects) -> idle

One request at a time; takes that wait for it are in `queue.py`. Effects are data; `session.py` carries them out and
turns whatever happens into events.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..translations import told
from ..words import titled
from ..work.requests import DetailRequest, FetchRequest, FindRequest, OpenRequest, Request, TakeRequest, undo_name

# -- state ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """Everything that panels show.

    Attributes:
        phase: what is being done.
        request, job_id: the request under way, and its job's id once it has one.
        taken: whether the server has confirmed that it has the job; until then only this Blender has it.
        stage, step, steps, rate, eta_s: progress of the current stage.
        ahead: number of jobs that start before this one, while it waits; None if not known.
        picture: JPEG of what is being made; empty if there is none.
        trouble: why the server cannot be reached right now; the job waits for it.
        message, failed: how the last request ended, or another message.
        again: the id under which the job was sent to a server that never confirmed it, to be used again.
        proxy: whether a small movie of the take is in the sequencer until its files have arrived.
    """

    phase: Literal["idle", "preparing", "working", "importing"] = "idle"
    request: Request | None = None
    job_id: str = ""
    stage: str = ""
    step: int = 0
    steps: int = 0
    rate: float | None = None
    eta_s: float | None = None
    ahead: int | None = None
    picture: bytes = b""
    trouble: str = ""
    message: str = ""
    failed: bool = False
    taken: bool = False
    again: str = ""
    proxy: bool = False

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self.phase != "idle"

    @property
    def finds_camera(self) -> bool:
        """Whether an existing shot's camera is searched for, during which takes and another clip can be requested."""
        return isinstance(self.request, OpenRequest) and self.request.only_camera


# -- events -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pressed:
    """The user made a request."""

    request: Request


@dataclass(frozen=True)
class Prepared:
    """All files are hashed, so `job` can go to the server; the request now includes its files."""

    request: Request
    job: Any


@dataclass(frozen=True)
class Submitted:
    """The client gave the job an id."""

    job_id: str


@dataclass(frozen=True)
class Reopened:
    """A .blend was loaded that had been saved with a job under way."""

    request: Request
    job_id: str


@dataclass(frozen=True)
class Stepped:
    """Work inside Blender made progress."""

    stage: str
    step: int
    steps: int


@dataclass(frozen=True)
class Updated:
    """The client has news about a job (`ex4d.jobs.client.JobUpdate`)."""

    update: Any


@dataclass(frozen=True)
class Troubled:
    """The connection changed: `text` says what is wrong with it, and is empty if it works."""

    text: str


@dataclass(frozen=True)
class Reconnected:
    """There is a new client, which follows only the jobs `known`."""

    known: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Imported:
    """The result is in the scene; `changed` is False if there is nothing to undo."""

    message: str
    changed: bool = True


@dataclass(frozen=True)
class Failed:
    """Something went wrong inside Blender."""

    message: str


@dataclass(frozen=True)
class Said:
    """Show a message about something other than the request under way; an empty text clears a failure message."""

    text: str
    failed: bool = False


@dataclass(frozen=True)
class SteppedBack:
    """Undo or redo has changed the scene, so the message may no longer be true."""


@dataclass(frozen=True)
class ShotGone:
    """Undo has removed the shot whose camera is being searched for."""


@dataclass(frozen=True)
class CancelPressed:
    """The user wants to stop."""


@dataclass(frozen=True)
class GaveUp:
    """A script gave up waiting for a server that does not answer."""


Event = (
    Pressed
    | Prepared
    | Submitted
    | Reopened
    | Stepped
    | Updated
    | Troubled
    | Reconnected
    | Imported
    | Failed
    | Said
    | SteppedBack
    | ShotGone
    | CancelPressed
    | GaveUp
)

# -- effects ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prepare:
    """Start hashing the request's files; a request that needs no server is carried out entirely."""

    request: Request


@dataclass(frozen=True)
class Submit:
    """Submit the job through the client, under the id that it had before, if any."""

    job: Any
    files: Mapping[str, str]
    again: str = ""


@dataclass(frozen=True)
class Remember:
    """Store request and job in the .blend, to be followed after a restart, or sent again if not `taken`."""

    request: Request
    job_id: str
    taken: bool = False


@dataclass(frozen=True)
class Follow:
    """Ask the server what has become of the job."""

    job_id: str


@dataclass(frozen=True)
class Import:
    """Start bringing the result into the scene."""

    request: Request
    update: Any


@dataclass(frozen=True)
class ShowProxy:
    """Put a small movie of the take into the sequencer until its files have arrived."""

    request: TakeRequest
    update: Any


@dataclass(frozen=True)
class CancelJob:
    """Tell the server to cancel the job."""

    job_id: str


@dataclass(frozen=True)
class Drop:
    """Stop preparing or importing, and leave nothing incomplete."""


@dataclass(frozen=True)
class Forget:
    """Remove the job from the .blend, and the files made for its request."""

    request: Request


@dataclass(frozen=True)
class ShowResult:
    """Play the finished take if a sequencer is visible."""

    request: TakeRequest


@dataclass(frozen=True)
class PushUndo:
    """Make one undo step, with this name in Blender's undo history, of what a timer brought in."""

    name: str


@dataclass(frozen=True)
class FindCamera:
    """Search for the camera motion of the shot that `request` opened; `said` is the message about the opening."""

    request: OpenRequest
    said: str


Effect = (
    Prepare
    | Submit
    | Remember
    | Follow
    | Import
    | ShowProxy
    | CancelJob
    | Drop
    | Forget
    | ShowResult
    | PushUndo
    | FindCamera
)


def transition(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """The next state, and the effects to carry out. Events that come too late change nothing."""
    match event:
        case Pressed(FindRequest() | DetailRequest() as request) if not state.busy:
            reading = State("importing", request, stage="Reading Files", trouble=state.trouble)
            return reading, (Prepare(request),)
        case Pressed(FetchRequest() as request) if not state.busy:
            fetching = State(
                "working", request, request.job_id, stage="Reconnecting", trouble=state.trouble, taken=True
            )
            return fetching, (Remember(request, request.job_id, taken=True), Follow(request.job_id))
        case Pressed(request) if not state.busy:
            begun = State("preparing", request, stage="Reading Files", trouble=state.trouble)
            if begun.finds_camera:  # keep the message about the opening
                begun = replace(begun, message=state.message)
            return begun, (Prepare(request),)
        case Pressed(OpenRequest()) if state.finds_camera:  # cancel the search
            cancelled, effects = transition(state, CancelPressed())
            begun, more = transition(cancelled, event)
            return begun, (*effects, *more)
        case Prepared(request, job) if state.phase == "preparing":
            working = replace(state, phase="working", request=request, stage="Sending", step=0, steps=0)
            return working, (Submit(job, request.files, state.again),)
        case Submitted(job_id) if state.phase == "working":
            return replace(state, job_id=job_id, again=""), (Remember(state.request, job_id),)
        case Reopened(request, job_id) if not state.busy:
            following = State("working", request, job_id, stage="Reconnecting", trouble=state.trouble, taken=True)
            return following, (Follow(job_id),)
        case Stepped(stage, step, steps) if state.phase in ("preparing", "importing"):
            return replace(state, stage=stage, step=step, steps=steps, rate=None, eta_s=None), ()
        case Updated(update) if state.phase == "working" and update.job_id == state.job_id:
            return _updated(state, update)
        case Troubled(text):
            return replace(state, trouble=text), ()
        case Reconnected(known) if state.phase == "working" and state.job_id and state.job_id not in known:
            if state.taken:
                return state, (Follow(state.job_id),)
            again = replace(state, phase="preparing", job_id="", again=state.job_id)
            again = replace(again, stage="Reading Files", step=0, steps=0)
            return replace(again, rate=None, eta_s=None), (Prepare(state.request),)
        case Imported(message, changed) if state.phase == "importing":
            ended = State(message=message, trouble=state.trouble)
            shown = (ShowResult(state.request),) if isinstance(state.request, TakeRequest) else ()
            undo = (PushUndo(undo_name(state.request)),) if changed else ()
            is_opened = isinstance(state.request, OpenRequest) and state.request.then
            then = (FindCamera(state.request, message),) if is_opened else ()
            return ended, (Forget(state.request), *undo, *shown, *then)
        case Failed(message) if state.busy:
            return _ended(state, message, failed=True, also=(Drop(),))
        case Failed(message):
            return State(message=message, failed=True, trouble=state.trouble), ()
        case Said(text, failed) if text:
            return replace(state, message=text, failed=failed), ()
        case Said() if state.failed:
            return replace(state, message="", failed=False), ()
        case SteppedBack() if not state.busy:
            return State(trouble=state.trouble), ()
        case SteppedBack() if state.finds_camera:  # its message is about the opening, which may be undone
            return replace(state, message="", failed=False), ()
        case ShotGone() if state.finds_camera:
            cancel = (CancelJob(state.job_id),) if state.phase == "working" and state.job_id else ()
            return _ended(state, "", failed=False, also=(*cancel, Drop()))
        case CancelPressed() if state.busy:
            cancel = (CancelJob(state.job_id),) if state.phase == "working" and state.job_id else ()
            return _ended(state, _cancelled(state), failed=False, also=(*cancel, Drop()))
        case GaveUp() if state.busy:
            cancel = (CancelJob(state.job_id),) if state.job_id else ()
            return _ended(state, state.trouble, failed=True, also=(*cancel, Drop()))
    return state, ()


def _updated(state: State, update: Any) -> tuple[State, tuple[Effect, ...]]:
    if update.state == "done":
        importing = replace(state, phase="importing", stage="Importing", step=0, steps=0, rate=None, eta_s=None)
        importing = replace(importing, picture=b"")
        return importing, (Import(state.request, update),)
    if update.state == "failed":
        return _ended(state, update.message, failed=True)
    if update.state == "cancelled":
        return _ended(state, _cancelled(state), failed=False)
    stage = titled(update.stage or update.state)
    progress = replace(state, stage=stage, step=update.step, steps=update.steps, rate=update.rate, eta_s=update.eta_s)
    progress = replace(progress, ahead=update.ahead)
    progress = replace(progress, picture=update.picture, taken=state.taken or update.state != "uploading")
    if update.proxy is not None and not state.proxy and isinstance(state.request, TakeRequest):
        return replace(progress, proxy=True), (ShowProxy(state.request, update),)
    return progress, ()


def _cancelled(state: State) -> str:
    if state.finds_camera:
        if state.request.camera:
            return told(
                "The comparison of the clip with its camera was cancelled. The shot stays as it is, in the unit of the"
                " camera; Open Again compares them again."
            )
        return told("The camera search was cancelled. The source camera stays as it is; Find Camera searches again.")
    return told("Cancelled.")


def _ended(
    state: State, message: str, *, failed: bool, also: tuple[Effect, ...] = ()
) -> tuple[State, tuple[Effect, ...]]:
    ended = State(message=message, failed=failed, trouble=state.trouble)
    return ended, (*also, Forget(state.request))
