"""Sentences that reach artists: they have buttons and fields, and neither a terminal nor environment variables."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
FOR_TERMINALS = (
    "ex4d/cli",
    "ex4d/training",  # is reached by commands alone
    "backend/ex4d_server/commands.py",
    "backend/ex4d_server/devices.py",  # so has whoever says how many workers there are
    "backend/ex4d_server/access",  # whoever looks after a server for other machines has a terminal
    "backend/ex4d_server/cluster",  # and of a cluster
    "backend/ex4d_server/__main__.py",
    "ex4d/extras.py",  # asks itself whether whoever reads it has buttons
)
COMMAND_LINE = re.compile(r"--[a-z]\w+|`(ex4d|hf|pip|apt|make|colmap|chmod)\b|\b(HF|EX4D)_[A-Z]+|\b(apt|pip) install\b")


def sentences(file: Path) -> Iterator[str]:
    """Every text of several words in a file that is no docstring; values in it are left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            parts.add(id(node.value))  # a docstring
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        else:
            continue
        if text.count(" ") > 1:
            yield text


def files() -> list[Path]:
    """What has sentences for artists."""
    found = [path for room in ("ex4d", "backend", "blender_addon") for path in (REPO / room).rglob("*.py")]
    return [path for path in found if not path.relative_to(REPO).as_posix().startswith(FOR_TERMINALS)]


def test_no_sentence_that_artists_can_read_names_an_option_a_command_or_a_variable():
    found = [f"{path.relative_to(REPO)}: {text}" for path in files() for text in sentences(path)]
    assert len(found) > 500
    assert [text for text in found if COMMAND_LINE.search(text)] == []


@pytest.mark.parametrize(
    "text", ["give --fov.", "(--fov 48.90)", "`ex4d models` says", "HF_HUB_OFFLINE forbids", "`hf auth login`, or"]
)
def test_words_of_the_command_line_are_recognized(text):
    assert COMMAND_LINE.search(text)
