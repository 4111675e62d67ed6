"""The server's client: submits jobs, transfers their files and follows them. `poll` never blocks.

    client = Client("tcp://127.0.0.1:5750", downloads)
    job_id = client.submit(Reconstruct(source), {blob.sha256: path, ...})
    for update in client.poll(): ...          # from a timer, or
    last = client.wait(job_id)                # from a script

It needs zmq and msgpack, and no threads except one that looks up the name of another machine. A lost connection is
rebuilt from scratch: new sockets, hello, then for each job either its submission again or the events since the last
one seen.

Everything is encrypted for a single server: this user's own, whose key is in its state folder (`ex4d.jobs.keys`), or
one on another machine, whose key is in the user's list (`ex4d.jobs.hosts`).
"""

import itertools
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import zmq

from ex4d.errors import InputError, ServerError
from ex4d.jobs import hosts, refusals
from ex4d.jobs.address import EVERYWHERE, is_loopback, parse_address
from ex4d.jobs.codec import ProtocolError, TooLargeError, decode, encode
from ex4d.jobs.keys import ClientKeys, check_curve, client_keys, find_state
from ex4d.jobs.limits import JOB_FILES
from ex4d.jobs.link import Link
from ex4d.jobs.messages import (
    SERVER_BULK,
    SERVER_CONTROL,
    TERMINAL,
    AskQueue,
    Cancel,
    Chunk,
    Error,
    Event,
    Fetched,
    First,
    Follow,
    Get,
    GetFile,
    Holds,
    Limits,
    Look,
    Missing,
    Ping,
    Pong,
    Put,
    PutFile,
    Queue,
    Seen,
    Status,
    Submit,
    Unload,
    Unloaded,
    Unseen,
    Welcome,
)
from ex4d.jobs.name_lookup import NameLookup
from ex4d.jobs.tracked import SURE_SECONDS, JobUpdate, Pace, Tracked
from ex4d.jobs.transfer import Download, Exchange, Results, Upload
from ex4d.pipeline.requests import Job, blobs_of, job_hash
from ex4d.plain import Tagged, from_plain, to_plain

ServerInfo = Welcome
"""What the server announced about itself: version, protocol, capabilities.generators, limits and more."""

HELLO_SECONDS = 3.0
"""After this long without a welcome, the server counts as not answering."""
PING_SECONDS, SILENCE_SECONDS = 2.0, 8.0
PATIENCE_SECONDS = 15.0
"""`wait` gives up on a server that has not answered for this long."""
SENDING_TRIES = 2
"""How many times in all a file is sent if it arrives damaged."""
SMALL_BYTES = 256 * 1024
"""Files up to this size go over the socket in one piece even if the server sees the same disk."""
WORTH_SECONDS = 2.0
"""A proxy is worth showing if the result will take longer than this."""
LABEL = 100
"""How many characters of a name are sent for the user's other programs."""
NO_FILES: Mapping[str, Path] = MappingProxyType({})


class Client:
    """A connection to one server. Create it, then keep calling `poll`.

    Args:
        address: "tcp://127.0.0.1:5750", or the address of a server in the user's list.
        downloads: folder for results; each job gets its own folder in it.
        same_disk: let the server copy files itself if it sees the same disk; if False, everything goes over the socket.
        state: state folder of the server, in case the user's registry does not know the address.
        known: the server on another machine; None looks for the address in the user's registry, then in the list.
        proxies: if a take is downloaded over a slow link, fetch its small movie first, see `JobUpdate.proxy`.
        clock: monotonic seconds.

    Attributes:
        status: "refused" means that the server answers but does not accept this client, or that it is not this user's;
            no job is sent then.
        problem: a sentence for the user, "" if all is well; even if the server is "ready", files may be blocked.
        server: what the server announced about itself; None before that.
        known: the server's entry in the user's list; None for a server on this machine.
        occupied: something listens at the address but has not spoken our protocol: another program, another user's
            server, or a server that hangs.
        unloaded: the answer to the last `unload`; None until it arrives.
        queue: the answer to the last `ask_queue`; None until it arrives.
        trouble: a sentence about a "ready" server that cannot work now, for example because of a full disk; "" if none.
        refusal: why the server refused the last request about a job not tracked here; "" if it did not.

    Raises:
        InputError: the address cannot be connected to, or ZeroMQ cannot encrypt here.
    """

    def __init__(
        self,
        address: str,
        downloads: Path,
        *,
        same_disk: bool = True,
        state: Path | None = None,
        known: hosts.KnownServer | None = None,
        proxies: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        check_curve()
        host, port = parse_address(address)
        if port == 0 or host == EVERYWHERE:
            raise InputError(
                f"{address} is an address to listen on, not one to connect to: write the server's port, and its own"
                " address or name."
            )
        self.status: Literal["connecting", "ready", "unreachable", "refused"] = "connecting"
        self.problem = self.trouble = self.refusal = ""
        self.server: ServerInfo | None = None
        self.occupied = False
        self.unloaded: Unloaded | None = None
        self.queue: Queue | None = None
        self.known, self._given = known, known is not None
        self._address, self._port, self._host = address, port, NameLookup(host)
        self._folder, self._state, self._clock = Path(downloads), state, clock
        self._turned_away = False
        self._limits = Limits()
        self._context = zmq.Context()
        self._same_disk, self._proxies = same_disk, proxies
        self._exchange: Exchange | None = None
        self._jobs: dict[str, Tracked] = {}
        self._to_cancel: set[str] = set()
        self._updates: list[JobUpdate] = []
        self._views: list[Seen | Unseen] = []
        self._polled = clock()
        self._connection = self._connect()

    @property
    def lacks_admission(self) -> bool:
        """Whether the server answers but does not let this key in, or no longer does."""
        return self._connection.not_admitted

    # -- for callers

    def submit(
        self,
        job: Job,
        files: Mapping[str, Path] = NO_FILES,
        *,
        job_id: str | None = None,
        file: str = "",
        shot: str = "",
    ) -> str:
        """Submit a job; returns its id at once.

        Args:
            job: the job.
            files: path on this machine of each blob in the job, by sha256.
            job_id: an id made earlier, to submit the same job again; None makes a new one.
            file, shot: what the job is for, shown by the user's other programs: names of a .blend and of a shot in it.

        Raises:
            ProtocolError: a field of the job has an invalid value; names the field.
            InputError: a file of the job is not among `files`, or there are too many files.
            ServerError: the server refused this client.
        """
        if self.status == "refused":
            raise ServerError(self.problem)
        job = from_plain(Job, to_plain(job), "job")
        number = len(blobs_of(job))
        if number > JOB_FILES:
            raise InputError(
                f"This range needs {number} images, and at most {JOB_FILES} can be sent in one job: use fewer"
                " frames, or make a video from them."
            )
        if lacking := [blob.name for blob in blobs_of(job) if blob.sha256 not in files]:
            raise InputError(
                f"The job names the file {lacking[0]}, but it was not given: pass its path on this machine."
            )
        submit = Submit(job_id or str(uuid.uuid4()), job_hash(job), job, file[:LABEL], shot[:LABEL])
        try:
            encode(submit)
        except TooLargeError:
            if number < 100:  # then it is not the files
                raise
            raise InputError(
                f"{number} images with such long names are too many for one job: use fewer frames, shorter names,"
                " or make a video from them."
            ) from None
        self._track(Tracked(JobUpdate(submit.job_id, "uploading"), submit, files))
        return submit.job_id

    def follow(self, job_id: str, since: int = 0) -> None:
        """Track a job submitted earlier, from event number `since`; its results are downloaded again.

        Raises:
            ProtocolError: the job id or `since` is invalid.
        """
        from_plain(Follow, {"kind": "follow", "job_id": job_id, "since": since}, "follow")
        self._track(Tracked(JobUpdate(job_id, "queued", seq=since), None, {}))

    @property
    def jobs(self) -> frozenset[str]:
        """Ids of the jobs that this client tracks, including those that have ended."""
        return frozenset(self._jobs)

    def cancel(self, job_id: str) -> None:
        """Ask the server to stop a job.

        If the result is finished first, it is kept and the job ends as done. A job whose results are being downloaded
        ends at once as cancelled; the files stay on the server, and `follow` downloads them.
        While the server cannot be reached, the job counts as cancelled at once, and the server is told once it is back.
        """
        tracked = self._jobs.get(job_id)
        if tracked is None or tracked.update.ended:
            return
        if tracked.results:
            tracked.results.discard()
            message = "The result was already finished: it stays on the server, and following the job downloads it."
            self._end(tracked, "cancelled", message)
            return
        tracked.cancelled = True
        self._to_cancel.add(job_id)
        if self.status == "ready":
            self._send(Cancel(job_id))
        elif self.status == "unreachable" or tracked.submit:
            self._end(tracked, "cancelled")

    @property
    def cancelling(self) -> frozenset[str]:
        """Ids of jobs whose cancellation the server has not confirmed yet."""
        return frozenset(self._to_cancel)

    def put_first(self, job_id: str, *, of_all: bool = False) -> None:
        """Ask the server to start a waiting job before all others of this key. A refusal arrives in `refusal`.

        Args:
            job_id: the job.
            of_all: put it before everybody's jobs, which only programs of the server's own user may do.

        Raises:
            ProtocolError: `job_id` is not a job id.
            ServerError: the server cannot be reached.
        """
        self._ask_about(from_plain(First, {"kind": "first", "job_id": job_id, "of_all": of_all}, "first"))

    def stop(self, job_id: str) -> None:
        """Ask the server to cancel a job that another program of this user tracks.

        Raises:
            ProtocolError, ServerError: as `put_first`.
        """
        self._ask_about(from_plain(Cancel, {"kind": "cancel", "job_id": job_id}, "cancel"))

    def forget_result(self, job_id: str) -> None:
        """Tell the server that the result of a job is no longer wanted.

        Raises:
            ProtocolError, ServerError: as `put_first`.
        """
        self._ask_about(from_plain(Fetched, {"kind": "fetched", "job_id": job_id}, "fetched"))

    def _ask_about(self, message: First | Cancel | Fetched) -> None:
        self._must_be_ready()
        self.refusal = ""
        self._send(message)

    def _must_be_ready(self) -> None:
        if self.status != "ready":
            raise ServerError(self.problem or f"The EX-4D server at {self._address} has not answered yet.")

    def unload(self) -> None:
        """Ask the server to free the memory that its models hold; the answer arrives in `unloaded`.

        Raises:
            ServerError: the server cannot be reached.
        """
        self._must_be_ready()
        self.unloaded = None
        self._send(Unload())

    def ask_queue(self) -> None:
        """Ask the server for its queue; the answer arrives in `queue`."""
        self.queue = None
        self._send(AskQueue())

    def look(self, look: Look) -> bool:
        """Ask which pixels are real as seen from a camera; `take_views` returns the answer.

        Looks are not stored or sent again: if the connection is lost, or a newer look replaces this one, there is no
        answer.

        Returns:
            Whether the look was sent; it is sent only while the server is "ready".
        """
        if self.status != "ready":
            return False
        self._send(look)
        return True

    def take_views(self) -> list[Seen | Unseen]:
        """The answers to looks that have arrived since the last call."""
        views, self._views = self._views, []
        return views

    @property
    def moving(self) -> bool:
        """Whether files are going over the socket; polling more often speeds them up (`limits.MOVING_BUDGET_S`)."""
        return any(not transfer.ticketed for _, transfer in self._connection.asked)

    def poll(self, budget: float = 0.004) -> list[JobUpdate]:
        """Do what can be done now, for at most about `budget` seconds, and return what has changed."""
        now = self._clock()
        deadline = now + budget
        self._look_after_connection(now)
        while self._one_thing() and self._clock() < deadline:
            pass
        updates, self._updates = self._updates, []
        return [
            update for update, later in itertools.zip_longest(updates, updates[1:]) if not _superseded(update, later)
        ]

    def wait(
        self,
        job_id: str,
        on_update: Callable[[JobUpdate], None] | None = None,
        timeout: float | None = None,
    ) -> JobUpdate:
        """Poll until the job has ended, and return its last update: done, failed or cancelled.

        Raises:
            ServerError: the server refused this client or did not answer for 15 s, `timeout` seconds have passed, or
                the job was never submitted or followed here.
        """
        began = answered = self._clock()
        while True:
            for update in self.poll(0.05):
                if update.job_id != job_id:
                    continue
                if on_update:
                    on_update(update)
                if update.ended:
                    return update
            tracked, now = self._jobs.get(job_id), self._clock()
            if tracked is None:
                raise ServerError(f"The job {job_id} was never submitted or followed here.")
            if tracked.update.ended:
                return tracked.update
            if self.status == "ready" and not self.problem:
                answered = now
            if self.status == "refused" or now - answered > PATIENCE_SECONDS:
                raise ServerError(self.problem)
            if timeout is not None and now - began > timeout:
                raise ServerError(f"The job did not end within {timeout:g} s: it continues on the server.")
            self._sleep_until_readable(50)

    def close(self) -> None:
        """Close the sockets and files; jobs continue on the server."""
        if self._context.closed:
            return
        for tracked in self._jobs.values():
            tracked.drop_uploads()
            if tracked.results:
                tracked.results.close()
            if tracked.proxy:
                tracked.proxy.remove()
        self._connection.close()
        self._context.term()

    # -- connection

    def _connect(self) -> Link:
        keys, self._no_keys = self._find_keys()
        if not self._host.pending:
            self._host = NameLookup(self._host.host)  # a name may point to another machine by now
        return Link(self._context, self._host, self._port, keys, self._clock())

    def _find_keys(self) -> tuple[ClientKeys | None, str]:
        """The keys for the server at this address, looked up anew, or the reason why there are none."""
        try:
            if not self._given:
                state = find_state(self._address) or self._state
                self.known = None if state else hosts.at(self._address)
                if state:
                    return client_keys(state), ""
            if self.known is not None:
                return self.known.keys, ""
        except InputError as error:
            return None, str(error)
        return None, "" if is_loopback(self._host.host) else refusals.not_in_list(self._address)

    @property
    def _verdict(self) -> str:
        """Why the client does not talk to the listener, in a sentence; "" if there is no reason not to."""
        if self._connection.not_admitted:
            return refusals.not_admitted(self._address, self.known)
        if self._connection.is_another:
            return refusals.someone_elses(self._address, self.known)
        return self._no_keys

    def _turn_away(self) -> None:
        """Refuse to talk to the listener, which is not this user's server; check now and then whether that changed."""
        link = self._connection
        if self._find_keys()[0] not in (None, link.keys):
            self._connection.close()  # our server has started meanwhile
            self._connection = self._connect()
            return
        self.occupied |= link.reached
        problem = self._verdict
        if self._turned_away and problem == self.problem:
            return
        self._turned_away, self.status, self.problem = True, "refused", problem
        for tracked in self._active():
            self._emit(tracked, message=problem)

    def _look_after_connection(self, now: float) -> None:
        link = self._connection
        if now - self._polled > PING_SECONDS:  # we were asleep, not the server: give it time to answer
            link.heard = link.pinged = now
            link.began = max(link.began, now - HELLO_SECONDS / 2)
        self._polled = now
        silent = self.status == "ready" and now - link.heard > SILENCE_SECONDS
        waiting = self.status in ("connecting", "unreachable") or self._turned_away
        unheard = waiting and now - link.began > HELLO_SECONDS
        link.reach()
        lost = link.lost()
        if self.status == "ready":
            self._look_after_files(now)
        if self._verdict and not unheard:
            self._turn_away()
        elif self._verdict:
            link.close()
            self._connection = self._connect()
        elif lost or silent or unheard:
            self._reconnect()
        elif self.status == "ready" and now - link.pinged > PING_SECONDS:
            link.pinged = now
            self._send(Ping())
            self._ask_about_the_silent(now)

    def _look_after_files(self, now: float) -> None:
        """Report a firewall that lets the control socket through but not the file socket."""
        link = self._connection
        blocked = bool(link.asked) and not link.files_reached and now - link.files_began > HELLO_SECONDS
        problem = refusals.no_files(self._address, link.files_port, self.known) if blocked else ""
        if problem != self.problem:
            self.problem = problem
            for tracked in self._active():
                self._emit(tracked, message=problem)

    def _ask_about_the_silent(self, now: float) -> None:
        """Ask about quiet jobs: events may get lost, even the last one, so request those after the last one seen."""
        for tracked in self._active():
            if not tracked.submit and not tracked.results and now - tracked.heard > PING_SECONDS:
                self._send(Follow(tracked.update.job_id, tracked.update.seq))

    def _reconnect(self) -> None:
        self.occupied = self._connection.reached and self._connection.bulk is None
        named = self._connection.host
        self._connection.close()
        self._connection = self._connect()
        problem = refusals.no_answer(self._address, self.known)
        if not named.address and self.known is not None:
            problem = refusals.no_such_name(named.host, self.known)
        if (self.status, self.problem) == ("unreachable", problem):
            return
        self.status, self._turned_away, self.problem = "unreachable", False, problem
        for tracked in self._active():
            self._emit(tracked, message=self.problem)

    def _send(self, *parts: Tagged | memoryview, bulk: bool = False) -> None:
        try:
            self._connection.send(*parts, bulk=bulk)
        except zmq.Again:  # a queue of 1000 is full: the server has stopped reading
            self._reconnect()

    def _welcomed(self, welcome: Welcome) -> None:
        self.status, self.problem, self.server, self._limits = "ready", "", welcome, welcome.limits
        self._turned_away = self.occupied = False
        self.trouble = ""
        self._connection.open_bulk(welcome.bulk_port, welcome.session, self._clock())
        same_disk = self._same_disk and self.known is None
        self._exchange = Exchange.of(welcome.exchange, welcome.instance) if same_disk else None
        for job_id in self._to_cancel:
            self._send(Cancel(job_id))
        for tracked in self._active():
            tracked.met = False
            if tracked.update.message:
                self._emit(tracked, message="")
            tracked.pace = None
            for download in (tracked.proxy, tracked.results and tracked.results.download):
                if download:
                    download.forget_under_way()
            self._introduce(tracked)

    def _refused(self, sentence: str) -> None:
        self.status, self.problem, self.occupied = "refused", sentence, False
        for tracked in self._active():
            self._end(tracked, "failed", sentence)

    def _sleep_until_readable(self, milliseconds: int) -> None:
        poller = zmq.Poller()
        # Waking for every chunk would take CPU time from the server: while files are moving, let a few accumulate.
        sockets = () if self.moving else self._connection.sockets()
        for socket in (*sockets, *self._connection.monitors):
            poller.register(socket, zmq.POLLIN)
        poller.poll(1 if self.moving else milliseconds)

    # -- jobs

    def _active(self) -> list[Tracked]:
        return [tracked for tracked in self._jobs.values() if not tracked.update.ended]

    def _track(self, tracked: Tracked) -> None:
        self._jobs[tracked.update.job_id] = tracked
        self._emit(tracked, message="" if self.status == "ready" else self.problem)
        if self.status == "ready":
            self._introduce(tracked)

    def _introduce(self, tracked: Tracked) -> None:
        """Tell the server about a job, after each hello and once the server has all its files."""
        job_id = tracked.update.job_id
        if tracked.submit:
            tracked.drop_uploads()
            self._send(tracked.submit)
        else:
            self._send(Follow(job_id, tracked.update.seq))
        if tracked.cancelled:
            self._send(Cancel(job_id))

    def _emit(self, tracked: Tracked, **changes: Any) -> None:
        tracked.update = replace(tracked.update, **changes)
        self._updates.append(tracked.update)

    def _end(self, tracked: Tracked, state: str, message: str = "", **changes: Any) -> None:
        tracked.drop_uploads()
        if tracked.results:
            tracked.results.close()
            tracked.results = None
        if tracked.proxy:
            tracked.proxy.remove()
            tracked.proxy = None
        self._emit(tracked, state=state, message=message, rate=None, eta_s=None, picture=b"", **changes)

    # -- one thing at a time

    def _one_thing(self) -> bool:
        """Handle one message or move one chunk; returns False if there is nothing to do."""
        link = self._connection
        try:
            if link.control.poll(0):
                self._control(link.control.recv_multipart(zmq.NOBLOCK))
                return True
            if link.bulk is not None and link.bulk.poll(0):
                self._bulk(link.bulk.recv_multipart(zmq.NOBLOCK, copy=False))
                return True
        except ProtocolError as error:
            self._refused(f"The server at {self._address} sent what this client does not understand: {error}")
            return True
        return any(self._move(tracked) for tracked in self._active())

    def _control(self, frames: list[bytes]) -> None:
        self._connection.heard = self._clock()
        message = decode(frames[0], SERVER_CONTROL)
        if isinstance(message, Welcome):
            self._welcomed(message)
        elif isinstance(message, Error):
            self._error(message)
        elif isinstance(message, Unloaded):
            self.unloaded = message
        elif isinstance(message, Queue):
            self.queue = message
        elif isinstance(message, Pong):
            self.trouble = message.trouble
            self._told_ahead(message)
        elif isinstance(message, Seen | Unseen):
            self._views.append(message)
        elif isinstance(message, Status | Missing | Event):
            if not isinstance(message, Missing) and message.state in TERMINAL:
                self._to_cancel.discard(message.job_id)
            tracked = self._jobs.get(message.job_id)
            if tracked is None or tracked.update.ended:
                return
            tracked.met = True
            if isinstance(message, Missing):
                self._missing(tracked, message)
            elif isinstance(message, Status):
                tracked.submit = None
                tracked.drop_uploads()
            elif message.seq > tracked.update.seq:
                self._event(tracked, message)

    def _told_ahead(self, pong: Pong) -> None:
        for each in pong.ahead:
            tracked = self._jobs.get(each.job_id)
            if tracked is not None and tracked.update.state == "queued" and tracked.update.ahead != each.jobs:
                self._emit(tracked, ahead=each.jobs)

    def _error(self, error: Error) -> None:
        tracked = self._jobs.get(error.about)
        if error.code == "unknown_job":
            self._to_cancel.discard(error.about)
        if error.code == "hello_first":
            self._reconnect()
        elif error.code == "not_admitted":  # tried again now and then, because the key may be let in again
            self._connection.not_admitted, self._connection.began = True, self._clock()
        elif tracked is None or tracked.update.ended:
            if not error.about:
                self._refused(error.message)
            elif tracked is None:
                self.refusal = error.message
        elif error.code != "unknown_job":
            self._end(tracked, "failed", error.message)
        elif tracked.cancelled:
            self._end(tracked, "cancelled")
        elif not tracked.submit:
            message = "The server does not know this job (its state folder may have changed): start the job again."
            self._end(tracked, "failed", message)

    def _event(self, tracked: Tracked, event: Event) -> None:
        tracked.heard = self._clock()
        rate = event.step / event.elapsed if event.step and event.elapsed > 0 else None
        changes: dict[str, Any] = {
            "stage": event.stage,
            "step": event.step,
            "steps": event.steps,
            "rate": rate,
            "eta_s": (event.steps - event.step) / rate if rate else None,
            "message": event.message,
            "attempt": event.attempt,
            "picture": event.picture or tracked.update.picture,
            "ahead": None,
        }
        if event.state != "done" or event.result is None:
            self._emit(tracked, **changes, state=event.state, seq=event.seq)
        elif tracked.results is None:
            folder, proxy = self._folder / event.job_id, event.result.proxy
            try:
                tracked.results = Results(event.result.files, folder, proxy)
            except ServerError as error:
                self._end(tracked, "failed", str(error))
                return
            if proxy is not None and self._proxies and self.known is not None:
                tracked.proxy = Download(proxy, folder)
            tracked.done, tracked.pace = event, None
            self._emit(tracked, **changes, state="downloading", facts=event.result.facts)

    # -- files

    def _move(self, tracked: Tracked) -> bool:
        """Send, request or check one chunk of a job's files; returns False if there is nothing to do for it now."""
        if self.status != "ready" or not tracked.met:
            return False
        try:
            if tracked.results:
                return self._fetch(tracked, tracked.results)
            for upload in tracked.uploads.values():
                if not upload.sent_end and self._has_credit():
                    self._send_more(tracked, upload)
                    return True
        except OSError as error:
            self._local_error(tracked, error)
        except ServerError as error:
            self._end(tracked, "failed", str(error))
        return False

    def _send_more(self, tracked: Tracked, upload: Upload) -> None:
        blob = upload.blob
        if blob.size > SMALL_BYTES and (ticket := self._ticket(upload.path)):
            upload.by_ticket()
            self._ask(tracked, upload, PutFile(blob.sha256, blob.size, ticket))
        else:
            offset = upload.next
            data = upload.chunk(self._limits.chunk)
            self._ask(tracked, upload, Put(blob.sha256, blob.size, offset), data)

    def _ticket(self, path: Path) -> str:
        """A ticket for a path; empty if there is no exchange, or it has become unusable."""
        try:
            return self._exchange.ticket(path) if self._exchange else ""
        except OSError:
            self._exchange = None
            return ""

    def _ask(self, tracked: Tracked, transfer: Upload | Download, *parts: Tagged | memoryview) -> None:
        self._connection.asked.append((tracked, transfer))
        self._send(*parts, bulk=True)

    def _has_credit(self) -> bool:
        return len(self._connection.asked) < self._limits.credit

    def _local_error(self, tracked: Tracked, error: OSError) -> None:
        name = Path(error.filename).name if isinstance(error.filename, str | Path) else "of this job"
        if tracked.results and tracked.results.download:
            name = tracked.results.download.blob.name
            tracked.results.discard()
            what = "check that its folder can be written and that the disk has room, then start the job again"
        else:
            what = "check that it is still there, then open the clip again"
        self._end(tracked, "failed", f"The file {name} could not be read or written ({error.strerror}): {what}.")

    def _bulk(self, frames: list[zmq.Frame]) -> None:
        """Handle one answer about a file: it belongs to the oldest pending request."""
        self._connection.heard = self._clock()
        message = decode(frames[0].bytes, SERVER_BULK)
        if not self._connection.asked:
            raise ProtocolError("an answer on the bulk socket that nobody asked for.")
        if isinstance(message, Error) and message.code == "hello_first":
            self._reconnect()
            return
        tracked, transfer = self._connection.asked.popleft()
        if tracked.update.ended:
            return
        try:
            if isinstance(message, Error):
                self._not_moved(tracked, transfer, message)
            elif message.sha256 != transfer.blob.sha256 or isinstance(message, Chunk) != _wants_chunk(transfer):
                raise ProtocolError("an answer about another file than was asked for.")
            elif isinstance(transfer, Download):
                self._arrived(tracked, transfer, message.offset, frames)
            elif tracked.uploads.get(transfer.blob.sha256) is transfer:
                self._held(tracked, transfer, message)
        except OSError as error:
            self._local_error(tracked, error)
        except ServerError as error:
            self._end(tracked, "failed", str(error))

    def _arrived(self, tracked: Tracked, download: Download, offset: int, frames: list[zmq.Frame]) -> None:
        if tracked.results is None or download not in (tracked.proxy, tracked.results.download):
            return
        if download.ticketed:
            download.copied()
        elif len(frames) == 2:
            download.add(offset, frames[1].buffer)
        else:
            raise ProtocolError("a chunk needs a second frame with the content.")
        self._emit_download(tracked, tracked.results)

    def _missing(self, tracked: Tracked, missing: Missing) -> None:
        if tracked.submit is None:
            return
        tracked.drop_uploads()
        blobs = {blob.sha256: blob for blob in blobs_of(tracked.submit.job)}
        for holds in missing.blobs:
            if blob := blobs.get(holds.sha256):
                tracked.uploads[blob.sha256] = Upload(blob, tracked.files[blob.sha256], holds.offset)
        tracked.pace = Pace(self._clock(), sum(upload.held for upload in tracked.uploads.values()))
        self._emit_uploads(tracked)

    def _held(self, tracked: Tracked, upload: Upload, holds: Holds) -> None:
        upload.acknowledged(holds.offset)
        if upload.done:
            upload.close()
        self._emit_uploads(tracked)
        if all(upload.done for upload in tracked.uploads.values()):
            self._introduce(tracked)

    def _not_moved(self, tracked: Tracked, transfer: Upload | Download, error: Error) -> None:
        if error.code == "not_seen":  # the server sees less of the disk than we do: use the socket
            self._exchange = None
            transfer.by_chunks()
            return
        if transfer is tracked.proxy:  # the proxy is optional
            tracked.proxy.remove()
            tracked.proxy = None
            return
        if isinstance(transfer, Download) or error.code != "corrupt" or transfer.tries == SENDING_TRIES:
            raise ServerError(error.message)
        transfer.tries += 1
        transfer.under_way -= 1
        transfer.start_at(0)

    def _emit_uploads(self, tracked: Tracked) -> None:
        uploads = tracked.uploads.values()
        done, size = sum(upload.held for upload in uploads), sum(upload.blob.size for upload in uploads)
        self._emit(tracked, stage="upload", step=done, steps=size, eta_s=tracked.left(self._clock(), done, size))

    def _emit_download(self, tracked: Tracked, results: Results) -> None:
        held, size = results.held, results.size
        left = tracked.left(self._clock(), held, size)
        self._emit(tracked, stage="download", step=held, steps=size, rate=None, eta_s=left)

    def _fetch(self, tracked: Tracked, results: Results) -> bool:
        """One step of the download: check what is there, request a chunk, or end once every file has arrived."""
        if tracked.proxy is not None and self._fetch_proxy(tracked, tracked.proxy, results):
            return True
        download = results.current(copy_parts=self._exchange is None)
        if download is None:
            event = tracked.done
            assert event
            assert event.result
            self._send(Fetched(tracked.update.job_id))
            self._end(tracked, "done", facts=event.result.facts, files=results.files, seq=event.seq)
            return True
        if download.look():
            self._emit_download(tracked, results)
            return True
        return self._ask_for_more(tracked, download, results.held)

    def _fetch_proxy(self, tracked: Tracked, proxy: Download, results: Results) -> bool:
        """One step of the proxy's download, which comes first; returns whether there was anything to do. Once the proxy
        is here, the pace of the result decides whether it is worth showing."""
        if not proxy.done:
            return proxy.look() or self._ask_for_more(tracked, proxy, results.held)
        now = self._clock()
        if tracked.pace is None or now - tracked.pace.began < SURE_SECONDS:
            return False
        left = tracked.left(now, results.held, results.size)
        if left is None or left > WORTH_SECONDS:
            tracked.proxy = None
            self._emit(tracked, proxy=proxy.path)
        else:
            proxy.remove()
            tracked.proxy = None
        return True

    def _ask_for_more(self, tracked: Tracked, download: Download, held: int) -> bool:
        """Request a chunk of a file, or all of it if the server sees the same disk; returns False if there is nothing
        to request now. `held` is how many bytes of all files are here."""
        if download.next >= download.blob.size or not self._has_credit():
            return False
        tracked.pace = tracked.pace or Pace(self._clock(), held)
        if (
            download.held == download.under_way == 0
            and download.blob.size > SMALL_BYTES
            and (ticket := self._ticket(download.part))
        ):
            download.by_ticket()
            self._ask(tracked, download, GetFile(download.blob.sha256, ticket))
        else:
            offset = download.ask(self._limits.chunk)
            self._ask(tracked, download, Get(download.blob.sha256, offset))
        return True


def _wants_chunk(transfer: Upload | Download) -> bool:
    return isinstance(transfer, Download) and not transfer.ticketed


def _superseded(update: JobUpdate, later: JobUpdate | None) -> bool:
    """Whether the later update makes this one redundant, because only bytes were moved between the two."""
    same = later is not None and (update.job_id, update.state, update.stage) == (
        later.job_id,
        later.state,
        later.stage,
    )
    return same and update.stage in ("upload", "download") and not update.message
