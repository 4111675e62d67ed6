"""Migrating scenes of files saved by EX-4D 0.1 to the current form.

0.1 stored the choice of generator, quality, model size and estimator as indices into fixed lists, and its jobs in
another form. Only this module and `ex4d.pipeline.since_0_1` know that format. All other stored names and numbers still
mean the same.
"""

import json
from typing import Any

import bpy

from ex4d.errors import InputError
from ex4d.pipeline import since_0_1

from .. import translations
from ..scene import compat
from ..shot import options
from ..shot.source import read_source

VERSION = 2
"""Value of `scene.ex4d.version` in scenes with the current form."""

GENERATORS = ("auto", "preview", since_0_1.MODEL)
QUALITIES = ("final", "balanced", "draft")
MODEL_SIZES = ("512x512", "832x480")
ESTIMATORS = ("auto", "file", "video-depth-anything", "depthcrafter", "plane")
"""The lists of 0.1, in the order of their indices."""

NUMBERS = {"estimator": ESTIMATORS, "generator": GENERATORS, "quality": QUALITIES, "model_size": MODEL_SIZES}
"""Settings that 0.1 stored as indices, and their lists."""

GUESS = ("plane", "The depth is a guess without a depth model: ground plane and parallax only.")
"""The estimator of 0.1 that guesses, and the caution about it."""


def migrate_file() -> list[str]:
    """Migrate every scene of the open file that does not have the current form yet.

    Returns a sentence about each invalid value, which is left out.
    """
    told = []
    for scene in bpy.data.scenes:
        if scene.library is None and scene.ex4d.version < VERSION:
            told += _migrate(scene)
            scene.ex4d.version = VERSION
        if scene.library is None:
            _keep_convention(scene.ex4d)
    return told


def _keep_convention(facts: bpy.types.PropertyGroup) -> None:
    """Store former defaults with a shot that was opened with them: depth read as distances, a still camera."""
    try:
        asked = json.loads(facts.asked or "[]")
    except ValueError:
        return
    then = dict(zip(facts.settings, asked, strict=False)) if isinstance(asked, list) else {}
    if facts.shot and then.get("motion", "STILL") == "STILL" and not facts.is_property_set("motion"):
        facts.motion = "STILL"
    if then.get("depth_convention") == "depth" and not facts.is_property_set("depth_convention"):
        facts.depth_convention = "depth"


def _migrate(scene: bpy.types.Scene) -> list[str]:
    """Migrate a scene; everything is read before anything is written, so that damaged data cannot stop it halfway."""
    facts, lost = scene.ex4d, []
    stored = {name: facts[name] for name in NUMBERS if name in facts.keys()}  # noqa: SIM118 - no mapping
    meant = {name: NUMBERS[name][number] for name, number in stored.items() if _is_one_of(number, NUMBERS[name])}
    lost += [f"{name} {number!r}" for name, number in stored.items() if name not in meant]
    source, depth = _source(facts.source), _depth(facts.depth_made)
    lost += [translations.told("its source")] if source is None else []
    lost += [translations.told("its depth_made")] if depth is None else []

    facts.estimator_name = meant.get("estimator", facts.estimator_name)
    facts.generator_name = meant.get("generator", facts.generator_name)
    for name in ("quality", "model_size"):
        if name in meant:
            options.put(facts, since_0_1.MODEL, name, meant[name])
    facts.source, facts.depth_made = source or "", depth or ""
    for name in stored:
        del facts[name]
    made_by = {
        strip["ex4d_take"]: (strip.get("ex4d_generator", ""), strip.get("ex4d_quality", ""))
        for strip in compat.all_strips(scene)
        if strip.get("ex4d_shot") == facts.shot and "ex4d_take" in strip and not strip.get("ex4d_view")
    }
    for take in facts.takes:
        if not take.view:
            take.generator, take.quality = made_by.get(take.number, ("", ""))
    return [
        translations.told("In the scene {scene}, {what} means nothing and is left out.", scene=scene.name, what=what)
        for what in lost
    ]


def _is_one_of(number: Any, values: tuple[str, ...]) -> bool:
    return type(number) is int and 0 <= number < len(values)


def _source(text: str) -> str | None:
    """A source in the current form; None if it is damaged."""
    if not text:
        return text
    try:
        today = json.dumps(since_0_1.source(json.loads(text)))
        read_source(today)
    except (InputError, ValueError, TypeError, AttributeError):
        return None
    return today


def _depth(text: str) -> str | None:
    """A scene's facts about its depth, in the current form; None if they are damaged."""
    try:
        made = json.loads(text or "{}")
    except ValueError:
        return None
    if not isinstance(made, dict):
        return None
    return json.dumps({**made, "caution": GUESS[1]}) if made.get("provider") == GUESS[0] else text
