"""Texts in the language of Blender's interface.

Blender translates labels and tooltips of classes and properties itself, once `register` has told it the words. What is
put together of numbers and names goes through `told`. A language is a module whose `WORDS` has what
`messages.txt` lists; what is missing stays English.
"""

import bpy

from ..identity import PACKAGE
from . import de_DE

LANGUAGES = {"de_DE": de_DE.WORDS}


def told(template: str, **values: object) -> str:
    """A text with `{names}` of values in it, in Blender's language."""
    return bpy.app.translations.pgettext_iface(template).format(**values)


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
