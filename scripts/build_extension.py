"""Build dist/ex4d-<version>.zip, the extension that artists install: code, manifest, licence, wheels and server.

Run it with a Python that has `bpy`, because Blender's own tool builds and checks the zip:
    .venv-bpy-4.5.15/bin/python scripts/build_extension.py

With a folder as argument, it writes a zip for each platform to that folder, with the wheels of that platform only, and
the `index.json` that Blender's Get Extensions reads.
"""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from addon_modules import needed_files

REPO = Path(__file__).resolve().parents[1]

PYTHONS = ("3.11", "3.13", "3.14")
"""The Pythons of Blender 4.2 to 5.0, of 5.1 and later, and of Debian's builds of 5.2."""

PLATFORMS = {
    "linux-x64": ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_26_x86_64", "manylinux_2_28_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64", "macosx_10_15_universal2"),
    "macos-x64": ("macosx_10_9_x86_64", "macosx_10_13_x86_64", "macosx_10_15_x86_64", "macosx_10_15_universal2"),
}
"""pip's platform tags for each of the manifest's platforms."""

COMPILED = ("pyzmq", "msgpack")

PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "ex4d"
version = "{version}"
description = "What the add-on EX-4D for Blender needs of the library ex4d."
license = "Apache-2.0"
license-files = ["LICENSE"]
requires-python = ">=3.11"
dependencies = ["numpy>=1.26"]

[tool.hatch.build.targets.wheel]
packages = ["ex4d"]
"""


def main(repository: Path | None) -> None:
    """Stage, build and check the extension; print the paths of the zips."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "stage"
        shutil.copytree(REPO / "blender_addon", stage, ignore=shutil.ignore_patterns("__pycache__"))
        collect_wheels(stage / "wheels")
        collect_server(stage / "server")
        write_manifest(stage)
        if repository:
            built = build_each(stage, repository)
        else:
            built = [REPO / "dist" / f"ex4d-{version()}.zip"]
            built[0].parent.mkdir(exist_ok=True)
            run(blender_tool(), "build", "--source-dir", stage, "--output-filepath", built[0])
        for target in built:
            run(blender_tool(), "validate", target)
    print(*built, sep="\n")


def build_each(stage: Path, repository: Path) -> list[Path]:
    """Build a zip for each platform, and their index; earlier versions in the folder stay. Returns the new zips."""
    repository.mkdir(parents=True, exist_ok=True)
    run(blender_tool(), "build", "--source-dir", stage, "--split-platforms", "--output-dir", repository)
    run(blender_tool(), "server-generate", "--repo-dir", repository)
    return sorted(repository.glob(f"ex4d-{version()}-*.zip"))


def version() -> str:
    """`ex4d.__version__`, read without importing it."""
    tree = ast.parse((REPO / "ex4d/__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit("ex4d/__init__.py has no __version__.")


def pins() -> list[str]:
    """The compiled packages, pinned to the versions that the tests ran with."""
    lines = (REPO / "constraints-blender.txt").read_text(encoding="utf-8").split()
    return [line for line in lines if line.partition("==")[0] in COMPILED]


def collect_wheels(folder: Path) -> None:
    """Collect a wheel of the part of ex4d that the add-on needs, and compiled packages for every Python and platform.

    Blender uses the union of the wheels' Python tags, so msgpack, which has one wheel per Python, decides which
    versions of Blender load the extension. numpy is Blender's own and never bundled.
    """
    with tempfile.TemporaryDirectory() as project:
        stage_library(Path(project))
        run("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, project)
    for python in PYTHONS:
        for tags in PLATFORMS.values():
            platforms = [word for tag in tags for word in ("--platform", tag)]
            fixed = ("--quiet", "--no-deps", "--only-binary=:all:", "--python-version", python, "--dest", folder)
            run("-m", "pip", "download", *fixed, *platforms, *pins())


def collect_server(folder: Path) -> None:
    """Collect what Set Up Server installs: the wheel of the whole project, and the versions of its dependencies."""
    run("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, REPO)
    shutil.copy(REPO / "constraints.txt", folder)


def stage_library(folder: Path) -> None:
    """Write a separate project with the part of ex4d that the add-on needs, for pip to build a wheel from."""
    for file in [*needed_files(), Path("ex4d/py.typed"), Path("LICENSE")]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / file, folder / file)
    (folder / "pyproject.toml").write_text(PROJECT.format(version=version()), encoding="utf-8")


def write_manifest(stage: Path) -> None:
    """Write the repository's manifest with version and wheels filled in."""
    text = (REPO / "blender_manifest.toml").read_text(encoding="utf-8")
    wheels = "".join(f'    "./wheels/{wheel.name}",\n' for wheel in sorted((stage / "wheels").iterdir()))
    text = re.sub(r"(?m)^version = .*$", f'version = "{version()}"', text, count=1)
    text = re.sub(r"(?m)^wheels = .*$", f"wheels = [\n{wheels}]", text, count=1)
    (stage / "blender_manifest.toml").write_text(text, encoding="utf-8")


def blender_tool() -> Path:
    """Blender's command-line tool for extensions, a plain Python script inside the bpy package."""
    spec = importlib.util.find_spec("bpy")
    if spec is None or spec.origin is None:
        raise SystemExit("This Python has no bpy: run the script with one of the .venv-bpy-* environments.")
    (tool,) = Path(spec.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    return tool


def run(*words: str | Path) -> None:
    """Run this Python with these arguments; a failure ends the script."""
    subprocess.run([sys.executable, *map(str, words)], check=True, cwd=REPO)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if sys.argv[1:] else None)
