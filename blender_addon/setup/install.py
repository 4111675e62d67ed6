"""Make an environment with the server in it. A script for any Python: it needs nothing but the standard library.

    python install.py FOLDER WHEEL PINS {cpu|nvidia}

FOLDER gets `env-<number>`, and `current.json` names it once all is there and works; until then an earlier one stays
in use, and it is not removed here, as a server may be running in it. Progress and the end are told as
`blender_addon.setup.chore` describes. It ends when its input is closed.
"""

import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

EXTRAS = {"cpu": "backend,camera,depth", "nvidia": "backend,camera,depth,wan,cuda"}
TORCH_INDEX = {
    ("Linux", "cpu"): "https://download.pytorch.org/whl/cpu",
    ("Windows", "nvidia"): "https://download.pytorch.org/whl/cu130",
}
"""Where PyTorch's own site has the build that PyPI has not: on Linux PyPI's is for NVIDIA, on Windows for the CPU."""
WATCH_SECONDS = 0.5
"""How often what has come of a download is looked at."""
LOG = "setup.log"
"""Name of the file in FOLDER to which whoever starts this writes all that it says."""
UNPACKED = 3.0
"""Disk that packages take beside their download, as a multiple of it, at most."""

NO_TORCH = (
    "PyTorch for the CPU could not be downloaded from download.pytorch.org, and the one on PyPI includes 3 GB for"
    " NVIDIA GPUs, so it was left out: depth comes from a file or is guessed. Press Repair once that site can be"
    " reached."
)
NO_NETWORK = ("connection broken by", "ProxyError", "ConnectTimeout", "Could not fetch URL")
"""What pip writes where it does not get through, before it says that no version fits."""


class SetupError(Exception):
    """Why it did not work, in a sentence: a template and the values in it, see `finish`."""

    def __init__(self, template: str, **values: object) -> None:
        super().__init__(template.format(**values))
        self.part = (template, values)


class DiskFullError(SetupError):
    """There is no room."""


class ToolError(SetupError):
    """A program that was run for it failed; only its own words, which are in the log, say why."""


def main(folder: Path, wheel: Path, pins: Path, kind: str) -> int:
    """Do it; see the module. Returns the exit code."""
    # A short name: Windows allows 260 characters for whole paths, and PyTorch's are long.
    installer = Installer(folder / f"env-{time.time_ns() // 10**6:x}", wheel, pins, kind)
    threading.Thread(target=installer.end_with_input, daemon=True).start()
    try:
        installer.run()
    except SetupError as error:
        installer.remove()
        if isinstance(error, ToolError):
            finish("failed", error.part, ("The log says why: {log}.", {"log": str(folder / LOG)}))
        else:
            finish("failed", error.part)
        return 1
    except BaseException:
        installer.remove()
        raise
    finish("done", ("The server is set up.", {}), *([(installer.note, {})] if installer.note else []))
    return 0


class Installer:
    """An environment in the making at `place`, and the process that works at it."""

    def __init__(self, place: Path, wheel: Path, pins: Path, kind: str) -> None:
        self.place, self.pins, self.kind = place, pins, kind
        self.python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.wheel, self.extras, self.note = wheel, EXTRAS[kind], ""
        self.child: subprocess.Popen[str] | None = None
        self.kept = False
        self.going_on = threading.Lock()
        """Held while a process is started, and when the environment is kept; for good once this is cancelled."""

    def run(self) -> None:
        """All steps.

        Raises:
            SetupError: one of them cannot be done.
        """
        tell("Making an environment")
        self.make_environment()
        tell("Looking for packages")
        torch: list[str] = []
        sizes = self.plan(self.requirement)
        if index := TORCH_INDEX.get((platform.system(), self.kind)):
            torch = ["--no-deps", "--index-url", index, "--retries", "1", "torch"]
            try:
                # What PyPI's PyTorch brings is not needed beside another one.
                sizes = {name: size for name, size in sizes.items() if not is_cuda(name)} | self.plan(*torch)
            except DiskFullError:
                raise
            except SetupError:
                if self.kind == "nvidia":
                    raise
                torch = []
        if self.kind == "cpu" and any(is_cuda(name) for name in sizes):
            self.extras, self.note = "backend,camera", NO_TORCH
            sizes = self.plan(self.requirement)
        check_disk(self.place.parent, sum(sizes.values()))
        with Download(sizes, self.temporary) as download:
            if torch:
                self.install(*torch, hear=download.hear)
            self.install(self.requirement, hear=download.hear)
        shutil.rmtree(self.temporary, ignore_errors=True)
        tell("Checking the server")
        version = self.check()
        facts = {"python": str(self.python), "base": sys.executable, "version": version, "kind": self.kind}
        with self.going_on:
            keep(self.place, facts)
            self.kept = True

    @property
    def requirement(self) -> str:
        """The server with what it shall have, for pip."""
        return f"ex4d[{self.extras}] @ {self.wheel.resolve().as_uri()}"

    def make_environment(self) -> None:
        """An environment with pip.

        Raises:
            SetupError: this Python cannot make one.
        """
        code, _ = self.call([sys.executable, "-m", "venv", self.place])
        if code:
            raise ToolError("Python could not make an environment in {folder}.", folder=str(self.place.parent))

    @property
    def temporary(self) -> Path:
        """Where pip puts what it downloads: on the disk that was checked, and gone with the environment."""
        return self.place / "tmp"

    def plan(self, *words: str) -> dict[str, int]:
        """What `pip install` of these words would download: bytes by package, 0 where nobody says how many.

        Raises:
            SetupError: a package is not offered for this machine, or the network is not there.
        """
        report = self.place / "report.json"
        code, lines = self.pip("--dry-run", "--report", str(report), *words)
        if code:
            raise failure(lines)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
        return sizes_of({_plain(item["metadata"]["name"]): item["download_info"]["url"] for item in found})

    def install(self, *words: str, hear: Callable[[str], None]) -> None:
        """Download and unpack; `hear` is given pip's lines.

        Raises:
            SetupError: pip says no.
        """
        code, lines = self.pip(*words, hear=hear)
        if code:
            raise failure(lines)

    def check(self) -> str:
        """The version of the server, once all of it can be imported.

        Raises:
            SetupError: something is missing.
        """
        modules = "ex4d, ex4d_server.server, ex4d_server.worker, cv2, av, numba, OpenEXR"
        modules += ", torch" if "depth" in self.extras else ""
        code, lines = self.call([self.python, "-c", f"import {modules}; print(ex4d.__version__)"])
        if code:
            raise ToolError("The server was installed, but it does not start.")
        return lines[-1].strip()

    def pip(self, *words: str, hear: Callable[[str], None] | None = None) -> tuple[int, list[str]]:
        """Run `pip install`; as `call`."""
        fixed = ("--disable-pip-version-check", "--no-input", "--progress-bar=off", "--only-binary=:all:")
        command = [self.python, "-m", "pip", "install", *fixed, "--constraint", self.pins, *words]
        return self.call(command, hear)

    def call(self, command: Sequence[str | Path], hear: Callable[[str], None] | None = None) -> tuple[int, list[str]]:
        """Exit code and lines of a process; the lines go to the log, and to `hear` as they come."""
        self.temporary.mkdir(parents=True, exist_ok=True)
        with self.going_on:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                env=os.environ | dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(self.temporary)),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                start_new_session=True,  # so that `kill` reaches what it starts itself
            )
        lines = []
        assert self.child.stdout
        for line in self.child.stdout:
            print(line, end="", flush=True)
            lines.append(line)
            if hear:
                hear(line)
        code = self.child.wait()
        with self.going_on:  # its failure is none where it was killed
            return code, lines

    def end_with_input(self) -> None:
        """Whoever started this holds its input: when that closes, end, with all that was begun."""
        while os.read(sys.stdin.fileno(), 1):  # not `sys.stdin`, whose lock would be held when Python ends
            pass
        self.going_on.acquire()
        if self.kept:
            self.going_on.release()
            return
        if self.child is not None:
            kill(self.child)
        self.remove()
        finish("failed", ("Cancelled. What was downloaded is kept for the next time.", {}))
        os._exit(1)

    def remove(self) -> None:
        """Remove what was made."""
        shutil.rmtree(self.place, ignore_errors=True)


class Download:
    """Tells how much of a download has come, as long as it is entered.

    What pip says of that differs between its versions, and those before 24.1 tell no number to a program; so the
    wheels are looked at that grow in its folder for what is temporary.

    Args:
        sizes: bytes by package; 0 where nobody knows.
        folder: where pip's temporary folders are.
    """

    def __init__(self, sizes: dict[str, int], folder: Path) -> None:
        self._count, self._total, self._folder = len(sizes), sum(sizes.values()), folder
        self._before = self._most = 0  # bytes of the runs of pip that are over, and of all
        self._unpacking = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Download":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def hear(self, line: str) -> None:
        """A line of pip's."""
        if line.startswith("Installing collected"):
            self._tell()
            self._unpacking = True
            if line.strip().endswith(": torch"):
                tell("Unpacking PyTorch")
            else:
                tell("Unpacking {count} packages", count=self._count)
        elif line.startswith("Successfully installed"):
            self._unpacking, self._before = False, self._most

    def _watch(self) -> None:
        while not self._over.wait(WATCH_SECONDS):
            if not self._unpacking:
                self._tell()

    def _tell(self) -> None:
        self._most = max(self._most, min(self._before + bytes_below(self._folder), self._total))
        tell("Downloading", self._most, self._total)


def bytes_below(folder: Path) -> int:
    """Bytes of the wheels below a folder, whose files come and go."""
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".whl"):
                with contextlib.suppress(OSError):
                    found += os.path.getsize(os.path.join(parent, name))
    return found


def is_cuda(name: str) -> bool:
    """Whether a package is one that PyTorch brings for NVIDIA cards."""
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


def tell(stage: str, step: int = 0, steps: int = 0, **values: object) -> None:
    """A line of progress."""
    said = {"stage": stage.format(**values), "step": step, "steps": steps, "parts": [(stage, values)]}
    print(json.dumps(said), flush=True)


def finish(how: str, *parts: tuple[str, dict]) -> None:
    """The last line: how it ended, "done" or "failed", in sentences that are templates and their values."""
    sentence = " ".join(template.format(**values) for template, values in parts)
    print(json.dumps({how: sentence, "parts": parts}), flush=True)


def kill(process: "subprocess.Popen[str]") -> None:
    """End a process with all that it has started."""
    if process.poll() is None:
        if os.name == "nt":
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True)
        else:
            with contextlib.suppress(ProcessLookupError):  # it has ended at this moment
                os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check_disk(folder: Path, download: int) -> None:
    """Compare what is to come with the room that there is.

    Raises:
        SetupError: it does not fit.
    """
    needed, free = download * (1 + UNPACKED), shutil.disk_usage(folder).free
    if needed > free:
        raise SetupError(
            "The server needs {needed:.1f} GB of disk and {folder} has {free:.1f} GB free: make some room.",
            needed=needed / 1e9,
            folder=str(folder),
            free=free / 1e9,
        )


def is_full(lines: list[str]) -> bool:
    """Whether pip met a full disk."""
    return any("No space left" in line or "[WinError 112]" in line for line in lines)


def failure(lines: list[str]) -> SetupError:
    """Why pip failed, as its output tells."""
    text = "".join(lines)
    if is_full(lines):
        return DiskFullError("The disk is full: make some room and press Set Up Server again.")
    if "Long Path" in text:
        return SetupError(
            "Windows allows paths of 260 characters, and some packages need longer ones: set LongPathsEnabled to 1 in"
            r" HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Control\FileSystem of the registry, then press Set Up Server"
            " again."
        )
    if any(word in text for word in NO_NETWORK):
        return ToolError("The packages cannot be downloaded: check the network, and the proxy if there is one.")
    # The pins fit each other, so where pip speaks of a conflict with one, nobody offers that version for this machine.
    if lacking := re.search(r"(?:No matching distribution found for|\(constraint\)) ([\w.-]+)", text):
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return ToolError(
            "There is no build of {package} for this computer with Python {version}.",
            package=lacking[1],
            version=version,
        )
    return ToolError("The packages could not be installed.")


def keep(place: Path, facts: dict[str, str]) -> None:
    """Let the environment at `place` be the one in use."""
    (place / "set-up-by-blender").touch()  # see `ex4d.extras.is_set_up_by_blender`
    temporary = place.with_suffix(".json")
    temporary.write_text(json.dumps(facts), encoding="utf-8")
    (place / "complete").touch()
    os.replace(temporary, place.parent / "current.json")


def sizes_of(urls: dict[str, str]) -> dict[str, int]:
    """Bytes of what lies at the address of each package; 0 where nobody says.

    A site that does not answer is not asked again: behind a proxy that only pip knows, each would take its time.
    """
    sizes, silent = dict.fromkeys(urls, 0), set()
    for name, url in urls.items():
        site = urllib.parse.urlsplit(url)
        if site.scheme == "file" or site.netloc in silent:
            continue
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=10) as answer:
                sizes[name] = int(answer.headers.get("Content-Length") or 0)
        except (OSError, ValueError):
            silent.add(site.netloc)
    return sizes


def _plain(name: str) -> str:
    """A package's name as all its files are named."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
