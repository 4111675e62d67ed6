"""The one module that knows on which system the server runs: locks, signals, process trees, descriptors.

Everything else asks `host`. `Posix` has been run on Linux and macOS; `Windows` is written after the documentation of
Python and psutil and tested with stand-ins for them, and nobody has run it there yet.
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
"""As many open files and connections as the server asks for, where the system allows it."""
SPARE_DESCRIPTORS = 512
"""As many of them as connections cannot take: more than may wait to be accepted at the moment they are lent."""
KILLED_POLL_SECONDS = 0.01
LOCKED_BYTE = 1 << 30
"""On Windows a locked byte cannot be read, so one far behind the content is locked."""
CREATE_NEW_PROCESS_GROUP = 0x200
SIGBREAK, CTRL_BREAK_EVENT = 21, 1


class Platform(Protocol):
    """What differs between systems."""

    spawn_options: dict[str, Any]
    """Arguments of `Popen` that make a process the first of a tree that can be signalled as one."""

    def lock(self, file: IO[str]) -> bool:
        """Lock a file until it is closed or this process ends; False where another process has it."""

    def raise_descriptor_limit(self) -> None:
        """Allow this process as many descriptors as the system lets it, but for some that are kept back."""

    def spare_descriptors(self) -> AbstractContextManager[None]:
        """Use those that are kept back, to start a process when connections have taken all others."""

    def give_memory_back(self) -> None:
        """Return memory that was freed to the system, where the C library would keep it."""

    def stop_signals(self) -> tuple[int, ...]:
        """Signals that ask a server to end in an orderly way."""

    def ask_to_end(self, process: subprocess.Popen) -> None:
        """Ask a process that was started with `spawn_options`, and what it started, to end."""

    def kill_tree(self, process: subprocess.Popen) -> None:
        """End such a process and what it started, at once. Stopped processes, too."""

    def kill_own_tree(self) -> None:
        """End the calling process, itself started with `spawn_options`, and what it started."""

    def how_it_ended(self, code: int) -> str:
        """An exit code in words, such as "was ended by signal 9 (SIGKILL)"."""


class Windows:
    """Windows: process trees by psutil, locks by msvcrt, Ctrl-Break instead of SIGTERM.

    Args:
        msvcrt, processes, kill, leave: the modules and functions of the system, for tests.
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
        # The worker shares the server's console, which Blender makes without a window: Ctrl-Break reaches no other one.
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
        """There is no limit worth the name on handles; see `Platform`."""

    def spare_descriptors(self) -> AbstractContextManager[None]:
        """See `Platform`."""
        return nullcontext()

    def give_memory_back(self) -> None:
        """Windows does so by itself; see `Platform`."""

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
        """See `Platform`. Large codes are NTSTATUS values, which are known by their hexadecimal form."""
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
        """Linux and macOS: process groups, each the session of a worker."""

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
            """See `Platform`. Only glibc keeps it."""
            with suppress(OSError, AttributeError):
                ctypes.CDLL(None).malloc_trim(0)

        @staticmethod
        def _most() -> int:
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            return DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)

        @staticmethod
        def _limit(count: int) -> None:
            with suppress(OSError, ValueError):  # macOS has another limit behind this one
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
            with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, where all are zombies
                os.killpg(group, number)

    host = Posix()


def processes_with(variable: str, value: str) -> list[psutil.Process]:
    """Other processes that have `variable` set to `value` in the environment that they were started with."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(variable) == value:
                found.append(process)
    return found


def kill_all(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """End processes at once and wait for it; returns those that live on after `seconds`."""
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    end = time.monotonic() + seconds
    while (living := [process for process in processes if _lives(process)]) and time.monotonic() < end:
        time.sleep(KILLED_POLL_SECONDS)
    return living


def _lives(process: psutil.Process) -> bool:
    """Whether a process still has anything.

    One that has ended stays in the list until its parent has asked how, which in a container may be never. While a
    thread of it hangs in a driver, the list says the same of it, but names more than one thread.
    """
    try:
        return process.is_running() and not (process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1)
    except psutil.AccessDenied:
        return True
    except psutil.Error:
        return False


def remove_tree(folder: Path) -> None:
    """Remove a folder as far as possible, read-only files too, which Windows removes only when they are writable."""

    def once_more(function: Callable[..., Any], path: str, error: Any) -> None:
        if function in (os.unlink, os.remove, os.rmdir):
            with suppress(OSError):
                os.chmod(path, stat.S_IRWXU)
                function(path)

    if sys.version_info >= (3, 12):
        shutil.rmtree(folder, onexc=once_more)
    else:
        shutil.rmtree(folder, onerror=once_more)
