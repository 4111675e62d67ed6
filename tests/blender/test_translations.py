"""Translatable texts and their translations."""

import ast
import re
import string
import sys
from pathlib import Path

import announced
import bpy
import pytest
import shots

from blender_addon import registration, translations, words
from blender_addon.scene import compat
from blender_addon.setup import install
from blender_addon.setup.chore import ChoreError
from blender_addon.shot import checks
from blender_addon.work import session

REPO = Path(__file__).parents[2]
sys.path.insert(0, str(REPO / "scripts"))

import translatable  # noqa: E402

ENGLISH = set(translatable.LIST.read_text(encoding="utf-8").splitlines())


def fields(text):
    return sorted(name for _, name, _, _ in string.Formatter().parse(text) if name)


def test_the_list_of_texts_is_that_of_the_code():
    assert translatable.texts() == translatable.LIST.read_text(encoding="utf-8").splitlines(), (
        "run scripts/translatable.py"
    )


def test_the_list_has_labels_tooltips_settings_and_what_is_put_together_from_numbers():
    assert {"Open Clip", "Open a video or an image sequence as a moving mesh", "{time} left"} <= ENGLISH
    assert {"Max Side (px)", "Orbit 30°", "Render size differs"} <= ENGLISH
    assert "Slow at the start" in ENGLISH


@pytest.mark.parametrize("language", translations.LANGUAGES)
def test_a_language_translates_texts_that_are_there_and_keeps_their_fields(language):
    words = translations.LANGUAGES[language]
    assert set(words) - ENGLISH == set()
    for english, word in words.items():
        assert fields(english) == fields(word), english
        assert word.strip() == word != ""


def test_in_german_a_guess_does_not_pass_for_an_estimate():
    """The warning exists because no estimator ran."""
    german = translations.LANGUAGES["de_DE"]
    guesses = [word for english, word in german.items() if re.search(r"\bguess", english, re.IGNORECASE)]
    assert len(guesses) >= 4
    assert [word for word in guesses if "schätz" in word] == []
    assert any("schätz" in word for english, word in german.items() if "estimate" in english)


def test_german_has_nearly_all_panels_and_buttons(addon):
    """Not all, so that adding a button does not require German."""
    labels = {cls.bl_label for cls in registration.CLASSES if issubclass(cls, bpy.types.Panel | bpy.types.Operator)}
    missing = labels - set(translations.LANGUAGES["de_DE"])
    assert len(missing) < len(labels) / 10, sorted(missing)


def test_german_has_nearly_all_tooltips_of_buttons(addon):
    buttons = {cls for cls in registration.CLASSES if issubclass(cls, bpy.types.Operator)}
    tooltips = {cls.__doc__.partition("\n")[0] for cls in buttons if cls.__doc__} & ENGLISH
    assert len(tooltips) > 50
    missing = tooltips - set(translations.LANGUAGES["de_DE"])
    assert len(missing) < len(tooltips) / 10, sorted(missing)


def test_blender_is_told_the_words_for_labels_and_for_buttons(addon):
    known = translations.dictionary()["de_DE"]
    assert known["*", "Source Camera"] == "Originalkamera"
    assert known["Operator", "Open Clip"] == "Clip öffnen"


TRANSLATES = {"told", "word", "count", "of_parts", "of_error"}
"""Calls that translate their arguments."""
SHOWS = {"report", "tell", "Said", "poll_message_set", "InputError", "Advice", "say", "say_briefly", "draw_line"}
"""Calls that show a text as it is, or raise it to be shown elsewhere."""
DRAWS = {"label", "operator", "prop", "menu", "progress"}
"""Calls whose constant texts Blender translates."""
NAMES = re.compile(r"\0( min|; 0: .*)$|EX-4D (?!.*[.?!:])|(open|generate|export) \0|\s*void main|\nvoid main")
"""Names of objects and strips, kinds of jobs, and shaders, which need no translation."""


def called(call):
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def literal(node):
    """A text literal with \0 for each value in it; None for anything else."""
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def untranslated(code):
    """Line and text of all literals that are shown untranslated, whatever Blender's language."""
    tree = ast.parse(code)
    passed = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    shown = set()
    for node in ast.walk(tree):
        inner = [part for part in ast.walk(node) if part is not node]
        if isinstance(node, ast.JoinedStr):
            passed |= {id(part) for part in inner if isinstance(part, ast.Constant)}
        if not isinstance(node, ast.Call):
            continue
        if called(node) in TRANSLATES:
            passed |= {id(part) for argument in node.args for part in ast.walk(argument)}
        if called(node) in SHOWS:
            texts = node.args[1:] if called(node) == "report" else node.args[:1]
            shown |= {id(part) for argument in texts for part in ast.walk(argument)}
        if called(node) in DRAWS:
            texts = [keyword.value for keyword in node.keywords if keyword.arg == "text"]
            shown |= {id(part) for text in texts for part in ast.walk(text) if isinstance(part, ast.JoinedStr)}
    for node in ast.walk(tree):
        text = None if id(node) in passed else literal(node)
        if text is None or NAMES.match(text):
            continue
        letters = re.search(r"[A-Za-z]{3}", text) if id(node) in shown and " " in text else None
        sentence = re.search(r"[A-Za-z]{2,} [\w\0].*[.?!]\s*$", text) or (
            isinstance(node, ast.JoinedStr) and re.search(r"[a-z]{2,} [a-z]{2,}|[a-z]{3,} \0|\0 [a-z]{3,}", text)
        )
        if letters or (sentence and text not in ENGLISH):
            yield node.lineno, text


def test_no_sentence_of_the_add_on_is_shown_in_english_alone():
    """`setup` works without Blender, so its messages consist of templates, see `setup.chore.Parts`."""
    files = [file for file in (REPO / "blender_addon").rglob("*.py") if "translations" not in file.parts]
    assert len(files) > 80
    found = [
        f"{file.relative_to(REPO)}:{line}: {text!r}"
        for file in files
        if file.parent.name != "setup"
        for line, text in untranslated(file.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_every_template_is_given_the_values_that_it_names():
    wrong, seen = [], 0
    for file in (REPO / "blender_addon").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or called(node) not in ("told", "ChoreError", "SetupError", "ToolError"):
                continue
            template = literal(node.args[0]) if node.args else None
            if template is None or "\0" in template or None in (given := [each.arg for each in node.keywords]):
                continue
            seen += 1
            if set(fields(template)) != set(given):
                wrong.append(f"{file.name}:{node.lineno}: {template!r}")
    assert seen > 250
    assert wrong == []


@pytest.mark.parametrize(
    "code",
    [
        'self.report({"ERROR"}, "There is nothing to see")',
        'self.report({"INFO"}, f"{count} takes are there")',
        'layout.label(text=f"Ready in {time}")',
        'raise InputError("Choose another clip: this one is empty.")',
        'text = f"{name} was moved."\nlayout.label(text=text)',
        'return "The clip has been turned upside down."',
    ],
)
def test_a_sentence_that_is_not_translated_is_found(code):
    assert len(list(untranslated(code))) == 1


@pytest.mark.parametrize("code", ['layout.label(text="Ready to go")', 'raise InputError(told("Choose {it}.", it=it))'])
def test_what_is_translated_is_not(code):
    assert list(untranslated(code)) == []


@pytest.mark.parametrize("language", translations.LANGUAGES)
def test_a_language_has_all_sentences(language):
    """All texts passed to `told` that end like sentences; a new one needs a translation."""
    sentences = {text for text in ENGLISH if re.search(r"\w+ .*[.?!]$", text) and "{" in text}
    assert sorted(sentences - set(translations.LANGUAGES[language])) == []


def test_without_a_language_texts_are_english_with_their_values(addon):
    assert translations.told("{time} left", time="20 s") == "20 s left"


@pytest.fixture
def german(monkeypatch):
    """Switch to German: with Blender's own setting if this build has it, else with the add-on's dictionary."""
    view = bpy.context.preferences.view
    try:
        view.language = "de_DE"
    except TypeError:  # built or packaged without languages
        known = translations.dictionary()["de_DE"]
        monkeypatch.setattr(translations, "_found", lambda text: known.get(("*", text), text))
        yield
        return
    yield
    view.language = "DEFAULT"


@pytest.fixture
def shot(tmp_path, addon):
    return shots.open_small(tmp_path)


def test_check_speaks_german_with_the_values_of_the_scene(shot, german, scene):
    announced.by()
    scene.render.resolution_x, scene.render.resolution_y = 640, 480
    scene.frame_start, scene.frame_end = 900, 950
    scene.camera = None
    texts = [advice.text for advice in checks.warnings(scene)]
    assert "Die Szene rendert 640x480 px, der Clip hat aber 192x128 px." in texts
    last = scene.ex4d.last
    assert f"Die Szene spielt Frame 900 bis 950, der Clip liegt aber in Frame {scene.ex4d.start} bis {last}." in texts
    assert "Der Take entsteht mit EX-4D Camera, aber die Szene hat keine Kamera." in texts


def test_a_report_is_german(shot, german, scene):
    with pytest.raises(RuntimeError, match="In der Szene gibt es kein Objekt Nobody"):
        bpy.ops.ex4d.hide(name="Nobody")
    assert session.current().state.message == "In der Szene gibt es kein Objekt Nobody."
    assert bpy.ops.ex4d.camera_preset(preset="30") == {"FINISHED"}
    keys = {key.co.x for curve in compat.fcurves(scene.ex4d.camera) for key in curve.keyframe_points}
    assert session.current().state.message == f"EX-4D Camera hat jetzt {len(keys)} Keyframes."


def test_stages_amounts_and_lists_are_german(german):
    assert words.how_far("Reading the Clip", 3, 49) == "Clip wird gelesen 3/49"
    assert words.how_far("Upload", 1_000_000, 2_000_000) == "Wird zum Server gesendet: 1 von 2 MB"
    assert words.pace("Rendering Colour and Mask", 1.5) == "1.5 Frames/s"
    assert words.pace("Sampling", 0.5) == "2 s pro Schritt"
    assert words.listed(["A", "B", "C"]) == "A, B und C"
    assert (words.count(1, "key"), words.count(2, "file")) == ("1 Keyframe", "2 Dateien")


def test_what_the_set_up_says_without_blender_is_german(german):
    with pytest.raises(install.SetupError) as refused:
        install.check_disk(REPO, 10**18)
    (template, values) = refused.value.part
    assert translations.of_parts([[template, values]], "").startswith("Der Server braucht 4000000000.0 GB, und in ")
    another = ChoreError("Another Blender is {doing}. Wait until it is done.", doing="setting up the server")
    said = "Ein anderes Blender richtet gerade den Server ein. Warten, bis es fertig ist."
    assert translations.of_error(another) == said
    assert translations.of_parts((), "A sentence {of} the server.") == "A sentence {of} the server."


@pytest.mark.skipif(not bpy.app.build_options.international, reason="this Blender was built without languages")
def test_labels_are_german_where_blender_is(addon):
    view = bpy.context.preferences.view
    try:
        view.language = "de_DE"
        assert bpy.app.translations.pgettext_iface("Open Clip", "Operator") == "Clip öffnen"
        assert translations.told("{time} left", time="20 s") == "noch 20 s"
    finally:
        view.language = "DEFAULT"
