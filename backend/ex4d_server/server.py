"""The server: one loop for the control socket, the journal and the supervisor, and a separate thread to move files.

Clients are identified by their keys, which the gate has verified: jobs, their events and their files belong to keys.
For any other key, the server answers as if they did not exist.
"""

import json
import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import IO

import platformdirs
import psutil
import zmq

from ex4d import __version__
from ex4d.depth import registry
from ex4d.errors import EX4DError, InputError, ServerError
from ex4d.generate.base import Memory, Spec
from ex4d.generate.registry import AUTO, check_options, generators, memory, missing
from ex4d.jobs.address import DEFAULT_ADDRESS, is_loopback
from ex4d.jobs.codec import ProtocolError, decode, encode, sentence, unpack
from ex4d.jobs.keys import admitted, announce, client_keys, further_clients, make_keys
from ex4d.jobs.limits import CHUNK_BYTES, CONTROL_BYTES, CURVE_BYTES, HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS, MESSAGE_FRAMES
from ex4d.jobs.messages import (
    CLIENT_CONTROL,
    PROTOCOL_VERSION,
    QUEUE_TOLD,
    TERMINAL,
    Ahead,
    AskQueue,
    Cancel,
    Capabilities,
    Error,
    EstimatorInfo,
    Fetched,
    First,
    Follow,
    GeneratorInfo,
    Hello,
    Holds,
    Limits,
    Load,
    Look,
    Missing,
    Ping,
    Pong,
    Queue,
    QueueEntry,
    Status,
    Submit,
    Unload,
    Unseen,
    Welcome,
)
from ex4d.jobs.private_files import check_folder
from ex4d.pipeline import model_files
from ex4d.pipeline.requests import Fill, Generate, Job, blobs_of, job_hash
from ex4d.plain import Tagged
from ex4d.schema import describe
from ex4d.weights import store
from ex4d_server import access
from ex4d_server.blobs import BlobStore
from ex4d_server.bulk import Bulk
from ex4d_server.cluster import Cluster, check_reach, cluster_executors
from ex4d_server.content import BlobError
from ex4d_server.devices import devices
from ex4d_server.disk import Reserve
from ex4d_server.executor import Deadlines
from ex4d_server.gate import CLIENTS, FILES, Gate
from ex4d_server.journal import Journal, JournalError, Row
from ex4d_server.lent_files import LentFiles
from ex4d_server.limited_log import LimitedLog
from ex4d_server.local import end_leavings, local_executor
from ex4d_server.lookout import Lookout
from ex4d_server.orders import GONE, blob_folder
from ex4d_server.platform import host, remove_tree
from ex4d_server.pool import Pool
from ex4d_server.sessions import Sessions
from ex4d_server.supervisor import Supervisor
from ex4d_server.wire import Received, bind_again, receive

log = logging.getLogger("ex4d.server")

TICK_MS = 100
TURN = 20
"""How many messages are taken from one socket before the others get their turn."""
PEER_SECONDS = 600.0
"""A client that has been silent for this long must say hello again."""
AGAIN_SECONDS = 0.2
"""Delay before events are sent again to a client whose queue was full."""
HOUSEKEEPING_SECONDS = 0.25
"""How often the folders, the reserve, the `stop` file and the linger timeout are checked."""
PRESENT_SECONDS = 10.0
"""Clients ping every other second; one that has been silent for this long counts as gone."""
SESSIONS = 64
"""How many clients may share a key; beyond that, the one that has been silent longest has to say hello again."""
EVENTS_WAITING, CHUNKS_IN, CHUNKS_OUT = 300, 8, 16
"""How many messages may be queued per client: to it on the control socket, from it and to it on the bulk socket."""
MEMORY_BYTES = 512 << 20
"""How much the server may grow before it drops all connections and everything queued in them: ZeroMQ keeps the frames
of a message until the last one arrives, however many there are. Clients reconnect by themselves."""
FORETOLD = 2000
"""How many jobs at the head of the queue are put in order, to tell a client how many are ahead of its own."""
OWN_PROGRAMS, GONE_CLIENT = "this machine", "let in no longer"
"""Client names in the queue for the server's own user and for clients that were revoked."""
FOLDERS = ("blobs", "incoming", "logs", "work")
ABOUT_FILE, STOP_FILE = "server.json", "stop"


@dataclass
class Peer:
    """A client that said hello: its key, its session's secret, when it was last heard from, and the jobs it follows."""

    key: str
    session: str
    heard: float
    jobs: set[str] = field(default_factory=set)


class Server:
    """One state folder served on one address.

    Args:
        address: "tcp://127.0.0.1:PORT", or one that other machines can reach; port 0 takes any free one.
        files_port: port of the bulk socket; None for the port after the address's own, or any free port on loopback
            or if the address has port 0.
        state: absolute path of the folder for the journal, files and logs; created if it is missing.
        runner: "module:function" that returns the function the worker calls for each job.
        deadlines: how long a worker may be silent.
        workers: how many workers, see `ex4d_server.devices` or `ex4d_server.cluster.cluster_executors`.
        cluster: address of a Ray cluster that runs the workers; None for this machine.
        linger: `run` returns after this many seconds without a client and without a job; None to never end.
        clock: monotonic seconds.

    Raises:
        InputError: other machines can reach the address but no client is let in yet, the address is not numeric, a
            port is taken, there is no port for files, the folder cannot be used, there are more workers than GPUs, or
            the cluster cannot be used.
        ServerError: another server uses the folder, or its journal is of another version.
    """

    def __init__(
        self,
        address: str,
        state: Path,
        *,
        files_port: int | None = None,
        runner: str = "ex4d_server.worker:pipeline",
        deadlines: Deadlines | None = None,
        workers: int | None = None,
        cluster: str | None = None,
        linger: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        ip, port = access.place_to_listen(address)
        access.check_guarded(address, state)
        if files_port is None:
            files_port = access.port_for_files(address)
        workers_on = devices(workers) if cluster is None else ()
        self._state, self._linger, self._clock = state, linger, clock
        self._instance = secrets.token_hex(8)
        self._peers: dict[bytes, Peer] = {}
        self._sessions = Sessions()
        self._admitted: frozenset[str] = frozenset()
        self._followers: dict[str, dict[bytes, int]] = {}
        self._behind: set[str] = set()
        self._troubles = LimitedLog(log, clock)
        self._heard = self._kept_house = self._pushed = clock()
        host.raise_descriptor_limit()
        self._lock = _lock(state)
        self._context = zmq.Context()
        self._gate: Gate | None = None
        self._cluster: Cluster | None = None
        try:
            # First remove what an earlier server left behind: it may be what fills the disk.
            remove_tree(state / "work")
            self._gate = gate = Gate(self._context, make_keys(state))
            self._admitted = admitted(state)
            self._reserve = Reserve(state / "reserve")
            self._journal = Journal(state / "journal.sqlite", reserve=self._reserve)
            self._make_folders()
            self._reserve.make()
            self._control = self._bind_control(gate, f"tcp://{ip}:{port or '*'}")
            self.address = f"tcp://{ip}:{_port(self._control)}"
            self._say_where()
            self._blobs = BlobStore(
                blob_folder(state), state / "incoming", in_use=self._journal.files_in_use, owns=self._journal.owns
            )
            bulk_address = f"tcp://{ip}:{files_port or '*'}"
            bind_bulk = partial(self._bind_bulk, gate, bulk_address)
            self._bulk = Bulk(bind_bulk, self._sessions, self._blobs, state / "exchange", self._instance)
            self._lent = LentFiles(self._sessions, self._blobs, lambda: self._bulk.port)
            end_leavings(state)
            if cluster is None:
                executors = [
                    local_executor(
                        self._context,
                        gate,
                        state,
                        device,
                        number,
                        runner=runner,
                        wants_proxy=self._is_elsewhere,
                        deadlines=deadlines,
                        clock=clock,
                    )
                    for number, device in enumerate(workers_on, 1)
                ]
            else:
                self._cluster = Cluster(cluster, state, runner, clock)
                check_reach(ip, self._cluster)
                executors = cluster_executors(
                    self._context,
                    gate,
                    self._cluster,
                    workers,
                    self._lent,
                    ip=ip,
                    after_port=files_port,
                    wants_proxy=self._is_elsewhere,
                    deadlines=deadlines,
                    clock=clock,
                )
            self._executor = Pool(executors, state if cluster is None else None)
            self._lookout = Lookout(self._context, gate, state, clock)
            self._supervisor = Supervisor(self._journal, self._blobs, self._executor, clock)
        except BaseException:
            if self._cluster:
                self._cluster.close()
            if self._gate:
                self._gate.close()
            self._context.destroy(linger=0)
            self._lock.close()
            raise
        self._memory, self._dropped = psutil.Process().memory_info().rss, False
        self._bulk.start()

    def _bind_control(self, gate: Gate, address: str) -> zmq.Socket:
        socket = self._socket(CONTROL_BYTES + CURVE_BYTES, 1000, EVENTS_WAITING)
        gate.guard(socket, CLIENTS, lambda: self._admitted)
        return _bound(socket, address)

    def _bind_bulk(self, gate: Gate, address: str) -> zmq.Socket:
        """The file socket, for clients and for workers that do not see this disk."""
        socket = self._socket(CHUNK_BYTES + 1024, CHUNKS_IN, CHUNKS_OUT)
        gate.guard(socket, FILES, lambda: self._admitted | self._lent.keys)
        return _bound(socket, address)

    def _socket(self, frame_bytes: int, waiting_in: int, waiting_out: int) -> zmq.Socket:
        socket = self._context.socket(zmq.ROUTER)
        socket.linger = 0
        socket.router_mandatory = True
        socket.maxmsgsize = frame_bytes
        socket.rcvhwm, socket.sndhwm = waiting_in, waiting_out
        socket.handshake_ivl = 5000
        socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
        return socket

    def run(self, stop: Callable[[], bool]) -> None:
        """Serve until `stop` returns True, the `stop` file appears, or the server has lingered long enough.

        `stop` is called about every tenth of a second or more often. No single message or job can end this loop.
        """
        while not stop():
            poller = zmq.Poller()
            for socket in (self._control, self._lookout.socket, *self._executor.sockets):
                poller.register(socket, zmq.POLLIN)
            if self._control in dict(poller.poll(TICK_MS)):
                self._drain()
            for turn in (self._send_views, self._supervisor.tick, self._push_events):
                try:
                    turn()
                except Exception:
                    self._troubles.warning("the loop goes on after an unexpected error", exc_info=True)
            if self._clock() - self._kept_house >= HOUSEKEEPING_SECONDS and self._keep_house():
                return

    def close(self) -> None:
        """End the workers, close everything and release the folder. Running jobs go back to the queue."""
        assert self._gate
        parts = (self._supervisor, self._cluster, self._lookout, self._bulk, self._journal, self._gate)
        for end in [each.close for each in parts if each]:
            try:
                end()
            except Exception:
                log.warning("the server ends in spite of an error", exc_info=True)
        self._context.destroy(linger=0)
        with suppress(OSError):
            (self._state / ABOUT_FILE).unlink(missing_ok=True)
        self._lock.close()

    # -- housekeeping

    def _make_folders(self) -> None:
        """Create the folders again if somebody has removed them."""
        for name in FOLDERS:
            try:
                (self._state / name).mkdir(exist_ok=True)
            except OSError as error:
                self._troubles.warning("the folder %s cannot be made: %s", name, error.strerror)

    def _keep_house(self) -> bool:
        """Do the periodic checks; returns True when it is time to end."""
        self._kept_house = self._clock()
        self._make_folders()
        self._reserve.make()
        self._blobs.look_for_request()
        self._look_who_is_admitted()
        self._look_at_memory()
        if (self._state / STOP_FILE).exists():
            log.info("the file %s asks for the end", STOP_FILE)
            return True
        return self._is_forsaken()

    def _look_who_is_admitted(self) -> None:
        """Read the list of keys again, and stop serving all connections of keys that were removed."""
        try:
            self._admitted = admitted(self._state)
        except OSError as error:  # for example out of descriptors: keep the previous list
            self._troubles.warning("the keys cannot be read: %s", error.strerror)
            return
        for peer in [peer for peer, known in self._peers.items() if known.key not in self._admitted]:
            self._forget(peer)

    def _look_at_memory(self) -> None:
        """Drop all connections if what is queued in them takes too much memory."""
        try:
            memory = psutil.Process().memory_info().rss
        except (OSError, psutil.Error):  # out of descriptors
            return
        if memory - self._memory < MEMORY_BYTES:
            self._dropped = False
            return
        if self._dropped:  # the connections did not hold it, or it was not returned to the system
            self._memory = memory - MEMORY_BYTES // 2
            return
        self._dropped = True
        self._troubles.warning("all connections are dropped: %d MB wait in them", (memory - self._memory) >> 20)
        for peer in list(self._peers):
            self._forget(peer)
        self._bulk.renew()
        assert self._gate
        self._control.close(0)
        self._control = bind_again(partial(self._bind_control, self._gate, self.address))
        host.give_memory_back()

    def _is_forsaken(self) -> bool:
        """Whether there has been no client and no unfinished job for longer than the server lingers."""
        if self._linger is None:
            return False
        try:
            if self._journal.unfinished():
                self._heard = self._clock()
        except JournalError:
            return False
        if self._clock() - self._heard <= self._linger:
            return False
        log.info("no client for %.0f s: the server ends", self._linger)
        return True

    def _say_where(self) -> None:
        """Write the server's address and instance for this user's programs, which alone can read the folder."""
        about = {"address": self.address, "instance": self._instance, "pid": os.getpid()}
        written = self._state / f"{ABOUT_FILE}.new"
        try:
            (self._state / STOP_FILE).unlink(missing_ok=True)
            written.write_text(json.dumps(about), encoding="utf-8")
            os.replace(written, self._state / ABOUT_FILE)
        except OSError as error:
            log.warning("%s cannot be written: %s", ABOUT_FILE, error.strerror)
        try:
            announce(self.address, self._state)
        except (OSError, EX4DError) as error:
            log.warning("clients do not find this server by its address: %s", error)

    # -- control: hello, jobs, events

    def _drain(self) -> None:
        for _ in range(TURN):
            try:
                received = receive(self._control)
            except zmq.Again:
                return
            answer: Tagged | None
            try:
                answer = self._handle(received)
            except ProtocolError as error:
                answer = Error("protocol", sentence(error))
            except JournalError as error:
                self._troubles.warning("%s", error)
                answer = Error("journal", sentence(error))
            except Exception as error:
                self._troubles.warning("a message was not handled", exc_info=True)
                answer = Error("internal", f"The server failed on this message ({type(error).__name__}): see its log.")
            if answer is not None:
                self._send(received.peer, answer)

    def _send_views(self) -> None:
        """Send clients the answers to their looks; a client whose queue is full will ask again."""
        for peer, view in self._lookout.tick():
            self._send(peer, view)

    def _look(self, peer: bytes, key: str, look: Look) -> Unseen | None:
        """Queue a look; returns an answer only if there is nothing to look at."""
        if not self._blobs.has(look.depth, key):
            return Unseen(look.number, GONE)
        if look.moving is not None and not self._blobs.has(look.moving, key):
            look = replace(look, moving=None)
        if look.plate is not None and not self._blobs.has(look.plate, key):
            look = replace(look, plate=None)
        self._lookout.ask(peer, look)
        return None

    def _send(self, peer: bytes, message: Tagged) -> bool:
        """Send to one client; returns False if its queue is full or it is gone."""
        try:
            self._control.send_multipart([peer, encode(message)], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError:
            self._forget(peer)
            return False
        return True

    def _forget(self, peer: bytes) -> None:
        self._lookout.forget(peer)
        if known := self._peers.pop(peer, None):
            self._sessions.close(known.session)
        for job_id, followers in list(self._followers.items()):
            followers.pop(peer, None)
            if not followers:
                del self._followers[job_id]

    def _handle(self, received: Received) -> Tagged | None:
        peer, frames, now = received.peer, received.frames, self._clock()
        if received.key not in self._admitted:
            self._forget(peer)
            return Error("not_admitted", "The server no longer accepts this program's key.")
        if len(frames) >= MESSAGE_FRAMES:
            raise ProtocolError(f"A message has more than {MESSAGE_FRAMES} frames.")
        if len(frames) != 1:
            raise ProtocolError("A control message has one frame.")
        plain = unpack(frames[0].bytes)
        if plain.get("kind") == "hello" and plain.get("protocol") != PROTOCOL_VERSION:
            return _version_error(plain)
        message = decode(frames[0].bytes, CLIENT_CONTROL)
        if isinstance(message, Hello):
            self._heard = now
            return self._welcome(peer, received.key, received.address)
        known = self._peers.get(peer)
        if known is None or known.key != received.key:
            self._forget(peer)
            return Error("hello_first", "The first message must be a hello.")
        known.heard = self._heard = now
        if isinstance(message, Ping):
            return self._pong(known.key)
        if isinstance(message, AskQueue):
            return self._queue(known.key)
        if isinstance(message, Unload):
            return self._supervisor.unload(known.key)
        if isinstance(message, Look):
            return self._look(peer, known.key, message)
        try:
            return self._submit(peer, message) if isinstance(message, Submit) else self._about_job(peer, message)
        except JournalError as error:
            self._troubles.warning("%s", error)
            return Error("journal", sentence(error), message.job_id)

    def _pong(self, key: str) -> Pong:
        """A pong with the number of jobs ahead of each of the client's own, left out if the journal cannot be read."""
        try:
            order = self._journal.in_turn(FORETOLD) if self._journal.waits_for(key) else []
            own = [Ahead(job_id, ahead) for ahead, (job_id, owner) in enumerate(order) if owner == key]
        except JournalError:
            own = []
        return Pong(sentence(self._supervisor.trouble), tuple(own[:QUEUE_TOLD]))

    def _queue(self, key: str) -> Queue:
        names = {known: name for name, known in further_clients(self._state).items()}
        with suppress(EX4DError):  # the key file is damaged: then this user's programs go unnamed
            if (own := client_keys(self._state)) is not None:
                names[own.own.public] = OWN_PROGRAMS
        followed, is_elsewhere = self._followed(key), self._is_elsewhere(key)

        def told(job_id: str) -> QueueEntry:
            owner, entry = self._journal.entry(job_id)
            told = replace(entry, client=names.get(owner, GONE_CLIENT), device=self._supervisor.device(job_id))
            if owner == key:
                return replace(told, followed=job_id in followed)
            return replace(told, own=False, file="", shot="", job_id="" if is_elsewhere else job_id)

        waiting, load = self._journal.in_turn(QUEUE_TOLD), self._journal.load()
        running = [told(job_id) for job_id in self._journal.running()[:QUEUE_TOLD]]
        return Queue(
            tuple(running),
            tuple(told(job_id) for job_id, _ in waiting),
            max(load.waiting - len(waiting), 0),
            tuple(told(job_id) for job_id in self._journal.not_fetched(key)),
        )

    def _followed(self, key: str) -> set[str]:
        """Jobs followed by a client with this key that is still present."""
        now = self._clock()
        there = [peer for peer in self._peers.values() if peer.key == key and now - peer.heard < PRESENT_SECONDS]
        return {job_id for peer in there for job_id in peer.jobs}

    def _welcome(self, peer: bytes, key: str, address: str) -> Welcome:
        now = self._clock()
        self._forget(peer)
        for old in [old for old, known in self._peers.items() if now - known.heard > PEER_SECONDS]:
            self._forget(old)
        same = [(known.heard, old) for old, known in self._peers.items() if known.key == key]
        for _, old in sorted(same)[: max(len(same) - SESSIONS + 1, 0)]:
            self._forget(old)
        self._peers[peer] = Peer(key, self._sessions.open(key), now)
        return Welcome(
            PROTOCOL_VERSION,
            __version__,
            self._instance,
            self._bulk.port,
            _capabilities(),
            Limits(),
            self._bulk.exchange if is_loopback(address) else "",  # a folder of this machine is useless elsewhere
            self._peers[peer].session,
            self._load(),
        )

    def _load(self) -> Load:
        """How busy the server is; zeros if the journal cannot be read, because the welcome must not fail over that."""
        try:
            return self._journal.load()
        except JournalError as error:
            self._troubles.warning("%s", error)
            return Load()

    def _about_job(self, peer: bytes, message: Follow | Cancel | Fetched | First) -> Tagged:
        row, key = self._journal.get(message.job_id), self._peers[peer].key
        if isinstance(message, First) and message.of_all:
            return self._put_first_of_all(message, row, key)
        if row is None or row.owner != key:
            return Error("unknown_job", "The server does not know this job.", message.job_id)
        if isinstance(message, Fetched):
            self._journal.note_fetched(message.job_id)
            return self._status(peer, message.job_id)
        if isinstance(message, First):
            if row.state == "queued":  # otherwise it has already started or ended
                self._journal.put_first(message.job_id, of_all=False)
            return self._status(peer, message.job_id)
        if isinstance(message, Cancel):
            self._supervisor.cancel(message.job_id)
        self._follow(peer, message.job_id, message.since if isinstance(message, Follow) else None)
        return self._status(peer, message.job_id)

    def _is_elsewhere(self, key: str) -> bool:
        """Whether a client is not one of this user's own programs on this machine."""
        try:
            own = client_keys(self._state)
        except EX4DError:  # the key file is damaged
            return True
        return own is None or key != own.own.public

    def _put_first_of_all(self, message: First, row: Row | None, key: str) -> Tagged:
        if self._is_elsewhere(key):
            return Error(
                "refused", "Only the server's administrator may put jobs before those of others.", message.job_id
            )
        if row is None:
            return Error("unknown_job", "The server does not know this job.", message.job_id)
        if row.state != "queued":
            return Error("not_waiting", f"This job is not waiting: it is {row.state}.", message.job_id)
        self._journal.put_first(message.job_id, of_all=True)
        return Status(message.job_id, row.state, row.attempt, row.seq)

    def _submit(self, peer: bytes, message: Submit) -> Tagged:
        if message.hash != job_hash(message.job):
            return Error("conflict", "The job does not fit its hash.", message.job_id)
        row, key = self._journal.get(message.job_id), self._peers[peer].key
        if row is not None and (row.hash != message.hash or row.owner != key):
            return Error("conflict", "This job id already stands for another job: make a new id.", message.job_id)
        if row is None:
            if refused := _refused(message.job):
                return Error("refused", refused, message.job_id)
            try:
                missing = self._blobs.missing(blobs_of(message.job), key)
            except BlobError as error:
                return Error(error.code, sentence(error), message.job_id)
            if missing:
                return Missing(message.job_id, tuple(Holds(sha256, offset) for sha256, offset in missing.items()))
            self._journal.add(message.job_id, message.job, key, peer.hex(), message.file, message.shot)
        self._follow(peer, message.job_id, 0)
        return self._status(peer, message.job_id)

    def _status(self, peer: bytes, job_id: str) -> Status:
        row = self._journal.get(job_id)
        assert row is not None
        if row.state == "done":
            self._let_fetch(peer, job_id)
        return Status(job_id, row.state, row.attempt, row.seq)

    def _let_fetch(self, peer: bytes, job_id: str) -> None:
        """Let a client fetch the results of its own job."""
        known = self._peers[peer]
        if session := self._sessions.find(known.session.encode(), known.key):
            with suppress(ProtocolError, ValueError):  # a damaged row has no results
                session.files.update(blob.sha256 for blob in self._journal.result(job_id).all_files)

    def _follow(self, peer: bytes, job_id: str, since: int | None) -> None:
        """Send `peer` the events after `since`; None to continue where it was, or to begin with the first."""
        self._peers[peer].jobs.add(job_id)
        followers = self._followers.setdefault(job_id, {})
        if since is not None or peer not in followers:
            followers[peer] = since or 0
        self._journal.changed.add(job_id)

    def _push_events(self) -> None:
        """Send new events to followers. A follower whose queue is full gets them a little later."""
        changed, self._journal.changed = self._journal.changed, set()
        if self._behind and self._clock() - self._pushed >= AGAIN_SECONDS:
            changed, self._behind, self._pushed = changed | self._behind, set(), self._clock()
        for job_id in changed:
            try:
                caught_up = all([self._push(job_id, peer) for peer in list(self._followers.get(job_id, ()))])
                if caught_up and self._has_ended(job_id):  # no more events, unless somebody follows it again
                    self._followers.pop(job_id, None)
            except JournalError as error:
                self._troubles.warning("%s", error)
                caught_up = False
            except Exception:  # a row that cannot be read now never will be
                self._troubles.warning("events of a job cannot be read", exc_info=True)
                caught_up = True
            if not caught_up:
                self._behind.add(job_id)

    def _has_ended(self, job_id: str) -> bool:
        row = self._journal.get(job_id)
        return row is not None and row.state in TERMINAL

    def _push(self, job_id: str, peer: bytes) -> bool:
        """Send a follower the events it lacks; returns False if some are left because its queue is full."""
        followers = self._followers[job_id]
        while events := self._journal.events(job_id, followers[peer]):
            for event in events:
                if event.state == "done" and peer in self._peers:
                    self._let_fetch(peer, job_id)  # before it asks for them
                if not self._send(peer, event):
                    return peer not in followers  # a client that is gone needs no more
                followers[peer] = event.seq
        return True


def serve(
    address: str = DEFAULT_ADDRESS,
    state_folder: Path | None = None,
    *,
    files_port: int | None = None,
    runner: str = "ex4d_server.worker:pipeline",
    deadlines: Deadlines | None = None,
    workers: int | None = None,
    cluster: str | None = None,
    linger: float | None = None,
) -> None:
    """Serve until a stop signal such as SIGTERM or SIGINT, or until `Server.run` returns by itself.

    Prints one line with the address once it is listening.

    Args:
        state_folder: folder for jobs, files and logs; None for the user's own state folder.
        address, files_port, runner, deadlines, workers, cluster, linger: see `Server`.

    Raises:
        InputError, ServerError: as `Server`.
    """
    stopping = threading.Event()
    state = platformdirs.user_state_path("ex4d") if state_folder is None else state_folder
    server = Server(
        address,
        state.absolute(),
        files_port=files_port,
        runner=runner,
        deadlines=deadlines,
        workers=workers,
        cluster=cluster,
        linger=linger,
    )
    try:
        for number in host.stop_signals():
            if signal.getsignal(number) != signal.SIG_IGN:  # as for SIGHUP under nohup
                signal.signal(number, lambda *_: stopping.set())
        with suppress(OSError):  # nobody reads it, or its disk is full
            print(f"EX-4D server {__version__} listening on {server.address}", flush=True)
        server.run(stopping.is_set)
    finally:
        server.close()


def _capabilities() -> Capabilities:
    """What can run here now, determined anew for each client because files and GPUs come and go."""
    return Capabilities(
        tuple(_announced(spec) for spec in generators().values()),
        tuple(
            EstimatorInfo(
                name=spec.name,
                title=spec.title,
                help=spec.help,
                licence=spec.licence,
                commercial=spec.commercial,
                terms=spec.terms,
                missing=sentence(registry.missing(spec)),
                lacking_gb=_lacking(spec.name),
                is_guess=spec.is_guess,
            )
            for spec in registry.estimators().values()
            if not spec.is_helper
        ),
    )


def _announced(spec: Spec) -> GeneratorInfo:
    try:
        need = memory(spec, spec.settings())
    except EX4DError:  # `missing` says so
        need = Memory()
    return GeneratorInfo(
        name=spec.name,
        title=spec.title,
        help=spec.help,
        licence=spec.licence,
        is_preview=spec.is_preview,
        stride=spec.stride,
        missing=sentence(missing(spec, False)),
        settings=describe(spec.settings),
        least_gb=need.least,
        best_gb=need.best,
        files_gb=spec.gigabytes,
        lacking_gb=_lacking(spec.name),
    )


def _lacking(name: str) -> float:
    try:
        return model_files.lacking_gigabytes(name, store.folder())
    except (EX4DError, OSError):  # `missing` says so
        return 0.0


def _refused(job: Job) -> str:
    """Why a job can never run here: an unknown generator, or an option it does not accept; "" if it can run."""
    if not isinstance(job, Generate | Fill):
        return ""
    known, wish = generators(), job.generation.generator
    if wish != AUTO and wish not in known:
        return f"This server has no generator {wish[:100]!r}: choose one of {AUTO}, {', '.join(known)}."
    try:
        check_options(job.generation.options, known)
    except InputError as error:
        return sentence(error)
    return ""


def _bound(socket: zmq.Socket, address: str) -> zmq.Socket:
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close(0)
        raise InputError(
            f"The server cannot listen on {address} ({error.strerror}): stop the program that uses the port, or"
            " choose another one."
        ) from error
    return socket


def _port(socket: zmq.Socket) -> int:
    endpoint = socket.getsockopt(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return int(endpoint.rsplit(b":", 1)[1].rstrip(b"\0"))


def _version_error(hello: dict) -> Error:
    theirs, name = hello.get("protocol"), sentence(hello.get("client"))[:50]
    if not isinstance(theirs, int):
        raise ProtocolError("hello.protocol must be a whole number.")
    if theirs > PROTOCOL_VERSION:
        how, remedy = "old", "update the server (in Blender: press Update, or Repair)"
    else:
        how, remedy = "new", "update EX-4D (in Blender: Preferences > Get Extensions)"
    return Error("version", f"This server is EX-4D {__version__}, which is too {how} for EX-4D {name}: {remedy}.")


def _lock(state: Path) -> IO[str]:
    try:
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not any(state.iterdir()) or (state / "lock").exists():  # earlier versions made it open to all users
            state.chmod(0o700)
        check_folder(state.resolve())  # the folder may be a link to another disk
    except InputError as error:
        raise InputError(
            f"The state folder {state} is not for you alone: choose another, or remove other users' access if it is"
            " yours."
        ) from error
    except OSError as error:
        raise InputError(f"The state folder {state} cannot be used ({error.strerror}): choose another.") from error
    try:
        lock = open(state / "lock", "a+")  # noqa: SIM115 - held as long as the server lives
    except OSError as error:
        raise InputError(f"The state folder {state} cannot be used ({error.strerror}): choose another.") from error
    if not host.lock(lock):
        lock.seek(0)
        owner = lock.read().strip() or "unknown"
        lock.close()
        raise ServerError(
            f"Another EX-4D server (process {owner}) uses the state folder {state}: stop it, or choose another folder."
        )
    with suppress(OSError):  # the number is only for that message, and the disk may be full
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), str(os.getpid()).encode())
    return lock
