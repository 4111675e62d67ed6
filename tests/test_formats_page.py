"""Every test that a table of docs/formats.md names to show something is there, in the file that is named."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "formats.md"
TITLE = "the test that shows it"


def rows() -> Iterator[tuple[str, str]]:
    """First and last cell of each row of the tables that name tests."""
    names_tests = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            names_tests = False
        elif cells[-1] == TITLE:
            names_tests = True
        elif names_tests and set(line) - set("|- "):
            yield cells[0], cells[-1]


def known() -> dict[Path, set[str]]:
    """Names of the tests in each file."""
    found = (ROOT / "tests").rglob("test_*.py")
    return {
        file: set(re.findall(r"^def (test_\w+)\(", file.read_text(encoding="utf-8"), re.MULTILINE)) for file in found
    }


def missing(cell: str, there: dict[Path, set[str]]) -> list[str]:
    """What a cell names and is not there. A name counts in the file that stands before it, or anywhere."""
    files, wrong = list(there), []
    for code in re.findall(r"`([^`]+)`", cell):
        place, _, name = code.rpartition("::") if "::" in code or not code.endswith(".py") else (code, "", "")
        if place:
            files = [file for file in there if file.as_posix().endswith(f"/{place}")]
        names = set().union(*(there[file] for file in files))
        if not files or (name.startswith("test_") and name not in names):
            wrong.append(code)
    return wrong


def test_every_test_that_the_page_names_is_there_and_every_row_names_one():
    there, named = known(), list(rows())
    assert len(named) > 80
    assert {what: wrong for what, cell in named if (wrong := missing(cell, there))} == {}
    without = [what for what, cell in named if "test_" not in cell and not cell.startswith("none:")]
    assert without == []
    assert missing("`test_streams.py`: `test_of_no_such_name`", there) == ["test_of_no_such_name"]
    assert missing("`tests/media/test_streams.py::test_of_no_such_name`", there)
    assert missing("`test_of_no_file.py`", there) == ["test_of_no_file.py"]
