"""Texts in the language of Blender's interface.

Blender translates labels and tooltips of classes and properties itself, once `register` has told it the words. What is
put together of numbers and names goes through `told`. A language is a module whose `WORDS` has what
`messages.txt` lists; what is missing stays English.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import bpy

from ..identity import PACKAGE
from . import de_DE

LANGUAGES = {"de_DE": de_DE.WORDS}


def told(template: str, **values: object) -> str:
    """A text with `{names}` of values in it, in Blender's language."""
    return _found(template).format(**values)


def word(text: str) -> str:
    """A text as it is, in Blender's language where it is known; braces in it mean nothing."""
    return _found(text) if text else ""


def _found(text: str) -> str:
    """What Blender has for a text: the text itself where the language does not know it."""
    return bpy.app.translations.pgettext_iface(text)


def of_parts(parts: Iterable[tuple[str, Mapping[str, Any]]], whole: str) -> str:
    """What is put together of templates and values, where `setup` did so without Blender; else `whole`."""
    said = [told(part, **{name: word(v) if isinstance(v, str) else v for name, v in vs.items()}) for part, vs in parts]
    return " ".join(said) or word(whole)


def of_error(error: Exception) -> str:
    """What an error says. Those of the library are English."""
    return of_parts(getattr(error, "parts", ()), str(error))


def dictionary() -> dict[str, dict[tuple[str, str], str]]:
    """What Blender is told: by language, then by context and text. Buttons have a context of their own."""
    contexts = ("*", "Operator")
    return {
        language: {(context, english): word for context in contexts for english, word in words.items()}
        for language, words in LANGUAGES.items()
    }


def register() -> None:
    """Tell Blender the words."""
    bpy.app.translations.register(PACKAGE, dictionary())


def unregister() -> None:
    """Take them away again."""
    bpy.app.translations.unregister(PACKAGE)
