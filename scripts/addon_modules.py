"""Find the modules of ex4d that the add-on needs: those that it imports, those that they import, and so on.

So no list has to be maintained. Imports inside functions count, because they run in Blender too; imports only for type
checking do not.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def needed_files() -> list[Path]:
    """Python files of ex4d, relative to the repository, sorted."""
    found: set[Path] = set()
    waiting = [module for file in (REPO / "blender_addon").rglob("*.py") for module in imported(file)]
    while waiting:
        file = file_of(waiting.pop())
        if file is not None and file not in found:
            found.add(file)
            waiting += imported(REPO / file)
    return sorted(found)


def imported(file: Path) -> Iterator[str]:
    """Names of the modules of ex4d that a file may import, including their parent packages.

    `from a import b` yields both `a` and `a.b`, because `b` may be a module or not.
    """
    for node in _executed(ast.parse(file.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            words = name.split(".")
            if words[0] == "ex4d":
                yield from (".".join(words[: count + 1]) for count in range(len(words)))


def file_of(module: str) -> Path | None:
    """The file of a module or package, relative to the repository; None if there is no such module."""
    path = Path(*module.split("."))
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if (REPO / f).is_file()), None)


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes except those below `if TYPE_CHECKING`."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        children: Iterable[ast.AST] = node.orelse
    else:
        yield node
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from _executed(child)
