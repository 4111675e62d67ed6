"""Another machine: a network namespace with one cable to this one, where root may make such."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


def why_not() -> str:
    """Why no such machine can be made here; "" where it can."""
    if sys.platform != "linux" or shutil.which("ip") is None:
        return "network namespaces need Linux and the command ip"
    if os.getuid() != 0:
        return "only root may make network namespaces"
    tried = _ip("netns", "add", f"ex4d-try-{os.getpid()}", check=False)
    if tried.returncode:
        return f"this machine lets nobody make network namespaces: {tried.stderr.strip()}"
    _ip("netns", "delete", f"ex4d-try-{os.getpid()}")
    return ""


@dataclass(frozen=True)
class AnotherHost:
    """The far end of the cable.

    Attributes:
        name: of its namespace.
        ip, here: addresses of the two ends.
        cable: name of this end.
    """

    name: str
    ip: str
    here: str
    cable: str

    @property
    def on_it(self) -> list[str]:
        """What makes a command run there."""
        return ["ip", "netns", "exec", self.name]

    def slow_down(self, rate: str) -> None:
        """Let the cable carry so much each way, such as "20mbit"."""
        queue = ("root", "tbf", "rate", rate, "burst", "64kb", "latency", "400ms")
        subprocess.run(["tc", "qdisc", "add", "dev", self.cable, *queue], check=True)
        subprocess.run([*self.on_it, "tc", "qdisc", "add", "dev", "far", *queue], check=True)

    @contextmanager
    def long_way(self, ports: tuple[int, ...], seconds: float) -> Iterator[None]:
        """At this end, let these ports of `here` lead to those of `ip`, with what is sent arriving so much later."""
        command = [sys.executable, str(Path(__file__).with_name("long_way.py")), self.here, self.ip, str(seconds)]
        with subprocess.Popen([*command, *map(str, ports)], stdout=subprocess.PIPE) as relay:
            try:
                assert relay.stdout
                relay.stdout.readline()
                yield
            finally:
                relay.kill()

    def pull_the_cable(self, out: bool = True) -> None:
        """Nothing gets through, and nobody is told; or it is put back."""
        _ip("link", "set", self.cable, "down" if out else "up")


@contextmanager
def another_host() -> Iterator[AnotherHost]:
    """Make one, and take it away with all that it had."""
    number = os.getpid() % 2**14
    name, cable = f"ex4d-{number}", f"ex4d{number}"
    net = f"10.{180 + number // 4096}.{number // 16 % 256}"
    there = AnotherHost(name, f"{net}.{number % 16 * 4 + 2}", f"{net}.{number % 16 * 4 + 1}", cable)
    _ip("netns", "add", name)
    try:
        _ip("link", "add", cable, "type", "veth", "peer", "name", "far", "netns", name)
        _ip("address", "add", f"{there.here}/30", "dev", cable)
        _ip("link", "set", cable, "up")
        for command in (
            ("address", "add", f"{there.ip}/30", "dev", "far"),
            ("link", "set", "far", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("-n", name, *command)
        yield there
    finally:
        _ip("netns", "delete", name)
        _ip("link", "delete", cable, check=False)  # mostly gone with its other end


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)
