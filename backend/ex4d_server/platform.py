"""Everything specific to the operating system the server runs on: locks, signals, process trees, descriptors.

All other modules use `host`. `Posix` has been run on Linux and macOS; `Windows` was written from the documentation of
Python and psutil and is tested with stand-ins for them, but has never been run on Windows.
"""

import ctypes
import importlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, Protocol

import psutil

DESCRIPTORS = 65536
"""How many open files and connections the server asks for, if the system allows it."""
SPARE_DESCRIPTORS = 512
"""How many of them connections cannot take: more than may be waiting for `accept` while they are released."""
KILLED_POLL_SECONDS = 0.01
LOCKED_BYTE = 1 << 30
"""A locked byte cannot be read on Windows, so one far beyond the content is locked."""
CREATE_NEW_PROCESS_GROUP = 0x200
SIGBREAK, CTRL_BREAK_EVENT = 21, 1


class Platform(Protocol):
    """What differs between systems."""

    spawn_options: dict[str, Any]
    """`Popen` arguments that make a process the root of a tree that can be signalled as a whole."""

    def lock(self, file: IO[str]) -> bool:
        """Lock a file until it is closed or this process ends; returns False if another process holds the lock."""

    def raise_descriptor_limit(self) -> None:
        """Raise this process's descriptor limit as far as the system allows, less the spare ones."""

    def spare_descriptors(self) -> AbstractContextManager[None]:
        """Allow the spare descriptors too, so that a process can start when connections have taken all others."""

    def give_memory_back(self) -> None:
        """Return freed memory to the system if the C library would otherwise keep it."""

    def stop_signals(self) -> tuple[int, ...]:
        """Signals that ask a server to end in an orderly way."""

    def ask_to_end(self, process: subprocess.Popen) -> None:
        """Ask a process that was started with `spawn_options`, and everything it started, to end."""

    def kill_tree(self, process: subprocess.Popen) -> None:
        """Kill such a process and everything it started, suspended processes included."""

    def kill_own_tree(self) -> None:
        """Kill the calling process, itself started with `spawn_options`, and everything it started."""

    def how_it_ended(self, code: int) -> str:
        """An exit code in words, such as "was ended by signal 9 (SIGKILL)"."""


class Windows:
    """Windows: process trees through psutil, locks through msvcrt, Ctrl-Break instead of SIGTERM.

    Args:
        msvcrt, processes, kill, leave: the system's modules and functions, replaceable for tests.
    """

    def __init__(
        self,
        msvcrt: Any = None,
        processes: Any = psutil,
        kill: Callable[[int, int], None] = os.kill,
        leave: Callable[[int], Any] = os._exit,
    ) -> None:
        self._msvcrt = importlib.import_module("msvcrt") if msvcrt is None else msvcrt
        self._processes, self._kill, self._leave = processes, kill, leave
        # Ctrl-Break only reaches processes on the same console. The worker shares the server's, which Blender creates
        # without a window.
        self.spawn_options: dict[str, Any] = {"creationflags": CREATE_NEW_PROCESS_GROUP}

    def lock(self, file: IO[str]) -> bool:
        """See `Platform`."""
        place = file.tell()
        try:
            file.seek(LOCKED_BYTE)
            self._msvcrt.locking(file.fileno(), self._msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            file.seek(place)
        return True

    def raise_descriptor_limit(self) -> None:
        """Do nothing, because Windows practically does not limit handles; see `Platform`."""

    def spare_descriptors(self) -> AbstractContextManager[None]:
        """See `Platform`."""
        return nullcontext()

    def give_memory_back(self) -> None:
        """Do nothing, because Windows does so by itself; see `Platform`."""

    def stop_signals(self) -> tuple[int, ...]:
        """See `Platform`."""
        return signal.SIGINT, SIGBREAK

    def ask_to_end(self, process: subprocess.Popen) -> None:
        """See `Platform`."""
        with suppress(OSError):  # it has ended, or shares no console with us
            self._kill(process.pid, CTRL_BREAK_EVENT)

    def kill_tree(self, process: subprocess.Popen) -> None:
        """See `Platform`."""
        self._kill_below(process.pid)
        with suppress(OSError):
            process.kill()

    def kill_own_tree(self) -> None:
        """See `Platform`."""
        self._kill_below(os.getpid())
        self._leave(1)

    def how_it_ended(self, code: int) -> str:
        """See `Platform`. Large codes are NTSTATUS values, which are usually written in hexadecimal."""
        code &= 0xFFFFFFFF
        return f"ended with code {code}" if code < 0x80000000 else f"was ended by the system (0x{code:08X})"

    def _kill_below(self, pid: int) -> None:
        with suppress(self._processes.Error):
            for child in self._processes.Process(pid).children(recursive=True):
                with suppress(self._processes.Error):
                    child.kill()


if sys.platform == "win32":
    host: Platform = Windows()
else:
    import fcntl
    import resource

    class Posix:
        """Linux and macOS: each worker is a session, so its process group can be signalled."""

        def __init__(self) -> None:
            self.spawn_options: dict[str, Any] = {"start_new_session": True}

        def lock(self, file: IO[str]) -> bool:
            """See `Platform`."""
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
            return True

        def raise_descriptor_limit(self) -> None:
            """See `Platform`."""
            most = self._most()
            self._limit(most - min(SPARE_DESCRIPTORS, most // 2))

        @contextmanager
        def spare_descriptors(self) -> Iterator[None]:
            """See `Platform`."""
            before = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            self._limit(self._most())
            try:
                yield
            finally:
                self._limit(before)

        def give_memory_back(self) -> None:
            """See `Platform`. Only glibc keeps freed memory."""
            with suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)

        @staticmethod
        def _most() -> int:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            return DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)

        @staticmethod
        def _limit(count: int) -> None:
            with suppress(OSError, ValueError):  # macOS has another limit besides this one
                resource.setrlimit(resource.RLIMIT_NOFILE, (count, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

        def stop_signals(self) -> tuple[int, ...]:
            """See `Platform`."""
            return signal.SIGTERM, signal.SIGINT, signal.SIGHUP

        def ask_to_end(self, process: subprocess.Popen) -> None:
            """See `Platform`."""
            self._signal_group(process.pid, signal.SIGTERM)

        def kill_tree(self, process: subprocess.Popen) -> None:
            """See `Platform`."""
            self._signal_group(process.pid, signal.SIGKILL)

        def kill_own_tree(self) -> None:
            """See `Platform`."""
            os.killpg(0, signal.SIGKILL)

        def how_it_ended(self, code: int) -> str:
            """See `Platform`."""
            if code >= 0:
                return f"ended with code {code}"
            try:
                return f"was ended by signal {-code} ({signal.Signals(-code).name})"
            except ValueError:  # a real-time signal has no name
                return f"was ended by signal {-code}"

        @staticmethod
        def _signal_group(group: int, number: int) -> None:
            with suppress(ProcessLookupError, PermissionError):  # PermissionError: on macOS, if all are zombies
                os.killpg(group, number)

    host = Posix()


def processes_with(variable: str, value: str) -> list[psutil.Process]:
    """Other processes that were started with `variable` set to `value` in their environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(variable) == value:
                found.append(process)
    return found


def kill_all(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Kill processes and wait for them to end; returns those still alive after `seconds`."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    end = time.monotonic() + seconds
    while (living := [process for process in processes if _lives(process)]) and time.monotonic() < end:
        time.sleep(KILLED_POLL_SECONDS)
    return living


def _lives(process: psutil.Process) -> bool:
    """Whether a process still holds any resources.

    A process that has ended remains a zombie until its parent reaps it, which in a container may never happen. A killed
    process with a thread stuck in a driver also counts as a zombie, but has more than one thread.
    """
    try:
        return process.is_running() and not (process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1)
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False


def remove_tree(folder: Path) -> None:
    """Remove a folder as far as possible, including read-only files, which Windows removes only if made writable."""

    def once_more(function: Callable[..., Any], path: str, error: Any) -> None:
        if function in (os.unlink, os.remove, os.rmdir):
            with suppress(OSError):
                os.chmod(path, stat.S_IRWXU)
                function(path)

    if sys.version_info >= (3, 12):
        shutil.rmtree(folder, onexc=once_more)
    else:
        shutil.rmtree(folder, onerror=once_more)
