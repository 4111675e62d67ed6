"""The extension's zip, as artists get it."""

import ast
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]

INSTALL = """
import json, os, sys
import bpy
import addon_utils

assert "zmq" not in sys.modules
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
name = "bl_ext.user_default.ex4d"
assert name in bpy.context.preferences.addons
import ex4d, msgpack, zmq

facts = bpy.context.scene.ex4d
told = ""
try:
    bpy.ops.ex4d.open_clip(filepath=sys.argv[2])
except RuntimeError as error:
    told = str(error)
print(json.dumps({"files": [ex4d.__file__, msgpack.__file__, zmq.__file__], "told": told}))
addon_utils.disable(name, default_set=True)
sys.stdout.flush()
os._exit(0)  # the module 4.2 crashes when Python ends, see tests/conftest.py
"""


@pytest.fixture(scope="module")
def extension() -> Path:
    """The zip, built by its script."""
    done = subprocess.run([sys.executable, str(REPO / "scripts/build_extension.py")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.split()[-1])


def manifest(extension: Path) -> dict:
    with zipfile.ZipFile(extension) as archive:
        return tomllib.loads(archive.read("blender_manifest.toml").decode())


def test_the_zip_installs_and_works_in_a_clean_user_folder(extension, tmp_path):
    # Only what Blender itself includes: no ex4d, zmq or msgpack from this environment.
    clean = tmp_path / "site"
    clean.mkdir()
    site = Path(sysconfig.get_path("purelib"))
    for name in (
        "bpy",
        "numpy",
        "numpy.libs",
        "requests",
        "zstandard",
        "certifi",
        "idna",
        "urllib3",
        "charset_normalizer",
    ):
        if (site / name).exists():
            (clean / name).symlink_to(site / name)
    environment = {"PYTHONPATH": str(clean), "BLENDER_USER_RESOURCES": str(tmp_path / "user"), "HOME": str(tmp_path)}
    environment["PATH"] = os.environ["PATH"]
    missing = tmp_path / "missing.mp4"
    done = subprocess.run(
        [sys.executable, "-S", "-c", INSTALL, str(extension), str(missing)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert all(file.startswith(str(tmp_path / "user")) for file in answer["files"])
    assert "There is no clip" in answer["told"]


def test_the_wheels_load_in_the_pythons_of_all_blenders(extension):
    wheels = [Path(wheel).name for wheel in manifest(extension)["wheels"]]
    # Blender uses the union of the exact tags; cp312-abi3 does not count next to cp311.
    pythons = {wheel.split("-")[2] for wheel in wheels if wheel.startswith("msgpack")}
    assert {"cp311", "cp313"} <= pythons
    for platform in ("manylinux", "win_amd64", "macosx_11_0_arm64", "x86_64.whl"):
        for python in ("cp311", "cp313"):
            assert any(w.startswith("msgpack-") and python in w and platform in w for w in wheels)
    assert not any(wheel.startswith("numpy") for wheel in wheels)


def test_the_bundled_packages_are_those_that_every_environment_tests():
    words = {word for file in REPO.glob("constraints*.txt") for word in file.read_text(encoding="utf-8").split()}
    assert len({word for word in words if word.startswith(("pyzmq==", "msgpack=="))}) == 2


def test_the_manifest_has_the_librarys_version_and_the_zip_its_licence(extension):
    import ex4d

    assert manifest(extension)["version"] == ex4d.__version__
    assert manifest(extension)["license"] == ["SPDX:GPL-3.0-or-later"]
    with zipfile.ZipFile(extension) as archive:
        assert b"GNU GENERAL PUBLIC LICENSE" in archive.read("LICENSE")
        assert not [name for name in archive.namelist() if "__pycache__" in name]


@pytest.fixture(scope="module")
def library(extension) -> dict[str, str]:
    """The text of every Python file of ex4d in the zip, by name in the wheel."""
    with zipfile.ZipFile(extension) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith("wheels/ex4d-"))
        with zipfile.ZipFile(BytesIO(archive.read(name))) as wheel:
            return {name: wheel.read(name).decode() for name in wheel.namelist() if name.endswith(".py")}


def imports(text: str) -> set[str]:
    """Everything a file may import, even lazily: `a.b` for `import a.b`, `a.b.c` for `from a.b import c`."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_in(library: dict[str, str], name: str) -> bool:
    """Whether `a.b.c`, a module or a member of module `a.b`, is in the wheel."""
    path = name.replace(".", "/")
    names = {f"{path}.py", f"{path}/__init__.py", f"{path.rpartition('/')[0]}.py"}
    package = f"{path.rpartition('/')[0]}/__init__.py"
    return bool(names & set(library)) or (package in library and name.rpartition(".")[2] in library[package])


def test_all_that_the_add_on_imports_of_the_library_is_in_the_zip(library):
    files = list((REPO / "blender_addon").rglob("*.py"))
    wanted = {name for file in files for name in imports(file.read_text()) if name.startswith("ex4d")}
    assert len(wanted) > 20
    assert sorted(name for name in wanted if not is_in(library, name)) == []


def test_the_library_in_the_zip_is_complete_and_needs_only_what_blender_has(library):
    wanted = {(file, name) for file, text in library.items() for name in imports(text)}
    assert {file: name for file, name in wanted if name.startswith("ex4d") and not is_in(library, name)} == {}
    there = {"ex4d", "numpy", "msgpack", "zmq", *sys.stdlib_module_names}
    assert {file: name for file, name in wanted if name.partition(".")[0] not in there} == {}


def test_the_zip_carries_the_whole_server_for_set_up_server_and_its_pins(extension):
    with zipfile.ZipFile(extension) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith("server/ex4d-"))
        with zipfile.ZipFile(BytesIO(archive.read(name))) as wheel:
            names = set(wheel.namelist())
        pins = archive.read("server/constraints.txt").decode()
    assert {"ex4d_server/server.py", "ex4d/generate/wan/spec.py", "ex4d/render/engines/kernels.cu"} <= names
    assert pins == (REPO / "constraints.txt").read_text(encoding="utf-8")


def test_neither_server_nor_models_are_in_the_library_that_blender_imports(library):
    assert "ex4d/jobs/client.py" in library
    assert not [name for name in library if name.startswith("ex4d_server/")]
    assert not [name for name in library if "/wan/" in name or "/estimators/" in name or "/engines/" in name]


def test_the_wheel_of_the_library_is_typed_and_lists_its_files(extension):
    with zipfile.ZipFile(extension) as archive:
        (name,) = (name for name in archive.namelist() if name.startswith("wheels/ex4d-"))
        with zipfile.ZipFile(BytesIO(archive.read(name))) as wheel:
            names = set(wheel.namelist())
            (record,) = (name for name in names if name.endswith("RECORD"))
            listed = {line.partition(",")[0] for line in wheel.read(record).decode().splitlines()}
    assert "ex4d/py.typed" in names
    assert listed == names
