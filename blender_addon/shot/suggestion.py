"""Suggesting a prompt from the name of the clip."""

from pathlib import Path

import bpy

from ex4d.errors import InputError
from ex4d.jobs.messages import GeneratorInfo
from ex4d.schema import Setting
from ex4d.storage.names import clip_name, words_in

from ..translations import told
from ..work import capabilities, session
from . import options

PROMPT = "prompt"
"""Name of the text setting that describes, for any generator, what the video should show."""


def prompt_of(info: GeneratorInfo) -> Setting | None:
    """The generator's prompt setting; None if it has none."""
    return next((setting for setting in info.settings if (setting.name, setting.kind) == (PROMPT, "text")), None)


def is_empty(facts: bpy.types.PropertyGroup, info: GeneratorInfo) -> bool:
    """Whether the generator has a prompt, and it is empty."""
    setting = prompt_of(info)
    return setting is not None and not options.value(facts, info.name, setting)


def fill(facts: bpy.types.PropertyGroup, generator: str) -> str:
    """Fill the generator's empty prompt from the clip's name, and return it.

    Raises:
        InputError: the name has no words, the prompt is not empty, or there is none.
    """
    server = session.current().capabilities
    info = capabilities.find(generator, server.generators) if server else None
    if info is None or prompt_of(info) is None:
        raise InputError(
            told("There is no prompt to fill: connect to a server, and choose a generator that takes one.")
        )
    if not is_empty(facts, info):
        raise InputError(told("The prompt is not empty, so it stays: clear it first, then press Suggest."))
    name = clip_name(Path(bpy.path.abspath(facts.opened)))
    words = words_in(name)
    if not words:
        raise InputError(
            told(
                "The clip's name, {name}, does not say what it shows: describe that in the prompt, such as the"
                " place and the light, or leave the prompt empty.",
                name=name,
            )
        )
    options.put(facts, generator, PROMPT, words)
    return words
