"""Scenes of files that EX-4D 0.1 saved, brought to today's form.

0.1 stored the choice of generator, quality, model size and estimator as numbers of fixed lists, and its jobs in another
form. Here and in `ex4d.pipeline.since_0_1` stands what it wrote; nothing else needs to know. All other stored names and
numbers mean the same today.
"""

import json

import bpy

from ex4d.pipeline import since_0_1

from ..scene import compat
from ..shot import options

VERSION = 2
"""What `scene.ex4d.version` is once a scene has today's form."""

GENERATORS = ("auto", "preview", since_0_1.MODEL)
QUALITIES = ("final", "balanced", "draft")
MODEL_SIZES = ("512x512", "832x480")
ESTIMATORS = ("auto", "file", "video-depth-anything", "depthcrafter", "plane")
"""Lists of 0.1 in the order of their numbers."""

GUESS = ("plane", "The depth is a guess without a depth model: ground plane and parallax only.")
"""The estimator of 0.1 that guesses, and what was to be said of it."""


def migrate_file() -> None:
    """Bring every scene of the open file to today's form; one that has it already is left alone."""
    for scene in bpy.data.scenes:
        if scene.library is None and scene.ex4d.version < VERSION:
            _migrate(scene)
            scene.ex4d.version = VERSION


def _migrate(scene: bpy.types.Scene) -> None:
    facts = scene.ex4d
    if (name := _taken_out(facts, "estimator", ESTIMATORS)) is not None:
        facts.estimator_name = name
    if (name := _taken_out(facts, "generator", GENERATORS)) is not None:
        facts.generator_name = name
    for setting, values in (("quality", QUALITIES), ("model_size", MODEL_SIZES)):
        if (name := _taken_out(facts, setting, values)) is not None:
            options.put(facts, since_0_1.MODEL, setting, name)
    if facts.source:
        facts.source = json.dumps(since_0_1.source(json.loads(facts.source)))
    if facts.depth.get("provider") == GUESS[0]:
        facts.depth_made = json.dumps({**facts.depth, "caution": GUESS[1]})
    made_by = {
        strip["ex4d_take"]: (strip.get("ex4d_generator", ""), strip.get("ex4d_quality", ""))
        for strip in compat.all_strips(scene)
        if strip.get("ex4d_shot") == facts.shot and "ex4d_take" in strip and not strip.get("ex4d_view")
    }
    for take in facts.takes:
        if not take.view:
            take.generator, take.quality = made_by.get(take.number, ("", ""))


def _taken_out(facts: bpy.types.PropertyGroup, name: str, values: tuple[str, ...]) -> str | None:
    """What a number stood for that 0.1 stored under a name, and the number is gone; None where nothing was stored."""
    if name not in facts.keys():  # noqa: SIM118 - no mapping
        return None
    number = facts[name]
    del facts[name]
    return values[number]
