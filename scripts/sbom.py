"""List what a server consists of as CycloneDX, including libraries inside wheels, and check that licences are allowed.

    python scripts/sbom.py ENVIRONMENT dist/ex4d-server.cdx.json

ENVIRONMENT has the server installed. cyclonedx-py lists its packages; this script adds what `licences.toml` knows about
the libraries in their wheels, and what the wheels themselves declare. The exit code is 1 if a licence is neither
allowed nor an exception, or if a library is unknown.
"""

import json
import mmap
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Component = dict[str, Any]

LIBRARY = re.compile(r"\.so(\.|$)|\.dylib$|\.dll$", re.IGNORECASE)
KNOWN = tomllib.loads((Path(__file__).parent / "licences.toml").read_text(encoding="utf-8"))


def main(environment: Path, target: Path) -> int:
    """Write the list and print what is not allowed; returns the exit code."""
    bom = packages(environment)
    site = next(iter(sorted(environment.glob("lib/python3*/site-packages"))), environment / "Lib/site-packages")
    for package in bom["components"]:
        name = package["name"]
        if name in KNOWN["packages"]:
            package["licenses"] = licence(KNOWN["packages"][name])
        if inside := [*files_of(site, name), *linked_into(site, name), *said_by(site, name)]:
            package["components"] = inside
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(bom, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    wrong = sorted({trouble for part in every(bom) if (trouble := not_allowed(part))})
    exceptions = sorted({part["name"] for part in every(bom) if part["name"] in KNOWN["exceptions"]})
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"{len(bom['components'])} packages, {sum(1 for _ in every(bom))} parts, {len(wrong)} not allowed", end="; ")
    print(f"exceptions: {', '.join(exceptions)}")
    return 1 if wrong else 0


def packages(environment: Path) -> dict[str, Any]:
    """The packages of an environment as CycloneDX, without paths of this machine."""
    python = environment / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        str(python),
        "--output-reproducible",
        "--short-PURLs",
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    bom: dict[str, Any] = json.loads(said)
    bom["components"] = [part for part in bom["components"] if part["name"] not in ("pip",)]
    for part in bom["components"]:
        outside = part.get("externalReferences", [])
        part["externalReferences"] = [about for about in outside if about["url"].startswith("https://")]
    return bom


def licence(expression: str) -> list[dict[str, str]]:
    """A licence expression in CycloneDX form."""
    return [{"expression": expression}]


def stem(name: str) -> str:
    """The known library that a file belongs to; "" if there is none."""
    return max((known for known in KNOWN["files"] if name.startswith(known)), key=len, default="")


def files_of(site: Path, package: str) -> Iterator[Component]:
    """Libraries bundled in a package's wheel, in the folders meant for them."""
    plain = package.replace("-", "_")
    for folder in (site / f"{plain}.libs", site / plain / ".dylibs", site / plain / "lib"):
        for file in sorted(folder.glob("*")) if package != "torch" else ():
            if LIBRARY.search(file.name):
                known = stem(file.name)
                found = {
                    "type": "library",
                    "name": known or file.name,
                    "properties": [{"name": "file", "value": file.name}],
                }
                yield found | ({"licenses": licence(KNOWN["files"][known])} if known else {})


def linked_into(site: Path, package: str) -> Iterator[Component]:
    """Libraries expected in a package's own binaries and found there."""
    listed = [about for about in KNOWN["inside"] if about["package"] == package]
    binaries = [file for file in (site / package).rglob("*") if LIBRARY.search(file.name)] if listed else []
    for about in listed:
        if any(holds(file, about["mark"].encode()) for file in binaries):
            yield {"type": "library", "name": about["name"], "licenses": licence(about["licence"])}


def holds(file: Path, mark: bytes) -> bool:
    """Whether a file contains these bytes."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(mark) >= 0


def said_by(site: Path, package: str) -> Iterator[Component]:
    """Components that a wheel itself declares: parts written in Rust have such lists. Auditwheel's lack licences."""
    for file in site.glob(f"{package.replace('-', '_')}-*.dist-info/sboms/*.json"):
        for part in json.loads(file.read_text(encoding="utf-8")).get("components", []):
            if part.get("licenses"):
                kept = {key: part[key] for key in ("type", "name", "version", "licenses") if key in part}
                yield kept


def every(bom: dict[str, Any]) -> Iterator[Component]:
    """All components, including nested ones."""
    for part in bom.get("components", []):
        yield part
        yield from every(part)


def not_allowed(part: Component) -> str:
    """Why a component is not allowed, in a sentence; "" if it is allowed."""
    name = part["name"]
    said = [about.get("expression") or about["license"].get("id") or "" for about in part.get("licenses", [])]
    said = [expression for expression in said if expression]
    if name in KNOWN["exceptions"]:
        return ""
    if not said:
        return f"{name}: no licence is known; read it, and put it into scripts/licences.toml"
    if any(not allowed(expression) for expression in said):
        return f"{name}: {' and '.join(said)} is not in the list of allowed licences"
    return ""


def allowed(expression: str) -> bool:
    """Whether an SPDX expression can be satisfied with allowed licences only."""
    words = [word.strip() for word in re.split(r"\s+(AND|OR)\s+|([()])", expression.replace("/", " OR ")) if word]
    return _any_of([word for word in words if word])


def _any_of(words: list[str]) -> bool:
    """Evaluate alternatives (OR); consumes words from the front of the list."""
    may = _all_of(words)
    while words[:1] == ["OR"]:
        words.pop(0)
        may = _all_of(words) or may
    return may


def _all_of(words: list[str]) -> bool:
    """Evaluate conjunctions (AND), which bind more tightly than alternatives."""
    may = _one(words)
    while words[:1] == ["AND"]:
        words.pop(0)
        may = _one(words) and may
    return may


def _one(words: list[str]) -> bool:
    """Evaluate a licence, or an expression in parentheses."""
    word = words.pop(0) if words else ""
    if word != "(":
        return word in KNOWN["allowed"]
    may = _any_of(words)
    return words[:1] == [")"] and bool(words.pop(0)) and may


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
