"""Patches of tracking masks stick to surfaces, and trackers of other packages can move them."""

import cv2
import numpy as np
import pytest
from films import panned, texture, written

from ex4d.errors import InputError, PluginError
from ex4d.source_camera.tracks import Tracks
from ex4d.training import patches
from ex4d.training.making import make
from ex4d.training.patches import holes
from ex4d.training.settings import DatasetSettings
from ex4d.training.sources import videos
from ex4d.training.trackers import LUCAS_KANADE, TrackerSpec, follow_with, lucas_kanade, tracker, trackers


def centres(hole: np.ndarray) -> np.ndarray:
    """Centre of the whole hole in each frame (T,2)."""
    return np.array([np.argwhere(h).mean(axis=0)[::-1] for h in hole])


def test_patches_follow_a_known_motion(monkeypatch):
    monkeypatch.setattr(patches, "COUNT", (1, 1))
    monkeypatch.setattr(patches, "EVERY", 1000)
    monkeypatch.setattr(patches, "SIZES", (60.0, 90.0))
    frames = panned(5, 25, (1.5, -0.75), (256, 256))
    tracks = lucas_kanade(frames)
    followed = 0
    for seed in range(20):
        hole = holes(tracks, 25, 256, 256, np.random.default_rng(seed))
        assert not hole[0].any()
        rims = hole[1:, [0, -1]].any() or hole[1:, :, [0, -1]].any()
        if rims or not hole[1:].any(axis=(1, 2)).all():
            continue  # it leaves the picture
        moved = centres(hole[1:]) - centres(hole[1:2])
        expected = np.outer(np.arange(24), (1.5, -0.75))
        assert np.abs(moved - expected).max() < 1.5  # of 36; small patches are drawn in whole pixels
        followed += 1
    assert followed >= 8


def test_patches_grow_and_turn_with_what_they_are_on(monkeypatch):
    monkeypatch.setattr(patches, "COUNT", (1, 1))
    monkeypatch.setattr(patches, "EVERY", 1000)
    monkeypatch.setattr(patches, "SIZES", (80.0, 90.0))
    picture = texture(7)
    frames = np.stack(
        [
            cv2.warpAffine(
                picture, cv2.getRotationMatrix2D((256, 256), t, 1.02**t) - [[0, 0, 128], [0, 0, 128]], (256, 256)
            )
            for t in range(15)
        ]
    )
    tracks = lucas_kanade(frames)
    grown = []
    for seed in range(20):
        hole = holes(tracks, 15, 256, 256, np.random.default_rng(seed))
        if hole[1:, [0, -1]].any() or hole[1:, :, [0, -1]].any() or not hole[-1].any():
            continue
        grown.append(np.count_nonzero(hole[-1]) / np.count_nonzero(hole[1]))
    assert len(grown) >= 4
    assert np.median(grown) == pytest.approx(1.02 ** (2 * 13), rel=0.08)


def test_a_patch_ends_where_its_points_do():
    ids = np.tile(np.arange(9), 5)
    xy = np.tile(np.stack(np.meshgrid([28, 32, 36], [28, 32, 36]), -1).reshape(-1, 2).astype(float), (5, 1))
    tracks = Tracks(ids, np.repeat(np.arange(5), 9), xy, np.ones(20))
    hole = holes(tracks, 20, 64, 64, np.random.default_rng(1))
    assert hole[4].any()
    assert hole[4 + patches.BRIDGED].any()
    assert not hole[5 + patches.BRIDGED :].any()


def test_no_points_make_no_holes():
    nothing = Tracks(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros((0, 2)), np.ones(5))
    assert not holes(nothing, 5, 32, 32, np.random.default_rng(0)).any()


def test_ours_is_found_like_those_of_other_packages():
    assert trackers()["lk"] == LUCAS_KANADE
    with pytest.raises(InputError, match=r"no tracker 'tapir'.*lk"):
        tracker("tapir")


def test_a_tracker_that_fails_or_gives_nonsense_is_named():
    def broken(frames):
        raise RuntimeError("no weights")

    with pytest.raises(PluginError, match="tracker other failed: RuntimeError: no weights"):
        follow_with(TrackerSpec("other", "Other", broken), panned(0, 3))

    def late(frames):
        return Tracks(np.zeros(1, np.intp), np.array([7]), np.zeros((1, 2)), np.ones(3))

    with pytest.raises(PluginError, match="frames that the clip does not have"):
        follow_with(TrackerSpec("other", "Other", late), panned(0, 3))


OTHER = """
import numpy as np
from ex4d.source_camera.tracks import Tracks
from ex4d.training.trackers import TrackerSpec

def follow(frames):  # nine points that stand still
    xy = np.stack(np.meshgrid([40, 48, 56], [40, 48, 56]), -1).reshape(-1, 2).astype(float)
    count = len(frames)
    return Tracks(np.tile(np.arange(9), count), np.repeat(np.arange(count), 9), np.tile(xy, (count, 1)), np.ones(count))

SPEC = TrackerSpec("still", "Still Points", follow)
"""


def test_a_tracker_of_another_package_makes_the_masks_of_a_dataset(tmp_path, monkeypatch):
    (tmp_path / "ex4d_still.py").write_text(OTHER)
    about = tmp_path / "ex4d_still-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ex4d-still\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[ex4d.trackers]\nstill = ex4d_still:SPEC\n")
    monkeypatch.syspath_prepend(tmp_path)
    video = written(tmp_path / "film.mp4", panned(0, 9))
    masks = {}
    for name in ("lk", "still"):
        settings = DatasetSettings(9, 96, 20, 1, "plane", name)
        made = make(videos(video), tmp_path / name, settings, processes=1)
        (clip,) = made.clips
        masks[name] = {
            number: made.load(clip, number).mask
            for number, mask in enumerate(made.about_clip(clip).masks)
            if mask.kind == "tracking"
        }
    assert masks["lk"].keys() == masks["still"].keys()
    assert len(masks["still"]) >= 2
    for number, mask in masks["still"].items():
        assert not np.array_equal(mask, masks["lk"][number])
        changes = np.count_nonzero(mask[2] != mask[6])  # nothing moves except rims that are eroded at random
        assert changes < np.count_nonzero(masks["lk"][number][2] != masks["lk"][number][6]) + 400
        assert not mask[2:, 44:52, 44:52].all()
