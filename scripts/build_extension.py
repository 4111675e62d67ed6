"""Build dist/ex4d-<version>.zip, the extension that artists install: code, manifest, licence and wheels.

Run it with a Python that has `bpy`, whose own tool builds and checks the zip:
    .venv-bpy-4.5.15/bin/python scripts/build_extension.py
"""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]

PYTHONS = ("3.11", "3.13", "3.14")
"""Blender 4.2 to 5.0, 5.1 and later, and Debian's builds of 5.2."""

PLATFORMS = {
    "linux-x64": ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_26_x86_64", "manylinux_2_28_x86_64"),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64", "macosx_10_15_universal2"),
    "macos-x64": ("macosx_10_9_x86_64", "macosx_10_13_x86_64", "macosx_10_15_x86_64", "macosx_10_15_universal2"),
}
"""pip's platform tags for each of the manifest's platforms."""

COMPILED = ("pyzmq", "msgpack")


def main() -> None:
    """Stage, build, check; print where the zip is."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder) / "stage"
        shutil.copytree(REPO / "blender_addon", stage, ignore=shutil.ignore_patterns("__pycache__"))
        collect_wheels(stage / "wheels")
        write_manifest(stage)
        target = REPO / "dist" / f"ex4d-{version()}.zip"
        target.parent.mkdir(exist_ok=True)
        run(blender_tool(), "build", "--source-dir", stage, "--output-filepath", target)
        run(blender_tool(), "validate", target)
    print(target)


def version() -> str:
    """`ex4d.__version__`, read without importing."""
    tree = ast.parse((REPO / "ex4d/__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit("ex4d/__init__.py has no __version__.")


def pins() -> list[str]:
    """The compiled packages at the versions that the tests ran with."""
    lines = (REPO / "constraints-blender.txt").read_text(encoding="utf-8").split()
    return [line for line in lines if line.partition("==")[0] in COMPILED]


def collect_wheels(folder: Path) -> None:
    """Wheels of ex4d, and of the compiled packages for every Python and platform.

    Blender takes the union of the wheels' Python tags, so msgpack, which has one wheel for each Python, decides which
    Blenders load the extension. numpy is Blender's own and never bundled.
    """
    run("-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, REPO)
    (wheel,) = folder.glob("ex4d-*.whl")
    leave_out_server(wheel)
    for python in PYTHONS:
        for tags in PLATFORMS.values():
            platforms = [word for tag in tags for word in ("--platform", tag)]
            fixed = ("--quiet", "--no-deps", "--only-binary=:all:", "--python-version", python, "--dest", folder)
            run("-m", "pip", "download", *fixed, *platforms, *pins())


def leave_out_server(wheel: Path) -> None:
    """Take `ex4d_server`, which never runs inside Blender, out of the ex4d wheel and off its list of files."""
    with zipfile.ZipFile(wheel) as whole:
        content = {name: whole.read(name) for name in whole.namelist() if not name.startswith("ex4d_server/")}
    (record,) = (name for name in content if name.endswith(".dist-info/RECORD"))
    kept = [line for line in content[record].splitlines(keepends=True) if not line.startswith(b"ex4d_server/")]
    content[record] = b"".join(kept)
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as small:
        for name, data in content.items():
            small.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def write_manifest(stage: Path) -> None:
    """The repository's manifest with version and wheels filled in."""
    text = (REPO / "blender_manifest.toml").read_text(encoding="utf-8")
    wheels = "".join(f'    "./wheels/{wheel.name}",\n' for wheel in sorted((stage / "wheels").iterdir()))
    text = re.sub(r"(?m)^version = .*$", f'version = "{version()}"', text, count=1)
    text = re.sub(r"(?m)^wheels = .*$", f"wheels = [\n{wheels}]", text, count=1)
    (stage / "blender_manifest.toml").write_text(text, encoding="utf-8")


def blender_tool() -> Path:
    """Blender's command line for extensions, plain Python inside the bpy package."""
    spec = importlib.util.find_spec("bpy")
    if spec is None or spec.origin is None:
        raise SystemExit("This Python has no bpy: run the script with one of the .venv-bpy-* environments.")
    (tool,) = Path(spec.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")
    return tool


def run(*words: str | Path) -> None:
    """Run this Python with arguments; a failure ends the script."""
    subprocess.run([sys.executable, *map(str, words)], check=True, cwd=REPO)


if __name__ == "__main__":
    main()
