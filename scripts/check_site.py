"""Check every link within the built site, and list those that lead elsewhere: python check_site.py build/site.

Nothing is downloaded. The list is written to external-links.txt beside the pages.
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element's link targets and its id."""
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.links.add(value)
            elif name == "id" and value:
                self.anchors.add(value)


def broken(pages: dict[Path, Page]) -> Iterator[str]:
    """Links to a missing file, or to a missing anchor in a page."""
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target in pages:
                if unquote(parts.fragment) not in pages[target].anchors:
                    yield f"{path}: nothing is called #{parts.fragment} in {target.name}"
            elif not target.is_file():
                yield f"{path}: there is no {link}"


def main(folder: Path) -> int:
    """Check the site; returns the exit code."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    wrong = sorted(broken(pages))
    outside = sorted({link for page in pages.values() for link in page.links if urlsplit(link).netloc})
    (folder / "external-links.txt").write_text("".join(f"{link}\n" for link in outside), encoding="utf-8")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    count = sum(len(page.links) for page in pages.values())
    print(
        f"{len(pages)} pages, {count} links, {len(wrong)} broken; {len(outside)} lead elsewhere and were not followed"
    )
    return 1 if wrong or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
