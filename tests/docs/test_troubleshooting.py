"""Every message of docs/troubleshooting.md is one that the code has."""

import ast
import difflib
import re
from pathlib import Path

REPO = Path(__file__).parents[2]
PAGE = REPO / "docs" / "troubleshooting.md"
ROW = re.compile(r"^\| \*(.+?)\* \|", re.MULTILINE)


def plain(text: str) -> str:
    """A message with each run of values in it as one sign, and single spaces."""
    return re.sub(r"\s+", " ", re.sub(r"(\{[^{}]*\}|…)+", "…", text)).strip()


def messages() -> set[str]:
    """Every text of several words in the code."""
    found = set()
    for room in ("ex4d", "backend", "blender_addon"):
        for file in (REPO / room).rglob("*.py"):
            if "translations" in file.parts:
                continue
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    text = node.value
                else:
                    continue
                if text.count(" ") > 1:
                    found.add(plain(text))
    return found


def unknown(quoted: list[str], known: set[str]) -> list[str]:
    """The quoted messages that are in none of the known ones, each with what it may have become."""
    told = []
    for text in quoted:
        wanted = plain(text).strip("… ")
        if not any(wanted in message for message in known):
            near = difflib.get_close_matches(plain(text), known, n=1, cutoff=0.3)
            told.append(f"{text!r} is said nowhere; perhaps now {near[0]!r}" if near else f"{text!r} is said nowhere")
    return told


def test_every_message_of_the_page_is_said_by_the_code():
    quoted = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(quoted) > 40
    known = messages()
    assert unknown(quoted, known) == []
    assert unknown(["The moon is made of cheese: eat … of it."], known)
