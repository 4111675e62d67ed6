"""Write blender_addon/translations/messages.txt: every text of the add-on that can be translated, a line each.

Texts are found in the code by where they stand: labels and tooltips of classes and properties, texts in layouts, and
what goes through `told`. Those of settings come from their descriptions in ex4d. Run it with a Python that has `bpy`:
    .venv-bpy-4.5.15/bin/python scripts/translatable.py
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
LIST = REPO / "blender_addon/translations/messages.txt"

IN_LAYOUTS = ("label", "operator", "prop", "menu", "progress")
PLACES = {"bl_label", "bl_description"}


def texts() -> list[str]:
    """All texts, sorted, each once."""
    found = set(of_settings())
    for file in sorted((REPO / "blender_addon").rglob("*.py")):
        if "setup" not in file.relative_to(REPO).parts:
            found |= set(in_code(file))
    return sorted(text for text in found if any(letter.isalpha() for letter in text))


def in_code(file: Path) -> Iterator[str]:
    """Texts that stand in a file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            labels = [
                statement.value
                for statement in node.body
                if isinstance(statement, ast.Assign) and {getattr(t, "id", "") for t in statement.targets} & PLACES
            ]
            yield from (text for label in labels for text in constants(label))
            if labels:
                yield (ast.get_docstring(node) or "").partition("\n")[0]
        elif isinstance(node, ast.Assign) and any(getattr(t, "id", "").endswith("_ITEMS") for t in node.targets):
            yield from of_items(node.value)
        elif isinstance(node, ast.Assign) and any(getattr(t, "id", "") in ("LABEL", "short") for t in node.targets):
            yield from constants(node.value)
        elif isinstance(node, ast.Call):
            yield from in_call(node)


def in_call(call: ast.Call) -> Iterator[str]:
    """Texts in the arguments of a call."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name.endswith(("Property", "property_of")):
        yield from (text for key in ("name", "description") if key in given for text in constants(given[key]))
        yield from of_items(given.get("items"))
    elif name in IN_LAYOUTS:
        yield from constants(given.get("text"))
    elif name in ("told", "Panel") and call.args:
        yield from constants(call.args[0])
    elif name == "choice_by_name":
        yield from of_items(call.args[2])
    elif name == "Advice":
        told = [*call.args[:1], *call.args[3:], *given.values()]
        yield from (text for part in told for text in constants(part))


def of_items(items: ast.expr | None) -> Iterator[str]:
    """Labels and tooltips of an enum's items; identifiers are no words."""
    for item in getattr(items, "elts", []):
        for part in getattr(item, "elts", [])[1:]:
            yield from constants(part)


def constants(node: ast.expr | None) -> Iterator[str]:
    """The texts that an expression may be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)


def of_settings() -> Iterator[str]:
    """Labels and tooltips of all settings that the library knows, as panels show them."""
    sys.path.insert(0, str(REPO))
    from blender_addon.ui.from_schema import items_of, label, tooltip
    from ex4d.generate import registry
    from ex4d.pipeline.settings import GenerateSettings, PathSettings, SourceSettings
    from ex4d.schema import describe

    settings = [setting for kind in (SourceSettings, PathSettings, GenerateSettings) for setting in describe(kind)]
    settings += [setting for spec in registry.generators().values() for setting in describe(spec.settings)]
    for setting in settings:
        yield from (label(setting), tooltip(setting))
        if setting.kind == "choice":
            yield from (text for item in items_of(setting) for text in item[1:3])


if __name__ == "__main__":
    LIST.write_text("".join(f"{text}\n" for text in texts()), encoding="utf-8")
    print(LIST)
