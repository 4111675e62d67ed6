"""What workers run in these tests: real functions, most of them badly behaved.

The name of the clip selects the function, so that each test shows in one place what it starts.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ex4d_server.orders import proxy_of

from ex4d.errors import InputError
from ex4d.jobs.codec import sentence

opened = []


def make():
    """The runner, which a worker asks for once."""
    return run


def make_watched():
    """The same runner, recording every file that is opened from now on."""
    sys.addaudithook(lambda event, what: opened.append(str(what[0])) if event == "open" else None)
    return run


def run(job, locate, out, progress):
    clip = job.source.clip[0]
    return globals()[Path(clip.name).stem](job, locate, out, progress)


def copy(job, locate, out, progress):
    """Well behaved: three steps, then the clip's content as the result."""
    for step in range(1, 4):
        progress("copy", step, 3)
    (out / "result.mp4").write_bytes(locate(job.source.clip[0]).read_bytes())
    (out / "empty.txt").write_bytes(b"")
    return {"suffix": Path(job.source.clip[0].name).suffix, "pid": os.getpid(), "coverage": [0.5, 1.0]}


def copy_in_steps(job, locate, out, progress):
    """Like `copy`, but takes two seconds."""
    for step in range(1, 101):
        progress("copy", step, 100)
        time.sleep(0.02)
    (out / "result.mp4").write_bytes(locate(job.source.clip[0]).read_bytes())
    return {}


def refuse_when_told(job, locate, out, progress):
    """Fails once its test has left a mark."""
    progress("wait", 1, 2)
    while not Path(os.environ["EX4D_TEST_MARK"]).exists():
        time.sleep(0.01)
    raise InputError("The depth holds zeros: mask them first.")


def take(job, locate, out, progress):
    """Returns the clip's content as the result, with a small movie of it."""
    content = locate(job.source.clip[0]).read_bytes()
    progress("Sampling", 1, 1)
    (out / "result.mp4").write_bytes(content)
    if proxy := proxy_of(out):
        proxy.write_bytes(content[: len(content) // 50])
    return {"coverage": [0.5, 1.0]}


def whole_take(job, locate, out, progress):
    """Returns all other files of the clip as results after a moment, with a small movie of 200 kB."""
    progress("Sampling", 1, 1)
    time.sleep(0.5)
    for blob in job.source.clip[1:]:
        (out / blob.name).write_bytes(locate(blob).read_bytes())
    proxy_of(out).write_bytes(os.urandom(204_500))
    return {"coverage": [0.5, 1.0]}


def stages(job, locate, out, progress):
    for stage in ("read", "render", "write"):
        for step in range(1, 301):
            progress(stage, step, 300)
    return {}


def paint(job, locate, out, progress):
    """Shows pictures of what it makes, the last one hard to compress, and takes its time."""
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    for step in range(1, 4):
        progress("Sampling", step, 3, np.full((90, 160, 3), (250, 40 * step, 0), np.uint8) if step < 3 else noise)
        time.sleep(0.3)
    progress("Decoding", 1, 1)
    return {}


def slow(job, locate, out, progress):
    """Runs for a long time, and can be stopped between steps. Leaves half-written files around."""
    (out / "half.mp4").write_bytes(b"half")
    return wait(progress)


def wait(progress):
    for step in range(1, 6001):
        progress("wait", step, 6000)
        time.sleep(0.01)
    return {}


def one_second(job, locate, out, progress):
    """Takes a second, but no CPU time."""
    progress("wait", 1, 2)
    time.sleep(1.0)
    return {"device": os.environ["EX4D_WORKER_DEVICE"], "pid": os.getpid()}


def slow_once(job, locate, out, progress):
    """Slow until its server is killed; quick the second time."""
    mark = Path(os.environ["EX4D_TEST_MARK"])
    if mark.exists():
        return copy(job, locate, out, progress)
    mark.write_text("")
    return slow(job, locate, out, progress)


def hang(job, locate, out, progress):
    """Never checks whether it should stop, and ignores SIGTERM too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    progress("hang", 1, 2)
    time.sleep(3600)


def endless(job, locate, out, progress):
    """Never ends, and never reports another step."""
    progress("turn", 1, 3)
    while True:
        pass


def long_step(job, locate, out, progress):
    """One long step that keeps the interpreter busy."""
    progress("think", 1, 3)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        pass
    progress("think", 3, 3)
    return {}


def family(job, locate, out, progress):
    """Starts a process that would outlive it."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    Path(os.environ["EX4D_TEST_MARK"]).write_text(f"{os.getpid()} {child.pid}")
    return slow(job, locate, out, progress)


def crash(job, locate, out, progress):
    progress("crash", 1, 2)
    os.kill(os.getpid(), signal.SIGSEGV)
    time.sleep(60)


def leave(job, locate, out, progress):
    os._exit(3)


def refuse(job, locate, out, progress):
    raise InputError("The depth holds zeros: mask them first.")


def surprise(job, locate, out, progress):
    raise KeyError("no such thing")


def nonsense(job, locate, out, progress):
    """Returns facts that are not JSON values."""
    return {"out": out}


def chatter(job, locate, out, progress):
    """Returns facts that do not fit into one message."""
    return {"coverage": [0.5] * 100_000}


def eat_disk(job, locate, out, progress):
    """Writes more than the file size limit that its test has set."""
    with open(out / "big.mp4", "wb") as file:
        for step in range(1, 101):
            file.write(b"\0" * (1 << 20))
            file.flush()
            progress("write", step, 100)
    return {"never": sentence("")}


def eat_all(job, locate, out, progress):
    """Writes until the disk is full."""
    with open(out / "big.mp4", "wb", buffering=0) as file:
        step = 0
        while True:
            file.write(b"\0" * (1 << 16))
            step += 1
            progress("write", step, 1_000_000)


def eat_all_and_hide_it(job, locate, out, progress):
    """Fills the disk, then raises an unhelpful error."""
    with contextlib.suppress(OSError):
        eat_all(job, locate, out, progress)
    print("a line for the log" * 1000)
    raise RuntimeError("The encoder returned -1.")


def eat_all_and_wait(job, locate, out, progress):
    """Fills the disk, then continues without writing."""
    with contextlib.suppress(OSError):
        eat_all(job, locate, out, lambda *step: None)
    Path(os.environ["EX4D_TEST_MARK"]).write_text("full")
    return wait(progress)


def noisy_stages(job, locate, out, progress):
    """Sends as many events as a client can receive in a few seconds, with pictures that are hard to compress."""
    noise = np.random.default_rng(0).integers(0, 256, (130, 130, 3), dtype=np.uint8)
    for stage in range(3000):
        progress(f"stage {stage}", 1, 1, noise)
    return {}


def several(job, locate, out, progress):
    """Returns every file of the clip as a result."""
    for blob in job.source.clip:
        (out / blob.name).write_bytes(locate(blob).read_bytes())
    return {}


def many_stages(job, locate, out, progress):
    """Waits for a marker file, then sends more events with pictures than a client's queues hold, one per stage."""
    progress("first", 1, 1)
    mark = Path(os.environ["EX4D_TEST_MARK"])
    while not mark.exists():
        time.sleep(0.01)
    noise = np.random.default_rng(0).integers(0, 256, (90, 100, 3), dtype=np.uint8)
    for stage in range(3000):
        progress(f"stage {stage}", 1, 1, noise)
    return {}


def several_seen(job, locate, out, progress):
    """Returns every file of the clip, and lists what this process has opened since it began, if it is watched."""
    several(job, locate, out, progress)
    return {"opened": opened[-2000:], "folder": str(out)}


def copy_slowly(job, locate, out, progress):
    """Returns a result after forty steps in two seconds."""
    for step in range(1, 41):
        progress("wait", step, 40)
        time.sleep(0.05)
    (out / "result.mp4").write_bytes(locate(job.source.clip[0]).read_bytes())
    return {"device": os.environ["EX4D_WORKER_DEVICE"], "pid": os.getpid()}


def what_it_sees(job, locate, out, progress):
    """Reports the GPUs that this process may use, after four seconds, so that two jobs run at once."""
    progress("wait", 1, 2)
    time.sleep(4.0)
    return {"device": os.environ["EX4D_WORKER_DEVICE"], "sees": os.environ["CUDA_VISIBLE_DEVICES"]}
