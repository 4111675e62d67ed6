"""The source strip below its takes, with the clip's sound in the right place."""

from fractions import Fraction
from pathlib import Path

import av
import bpy
import numpy as np
import pytest
import shots
from test_takes import take

from blender_addon.scene import compat
from blender_addon.shot import files, matching, part, source_strip, takes
from blender_addon.work import session
from ex4d.media.movie import write_movie

RATE, CLICK = 48000, 2.0
needs_sound = pytest.mark.skipif(not bpy.app.build_options.audaspace, reason="this bpy has no sound")


def write_clip(path: Path, seconds: float = 4.0, sound: bool = True) -> None:
    """Write a clip at 24 frames per second that is silent until second `CLICK` and loud from then on."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=24)
        video.width, video.height, video.pix_fmt = shots.WIDTH, shots.HEIGHT, "yuv420p"
        audio = container.add_stream("pcm_s16le", rate=RATE, layout="mono") if sound else None
        for number in range(round(24 * seconds)):
            frame = av.VideoFrame.from_ndarray(np.zeros((shots.HEIGHT, shots.WIDTH, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 24)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            at = np.arange(round(RATE * seconds)) / RATE
            loud = (np.where(at >= CLICK, 20000, 0) * np.sign(np.sin(2 * np.pi * 1000 * at))).astype(np.int16)
            for first in range(0, len(loud), 4800):
                frame = av.AudioFrame.from_ndarray(loud[None, first : first + 4800], format="s16", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, first, Fraction(1, RATE)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))


@pytest.fixture
def shot(tmp_path, scene, addon):
    """The small shot, whose clip is a real file with sound, opened from frame 24."""
    depth = shots.open_small(tmp_path)
    write_clip(tmp_path / "small.mov")
    scene.ex4d.opened = str(tmp_path / "small.mov")
    scene.ex4d.source = shots.source_of("small.mov", start=24)
    return depth


def ours(scene, kind):
    return [strip for strip in compat.strips(scene) if strip.type == kind]


def loud_from(scene, tmp_path):
    """The fractional scene frame from which the sequencer's sound, mixed down by Blender, is loud."""
    out = tmp_path / "mixed.wav"
    bpy.ops.sound.mixdown(filepath=str(out), container="WAV", codec="PCM", format="S16")
    with av.open(str(out)) as container:
        stream = container.streams.audio[0]
        rate = stream.rate
        samples = np.concatenate([np.abs(f.to_ndarray().reshape(-1)) for f in container.decode(stream)])
    channels = stream.channels
    found = np.flatnonzero(samples > 1000)
    return scene.frame_start + found[0] / channels / rate * float(matching.rate_of(scene))


@needs_sound
def test_source_and_sound_lie_under_the_takes_at_the_frames_that_are_open(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    bpy.ops.ex4d.source_strip()
    assert session.current().state.message == "The clip is in the sequencer. Its sound is below it."
    (sound,), (below, above) = ours(scene, "SOUND"), sorted(ours(scene, "MOVIE"), key=lambda s: s.channel)
    assert (sound.channel, below.channel, above.channel) == (1, 2, 3)
    assert above == takes.strip_of(scene, 1)
    assert compat.strip_range(below) == compat.strip_range(sound) == (1, 14)
    assert files.absolute(below.filepath) == files.absolute(scene.ex4d.image.filepath)
    assert not below.mute


@needs_sound
@pytest.mark.parametrize(("start", "step", "rate"), [(40, 1, "24"), (46, 1, "24"), (36, 2, "12"), (20, 4, "6")])
def test_what_is_heard_is_what_is_seen(scene, shot, tmp_path, start, step, rate):
    """The click at second 2, frame 48 of the clip, is heard when that frame is seen, whichever part is open."""
    facts = scene.ex4d
    facts.source = shots.source_of("small.mov", start=start).replace('"step": 1', f'"step": {step}')
    facts.rate = rate
    assert part.opened(facts).step == step
    matching.set_rate(scene, Fraction(rate))
    bpy.ops.ex4d.source_strip()
    assert loud_from(scene, tmp_path) == pytest.approx(facts.start + (48 - start) / step, abs=0.05)


@needs_sound
def test_a_scene_of_another_rate_is_told_and_sound_begins_with_the_picture(scene, shot, tmp_path):
    matching.set_rate(scene, Fraction(30))
    scene.ex4d.source = shots.source_of("small.mov", start=47)
    bpy.ops.ex4d.source_strip()
    said = session.current().state.message
    assert "The scene runs at 30 frames per second, the clip at 24: the sound starts in sync but drifts" in said
    assert loud_from(scene, tmp_path) == pytest.approx(scene.ex4d.start + 30 / 24, abs=0.6), "one frame of the clip"
    matching.set_rate(scene, Fraction(24))
    bpy.ops.ex4d.source_strip()
    assert "drift" not in session.current().state.message
    assert loud_from(scene, tmp_path) == pytest.approx(scene.ex4d.start + 1, abs=0.05)


@needs_sound
def test_pressing_again_makes_it_anew_and_leaves_nothing_behind(scene, shot, tmp_path):
    take(scene, tmp_path / "one")
    for _each in range(3):
        bpy.ops.ex4d.source_strip()
    assert (len(ours(scene, "SOUND")), len(ours(scene, "MOVIE")), len(bpy.data.sounds)) == (1, 2, 1)
    assert [strip.channel for strip in sorted(compat.strips(scene), key=lambda s: s.channel)] == [1, 2, 3]


def test_a_clip_without_sound_is_told_in_one_sentence(scene, shot, tmp_path):
    write_clip(tmp_path / "silent.mov", sound=False)
    scene.ex4d.opened = str(tmp_path / "silent.mov")
    bpy.ops.ex4d.source_strip()
    silent = "silent.mov has no sound." if bpy.app.build_options.audaspace else "This Blender was built without sound"
    assert session.current().state.message.startswith(f"The clip is in the sequencer. {silent}")
    assert not ours(scene, "SOUND")
    assert not bpy.data.sounds
    (strip,) = ours(scene, "MOVIE")
    assert strip.channel == 1


def test_pictures_have_no_sound_and_a_clip_that_was_moved_is_told(scene, shot, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    scene.ex4d.opened = str(folder)
    bpy.ops.ex4d.source_strip()
    assert "pictures is an image sequence, so it has no sound." in session.current().state.message
    scene.ex4d.opened = str(tmp_path / "gone.mov")
    bpy.ops.ex4d.source_strip()
    if bpy.app.build_options.audaspace:
        assert "gone.mov is not where it was, so there is no sound: press Find Clip." in session.current().state.message


def test_strips_of_the_artist_stay_where_they_are_and_the_source_hides_no_take(scene, shot, tmp_path):
    movie = tmp_path / "other.mp4"
    write_movie(movie, np.zeros((30, 32, 32, 3), np.uint8), Fraction(24))
    compat.new_movie_strip(scene, "other", movie, 1, 5)
    take(scene, tmp_path / "one")
    before = {strip.name: strip.channel for strip in compat.strips(scene)}
    bpy.ops.ex4d.source_strip()
    after = {strip.name: strip.channel for strip in compat.strips(scene)}
    assert {name: after[name] for name in before} == before
    strip = next(strip for strip in compat.strips(scene) if strip.name == "EX-4D Source")
    assert strip.mute
    assert "The picture is muted, because it is above takes." in session.current().state.message


def test_f12_goes_on_to_render_the_scene_where_the_source_is_the_first_strip(scene, shot, tmp_path):
    bpy.ops.ex4d.source_strip()
    assert not scene.render.use_sequencer
    assert "F12 still renders the scene" in session.current().state.message


def test_the_part_that_is_before_is_counted_at_the_rate_at_which_the_clip_is_read(scene, shot):
    facts = scene.ex4d
    facts.source = shots.source_of("small.mov", start=30).replace('"step": 1', '"step": 3')
    facts.rate = "30000/3003"  # of a clip at 30000/1001
    assert source_strip.seconds_before(facts) == Fraction(1001, 1000)
