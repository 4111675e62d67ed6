"""`ex4d(...)`: run the command line as a user does, in a process of its own, without importing everything each time.

Imports take a second or two, longer than most commands, and the tests run hundreds of commands. On Linux, a process
(this file, run as a script) therefore imports once what the commands import, and forks a child for each call. In the
child, with the working folder, environment, arguments and output of that call, `python -m ex4d.cli` runs as always
until Python itself ends the process, so exit codes, signals and tracebacks are real.

A forked child cannot show that a command imports all that it uses, nor that it works with another hash seed. Calls that
are there to show this start Python anew: `fresh=True`.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading

IMPORTED = (
    "av", "ex4d.cli.app", "ex4d.depth.edges", "ex4d.generate.preview.fill", "ex4d.pipeline.run",
    "ex4d.pipeline.take_videos", "ex4d.render.engines.numba_kernels", "ex4d_server.commands", "platformdirs",
    "pydantic.type_adapter",
)  # fmt: skip
"""Modules that import most of what commands use. None of them starts a thread, which a fork would lose."""

READ_AT_IMPORT = ("PYTHON", "NUMBA_", "OMP_", "OPENBLAS_", "OPENCV_", "LD_")
"""How the names of variables begin that may be read before a call sets them."""

PATIENCE = 240
"""How many seconds a call may take."""


def ex4d(*words, cwd=None, environment=None, packages=None, fresh=False, **options) -> subprocess.CompletedProcess:
    """Run `ex4d words` and return its exit code and output.

    Args:
        environment: variables added to those of the test.
        packages: a folder with third-party packages, treated as installed.
        fresh: start Python anew. Calls with `packages` or `options` always do.
        options: of `subprocess.run`.
    """
    variables = {**os.environ, "COLUMNS": "200", **(environment or {})}
    if packages is not None:
        variables["PYTHONPATH"] = os.pathsep.join([str(packages), *filter(None, [variables.get("PYTHONPATH")])])
    if fresh or packages or options or sys.platform != "linux":
        command = [sys.executable, "-m", "ex4d.cli", *map(str, words)]
        options |= {"cwd": cwd, "env": variables}
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)
    return forked("ex4d.cli", *words, cwd=cwd, environment=variables)


def forked(module: str, *words, cwd, environment, timeout=PATIENCE) -> subprocess.CompletedProcess:
    """Run `python -m module words` in a forked child; returns and raises what `subprocess.run` does."""
    command = [sys.executable, "-m", module, *map(str, words)]
    call = {"module": module, "words": command[3:], "cwd": os.path.abspath(cwd or "."), "environment": environment}
    forker, channel, before = _forker()
    changed = {name for name, _ in before.items() ^ environment.items() if name.startswith(READ_AT_IMPORT)}
    assert not changed, f"{changed} may have been read already: say fresh=True"
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        try:
            channel.settimeout(timeout)
            socket.send_fds(channel, [json.dumps(call).encode()], [out.fileno(), err.fileno()])
            answer = channel.recv(64)
        except BaseException as error:  # also Ctrl-C: its answer must not be taken for that of the next call
            _end(forker, channel)
            _forker.cache_clear()
            if isinstance(error, TimeoutError):
                raise subprocess.TimeoutExpired(command, timeout) from None
            raise
        assert answer, "the process that forks has ended"
        return subprocess.CompletedProcess(command, int(answer), *(file.seek(0) or file.read() for file in (out, err)))


@functools.cache
def _forker() -> tuple[subprocess.Popen, socket.socket, dict[str, str]]:
    """The process that forks, the socket to it, and the environment in which it imports."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps messages apart
    with its:
        command = [sys.executable, __file__, str(its.fileno())]
        forker = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()], start_new_session=True)
    atexit.register(_end, forker, ours)
    return forker, ours, dict(os.environ)


def _end(forker: subprocess.Popen, channel: socket.socket) -> None:
    """End the process that forks, and its child."""
    channel.close()
    if forker.poll() is None:
        os.killpg(forker.pid, signal.SIGKILL)
        forker.wait()


def _next_call(channel: socket.socket) -> str:
    """Answer calls with the exit codes of forked children; returns only in each child, with the module to run."""
    while True:
        message, output, *_ = socket.recv_fds(channel, 1_000_000, 2)
        if not message:
            os._exit(0)  # the tests have ended
        assert threading.active_count() == 1, threading.enumerate()
        if child := os.fork():
            for file in output:
                os.close(file)
            channel.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            continue
        channel.close()
        for file, standard in zip(output, (1, 2), strict=True):
            os.dup2(file, standard)
            os.close(file)
        call = json.loads(message)
        os.environ.clear()
        os.environ.update(call["environment"])
        os.chdir(call["cwd"])
        sys.path[0] = call["cwd"]  # as `python -m` does
        sys.argv[1:] = call["words"]
        return call["module"]


if __name__ == "__main__":
    for module in IMPORTED:
        importlib.import_module(module)
    importlib.import_module("numba").njit(lambda: None)()  # at the first compilation numba imports the rest of itself
    gc.freeze()  # or every child would go through all of this when it ends
    runpy.run_module(_next_call(socket.socket(fileno=int(sys.argv[1]))), run_name="__main__", alter_sys=True)
