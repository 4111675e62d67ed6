"""VBench's dimensions on custom videos (Huang et al. 2024), by the package itself in its own environment.

VBench 0.1.5 requires numpy below 2 and transformers 4.33, which are incompatible with everything else here, so it is
installed separately and called as a process. It downloads its networks into its own cache when it first needs them.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ex4d.errors import InputError
from ex4d.extras import said_once
from ex4d.storage import user_cache

REQUIREMENTS = ("vbench==0.1.5", "setuptools<81")
"""openai-clip, which VBench needs, imports `pkg_resources`; setuptools 81 no longer has it."""

PYTHONS = ((3, 8), (3, 11))
"""First and last version of Python for which everything that it pins is available."""

DIMENSIONS = (
    "subject_consistency",
    "background_consistency",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
    "temporal_flickering",
)
"""The dimensions that VBench measures on videos not made from its own prompts (`mode="custom_input"`)."""

ERROR_LINES = 3

NO_NETWORK = 73
"""Exit code of the script where VBench could not get the network of a dimension."""

_SCRIPT = f"""
import json, subprocess, sys
from vbench import VBench
asked = json.load(sys.stdin)
bench, name = VBench(asked["device"], "", asked["out"]), asked["dimension"]
try:
    bench.evaluate(videos_path=asked["videos"], name=name, dimension_list=[name], mode="custom_input")
except (OSError, subprocess.CalledProcessError) as error:  # what its downloads raise, by urllib, requests or wget
    print(name + ": " + str(error), file=sys.stderr)
    sys.exit({NO_NETWORK})
"""


@dataclass(frozen=True)
class Scored:
    """The scores of videos.

    Attributes:
        scores: by dimension, those of each video, with the mean as "mean"; higher is better in all of them.
        missing: by dimension, a sentence about why it has no scores.
    """

    scores: dict[str, dict[str, float]]
    missing: dict[str, str]


def folder() -> Path:
    """Folder of the environment, whether or not it exists."""
    return user_cache.folder("vbench")


def python() -> Path:
    """The Python of the environment, which may not exist."""
    return folder() / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _installed() -> Path:
    """What was installed, written when all of it was."""
    return folder() / "installed.txt"


def missing() -> str:
    """Why VBench cannot run here, as a sentence; "" if it can."""
    try:
        if _installed().read_text(encoding="utf-8").splitlines() == list(REQUIREMENTS):
            return ""
    except OSError:
        pass
    return "VBench is not set up: it needs an environment of its own, and up to 7 GB of packages."


def set_up(base: Path | None = None) -> Path:
    """Create the environment and install VBench into it; return its Python.

    Args:
        base: a Python of 3.8 to 3.11; None uses the running one.

    Raises:
        InputError: that Python has another version, or something cannot be installed.
    """
    starter = str(base or sys.executable)
    told = _run([starter, "-c", "import sys; print(*sys.version_info[:2])"], "This Python cannot be used")
    version = tuple(int(part) for part in told.split())
    if not PYTHONS[0] <= version <= PYTHONS[1]:
        first, last = (".".join(map(str, each)) for each in PYTHONS)
        raise InputError(
            f"VBench needs Python {first} to {last}, since the versions that it pins are not there for"
            f" {'.'.join(map(str, version))}: name another Python."
        )
    _run([starter, "-m", "venv", "--clear", str(folder())], "The environment for VBench cannot be made")
    _run([str(python()), "-m", "pip", "install", "-q", *REQUIREMENTS], "VBench cannot be installed")
    _installed().write_text("\n".join(REQUIREMENTS), encoding="utf-8")
    return python()


def evaluate(
    videos: Path,
    dimensions: Sequence[str],
    device: str = "cpu",
    runner: Path | None = None,
    tell: Callable[[str, dict[str, float]], None] = lambda dimension, scores: None,
) -> Scored:
    """Score videos, with a process for each dimension, so that one that fails leaves the scores of the others.

    Args:
        videos: one video, or a folder of .mp4 files.
        dimensions: of `DIMENSIONS`.
        device: "cpu" or "cuda".
        runner: a Python that has VBench; None uses the environment's.
        tell: called with a dimension and its scores as soon as they are known, because a dimension can take hours.

    Raises:
        InputError: VBench is not set up, does not support a dimension on such videos, or gives no scores at all.
    """
    if unknown := [name for name in dimensions if name not in DIMENSIONS]:
        raise InputError(
            f"VBench does not measure {', '.join(unknown)} on videos of one's own: choose from {', '.join(DIMENSIONS)}."
        )
    if runner is None and (why := missing()):
        raise InputError(why)
    scores, failed = dict[str, dict[str, float]](), dict[str, str]()
    for name in dimensions:
        try:
            scores[name] = _dimension(videos, name, device, runner or python())
        except InputError as error:
            failed[name] = str(error)
        else:
            tell(name, scores[name])
    if not scores:
        raise InputError(said_once(failed.items()))
    return Scored(scores, failed)


def _dimension(videos: Path, name: str, device: str, runner: Path) -> dict[str, float]:
    """Scores in one dimension; raises InputError if VBench fails, quoting its last lines."""
    with tempfile.TemporaryDirectory() as out:
        asked = {"videos": str(videos.resolve()), "dimension": name, "device": device, "out": out}
        _run([str(runner), "-c", _SCRIPT], f"VBench failed on {name}", json.dumps(asked))
        try:
            read = json.loads(Path(out, f"{name}_eval_results.json").read_text(encoding="utf-8"))
            return _scores(*read[name][:2])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"VBench left no scores for {name} that can be read ({error}).") from error


def _scores(mean: float, rows: list[dict[str, object]]) -> dict[str, float]:
    scores = {Path(str(row["video_path"])).stem: float(str(row["video_results"])) for row in rows}
    return {**scores, "mean": float(mean)}


def _run(command: list[str], failed: str, given: str | None = None) -> str:
    try:
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InputError(f"{failed}: {command[0]}: {error.strerror}.") from error
    lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
    if given is not None and done.returncode == NO_NETWORK:
        raise InputError(
            f"VBench could not download the network that it needs ({lines[-1]}): check the connection, and that the"
            " program wget is installed."
        )
    if done.returncode:
        raise InputError(f"{failed}: {' '.join(lines[-ERROR_LINES:])}")
    return done.stdout
