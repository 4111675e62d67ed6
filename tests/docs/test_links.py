"""Links of the pages that a repository shows lead somewhere: to a file, and to a heading that is in it."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

REPO = Path(__file__).parents[2]
PAGES = sorted([*REPO.glob("*.md"), *REPO.glob("docs/*.md"), *REPO.glob(".github/**/*.md")])


def parts(page: Path) -> list[Token]:
    """All parts of a page, those in lines of text too."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    return [part for token in tokens for part in (token, *(token.children or ()))]


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub and the site name them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in found}


def broken(page: Path) -> list[str]:
    """Links of a page that lead nowhere; those to the web are not followed."""
    wrong = []
    for part in parts(page):
        target = str(part.attrs.get("href") or part.attrs.get("src") or "")
        if not target or re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


def test_a_link_to_nowhere_is_seen(tmp_path):
    (tmp_path / "b.md").write_text("# One thing\n")
    (tmp_path / "a.md").write_text("[b](b.md#one-thing) [c](c.md) ![d](d.png) [e](b.md#two) [f](https://example.org)\n")
    assert broken(tmp_path / "a.md") == ["c.md", "d.png", "b.md#two"]
