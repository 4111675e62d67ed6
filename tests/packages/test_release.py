"""What a release consists of, built and installed where there is no checkout: `make test-packages`.

EX4D_RELEASE names the folder of `make release`. EX4D_PYTHONS names the Pythons to install it for.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
RELEASE = Path(os.environ.get("EX4D_RELEASE", REPO / "dist" / "release"))
PYTHONS = os.environ.get("EX4D_PYTHONS", sys.executable).split()
PLATFORMS = {"linux_x64": "manylinux", "windows_x64": "win_amd64", "macos_arm64": "arm64", "macos_x64": "x86_64"}
MEGABYTES = 12
"""Most that an artist downloads."""

pytestmark = [pytest.mark.packages, pytest.mark.timeout(1200)]


@pytest.fixture(scope="session")
def version() -> str:
    said = (REPO / "ex4d/__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', said, re.MULTILINE)[1]


def run(*words: str | Path, folder: Path, **about: str) -> str:
    """Run a program in a folder, with nothing of this environment; its output, also where it fails."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "EX4D", "VIRTUAL"))}
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=kept | about, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def built(pattern: str) -> Path:
    """The one file of the release of that name."""
    (found,) = RELEASE.glob(pattern)
    return found


@pytest.fixture(scope="session", params=[(p, kind) for p in PYTHONS for kind in ("*.whl", "*.tar.gz")], ids=str)
def installed(request, tmp_path_factory) -> Path:
    """The folder of programs of a clean environment with the release in it."""
    python, kind = request.param
    folder = tmp_path_factory.mktemp("clean")
    run(python, "-m", "venv", folder / "env", folder=folder)
    programs = folder / "env" / "bin"
    run(programs / "pip", "install", "-q", "-c", RELEASE / "constraints.txt", f"{built(kind)}[backend]", folder=folder)
    for name in ("clip.mp4", "clip.depth.npz"):
        shutil.copy(REPO / "sample" / name, folder)
    return programs


def test_it_is_the_release_and_not_a_checkout(installed, version):
    folder = installed.parents[1]
    assert run(installed / "ex4d", "--version", folder=folder).strip() == f"ex4d {version}"
    where = run(
        installed / "python",
        "-c",
        "import ex4d, ex4d_server; print(ex4d.__file__, ex4d_server.__file__)",
        folder=folder,
    )
    assert all(Path(word).is_relative_to(installed.parent) for word in where.split())
    assert (installed.parent.glob("lib/python*/site-packages/ex4d/py.typed")).__next__().is_file()


def test_a_clip_becomes_a_take(installed, version):
    folder = installed.parents[1]
    words = ("--input_video", "clip.mp4", "--num_frames", "9", "--cam", "30", "--output_video", "out.mp4")
    run(installed / "ex4d", "generate", *words, folder=folder, EX4D_CACHE=str(folder / "cache"))
    record = json.loads((folder / "out.take" / "take.json").read_text(encoding="utf-8"))
    assert (record["version"], record["frames"], record["generator"]) == (version, 9, "preview")


def test_a_server_makes_a_take(installed):
    folder = installed.parents[1]
    command = [installed / "ex4d", "serve", "--address", "tcp://127.0.0.1:0", "--state", folder / "state"]
    kept = os.environ | {"XDG_CONFIG_HOME": str(folder / "config"), "EX4D_CACHE": str(folder / "cache")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=kept) as server:
        try:
            address = re.search(r"tcp://\S+", server.stdout.readline())[0]
            words = (REPO / "examples" / "4_server.py", "clip.mp4", "made", address)
            run(installed / "python", *words, folder=folder, XDG_CONFIG_HOME=str(folder / "config"))
        finally:
            server.terminate()
    (take,) = (folder / "made").iterdir()
    assert json.loads((take / "take.json").read_text(encoding="utf-8"))["frames"] == 49


def test_the_extra_that_a_message_names_is_found_without_an_index(installed):
    words = ("install", "--dry-run", "--no-index", "ex4d[backend]")
    assert "satisfied: ex4d" in run(
        installed / "pip", *words, folder=installed.parents[1], PIP_FIND_LINKS="", PIP_EXTRA_INDEX_URL=""
    )


@pytest.mark.parametrize("python", PYTHONS)
def test_every_file_of_the_lock_is_what_its_hash_says(python, tmp_path):
    run(python, "-m", "venv", tmp_path / "env", folder=tmp_path)
    words = ("install", "-q", "--no-deps", "--require-hashes", "-r", RELEASE / "server.txt")
    run(tmp_path / "env/bin/pip", *words, folder=tmp_path)
    run(tmp_path / "env/bin/pip", "install", "-q", "--no-deps", built("*.whl"), folder=tmp_path)
    run(tmp_path / "env/bin/pip", "check", folder=tmp_path)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_the_extension_has_the_wheels_of_its_platform_alone(platform, version):
    file = built(f"extensions/ex4d-{version}-{platform}.zip")
    size = file.stat().st_size / 10**6
    assert size < MEGABYTES
    told = re.search(rf"extension, `{platform}` \| ([\d.]+) MB", (REPO / "docs" / "install.md").read_text())
    assert float(told[1]) == pytest.approx(size, rel=0.1)
    with zipfile.ZipFile(file) as archive:
        about = tomllib.loads(archive.read("blender_manifest.toml").decode())
        there = {name for name in archive.namelist() if name.endswith(".whl")}
    assert about["version"] == version
    generated = about["build"]["generated"]  # what counts in a zip for one platform
    assert generated["platforms"] == [platform.replace("_", "-")]
    compiled = [name for name in generated["wheels"] if not name.endswith("-none-any.whl")]
    assert {name.partition("-")[0].rpartition("/")[2] for name in compiled} == {"msgpack", "pyzmq"}
    assert all(PLATFORMS[platform] in name or "universal2" in name for name in compiled)
    assert {name.removeprefix("./") for name in generated["wheels"]} == {
        name for name in there if name.startswith("wheels/")
    }


def test_the_list_has_every_zip_with_its_size_and_hash(version):
    listing = json.loads((RELEASE / "extensions" / "index.json").read_text(encoding="utf-8"))
    assert {entry["platforms"][0] for entry in listing["data"]} == {name.replace("_", "-") for name in PLATFORMS}
    for entry in listing["data"]:
        file = RELEASE / "extensions" / entry["archive_url"]
        assert entry["version"] == version
        assert entry["archive_size"] == file.stat().st_size
        assert entry["archive_hash"] == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def test_the_list_of_parts_names_what_wheels_carry_and_nothing_that_is_not_allowed():
    sys.path.insert(0, str(REPO / "scripts"))
    import sbom

    parts = list(sbom.every(json.loads((RELEASE / "ex4d-server.cdx.json").read_text(encoding="utf-8"))))
    assert [trouble for part in parts if (trouble := sbom.not_allowed(part))] == []
    names = {part["name"] for part in parts}
    assert {"ex4d", "numpy", "av", "libx264", "libx265", "libscipy_openblas", "SuiteSparseQR", "libsodium"} <= names
    told = (REPO / "docs" / "licences.md").read_text(encoding="utf-8")
    assert [name for name in sbom.KNOWN["exceptions"] if name not in told] == []


def test_the_sdist_has_code_and_no_tests_or_pictures():
    with tarfile.open(built("*.tar.gz")) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {"ex4d", "backend", "LICENSE", "locks"} <= tops
    assert tops.isdisjoint({"tests", "sample", "docs", "blender_addon", ".github"})
