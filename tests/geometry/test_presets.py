"""The camera moves that are known by name."""

import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry import intrinsics, presets

K = intrinsics.from_focal(500, 256, 256)


@pytest.mark.parametrize("name", presets.PRESETS)
@pytest.mark.parametrize("frames", [1, 2, 25, 49, 81])
def test_every_preset_starts_at_the_source_view_and_looks_at_the_pivot(name, frames):
    path = presets.preset(name, 3.0, K, 256, 256, frames)
    assert len(path) == frames
    assert np.allclose(path.camera_to_world[0], np.eye(4))
    seen = path.extrinsics @ (0, 0, 3.0, 1)
    assert np.allclose(seen[:, :2], 0, atol=1e-12)
    assert (seen[:, 2] > 0).all()


@pytest.mark.parametrize("name", ["30", "60", "90"])
def test_orbit_keeps_its_distance_from_the_pivot_and_ends_at_its_angle(name):
    path = presets.preset(name, 3.0, K, 256, 256, 33, rise=0.0)
    offset = path.camera_to_world[:, :3, 3] - (0, 0, 3)
    assert np.allclose(np.linalg.norm(offset, axis=1), 3)
    assert np.degrees(np.arctan2(offset[-1, 0], -offset[-1, 2])) == pytest.approx(float(name))


def test_swing_looks_from_the_right_then_from_the_left_and_comes_back():
    eyes = presets.preset_eyes("180", 3.0, 49)
    yaw = np.degrees(np.arctan2(eyes[:, 0], 3.0 - eyes[:, 2]))
    assert yaw[[0, 12, 24, 36, 48]] == pytest.approx([0, 45, 0, -45, 0], abs=1e-9)


def test_zooms_move_along_the_axis_by_the_documented_part():
    assert presets.preset_eyes("zoom_in", 4.0, 5)[:, 2] == pytest.approx([0, 0.5, 1, 1.5, 2])
    assert presets.preset_eyes("zoom_out", 4.0, 3, amount=0.25)[:, 2] == pytest.approx([0, -0.5, -1])


def test_the_amount_replaces_the_angle():
    assert np.allclose(presets.preset_eyes("30", 2.0, 49, amount=75), presets.preset_eyes("90", 2.0, 49, amount=75))


@pytest.mark.parametrize("name", ["180", "90", "30"])
def test_presets_in_compat_mode_are_the_releases_poses(name, shared):
    with np.load(shared / "reference" / f"recon_box_{name}.npz") as data:
        theirs = np.diag([-1.0, 1, 1, 1]) @ data["poses"].astype(np.float64)
        radius = float(data["depth_min"]) + presets.ORBIT_MARGIN
    ours = presets.preset(name, radius, K, 256, 256, 49, release_compat=True).extrinsics
    assert np.abs(ours - theirs).max() < 1e-5


def test_the_releases_sweep_grows_when_there_are_not_49_frames():
    compat = presets.preset_eyes("30", 1.0, 25, release_compat=True)[-1]
    assert compat == pytest.approx(presets.preset_eyes("30", 1.0, 25, amount=30 * 49 / 25)[-1])


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("45", 1.0, 9), "one of 30, 60"),
        (("30", 0.0, 9), "in front"),
        (("30", float("nan"), 9), "in front"),
        (("30", 1.0, 0), "one frame"),
        (("zoom_in", 1.0, 9, 1.0), "0 to 1"),
        (("180", 1.0, 9, 90.0), "90 degrees"),
        (("30", 1.0, 9, 400.0), "360"),
    ],
)
def test_an_impossible_preset_is_refused_with_the_reason(arguments, word):
    with pytest.raises(InputError, match=word):
        presets.preset_eyes(*arguments)
