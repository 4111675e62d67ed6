"""Calls in forked children give what calls in new processes give."""

import os
import signal
import subprocess
import sys

import pytest
from command_line import ex4d, forked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="calls are forked on Linux only")


@pytest.fixture
def both(tmp_path):
    """both(code, *words) -> how `python -m program words` ends in a new process and in a forked child."""

    def run(code: str, *words: str, **variables: str) -> list[subprocess.CompletedProcess]:
        (tmp_path / "program.py").write_text(code)
        command = [sys.executable, "-m", "program", *words]
        environment = {**os.environ, **variables}
        return [
            subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment),
            forked("program", *words, cwd=tmp_path, environment=environment),
        ]

    return run


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", 0),
        ("import sys; sys.exit(7)", 7),
        ("import sys; sys.exit('what is wrong')", 1),
        ("import os; os._exit(9)", 9),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("import os; os.abort()", -signal.SIGABRT),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("import atexit; atexit.register(print, 'at the end'); print('not flushed', end=' ')", 0),
    ],
)
def test_a_call_ends_as_a_process_does(both, code, expected):
    new, child = both(code)
    assert new.returncode == child.returncode == expected
    assert new.stdout == child.stdout
    assert new.stderr.splitlines()[-1:] == child.stderr.splitlines()[-1:]


def test_an_error_that_nobody_handles_is_a_traceback(both):
    for done in both("def fails():\n    raise ValueError('what went wrong')\nfails()\n"):
        assert done.returncode == 1
        assert done.stderr.startswith("Traceback (most recent call last):\n")
        assert 'program.py", line 2, in fails\n' in done.stderr
        assert done.stderr.endswith("ValueError: what went wrong\n")


def test_a_call_sees_its_own_arguments_folder_environment_and_files(both):
    code = (
        "import os, sys\n"
        "print(sys.argv, sys.path, os.getcwd(), sys.stdin.read(), sys.stdout.isatty(), os.listdir('/proc/self/fd'))\n"
        "print({name: os.environ[name] for name in sorted(os.environ)}, file=sys.stderr)"
    )
    new, child = both(code, "--one", "two words", EX4D_TEST="of this call")
    assert (new.stdout, new.stderr) == (child.stdout, child.stderr)
    assert "'EX4D_TEST': 'of this call'" in child.stderr


def test_what_a_call_changes_is_gone_in_the_next(both):
    _, one = both("import os, json; json.left = os.environ['EX4D_TEST']; print(os.getpid())", EX4D_TEST="of this call")
    _, other = both("import os, json; assert not hasattr(json, 'left'), 'EX4D_TEST' in os.environ; print(os.getpid())")
    assert (one.returncode, other.returncode) == (0, 0)
    assert one.stdout != other.stdout


def test_a_call_that_takes_too_long_is_ended_and_the_next_one_runs(tmp_path):
    assert ex4d("--version").returncode == 0
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "program.py").write_text(
        "import time; held = open('fifo', 'wb', 0); held.write(b'here'); time.sleep(600)"
    )
    with open(os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK), "rb") as fifo:
        with pytest.raises(subprocess.TimeoutExpired):
            forked("program", cwd=tmp_path, environment=dict(os.environ), timeout=5)
        os.set_blocking(fifo.fileno(), True)
        assert fifo.read() == b"here", "read until the process that wrote it has ended"
    assert ex4d("--version").stdout.startswith("ex4d ")


@pytest.mark.parametrize(
    "words",
    [
        "--version",
        "generate --help",
        "recon",
        "nonsense",
        "doctor",
        "models",
        "hosts list",
        "server usage --state here",
    ],
)
def test_the_command_line_says_the_same_as_in_a_new_process(words, tmp_path):
    new, child = (ex4d(*words.split(), cwd=tmp_path, fresh=fresh) for fresh in (True, False))
    assert (new.returncode, new.stdout, new.stderr) == (child.returncode, child.stdout, child.stderr)
    assert new.stdout + new.stderr


def test_a_variable_that_would_be_read_too_late_is_refused():
    with pytest.raises(AssertionError, match=r"NUMBA_NUM_THREADS.*say fresh=True"):
        ex4d("--version", environment={"NUMBA_NUM_THREADS": "1"})
