"""`ex4d doctor`: what this machine can run."""

import shutil
import subprocess
import sys
from importlib import metadata

from rich.table import Table

from ex4d import __version__, plugins
from ex4d.cli import commands
from ex4d.cli.output import show
from ex4d.depth import base as depth_base
from ex4d.depth import registry as depth_registry
from ex4d.extras import Package
from ex4d.generate import base as generate_base
from ex4d.generate import registry as generate_registry
from ex4d.render.engines import ENGINES, missing
from ex4d.source_camera import da3
from ex4d.training import trackers
from ex4d.weights import store

PACKAGES = {
    "Video": (Package("av", "render"), "av"),
    "Pictures": (Package("cv2", "render"), "opencv-python-headless"),
    "EXR depth": (Package("OpenEXR", "render"), "OpenEXR"),
    "Messages": (Package("zmq", "client"), "pyzmq"),
}
"""Needs of several parts of ex4d: the package and the name under which it is installed."""


def doctor() -> None:
    """Show what this machine can run and what it lacks."""
    table = Table("Part", "State", "What to do", title=f"ex4d {__version__}, Python {sys.version.split()[0]}")
    for part, (package, distribution) in PACKAGES.items():
        state = f"ready ({_version(distribution)})" if package.is_there else "missing"
        table.add_row(part, state, "" if package.is_there else package.install)
    for name in ENGINES:
        reason = missing(name)
        table.add_row(f"Rendering: {name}", "missing" if reason else "ready", reason)
    for estimator in depth_registry.estimators().values():
        reason = depth_registry.missing(estimator)
        state = "missing" if reason else "ready"
        table.add_row(f"Depth: {estimator.title}", state if estimator.commercial else f"{state}, research only", reason)
    reason = da3.missing()
    table.add_row(f"Source camera: {da3.TITLE}", "missing" if reason else "ready", reason)
    gpu = _gpu()
    table.add_row("GPU", gpu or "none found", "" if gpu else "Not needed: rendering and previews run on the CPU.")
    for generator in generate_registry.generators().values():
        reason = generate_registry.missing(generator, True)
        table.add_row(f"Generator: {generator.title}", _state(generator, reason), reason)
    kinds: dict[str, plugins.Kind] = {
        generate_registry.GROUP: generate_base.Spec,
        depth_registry.GROUP: depth_base.Spec,
        trackers.GROUP: trackers.TrackerSpec,
        commands.GROUP: commands.check_command,
    }
    for group, kind in kinds.items():
        for name, reason in plugins.broken(group, kind).items():
            table.add_row(f"Plug-in: {name}", "broken", reason)
    show(table)


def _state(generator: generate_base.Spec, reason: str) -> str:
    if reason:
        return "missing"
    if generator.parts and (store.folder() / store.RANDOM).exists():
        return "ready, but its weights are random"
    return "ready"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "version unknown"


def _gpu() -> str:
    """Name of the first NVIDIA GPU, or an empty string; uses the driver's own tool, so that torch is not needed."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    done = subprocess.run(
        [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=10,
        check=False,
    )
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else ""
