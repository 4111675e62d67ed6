"""A strip of the source, with the clip's sound, below the takes, which are silent movies of the open frames."""

from fractions import Fraction
from pathlib import Path

import bpy

from ex4d.errors import InputError
from ex4d.storage.sequence import is_sequence

from .. import translations
from ..scene import compat
from ..scene.comparison import MARK as COMPARES
from ..shot import files, part, takes
from ..shot.matching import rate_of

MARK = "ex4d_source_strip"
"""Custom property with the shot, on both strips."""


def add(scene: bpy.types.Scene) -> str:
    """Add the open frames to the sequencer, with their sound below; returns a message for the artist.

    Replaces strips added earlier for the shot. If all strips are ours, they are moved up to make room for the source
    below the takes; otherwise the source uses free channels, and is muted if it would hide a take.

    Raises:
        InputError: the shot's video is gone, or Blender cannot read it.
    """
    facts = scene.ex4d
    movie = files.movie_of(facts)
    _remove(scene)
    rendered = takes.keep_rendering_the_scene(scene)
    first, end = facts.start, facts.last + 1
    why_silent = _why_silent(Path(facts.opened))
    channel = _room(scene, first, end, 1 if why_silent else 2)
    told = [translations.told("The clip is in the sequencer.")]
    if not why_silent:
        _add_sound(scene, channel, first, end)
        told.append(translations.told("Its sound is below it."))
    above = channel if why_silent else channel + 1
    strip = compat.new_movie_strip(scene, "EX-4D Source", movie, above, first)
    strip.filepath, strip[MARK] = files.as_blender_writes(movie), facts.shot
    if compat.strip_range(strip) != (first, end):
        _remove(scene)
        raise InputError(
            translations.told(
                "Blender cannot read {file} of the shot: press Open Again to write it again.", file=movie.name
            )
        )
    if _hides_a_take(scene, strip):
        strip.mute = True
        told.append(translations.told("The picture is muted, because it is above takes."))
    told += [why_silent or _of_rate(scene), rendered]
    return " ".join(sentence for sentence in told if sentence)


def _why_silent(clip: Path) -> str:
    """Why a clip has no sound; "" if it has."""
    if is_sequence(clip):
        return translations.told("{clip} is an image sequence, so it has no sound.", clip=clip.name)
    if not bpy.app.build_options.audaspace:
        return translations.told("This Blender was built without sound.")
    if not clip.is_file():
        return translations.told("{clip} is not where it was, so there is no sound: press Find Clip.", clip=clip.name)
    sound = bpy.data.sounds.load(str(clip))
    has_sound = sound.channels != "INVALID"
    bpy.data.sounds.remove(sound)
    return "" if has_sound else translations.told("{clip} has no sound.", clip=clip.name)


def _of_rate(scene: bpy.types.Scene) -> str:
    """A warning that the sound will drift if the scene's rate differs from the clip's; "" if it does not."""
    rate = takes.rates_differ(scene)
    if rate is None:
        return ""
    return translations.told(
        "The scene runs at {rate:.5g} frames per second, the clip at {clip:.5g}: the sound starts in"
        " sync but drifts, because it keeps its own speed. Press Match Frame Rate, then add the"
        " strip again.",
        rate=float(rate),
        clip=float(scene.ex4d.fraction),
    )


def seconds_before(facts: bpy.types.PropertyGroup) -> Fraction:
    """Position of the first open frame in the clip, in seconds.

    Frames of a clip are counted at the rate at which it is read; the shot's rate is lower by a factor of `step`.
    """
    stands = part.opened(facts)
    return stands.start / (facts.fraction * stands.step)


def _add_sound(scene: bpy.types.Scene, channel: int, first: int, end: int) -> None:
    before = round(seconds_before(scene.ex4d) * rate_of(scene))
    clip = Path(scene.ex4d.opened)
    strip = compat.new_sound_strip(scene, f"EX-4D Sound of {clip.name}", clip, channel, first - before)
    strip.sound.filepath, strip[MARK] = files.as_blender_writes(clip), scene.ex4d.shot
    compat.trim(strip, first, min(end, compat.strip_range(strip)[1]))


def _room(scene: bpy.types.Scene, first: int, end: int, wanted: int) -> int:
    """The lowest of `wanted` consecutive channels without strips in scene frames [first, end)."""
    there = list(compat.strips(scene))
    if all("ex4d_take" in strip or COMPARES in strip for strip in there):
        free = min((strip.channel for strip in there), default=wanted + 1) - 1
        for strip in sorted(there, key=lambda strip: -strip.channel):
            strip.channel += max(0, wanted - free)
    taken = {s.channel for s in there if compat.strip_range(s)[0] < end and first < compat.strip_range(s)[1]}
    return next(low for low in range(1, 1000) if not taken & set(range(low, low + wanted)))


def _hides_a_take(scene: bpy.types.Scene, strip: compat.Strip) -> bool:
    first, end = compat.strip_range(strip)
    below = [other for other in compat.strips(scene) if other.channel < strip.channel and "ex4d_take" in other]
    return any(compat.strip_range(other)[0] < end and first < compat.strip_range(other)[1] for other in below)


def _remove(scene: bpy.types.Scene) -> None:
    """Remove strips added earlier for the shot."""
    for strip in [strip for strip in compat.all_strips(scene) if strip.get(MARK) == scene.ex4d.shot]:
        sound = strip.sound if strip.type == "SOUND" else None
        compat.remove_strip(scene, strip)
        if sound is not None and not sound.users:
            bpy.data.sounds.remove(sound)
