"""The process that runs jobs: `python -m ex4d_server.worker`, started by the supervisor, one job at a time.

It stays warm between jobs. When its standard input closes, the supervisor is gone, and the worker ends together with
all its child processes, whatever the runner is doing. A thread sends a heartbeat each second, which distinguishes a
long step from a stopped process.
"""

import argparse
import importlib
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

import numpy as np
import zmq
from numpy.typing import NDArray

from ex4d.errors import Cancelled, EX4DError, PluginError, ServerError
from ex4d.jobs.codec import ProtocolError, decode, encode, sentence
from ex4d.jobs.keys import ClientKeys, KeyPair
from ex4d.jobs.limits import CONTROL_BYTES, HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS, PICTURE_BYTES
from ex4d.jobs.messages import Result
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, Job, blobs_of
from ex4d.plain import Tagged
from ex4d.progress import Progress
from ex4d_server.content import BlobError, checked
from ex4d_server.courier import Courier, Depot, connecting
from ex4d_server.disk import nothing_fits, says_disk_full
from ex4d_server.orders import (
    AGAIN_SECONDS,
    BEAT_SECONDS,
    DEVICE_VARIABLE,
    KEYS_VARIABLE,
    LOG_VARIABLE,
    RUNS_ON_VARIABLE,
    SUPERVISOR_MESSAGES,
    TOKEN_VARIABLE,
    Beat,
    Bring,
    Failed,
    Finished,
    Made,
    Noted,
    Ready,
    Run,
    Step,
    Stop,
    Stopped,
    Taken,
    blob_folder,
    proxy_of,
    work_folder,
)
from ex4d_server.platform import host, remove_tree

Runner = Callable[[Job, Callable[[Blob], Path], Path, Progress], dict]
"""Runs a job, given how to locate its files, the folder for results, and a progress callback. Returns facts."""

DISK_FULL = "{whose} disk is full: free some space where {what} is, then start the job again."
EVENT_BYTES = PICTURE_BYTES + 16 * 1024
"""What an event may take up besides a result, in bytes."""
STEP_SECONDS = 0.1
"""Minimum interval between reported steps; the last step of a stage is always reported."""


class Attempt:
    """One job under one lease: its folders, its progress, and the orders that arrive meanwhile."""

    def __init__(self, socket: zmq.Socket, state: Path, lease: int, proxy: bool = False) -> None:
        self._socket, self._lease = socket, lease
        self._blobs, folder = blob_folder(state), work_folder(state, lease)
        self.inputs, self.out = folder / "in", folder / "out"
        self.inputs.mkdir(parents=True)
        self.out.mkdir()
        self.proxies = folder / "proxy"
        if proxy:
            self.proxies.mkdir()
        self._stage = ""
        self._stage_began = self._last_step = time.monotonic()
        self._last_sent = -math.inf
        self._held_back: Step | None = None

    def locate(self, blob: Blob) -> Path:
        """Where a file's content is stored, once it is verified to be unchanged."""
        return checked(self._blobs / blob.sha256, blob)

    def progress(self, stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
        """Report a step; raises `Cancelled` if the supervisor has ordered a stop."""
        now = time.monotonic()
        if stage != self._stage:
            self._send_held_back()
            self._stage, self._stage_began = stage, now if step == 0 else self._last_step
            self._last_sent = -math.inf
        self._last_step = now
        shown = b"" if picture is None else jpeg(picture)
        self._held_back = Step(self._lease, stage, step, steps, now - self._stage_began, shown)
        if step >= steps or now - self._last_sent >= STEP_SECONDS:
            self._send_held_back()
            self._last_sent = now
        while self._socket.poll(0):
            self._next_order()

    def announce(self, files: tuple[Blob, ...]) -> None:
        """Announce the files that will be sent, and wait until the server is ready for them.

        Raises:
            ServerError: the server has no room for them.
            Cancelled: the supervisor has ordered a stop.
        """
        order: Bring | None = None
        while order is None:
            self._socket.send(encode(Made(self._lease, files)))
            end = time.monotonic() + AGAIN_SECONDS
            while order is None and comes(self._socket, end - time.monotonic()):
                order = self._next_order()
        if order.refusal:
            raise ServerError(order.refusal)

    def _next_order(self) -> Bring | None:
        """Act on the next order; returns it if it is the one to send files."""
        order = receive(self._socket)
        if order == Stop(self._lease):
            raise Cancelled("The job was cancelled.")
        return order if isinstance(order, Bring) and order.lease == self._lease else None

    def _send_held_back(self) -> None:
        if self._held_back is not None:
            self._socket.send(encode(self._held_back))
            self._held_back = None

    def result(self, facts: dict) -> Result:
        """The facts, every file in `out`, and the proxy if there is one, all of them flushed to disk."""
        files, proxy = tuple(kept(path) for path in sorted(self.out.iterdir())), proxy_of(self.out)
        return Result(facts, files, kept(proxy) if proxy is not None and proxy.is_file() else None)


def kept(path: Path) -> Blob:
    """Describe a file after flushing it to disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    return blob_of(path)


def jpeg(picture: NDArray[np.uint8]) -> bytes:
    """A picture (h,w,3) RGB as JPEG, in the best quality that fits into an event; empty if none does."""
    import cv2

    for quality in (85, 60, 30):
        data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= PICTURE_BYTES:
            return data
    return b""


def receive(socket: zmq.Socket) -> Run | Stop | Bring | Noted:
    """The next order."""
    return decode(socket.recv(), SUPERVISOR_MESSAGES)


def comes(socket: zmq.Socket, seconds: float) -> bool:
    """Whether an order arrives within this many seconds."""
    return bool(socket.poll(int(max(0.0, seconds) * 1000)))


@dataclass(frozen=True)
class FarServer:
    """For a worker that does not see the server's disk: how to reach the files there, and a store of its own."""

    context: zmq.Context
    address: str
    keys: ClientKeys
    depot: Depot

    def courier(self, order: Run, attempt: Attempt) -> Courier:
        """The courier for one attempt's files."""
        connect = connecting(self.context, self.address, order.files_port, self.keys, order.session)
        return Courier(connect, attempt.progress)


def run_job(socket: zmq.Socket, state: Path, order: Run, runner: Runner, far: FarServer | None = None) -> bytes:
    """Run one job; returns the encoded message that says how it ended.

    A worker on another machine fetches the input files first, and sends the results afterwards.
    """
    ending: Tagged
    try:
        attempt = Attempt(socket, state, order.lease, order.proxy)
        os.chdir(attempt.inputs)  # so that errors name files by their names alone
        if far is None:
            result = attempt.result(runner(order.job, attempt.locate, attempt.out, attempt.progress))
        else:
            with closing(far.courier(order, attempt)) as courier:
                courier.fetch(blobs_of(order.job), far.depot.store)
            result = attempt.result(runner(order.job, attempt.locate, attempt.out, attempt.progress))
            attempt.announce(result.all_files)
            with closing(far.courier(order, attempt)) as courier:
                courier.send(result.files, attempt.out)
                if result.proxy is not None:
                    courier.send((result.proxy,), attempt.proxies)
        frame = encode(Finished(order.lease, result))
        decode(frame, (Finished,))  # facts come from the runner: reject here what the supervisor would reject
        if len(frame) > CONTROL_BYTES - EVENT_BYTES:
            raise ProtocolError(f"A result of {len(frame)} bytes is over the limit: it names too much.")
        return frame
    except Cancelled:
        ending = Stopped(order.lease)
    except ProtocolError as error:
        note_exception()
        ending = Failed(order.lease, sentence(f"The job's result cannot be sent: {error}"))
    except Exception as error:
        is_ours = isinstance(error, EX4DError)
        if says_disk_full(error) or has_no_room(error) or (not is_ours and nothing_fits(state)):
            note_exception()
            text = DISK_FULL.format(whose="The server's", what="its state folder")
            if far is not None:
                text = DISK_FULL.format(whose=f"{gethostname()}'s", what=state)
        elif is_ours:
            if isinstance(error, PluginError):  # its author needs the traceback
                note_exception()
            text = str(error)
        else:
            note_exception()
            text = (
                f"The job stopped on an unexpected error ({type(error).__name__}: {str(error)[:500]}); the worker's log"
                f" has the details: {os.environ.get(LOG_VARIABLE, 'what the worker prints')}."
            )
        ending = Failed(order.lease, sentence(text))
    finally:
        os.chdir(state)  # the attempt's folder is removed when it ends
        if far is not None:
            remove_tree(work_folder(state, order.lease))
            far.depot.tidy()
    with suppress(OSError):
        sys.stderr.flush()
    return encode(ending)


def serve(socket: zmq.Socket, ready: bytes, run: Callable[[Run], bytes]) -> None:
    """Run jobs until the process ends.

    The messages that must arrive are repeated: `ready`, already sent once, until the first `Run`; the one that
    ends each job until `Noted` or the next `Run`.
    """
    lease: int | None = None
    unanswered: bytes | None = ready
    again = time.monotonic() + AGAIN_SECONDS
    while True:
        if unanswered is not None:
            if time.monotonic() >= again:
                socket.send(unanswered)
                again = time.monotonic() + AGAIN_SECONDS
            if not comes(socket, again - time.monotonic()):
                continue
        order = receive(socket)
        if isinstance(order, Run) and order.lease != lease:
            lease = order.lease
            socket.send(encode(Taken(lease)))
            unanswered, again = run(order), time.monotonic()
        elif isinstance(order, Stop) and order.lease != lease:  # its `Run` was lost
            lease = order.lease
            unanswered, again = encode(Stopped(lease)), time.monotonic()
        elif isinstance(order, Noted) and order.lease == lease:
            unanswered = None


def has_no_room(error: Exception) -> bool:
    """Whether a job failed because its files do not fit into the worker's own store."""
    return isinstance(error, BlobError) and error.code == "disk_full"


def note_exception() -> None:
    """Log the exception being handled, if the disk has room for it."""
    with suppress(OSError):
        traceback.print_exc()


def load(factory: str) -> Runner:
    """Call the factory named by "module:function"."""
    module, _, function = factory.partition(":")
    return getattr(importlib.import_module(module), function)()


def pipeline() -> Runner:
    """The runner for real jobs, with the models it keeps loaded."""
    from ex4d.pipeline.leaving import ProxyFile
    from ex4d.pipeline.open import gather
    from ex4d.pipeline.run import run
    from ex4d.pipeline.runtime import Runtime

    runtime = Runtime(os.environ.get(RUNS_ON_VARIABLE, "auto"), os.environ.get(DEVICE_VARIABLE, ""))

    def run_here(job: Job, locate: Callable[[Blob], Path], out: Path, progress: Progress) -> dict:
        proxy = proxy_of(out)
        leave = ProxyFile(proxy) if proxy is not None else None
        return run(job, gather(job, locate, Path()), out, runtime, progress, leave)

    return run_here


def end_with_supervisor() -> None:
    """Wait until the supervisor closes its end of standard input, then end the whole process tree."""
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1):
            pass
    host.kill_own_tree()


def dealer(context: zmq.Context, keys: ClientKeys, far: bool) -> zmq.Socket:
    """A socket to connect to the server's port for workers; on another machine, heartbeats reveal a dead connection."""
    socket = context.socket(zmq.DEALER)
    keys.put_on(socket)
    socket.linger = 0
    if far:
        socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS
    return socket


def beat(context: zmq.Context, address: str, keys: ClientKeys, token: str, far: bool) -> None:
    """Send a heartbeat each second, on a separate socket, because sockets belong to one thread."""
    socket = dealer(context, keys, far)
    socket.sndhwm = 10
    socket.connect(address)
    while True:
        with suppress(zmq.Again):
            socket.send(encode(Beat(token)), zmq.NOBLOCK)
        time.sleep(BEAT_SECONDS)


def main() -> None:
    """Connect, present the token, then run jobs."""
    parser = argparse.ArgumentParser(prog="python -m ex4d_server.worker")
    parser.add_argument("--connect", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--runner", required=True)
    parser.add_argument("--far", action="store_true", help="fetch files from the server, and send results to it")
    arguments = parser.parse_args()
    token = os.environ.pop(TOKEN_VARIABLE)
    server, public, secret = os.environ.pop(KEYS_VARIABLE).split()
    keys = ClientKeys(server, KeyPair(public, secret))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor handles Ctrl-C in the terminal
    threading.Thread(target=end_with_supervisor, daemon=True).start()
    context = zmq.Context()
    door = context, arguments.connect, keys, token, arguments.far
    threading.Thread(target=beat, args=door, daemon=True).start()
    socket = dealer(context, keys, arguments.far)
    socket.routing_id = token.encode()  # so that the server recognizes it after a reconnection
    socket.connect(arguments.connect)
    ready = encode(Ready(token))
    socket.send(ready)
    far = FarServer(context, arguments.connect, keys, Depot(arguments.state)) if arguments.far else None
    runner = load(arguments.runner)
    serve(socket, ready, lambda order: run_job(socket, arguments.state, order, runner, far))


if __name__ == "__main__":
    main()
