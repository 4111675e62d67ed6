"""Live coverage from a real server: the pixels that Preview Path shows as real, and a camera moved by hand."""

import re
import time
from pathlib import Path

import av
import bpy
import numpy as np
import pytest

SAMPLE = Path(__file__).parents[2] / "sample" / "clip.mp4"


def mask_of(movie: Path) -> np.ndarray:
    with av.open(str(movie)) as container:
        return np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)]) > 127


def look_until(reached, scene, seconds=90.0):
    from blender_addon.work import session

    end, now = time.monotonic() + seconds, session.current()
    while not reached():
        now.look(scene)
        now.look_around()
        now.tick(0.001)
        assert time.monotonic() < end, (now.coverage.problem, len(now.coverage.along))
        time.sleep(0.002)


def test_the_camera_view_shows_what_preview_path_calls_invented_and_the_curve_is_its_coverage(scene, monkeypatch):
    from blender_addon.shot import live_coverage, takes
    from blender_addon.work import session
    from ex4d.render import classes

    monkeypatch.setattr(live_coverage, "is_seen", lambda scene: True)
    assert bpy.ops.ex4d.open_clip(filepath=str(SAMPLE), frames=9, longest_side=256) == {"FINISHED"}
    assert bpy.ops.ex4d.camera_preset(preset="60", amount=60) == {"FINISHED"}
    coverage = session.current().coverage
    look_until(lambda: len(coverage.along) == 9, scene)

    assert bpy.ops.ex4d.preview() == {"FINISHED"}
    message = session.current().state.message
    strip = takes.strip_of(scene, 1, view=True)
    real = mask_of(takes.take_folder(scene, 1, view=True) / "mask.mp4")
    assert [1 - coverage.along[t] for t in range(9)] == pytest.approx(list(strip["ex4d_coverage"]), abs=2e-3)
    assert coverage.along[8] > 0.2
    filled, borrowed = dict(coverage.along), 0
    for t in range(9):
        scene.frame_set(scene.ex4d.start + t)
        look_until(lambda t=t: coverage.found is not None and coverage.found.look.frame == t, scene)
        # Blender evaluates keys in single precision when rendering, so single pixels may differ.
        found = coverage.found.classes()
        assert ((found != classes.INVENTED) != real[t]).mean() < 2e-3
        borrowed += (found == classes.BORROWED).mean() / 9
    (told,) = re.findall(r"([\d.]+)% of the picture comes from other frames of the clip", message)
    assert 100 * borrowed == pytest.approx(float(told), abs=0.05)
    assert borrowed > 0.002

    # Without other frames, more has to be invented, so the curve is requested again.
    scene.ex4d.persistence = "off"
    look_until(lambda: len(coverage.along) == 9 and not coverage.asks_others, scene)
    assert np.mean(list(coverage.along.values())) - np.mean(list(filled.values())) > 0.001
    scene.ex4d.persistence = "fill"

    # When a camera is moved by hand without setting keys, its current view is shown, not that of its keys.
    before = coverage.found
    scene.ex4d.camera.location.x += 0.5
    bpy.context.view_layer.update()
    look_until(lambda: coverage.found is not before and coverage.found is not None, scene)
    assert coverage.found.invented != before.invented
