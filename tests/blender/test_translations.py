"""Texts that can be translated, and those that are."""

import string
import sys
from pathlib import Path

import bpy
import pytest

from blender_addon import registration, translations

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


def test_german_has_nearly_all_panels_and_buttons(addon):
    """Not all, so that a new button needs nobody who knows German."""
    labels = {cls.bl_label for cls in registration.CLASSES if issubclass(cls, bpy.types.Panel | bpy.types.Operator)}
    missing = labels - set(translations.LANGUAGES["de_DE"])
    assert len(missing) < len(labels) / 10, sorted(missing)


def test_blender_is_told_the_words_for_labels_and_for_buttons(addon):
    known = translations.dictionary()["de_DE"]
    assert known["*", "Source Camera"] == "Originalkamera"
    assert known["Operator", "Open Clip"] == "Clip öffnen"


def test_without_a_language_texts_are_english_with_their_values(addon):
    assert translations.told("{time} left", time="20 s") == "20 s left"


@pytest.mark.skipif(not bpy.app.build_options.international, reason="this Blender was built without languages")
def test_labels_are_german_where_blender_is(addon):
    view = bpy.context.preferences.view
    try:
        view.language = "de_DE"
        assert bpy.app.translations.pgettext_iface("Open Clip", "Operator") == "Clip öffnen"
        assert translations.told("{time} left", time="20 s") == "noch 20 s"
    finally:
        view.language = "DEFAULT"
