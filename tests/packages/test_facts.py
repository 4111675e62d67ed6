"""What has to be the same in several files of a release, and what its licences may be."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

import ex4d

REPO = Path(__file__).parents[2]
sys.path.insert(0, str(REPO / "scripts"))
import sbom  # noqa: E402 (in scripts/)

LOCKS = ("server.txt", "server-nvidia.txt")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    return {plain(name): version for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE)}


def test_the_version_is_the_same_everywhere():
    version = ex4d.__version__
    found = {
        "CHANGELOG.md": re.search(r"^## \[([\d.]+)\]", (REPO / "CHANGELOG.md").read_text(), re.MULTILINE)[1],
        "CITATION.cff": re.search(r"^version: ([\d.]+)$", (REPO / "CITATION.cff").read_text(), re.MULTILINE)[1],
    }
    for page in ("first-shot.md", "install.md"):
        for said in re.findall(r"ex4d-(\d+\.\d+\.\d+)", (REPO / "docs" / page).read_text()):
            found[page] = said
            assert said == version, page
    assert found == dict.fromkeys(("CHANGELOG.md", "CITATION.cff", "first-shot.md", "install.md"), version)


def test_the_manifest_leaves_the_version_to_the_build():
    about = tomllib.loads((REPO / "blender_manifest.toml").read_text())
    assert about["version"] == "0.0.0"


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_has_the_versions_that_are_tested_and_names_no_index(name):
    text = (REPO / "locks" / name).read_text()
    tested, locked = pins((REPO / "constraints.txt").read_text()), pins(text)
    assert {name: version for name, version in locked.items() if tested.get(name, version) != version} == {}
    assert "://" not in text
    assert "index-url" not in text
    assert all("--hash=sha256:" in block for block in re.split(r"^(?=[\w-]+==)", text, flags=re.MULTILINE)[1:])


def test_the_lock_of_a_server_has_all_that_a_server_needs():
    from importlib.metadata import requires

    locked = pins((REPO / "locks" / "server.txt").read_text())
    wanted = [line for line in requires("ex4d") if re.search(r"extra == .(client|render|camera).", line)]
    assert len(wanted) > 6
    assert [line for line in wanted if plain(re.match(r"[\w-]+", line)[0]) not in {*locked, "ex4d"}] == []


@pytest.mark.parametrize(
    ("expression", "may"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND Apache-2.0 WITH LLVM-exception", True),
        ("CC-BY-NC-4.0", False),
        ("LicenseRef-NVIDIA-Proprietary", False),
        ("__import__('os')", False),
    ],
)
def test_a_licence_is_allowed_where_one_way_of_reading_it_is(expression, may):
    assert sbom.allowed(expression) is may


def test_a_library_that_nobody_knows_is_told(tmp_path):
    (tmp_path / "some.libs").mkdir()
    for name in ("libodd-1a2b.so.3", "libx264-d6533a8d.so.165"):
        (tmp_path / "some.libs" / name).touch()
    odd, known = sbom.files_of(tmp_path, "some")
    assert "no licence is known" in sbom.not_allowed(odd)
    assert (known["name"], sbom.not_allowed(known)) == ("libx264", "")
    assert sbom.not_allowed({"name": "libx266", "licenses": sbom.licence("GPL-2.0-or-later")})


def workflows() -> dict[str, str]:
    return {file.name: file.read_text() for file in sorted((REPO / ".github" / "workflows").glob("*.yml"))}


def test_the_workflows_make_what_there_is_to_make():
    targets = set(re.findall(r"^([a-z][\w-]*):", (REPO / "Makefile").read_text(), re.MULTILINE))
    lines = [line for text in workflows().values() for line in re.findall(r"\brun: make ([^\n]+)", text)]
    made = {word for line in lines for word in line.split() if re.fullmatch(r"[a-z][a-z\d-]*", word)}
    assert made <= targets
    tests = {"test-ex4d", "test-cli", "test-server", "test-blender", "test-packages"}
    assert {*tests, "lint", "docs", "release", "weight"} <= made


def test_the_workflows_have_the_blenders_and_pythons_of_the_makefile():
    listed = re.search(r"for version in ([\d. ]+);", (REPO / "Makefile").read_text())[1].split()
    assert re.findall(r"bpy: ([\d.]+)", workflows()["test.yml"]) == listed
    assert 'python: ["3.11", "3.13"]' in workflows()["test.yml"]
