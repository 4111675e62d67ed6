"""The process that talks to Ray for the server: `python -m ex4d_server.cluster_driver ADDRESS RUNNER UNIT`.

It is a separate process because Ray terminates any process that uses it once the cluster has been gone for a minute,
and because Ray need not be installed unless there is a cluster. Orders arrive on standard input and reports leave on
standard output, as lines of JSON. It ends when its input closes; Ray then ends the actors, and each of them its worker.
"""

import argparse
import importlib
import json
import math
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from ex4d import __version__
from ex4d_server.cluster_holder import Holder

LOOK_SECONDS = 0.05
COUNT_SECONDS = 0.5
"""How often the cluster's resources are counted."""
START_SECONDS = 300.0
"""How long a machine may take to start Python and Ray, and to import what an actor needs."""
KILL_SECONDS = 3.0
"""How long an actor may take to end its worker before the actor itself is ended."""
SUSPECT_SECONDS = 30.0
"""How long a machine that lost an actor, was silent or could not start a worker gets no workers and is not counted."""
TRY_SECONDS = 60.0
"""How long the process that tries to connect without a token may take."""
NODE_LABEL = "ray.io/node-id"
"""Ray's label for the id of a node."""
MODE, MODE_TOKEN, MODE_NONE = "RAY_AUTH_MODE", "token", "disabled"
TURNED_AWAY = 3
"""Exit code of `--knock` if it is not let in."""

Told = dict[str, Any]


@dataclass
class Held:
    """A worker's reserved place in Ray, its machine once there is one, the actor there, and the pending call.

    `runs` means that the worker was told to start, `begun` that it has started.
    """

    place: Any
    actor: Any = None
    call: Any = None
    runs: bool = False
    begun: bool = False
    host: str = ""
    node: str = ""
    start_by: float = math.inf
    kill_at: float | None = None


class Driver:
    """Starts and ends actors, and reports what happens to them.

    Args:
        ray: the package, connected.
        runner: of the workers.
        unit: the resource of which each worker takes one, "GPU" or "CPU"; "" for GPUs if there are any now.
        out: where reports are written.
    """

    def __init__(self, ray: Any, runner: str, unit: str, out: IO[str]) -> None:
        self._ray, self._runner, self._out = ray, runner, out
        self._held: dict[int, Held] = {}
        self._suspects: dict[str, float] = {}
        self._counted = -COUNT_SECONDS
        self._last: Told = {}
        has_gpus = any(node["Resources"].get("GPU") for node in self._living())
        self._unit = unit or ("GPU" if has_gpus else "CPU")

    def serve(self, orders: "queue.SimpleQueue[Told | None]") -> None:
        """Carry out orders until there is a None, then end all actors."""
        while True:
            with suppress(queue.Empty):
                order = orders.get(timeout=LOOK_SECONDS)
                if order is None:
                    break
                self._do(order)
                continue
            self._look_for_machines()
            self._look_at_actors()
            self._count()
        for number in list(self._held):
            self._kill(number)
        while self._held:
            self._look_at_actors()
            time.sleep(LOOK_SECONDS)

    def _tell(self, **report: Any) -> None:
        with suppress(OSError):  # the server has gone
            print(json.dumps(report), file=self._out, flush=True)

    def _do(self, order: Told) -> None:
        number = order["worker"]
        held = self._held.get(number)
        if order["order"] == "start":
            # The place is reserved before the actor is made, so its machine is known even if nothing can start there.
            now = time.monotonic()
            avoided = [node for node, until in self._suspects.items() if until > now]
            where = [{NODE_LABEL: f"!in({','.join(avoided)})"}] if avoided else None
            place = self._ray.util.placement_group([{self._unit: 1}], strategy="SPREAD", bundle_label_selector=where)
            self._held[number] = Held(place)
        elif held is None:
            return
        elif order["order"] == "go":
            sharing = max(1, int(self._resources(held.node).get("CPU", 1)))
            held.call = held.actor.start.remote(order["address"], order["key"], order["token"], self._runner, sharing)
            held.runs = True
        elif order["order"] == "ask_to_end":
            held.actor.ask_to_end.remote()
        elif order["order"] == "kill":
            self._kill(number)

    def _kill(self, number: int) -> None:
        """End a worker, then its actor: in the other order, Ray would consider the GPU free too early."""
        held = self._held[number]
        if not held.runs:
            self._end(number, "was ended")
        elif held.kill_at is None:
            held.actor.end.remote()
            held.kill_at = time.monotonic() + KILL_SECONDS

    def _look_for_machines(self) -> None:
        """Make an actor wherever Ray has found a place."""
        for number, held in self._held.items():
            if held.node:
                continue
            table = self._ray.util.placement_group_table(held.place)
            if table["state"] != "CREATED":
                continue
            held.node = table["bundles_to_node_id"][0]
            held.host = next((n["NodeManagerHostname"] for n in self._living() if n["NodeID"] == held.node), "")
            held.start_by = time.monotonic() + START_SECONDS
            one = {"num_gpus": 1, "num_cpus": 0} if self._unit == "GPU" else {"num_cpus": 1}
            there = self._ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy(held.place, 0)
            # Retrying is up to the journal: an actor restarted by Ray would run a job under an old lease.
            made = self._ray.remote(Holder).options(
                **one, max_restarts=0, max_task_retries=0, max_concurrency=4, scheduling_strategy=there
            )
            held.actor = made.remote(self._unit == "GPU")
            held.call = held.actor.settle.remote()
            self._counted = -COUNT_SECONDS
            self._count()  # before the server stops counting this one itself
            self._tell(report="found", worker=number, host=held.host)

    def _look_at_actors(self) -> None:
        now = time.monotonic()
        for number, held in list(self._held.items()):
            if now >= held.start_by:
                self._suspect(held)
                self._end(number, f"could not be started within {START_SECONDS:.0f} s")
            elif held.kill_at is not None and now >= held.kill_at:
                self._suspect(held)
                self._end(number, "was ended")
        calls = {held.call: number for number, held in self._held.items() if held.call is not None}
        if not calls:
            return
        done, _ = self._ray.wait(list(calls), num_returns=len(calls), timeout=0)
        for call in done:
            number = calls[call]
            held = self._held[number]
            held.call = None
            try:
                answer = self._ray.get(call)
            except Exception as error:  # whatever it was, the actor is useless now
                print(f"worker {number}: {error}", file=sys.stderr, flush=True)
                self._suspect(held)
                lost = f"was lost with its machine, {held.host},"
                self._end(number, lost if held.runs else f"could not be started ({_last_line(error)})")
                continue
            if not held.runs:
                self._settled(number, held, answer)
            elif answer is None:
                held.begun = True
                held.call = held.actor.wait.remote()
            else:
                if not held.begun:
                    self._suspect(held)
                self._end(number, str(answer))

    def _suspect(self, held: Held) -> None:
        """Treat its machine as gone or unfit for a while."""
        self._suspects[held.node] = time.monotonic() + SUSPECT_SECONDS

    def _settled(self, number: int, held: Held, about: dict[str, str]) -> None:
        held.host, held.start_by = about["host"], math.inf
        if about["version"] != __version__:
            self._suspect(held)
            how = f"could not be started, as that has EX-4D {about['version']}, and the server {__version__}"
            self._end(number, how)
            return
        told = {name: about[name] for name in ("host", "device", "log", "key")}
        self._tell(report="placed", worker=number, **told)

    def _end(self, number: int, how: str) -> None:
        held = self._held.pop(number)
        with suppress(Exception):  # it is already gone
            if held.actor is not None:
                self._ray.kill(held.actor)
        with suppress(Exception):
            self._ray.util.remove_placement_group(held.place)
        self._tell(report="ended", worker=number, how=how, begun=held.begun)

    # -- the cluster's resources

    def _living(self) -> list[Told]:
        return [node for node in self._ray.nodes() if node["Alive"]]

    def _resources(self, node_id: str) -> Told:
        return next((node["Resources"] for node in self._living() if node["NodeID"] == node_id), {})

    def _count(self) -> None:
        """Report the cluster's resources if they have changed."""
        now = time.monotonic()
        if now - self._counted < COUNT_SECONDS:
            return
        self._counted = now
        nodes = self._living()
        here = self._ray.util.get_node_ip_address()
        counted = [node for node in nodes if self._suspects.get(node["NodeID"], 0.0) < now]
        total = sum(int(node["Resources"].get(self._unit, 0)) for node in counted)
        known = {node["NodeID"] for node in counted}
        ours = sum(not held.node or held.node in known for held in self._held.values())
        free = min(int(self._ray.available_resources().get(self._unit, 0)), total - ours)
        working = {node["NodeManagerAddress"] for node in nodes if node["Resources"].get(self._unit)}
        report = {
            "report": "nodes",
            "unit": self._unit,
            "total": total,
            "free": max(free, 0),
            "here": here,
            "others": sorted(working - {here}),
        }
        if report != self._last:
            self._last = report
            self._tell(**report)


class Refused(Exception):
    """The cluster cannot be used; the message says why."""


def connect(address: str) -> Any:
    """The Ray package, connected to a cluster.

    Raises:
        Refused: the cluster does not answer, is open to anyone, expects another token, or has another version.
    """
    ray: Any = importlib.import_module("ray")
    # With an ordinary connection, Ray tries for half a minute and then does not say what was wrong.
    found = knock(address)
    if found is None:
        raise Refused(f"No Ray cluster answers at {address}: start one with `ray start --head`, or name its head.")
    if not found:
        raise Refused(
            f"The Ray cluster at {address} does not accept this user's token: copy ~/.ray/auth_token from its head,"
            " or name such a file with RAY_AUTH_TOKEN_PATH."
        )
    if is_open(address):
        raise Refused(
            f"The Ray cluster at {address} runs whatever anybody sends to it: stop it, then start it on each"
            " machine with RAY_AUTH_MODE=token."
        )
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except Exception as error:  # Ray raises many kinds
        raise Refused(f"The Ray cluster at {address} cannot be used: {_last_line(error)}") from error
    return ray


def knock(address: str) -> bool | None:
    """Whether a cluster accepts this process's token; None if no cluster answers."""
    ray: Any = importlib.import_module("ray")
    try:
        ray._raylet.GcsClient(address=address)
    except ray.exceptions.AuthenticationError as error:
        print(error, file=sys.stderr, flush=True)
        return False
    except Exception as error:  # Ray raises many kinds
        print(error, file=sys.stderr, flush=True)
        return None
    return True


def is_open(address: str) -> bool:
    """Whether a cluster accepts a process without a token, tried in another one because Ray reads its settings once."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    command = [sys.executable, "-m", "ex4d_server.cluster_driver", address, "--knock"]
    ran = subprocess.run(command, env={**environment, MODE: MODE_NONE}, stdout=sys.stderr, timeout=TRY_SECONDS)
    return ran.returncode != TURNED_AWAY


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:500]


def read_orders(orders: "queue.SimpleQueue[Told | None]") -> None:
    """Read orders until the input closes; runs in a thread."""
    for line in sys.stdin:
        orders.put(json.loads(line))
    orders.put(None)


def main() -> int:
    """Connect, then carry out orders; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ex4d_server.cluster_driver")
    parser.add_argument("address")
    parser.add_argument("runner", nargs="?", default="")
    parser.add_argument("unit", nargs="?", default="")
    parser.add_argument("--knock", action="store_true", help="only see whether this process is let in")
    arguments = parser.parse_args()
    if arguments.knock:
        return TURNED_AWAY if knock(arguments.address) is False else 0
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keep Ray's own output out of the reports
    os.environ[MODE] = MODE_TOKEN
    try:
        ray = connect(arguments.address)
    except Refused as error:
        print(json.dumps({"report": "refused", "why": str(error)}), file=out, flush=True)
        return 1
    orders: queue.SimpleQueue[Told | None] = queue.SimpleQueue()
    threading.Thread(target=read_orders, args=(orders,), daemon=True).start()
    Driver(ray, arguments.runner, arguments.unit, out).serve(orders)
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
