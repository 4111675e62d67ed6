"""The platform module: its Windows half with stand-ins, and that no other module depends on the system."""

import ast
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from ex4d_server import platform
from ex4d_server.platform import LOCKED_BYTE, Windows, host, kill_all, processes_with, remove_tree

REPO = Path(__file__).parents[2]
ALONE = REPO / "backend" / "ex4d_server" / "platform.py"
SCRIPT = REPO / "blender_addon" / "setup" / "install.py"
"""Runs in any Python, so it cannot import our modules; it ends a process tree by itself, on Windows too."""
LOCK = REPO / "ex4d" / "storage" / "locks.py"
"""The lock of the library and the add-on, which do not have the server's code."""

POSIX_MODULES = {"fcntl", "grp", "pty", "pwd", "posix", "resource", "syslog", "termios", "tty"}
OS_NAMES = """
    O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK WNOHANG chown chroot confstr ctermid fchmod fchown fork forkpty
    fpathconf fstatvfs getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid
    initgroups killpg lchown lockf mkfifo mknod nice openpty pathconf pidfd_open pipe2 posix_fadvise posix_fallocate
    posix_spawn posix_spawnp pread preadv pwrite pwritev readv rename sched_getaffinity sched_setaffinity sendfile
    setegid seteuid setgid setgroups setpgid setpriority setresuid setreuid setsid setuid statvfs sync sysconf
    tcgetpgrp tcsetpgrp ttyname uname wait wait3 wait4 waitid waitpid writev getxattr setxattr listxattr memfd_create
    eventfd unshare copy_file_range splice
"""
SIGNAL_NAMES = """
    SIGALRM SIGBUS SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGTTIN SIGTTOU SIGUSR1 SIGUSR2
    SIGXCPU SIGXFSZ alarm getitimer pause pthread_kill pthread_sigmask setitimer siginterrupt sigpending sigwait
    sigtimedwait sigwaitinfo
"""
POSIX_NAMES = {
    "os": set(OS_NAMES.split()),
    "signal": set(SIGNAL_NAMES.split()),
    "socket": {"AF_UNIX", "SO_REUSEPORT", "send_fds", "recv_fds"},
    "select": {"epoll", "poll", "kqueue"},
}
"""What Windows lacks according to Python's documentation; and `os.rename`, which there does not replace files."""
POSIX_ARGUMENTS = {"preexec_fn", "start_new_session", "pass_fds", "process_group", "umask"}
POSIX_METHODS = {"lchmod", "rename"}
"""Methods of paths that differ on Windows: `Path.rename` does not replace files, `Path.replace` does."""


def uses(source: str) -> list[str]:
    """Names used in a module that Windows lacks, with their lines."""
    found = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found += [(node.lineno, alias.name) for alias in names if alias.name.split(".")[0] in POSIX_MODULES]
            case ast.ImportFrom(module=str(module), names=names, level=0):
                if module.split(".")[0] in POSIX_MODULES:
                    found.append((node.lineno, module))
                lacking = POSIX_NAMES.get(module, set())
                found += [(node.lineno, f"{module}.{alias.name}") for alias in names if alias.name in lacking]
            case ast.Attribute(value=ast.Name(id=module), attr=name) if name in POSIX_NAMES.get(module, set()):
                found.append((node.lineno, f"{module}.{name}"))
            case ast.Attribute(value=ast.Attribute(value=ast.Name(id=module), attr="Signals"), attr=name) if (
                module == "signal" and name in POSIX_NAMES["signal"]
            ):
                found.append((node.lineno, f"signal.Signals.{name}"))
            case ast.Call(func=ast.Attribute(attr=name)) if name in POSIX_METHODS:
                found.append((node.lineno, f".{name}()"))
        if isinstance(node, ast.Call):
            found += [(node.lineno, word.arg) for word in node.keywords if word.arg in POSIX_ARGUMENTS]
    return [f"{line}: {name}" for line, name in sorted(found)]


def test_what_windows_lacks_is_used_in_three_modules_only():
    modules = [
        path for folder in ("ex4d", "backend", "blender_addon") for path in sorted((REPO / folder).rglob("*.py"))
    ]
    assert len(modules) > 100
    found = {
        str(path.relative_to(REPO)): uses(path.read_text(encoding="utf-8"))
        for path in modules
        if path not in (ALONE, SCRIPT, LOCK)
    }
    assert {path: names for path, names in found.items() if names} == {}
    assert uses(ALONE.read_text()), "or this test sees nothing"


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from resource import getrlimit",
        "from os import killpg",
        "import os\nos.killpg(1, 2)",
        "import signal\nsignal.SIGKILL",
        "import signal\nsignal.Signals.SIGKILL",
        "Popen([], start_new_session=True)",
        "def f():\n    import pwd",
        "path.rename(other)",
    ],
)
def test_each_way_to_use_it_is_seen(source):
    assert len(uses(source)) == 1


# -- Windows, with stand-ins for what is missing here


class FakeProcess:
    """A psutil process with children."""

    known: dict[int, "FakeProcess"]

    def __init__(self, pid: int, children=(), protected: bool = False) -> None:
        self.pid, self.below, self.killed, self.protected = pid, list(children), False, protected

    def children(self, recursive: bool = False):
        assert recursive
        return [each for child in self.below for each in (child, *child.children(recursive=True))]

    def kill(self):
        if self.protected:
            raise psutil.AccessDenied(self.pid)
        self.killed = True


def windows(tree: dict[int, FakeProcess] = {}, **options) -> Windows:  # noqa: B006
    def find(pid):
        if pid not in tree:
            raise psutil.NoSuchProcess(pid)
        return tree[pid]

    return Windows(
        msvcrt=options.pop("msvcrt", SimpleNamespace()),
        processes=SimpleNamespace(Process=find, Error=psutil.Error),
        **options,
    )


def test_on_windows_a_lock_is_on_a_byte_behind_the_text(tmp_path):
    asked = []

    def locking(descriptor, mode, count):
        asked.append((os.lseek(descriptor, 0, os.SEEK_CUR), mode, count))

    system = windows(msvcrt=SimpleNamespace(locking=locking, LK_NBLCK=2))
    with open(tmp_path / "lock", "a+") as file:
        file.write("123")
        file.flush()
        assert system.lock(file)
        assert asked == [(LOCKED_BYTE, 2, 1)]
        file.seek(0)
        assert file.read() == "123"


def test_on_windows_a_lock_of_another_process_is_seen(tmp_path):
    def locking(descriptor, mode, count):
        raise PermissionError(13, "Permission denied")

    with open(tmp_path / "lock", "a+") as file:
        assert not windows(msvcrt=SimpleNamespace(locking=locking, LK_NBLCK=2)).lock(file)


def test_on_windows_a_tree_is_killed_from_its_leaves_even_where_one_refuses():
    leaf, stubborn = FakeProcess(3), FakeProcess(4, protected=True)
    middle = FakeProcess(2, [leaf, stubborn])
    ended = []
    system = windows({1: FakeProcess(1, [middle])})
    system.kill_tree(SimpleNamespace(pid=1, kill=lambda: ended.append(1)))
    assert (leaf.killed, middle.killed, ended) == (True, True, [1])
    system.kill_tree(SimpleNamespace(pid=99, kill=lambda: ended.append(99)))  # already gone
    assert ended == [1, 99]


def test_on_windows_a_process_ends_what_it_started_and_then_itself():
    child, left = FakeProcess(2), []
    windows({os.getpid(): FakeProcess(os.getpid(), [child])}, leave=left.append).kill_own_tree()
    assert child.killed
    assert left == [1]


def test_on_windows_a_process_is_asked_by_ctrl_break_and_may_be_gone():
    sent = []
    system = windows(kill=lambda pid, number: sent.append((pid, number)))
    system.ask_to_end(SimpleNamespace(pid=5))
    assert sent == [(5, 1)]
    assert system.spawn_options == {"creationflags": 0x200}, "or it would not be reached alone"

    def gone(pid, number):
        raise OSError(87, "The parameter is incorrect")

    windows(kill=gone).ask_to_end(SimpleNamespace(pid=5))


def test_on_windows_signals_and_codes_have_their_names():
    system = windows()
    assert system.stop_signals() == (2, 21)
    assert system.how_it_ended(3) == "ended with code 3"
    assert system.how_it_ended(0xC0000005) == "was ended by the system (0xC0000005)"
    assert system.how_it_ended(-1073741819) == "was ended by the system (0xC0000005)"
    system.raise_descriptor_limit()
    with system.spare_descriptors():
        pass


def test_both_systems_can_do_the_same():
    wanted = {name for name in vars(platform.Platform) if not name.startswith("_")}
    for system in (host, windows()):
        assert wanted <= set(dir(system))


# -- the same on all systems


def test_a_tree_is_removed_with_files_that_are_read_only(tmp_path, monkeypatch):
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        (folder / name).write_text("")
        (folder / name).chmod(0o444)
    unlink = os.unlink

    def as_on_windows(path, **options):
        if not os.stat(path, **options).st_mode & 0o200:
            raise PermissionError(13, "Access is denied", path)
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", as_on_windows)
    monkeypatch.setattr(shutil, "_use_fd_functions", False)
    remove_tree(tmp_path / "a")
    assert not (tmp_path / "a").exists()
    remove_tree(tmp_path / "nowhere")


def test_processes_are_found_by_their_environment_and_ended_though_they_are_stopped(tmp_path):
    marked = {**os.environ, "EX4D_TEST_TREE": str(tmp_path)}
    code = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'input()']); input()"
    with subprocess.Popen([sys.executable, "-c", code], env=marked, stdin=subprocess.PIPE) as process:
        end = time.monotonic() + 10
        while len(found := processes_with("EX4D_TEST_TREE", str(tmp_path))) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert process.pid in [each.pid for each in found]
        assert len(found) == 2
        for each in found:
            each.suspend()
        assert kill_all(found, 5) == []
        process.wait()
    assert processes_with("EX4D_TEST_TREE", str(tmp_path)) == []


@pytest.mark.skipif(sys.platform == "win32", reason="parents that have to ask")
def test_a_process_that_has_ended_is_not_waited_for_though_its_parent_never_asks():
    code = "import subprocess; child = subprocess.Popen(['sleep', '60']); print(child.pid, flush=True); input()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        assert kill_all([child], 20) == []
        assert child.status() == psutil.STATUS_ZOMBIE
        parent.communicate("\n")


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_a_group_is_asked_and_killed_as_one():
    process = subprocess.Popen(["sh", "-c", "sleep 60 & wait"], **host.spawn_options)
    host.ask_to_end(process)
    assert process.wait(5) == -signal.SIGTERM
    host.kill_tree(process)  # kills what is left, which is nothing
    assert host.how_it_ended(-9) == "was ended by signal 9 (SIGKILL)"
    assert host.how_it_ended(-63) == "was ended by signal 63"
