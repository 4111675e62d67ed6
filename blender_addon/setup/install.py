"""Install the server into a new environment. A script for any Python that needs only the standard library.

    python install.py FOLDER WHEEL PINS {cpu|nvidia}

The environment is `env-<number>` in FOLDER, and `current.json` names it once everything is installed and works. Until
then an earlier one stays in use; it is not removed here, because a server may be running in it. Progress and outcome
are reported as `blender_addon.setup.chore` describes. The script ends when its input is closed.
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
"""PyTorch's own index, for builds that PyPI does not have: it has only NVIDIA builds for Linux and only CPU builds for
Windows."""
WATCH_SECONDS = 0.5
"""Interval at which the size of a download is checked."""
LOG = "setup.log"
"""Name of the file in FOLDER to which the caller writes all output of this script."""
UNPACKED = 3.0
"""Disk space that packages take in addition to their download, at most, as a multiple of it."""

NO_TORCH = (
    "PyTorch for the CPU could not be downloaded from download.pytorch.org, and the one on PyPI includes 3 GB for"
    " NVIDIA GPUs, so it was left out: depth comes from a file or is guessed. Press Repair once that site can be"
    " reached."
)
NO_NETWORK = ("connection broken by", "ProxyError", "ConnectTimeout", "Could not fetch URL")
"""What pip prints if it cannot connect, before it says that no version fits."""


class SetupError(Exception):
    """Why setting up failed, in a sentence given as a template and its values, see `finish`."""

    def __init__(self, template: str, **values: object) -> None:
        super().__init__(template.format(**values))
        self.part = (template, values)


class DiskFullError(SetupError):
    """The disk is full."""


class ToolError(SetupError):
    """A program that the script ran has failed; only its output in the log says why."""


def main(folder: Path, wheel: Path, pins: Path, kind: str) -> int:
    """Run the script, as the module describes. Returns the exit code."""
    # A short name, because Windows limits paths to 260 characters, and PyTorch's are long.
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
    """An environment under construction at `place`, and the process working on it."""

    def __init__(self, place: Path, wheel: Path, pins: Path, kind: str) -> None:
        self.place, self.pins, self.kind = place, pins, kind
        self.python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
        self.wheel, self.extras, self.note = wheel, EXTRAS[kind], ""
        self.child: subprocess.Popen[str] | None = None
        self.kept = False
        self.going_on = threading.Lock()
        """Held while a process is started and while the environment is put into use; for good once cancelled."""

    def run(self) -> None:
        """Run all steps.

        Raises:
            SetupError: one of them failed.
        """
        tell("Making an environment")
        self.make_environment()
        tell("Looking for packages")
        torch: list[str] = []
        sizes = self.plan(self.requirement)
        if index := TORCH_INDEX.get((platform.system(), self.kind)):
            torch = ["--no-deps", "--index-url", index, "--retries", "1", "torch"]
            try:
                # The dependencies of PyPI's PyTorch are not needed with another build.
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
        """Requirement specifier of the server with its extras, for pip."""
        return f"ex4d[{self.extras}] @ {self.wheel.resolve().as_uri()}"

    def make_environment(self) -> None:
        """Make an environment with pip.

        Raises:
            SetupError: this Python cannot make one.
        """
        code, _ = self.call([sys.executable, "-m", "venv", self.place])
        if code:
            raise ToolError("Python could not make an environment in {folder}.", folder=str(self.place.parent))

    @property
    def temporary(self) -> Path:
        """Folder for pip's downloads: on the disk that was checked, and removed along with the environment."""
        return self.place / "tmp"

    def plan(self, *words: str) -> dict[str, int]:
        """What `pip install` with these arguments would download: bytes by package, 0 if unknown.

        Raises:
            SetupError: a package has no build for this machine, or there is no network.
        """
        report = self.place / "report.json"
        code, lines = self.pip("--dry-run", "--report", str(report), *words)
        if code:
            raise failure(lines)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
        return sizes_of({_plain(item["metadata"]["name"]): item["download_info"]["url"] for item in found})

    def install(self, *words: str, hear: Callable[[str], None]) -> None:
        """Download and unpack; `hear` receives pip's output line by line.

        Raises:
            SetupError: pip failed.
        """
        code, lines = self.pip(*words, hear=hear)
        if code:
            raise failure(lines)

    def check(self) -> str:
        """Check that all of the server can be imported, and return its version.

        Raises:
            SetupError: an import failed.
        """
        modules = "ex4d, ex4d_server.server, ex4d_server.worker, cv2, av, numba, OpenEXR"
        modules += ", torch" if "depth" in self.extras else ""
        code, lines = self.call([self.python, "-c", f"import {modules}; print(ex4d.__version__)"])
        if code:
            raise ToolError("The server was installed, but it does not start.")
        return lines[-1].strip()

    def pip(self, *words: str, hear: Callable[[str], None] | None = None) -> tuple[int, list[str]]:
        """Run `pip install`; returns what `call` does."""
        fixed = ("--disable-pip-version-check", "--no-input", "--progress-bar=off", "--only-binary=:all:")
        command = [self.python, "-m", "pip", "install", *fixed, "--constraint", self.pins, *words]
        return self.call(command, hear)

    def call(self, command: Sequence[str | Path], hear: Callable[[str], None] | None = None) -> tuple[int, list[str]]:
        """Run a process and return its exit code and lines, which also go to the log and, as they come, to `hear`."""
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
                start_new_session=True,  # so that `kill` also reaches its child processes
            )
        lines = []
        assert self.child.stdout
        for line in self.child.stdout:
            print(line, end="", flush=True)
            lines.append(line)
            if hear:
                hear(line)
        code = self.child.wait()
        with self.going_on:  # blocks if cancelled: a killed process has not failed
            return code, lines

    def end_with_input(self) -> None:
        """Wait until the caller closes our input, then end everything and remove the unfinished environment."""
        while os.read(sys.stdin.fileno(), 1):  # not `sys.stdin`, whose lock would still be held when Python exits
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
        """Remove the unfinished environment."""
        shutil.rmtree(self.place, ignore_errors=True)


class Download:
    """A context that reports the progress of a download.

    pip's own reports differ between versions, and those before 24.1 give programs no numbers. So this measures the
    wheels that grow in pip's temporary folder.

    Args:
        sizes: bytes by package; 0 if unknown.
        folder: folder with pip's temporary folders.
    """

    def __init__(self, sizes: dict[str, int], folder: Path) -> None:
        self._count, self._total, self._folder = len(sizes), sum(sizes.values()), folder
        self._before = self._most = 0  # bytes after the finished pip runs, and now
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
        """Handle a line of pip's output."""
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
    """Total size in bytes of the wheels below a folder whose files come and go."""
    found = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".whl"):
                with contextlib.suppress(OSError):
                    found += os.path.getsize(os.path.join(parent, name))
    return found


def is_cuda(name: str) -> bool:
    """Whether a package is one that PyTorch needs only for NVIDIA GPUs."""
    return name.startswith(("nvidia-", "cuda-")) or name == "triton"


def tell(stage: str, step: int = 0, steps: int = 0, **values: object) -> None:
    """Print a line of progress."""
    said = {"stage": stage.format(**values), "step": step, "steps": steps, "parts": [(stage, values)]}
    print(json.dumps(said), flush=True)


def finish(how: str, *parts: tuple[str, dict]) -> None:
    """Print the last line: the outcome, "done" or "failed", with sentences given as templates and values."""
    sentence = " ".join(template.format(**values) for template, values in parts)
    print(json.dumps({how: sentence, "parts": parts}), flush=True)


def kill(process: "subprocess.Popen[str]") -> None:
    """Kill a process along with its child processes."""
    if process.poll() is None:
        if os.name == "nt":
            subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], capture_output=True)
        else:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check_disk(folder: Path, download: int) -> None:
    """Check that the disk has room for a download of this many bytes and for unpacking it.

    Raises:
        SetupError: there is not enough room.
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
    """Whether pip's output says that the disk is full."""
    return any("No space left" in line or "[WinError 112]" in line for line in lines)


def failure(lines: list[str]) -> SetupError:
    """The error that explains pip's failure, according to its output."""
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
    # The pins are consistent, so a conflict with one means that this version has no build for this machine.
    if lacking := re.search(r"(?:No matching distribution found for|\(constraint\)) ([\w.-]+)", text):
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return ToolError(
            "There is no build of {package} for this computer with Python {version}.",
            package=lacking[1],
            version=version,
        )
    return ToolError("The packages could not be installed.")


def keep(place: Path, facts: dict[str, str]) -> None:
    """Put the environment at `place` into use."""
    (place / "set-up-by-blender").touch()  # see `ex4d.extras.is_set_up_by_blender`
    temporary = place.with_suffix(".json")
    temporary.write_text(json.dumps(facts), encoding="utf-8")
    (place / "complete").touch()
    os.replace(temporary, place.parent / "current.json")


def sizes_of(urls: dict[str, str]) -> dict[str, int]:
    """Size in bytes of the file at each package's address; 0 if unknown.

    A site that does not answer is not asked again: behind a proxy that only pip knows, each request would time out.
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
    """A package's normalised name."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]))
