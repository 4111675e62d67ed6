"""Takes that wait for the job under way, as a pure state machine around the one for that job (`state.transition`).

A waiting take is handed to the server at once, which makes takes in this order, even while Blender is closed. When the
job under way ends, successfully or not, the first waiting take replaces it.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .. import translations
from ..words import count
from ..work import state
from ..work.requests import OpenRequest, Request, TakeRequest
from ..work.state import State


@dataclass(frozen=True)
class Waiting:
    """A waiting take. Its camera was sampled when it was requested, into a file of its own, `request.path`.

    Attributes:
        request: the take's request.
        job_id: the job's id, once handed over.
        update: the client's latest update on it; None if there is none yet.
        taken, again: see `State`.
    """

    request: TakeRequest
    job_id: str = ""
    update: Any = None
    taken: bool = False
    again: str = ""

    @property
    def was_begun(self) -> bool:
        """Whether the server has started it."""
        return self.update is not None and self.update.state not in ("uploading", "queued")

    @property
    def results(self) -> tuple[Path, ...]:
        """Its files and proxy, if they arrived before its turn."""
        if self.update is None:
            return ()
        return (*self.update.files.values(), *([] if self.update.proxy is None else [self.update.proxy]))


@dataclass(frozen=True)
class Queue:
    """All waiting takes, in order.

    Attributes:
        waiting: the takes.
        lost: sentences about takes that failed while others continued; cleared by the next request.
    """

    waiting: tuple[Waiting, ...] = ()
    lost: tuple[str, ...] = ()


# -- events -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HandedOver:
    """The client has accepted a waiting job and given it an id; the request now includes its files."""

    request: TakeRequest
    job_id: str


@dataclass(frozen=True)
class NotTaken:
    """A waiting job could not be handed over."""

    request: TakeRequest
    message: str


@dataclass(frozen=True)
class CancelWaiting:
    """The user cancels a waiting take; an empty path stands for all of them."""

    path: str = ""


@dataclass(frozen=True)
class NextPressed:
    """The user wants a waiting take to be next."""

    path: str


@dataclass(frozen=True)
class Restored:
    """A .blend was loaded that had been saved while these takes waited."""

    waiting: tuple[Waiting, ...]


@dataclass(frozen=True)
class Dismissed:
    """The user has read which takes failed."""


QueueEvent = HandedOver | NotTaken | CancelWaiting | NextPressed | Restored | Dismissed

# -- effects ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HandOver:
    """Hand a waiting job to the client, under the id that it had before, if any."""

    request: TakeRequest
    again: str = ""


@dataclass(frozen=True)
class PutFirst:
    """Tell the server which waiting job comes first."""

    job_id: str


@dataclass(frozen=True)
class Discard:
    """Drop a waiting take: cancel it on the server if the server has it, and remove its camera path."""

    waiting: Waiting


@dataclass(frozen=True)
class Keep:
    """Write the waiting takes into the .blend."""


QueueEffect = HandOver | PutFirst | Discard | Keep
Effects = tuple[state.Effect | QueueEffect, ...]


def name_of(request: Request) -> str:
    """The display name of a request before the take has a number."""
    if isinstance(request, OpenRequest):
        return translations.word("Source Camera")
    if not isinstance(request, TakeRequest) or request.preview:
        return translations.word("Path Preview")
    return translations.told("Take with Seed {seed}", seed=request.generation.get("seed", 0))


def told(now: State, queue: Queue) -> str:
    """The message after a take was queued."""
    if now.finds_camera and now.request.camera:
        return translations.told(
            "Queued behind the comparison of the clip with its camera. It uses both cameras as they are now. Press"
            " Cancel to start it at once, or press Take Again once the comparison is done."
        )
    if now.finds_camera:
        return translations.told(
            "Queued behind the camera search. It uses both cameras as they are now. Press Cancel to"
            " start it at once, or press Take Again once the camera is found."
        )
    return translations.told(
        "Queued behind {takes}. It uses the camera as it is now.", takes=count(len(queue.waiting), "take")
    )


def may_ask_for_takes(now: State) -> bool:
    """Whether takes can be requested: nothing is under way, or only takes or a camera search."""
    return not now.busy or isinstance(now.request, TakeRequest) or now.finds_camera


def may_open(now: State, queue: Queue) -> bool:
    """Whether a clip can be opened: nothing is under way, or only a camera search, which is then cancelled."""
    return not now.busy or (now.finds_camera and not queue.waiting)


def transition(now: State, queue: Queue, event: state.Event | QueueEvent) -> tuple[State, Queue, Effects]:
    """The next state and queue, and the effects to carry out. Events that come too late change nothing."""
    after, left, effects = _stepped(now, queue, event)
    if left.waiting and not after.busy:
        after, left, more = _next(after, left)
        effects += more
    if after.taken and not now.taken and after.job_id == now.job_id:
        effects += (state.Remember(after.request, after.job_id, True),)
    if _kept(left) != _kept(queue):
        effects += (Keep(),)
    return after, left, effects


def _stepped(now: State, queue: Queue, event: state.Event | QueueEvent) -> tuple[State, Queue, Effects]:
    """Like `transition`, without moving on to the next take."""
    match event:
        case state.Pressed(TakeRequest() as request) if now.busy:
            if not may_ask_for_takes(now):
                return now, queue, ()
            left = replace(queue, waiting=(*queue.waiting, Waiting(request)))
            return now, left, (HandOver(request),) if now.job_id else ()
        case HandedOver(request, job_id):
            return now, _changed(queue, request.path, request=request, job_id=job_id, again=""), ()
        case NotTaken(request, message):
            return now, _without(queue, request.path, f"{name_of(request)}: {message}"), _discarded(queue, request.path)
        case CancelWaiting(path):
            gone = [each.request.path for each in queue.waiting if path in ("", each.request.path)]
            left, effects = queue, ()
            for each in gone:
                left, effects = _without(left, each), (*effects, *_discarded(queue, each))
            return now, left, effects
        case NextPressed(path):
            wanted = [each for each in queue.waiting if each.request.path == path and each.taken]
            others = [each for each in queue.waiting if each not in wanted]
            left = replace(queue, waiting=(*wanted, *others))
            # The job under way may be waiting on the server, too. Whichever is put first last ends up first.
            first = [*(each.job_id for each in wanted), *([now.job_id] if wanted and now.taken else [])]
            return now, left, tuple(PutFirst(job_id) for job_id in first)
        case Restored(waiting):
            follow = tuple(state.Follow(each.job_id) for each in waiting if each.job_id)
            hand_over = tuple(_hand_over(each) for each in waiting if not each.job_id and now.job_id)
            return now, replace(queue, waiting=(*queue.waiting, *waiting)), (*follow, *hand_over)
        case state.Reconnected(known):
            after, effects = state.transition(now, event)
            left, more = _introduced(after, queue, known)
            return after, left, (*effects, *more)
        case Dismissed():
            return now, replace(queue, lost=()), ()
        case state.Updated(update) if any(each.job_id == update.job_id for each in queue.waiting):
            return now, *_updated(queue, update)
    if isinstance(event, state.GaveUp) and now.busy:  # on the server, not on a single take
        discarded = tuple(Discard(each) for each in queue.waiting)
        after, effects = state.transition(now, event)
        return after, Queue(), (*effects, *discarded)
    after, effects = state.transition(now, event)
    if isinstance(event, state.Pressed) and after.busy and not now.busy:
        queue = Queue()
    if isinstance(event, state.Submitted) and after.job_id != now.job_id:
        effects += tuple(_hand_over(each) for each in queue.waiting if not each.job_id)
    if now.busy and not after.busy and after.failed and queue.waiting:
        queue = replace(queue, lost=(*queue.lost, f"{name_of(now.request)}: {after.message}"))
    return after, queue, effects


def _next(ended: State, queue: Queue) -> tuple[State, Queue, Effects]:
    """Replace the job that has ended by the first waiting take, keeping the message."""
    first, left = queue.waiting[0], replace(queue, waiting=queue.waiting[1:])
    said = {"trouble": ended.trouble, "message": ended.message, "failed": ended.failed}
    if not first.job_id:
        begun = State("preparing", first.request, stage="Reading Files", again=first.again, **said)
        return begun, left, (state.Prepare(first.request),)
    following = State("working", first.request, first.job_id, stage="Queued", taken=first.taken, **said)
    effects: Effects = (state.Remember(first.request, first.job_id, first.taken),)
    if first.update is not None:
        following, more = state.transition(following, state.Updated(first.update))
        effects += more
    return following, left, effects


def _updated(queue: Queue, update: Any) -> tuple[Queue, Effects]:
    """Store an update until its take's turn comes; drop the take if it failed or was cancelled."""
    path = next(each.request.path for each in queue.waiting if each.job_id == update.job_id)
    if update.state not in ("failed", "cancelled"):
        return _changed(queue, path, update=update, taken=update.state != "uploading"), ()
    request = next(each.request for each in queue.waiting if each.job_id == update.job_id)
    message = update.message or translations.told("Cancelled.")
    return _without(queue, path, f"{name_of(request)}: {message}"), _discarded(_changed(queue, path, job_id=""), path)


def _introduced(now: State, queue: Queue, known: frozenset[str]) -> tuple[Queue, Effects]:
    """Have a new client follow the waiting takes; those that the server has not confirmed are handed over again."""
    effects: Effects = ()
    for each in queue.waiting:
        if each.job_id in known or (each.update is not None and each.update.state == "done"):
            continue
        if each.taken:
            effects += (state.Follow(each.job_id),)
            continue
        again = each.job_id or each.again
        queue = _changed(queue, each.request.path, job_id="", update=None, again=again)
        effects += (HandOver(each.request, again),) if now.job_id else ()
    return queue, effects


def _hand_over(waiting: Waiting) -> HandOver:
    return HandOver(waiting.request, waiting.again)


def _changed(queue: Queue, path: str, **changes: Any) -> Queue:
    changed = (replace(each, **changes) if each.request.path == path else each for each in queue.waiting)
    return replace(queue, waiting=tuple(changed))


def _without(queue: Queue, path: str, lost: str = "") -> Queue:
    waiting = tuple(each for each in queue.waiting if each.request.path != path)
    if len(waiting) == len(queue.waiting):  # it is the job under way by now
        return queue
    return Queue(waiting, (*queue.lost, lost) if lost else queue.lost)


def _discarded(queue: Queue, path: str) -> Effects:
    return tuple(Discard(each) for each in queue.waiting if each.request.path == path)


def _kept(queue: Queue) -> list[tuple[str, str, bool]]:
    """The changeable part of what the .blend stores of a queue."""
    return [(each.request.path, each.job_id or each.again, each.taken) for each in queue.waiting]
