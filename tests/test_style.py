"""The word list of docs/style.md, in everything that people read."""

import re
from pathlib import Path

import pytest
from test_sentences import REPO, files, sentences

STYLE = REPO / "docs" / "style.md"
PAGES = [page for page in (*REPO.glob("*.md"), *(REPO / "docs").glob("*.md")) if page != STYLE]
CODE = re.compile(r"```.*?```|^(?: {4}| {7,}).*$|`[^`\n]*`|\]\([^)]*\)", re.DOTALL | re.MULTILINE)


def unwanted() -> re.Pattern[str]:
    """The words of the last column of the word list, and their regular plurals."""
    table = STYLE.read_text(encoding="utf-8").split("## Word list")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines() if row.startswith("|")]
    words = [re.escape(word.strip()) for row in rows[2:] for word in row[2].split(",") if word.strip()]
    return re.compile(rf"(?<![\w-])({'|'.join(words)})s?(?![\w-])", re.IGNORECASE)


UNWANTED = unwanted()


def found_in(text: str) -> list[str]:
    """Which unwanted words a text has, code in it left out."""
    prose = " ".join(CODE.sub(" ", text).split())
    return [word.lower() for word in UNWANTED.findall(prose)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_use_the_words_of_the_list(page: Path):
    assert found_in(page.read_text(encoding="utf-8")) == []


def test_labels_tooltips_messages_and_notes_use_the_words_of_the_list():
    texts = [(path, text) for path in files() for text in sentences(path) if path.name != "quality.py"]  # Wan's prompt
    assert len(texts) > 500
    assert [f"{path.relative_to(REPO)}: {text}" for path, text in texts if found_in(text)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A Folder of\npictures is read at 24 frames a second.", ["folder of pictures", "frames a second"]),
        ("See `directory`, or\n\n    ls directory\n", []),
        ("Each set-up is new", ["set-up"]),
        ("`set-up-by-blender`", []),
    ],
)
def test_unwanted_words_are_found_in_prose_and_not_in_code(text, words):
    assert found_in(text) == words
