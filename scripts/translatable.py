"""Write blender_addon/translations/messages.txt: every translatable text of the add-on, one per line.

Texts are recognised by where they appear in the code: labels and tooltips of classes and properties, texts in layouts,
arguments of `told`, `word` and `count`, sentences in module constants, and messages of the server's setup. Texts of
settings come from their descriptions in ex4d, and titles of stages from the calls that report progress there. Run the
script with a Python that has `bpy`:

    .venv-bpy-4.5.15/bin/python scripts/translatable.py
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
LIST = REPO / "blender_addon/translations/messages.txt"

FOR_TERMINALS = ("metrics", "training")
"""Packages of ex4d whose stages are shown only in terminals."""

IN_LAYOUTS = ("label", "operator", "prop", "menu", "progress")
PLACES = {"bl_label", "bl_description"}
IN_BLENDER = ("persistence",)
"""Render settings that panels show."""
TOLD = ("told", "word", "Panel", "tell", "Progress", "ChoreError", "SetupError", "ToolError", "DiskFullError")
"""Functions and classes whose first argument is a text."""
ALL_TOLD = ("_Lacking",)
"""Classes whose arguments are all texts."""


def texts() -> list[str]:
    """All texts, sorted and without duplicates."""
    found = {*of_settings(), *of_stages()}
    for file in sorted((REPO / "blender_addon").rglob("*.py")):
        found |= set(in_code(file))
    return sorted(text for text in found if any(letter.isalpha() for letter in text))


def in_code(file: Path) -> Iterator[str]:
    """Texts in a file of the add-on."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            yield from in_constant(statement)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            labels = [
                each.value
                for each in node.body
                if isinstance(each, ast.Assign) and {getattr(t, "id", "") for t in each.targets} & PLACES
            ]
            yield from (text for label in labels for text in constants(label))
            if labels:
                yield (ast.get_docstring(node) or "").partition("\n")[0]
        elif isinstance(node, ast.Assign) and any(getattr(t, "id", "").endswith("ITEMS") for t in node.targets):
            yield from of_items(node.value)
        elif isinstance(node, ast.Assign) and any(getattr(t, "id", "") in ("LABEL", "short") for t in node.targets):
            yield from constants(node.value)
        elif isinstance(node, ast.Call):
            yield from in_call(node)
        elif isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):  # a stage and its progress
            yield from constants(node.value.elts[0])


def in_constant(assigned: ast.Assign) -> Iterator[str]:
    """Texts in a module constant: its sentences, or the words of `LENS_NAMES`."""
    parts = assigned.value.elts if isinstance(assigned.value, ast.Tuple) else [assigned.value]
    yield from (text for part in parts for text in constants(part) if " " in text and text.endswith("."))
    names = {getattr(target, "id", "") for target in assigned.targets}
    if "LENS_NAMES" in names and isinstance(assigned.value, ast.Dict):
        yield from (text for value in assigned.value.values for text in constants(value))


def in_call(call: ast.Call) -> Iterator[str]:
    """Texts in the arguments of a call."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    if name.endswith(("Property", "property_of")):
        yield from (text for key in ("name", "description") if key in given for text in constants(given[key]))
        yield from of_items(given.get("items"))
    elif name in IN_LAYOUTS:
        yield from constants(given.get("text"))
    elif name in TOLD and call.args:
        yield from constants(call.args[0])
    elif name in ALL_TOLD:
        yield from (text for part in call.args for text in constants(part))
    elif name == "count" and len(call.args) == 2:
        yield from (f"{{number}} {noun}{many}" for noun in constants(call.args[1]) for many in ("", "s"))
    elif name == "Kind":  # a kind of server; the first argument is its name
        yield from (text for part in call.args[1:3] for text in constants(part))
    elif name == "finish":  # ends the server's setup with a message: templates and their values
        yield from (
            text for part in call.args[1:] for inner in ast.walk(part) for text in constants(inner) if " " in text
        )
    elif name == "choice_by_name":
        yield from of_items(call.args[2])
    elif "stage" in given or "doing" in given:
        yield from constants(given.get("stage") or given.get("doing"))
    elif name == "Advice":
        told = [*call.args[:1], *call.args[3:], *given.values()]
        yield from (text for part in told for text in constants(part))


def of_items(items: ast.expr | None) -> Iterator[str]:
    """Labels and tooltips of an enum's items, without the identifiers."""
    for item in getattr(items, "elts", []):
        for part in getattr(item, "elts", [])[1:]:
            yield from constants(part)


def constants(node: ast.AST | None) -> Iterator[str]:
    """The texts that an expression may evaluate to."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from constants(node.body)
        yield from constants(node.orelse)


def of_settings() -> Iterator[str]:
    """Labels, tooltips and units of the library's settings, as panels show them."""
    sys.path.insert(0, str(REPO))
    from blender_addon.ui.from_schema import items_of, label, tooltip
    from ex4d.generate import registry
    from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
    from ex4d.schema import describe

    settings = [setting for kind in (SourceSettings, PathSettings, GenerateSettings) for setting in describe(kind)]
    settings += [setting for setting in describe(RenderSettings) if setting.name in IN_BLENDER]
    settings += [setting for spec in registry.generators().values() for setting in describe(spec.settings)]
    for setting in settings:
        yield from (label(setting), tooltip(setting), setting.unit or "")
        if setting.kind == "choice":
            yield from (text for item in items_of(setting) for text in item[1:3])


def of_stages() -> Iterator[str]:
    """Titles of the library's stages, as panels show them."""
    from blender_addon.words import FETCHING, SENDING, titled
    from ex4d.progress import OF_FILES, OF_FRAMES, OF_MODELS

    yield from (SENDING, FETCHING, *map(titled, (*OF_FRAMES, *OF_MODELS, *OF_FILES)))
    for file in sorted((REPO / "ex4d").rglob("*.py")):
        if file.relative_to(REPO / "ex4d").parts[0] in FOR_TERMINALS:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "progress":
                yield from (titled(text) for text in constants(node.args[0] if node.args else None))
            elif isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "STAGE" for t in node.targets):
                yield from map(titled, constants(node.value))


if __name__ == "__main__":
    LIST.write_text("".join(f"{text}\n" for text in texts()), encoding="utf-8")
    print(LIST)
