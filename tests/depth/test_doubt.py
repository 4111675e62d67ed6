"""Telling distances from relative disparity: no false alarms, and what is detected."""

from pathlib import Path

import numpy as np
import planes
import pytest

from ex4d.depth import doubt

SAMPLE = Path(__file__).resolve().parents[2] / "sample"

WORLDS = {
    "street": planes.room(),
    "street from above": planes.room(0.5),
    "straight down": planes.room(1.4),
    "room": planes.room(floor=1.5, ceiling=1.5, walls=2, end=8),
    "low ceiling": planes.room(floor=1.5, ceiling=0.7, walls=2, end=8),
    "looking up": planes.room(-0.5, floor=1.5, ceiling=1.5, walls=2, end=8),
    "canopy": planes.room(-0.35, ceiling=1.0),
    "wall": planes.room(floor=np.inf, walls=np.inf, end=5),
}


def sampled(name: str) -> np.ndarray:
    with np.load(SAMPLE / name / "clip.depth.npz") as file:
        return file["depth"][::6]


@pytest.mark.parametrize("world", WORLDS)
def test_true_distances_are_never_doubted(world):
    depth = WORLDS[world]
    for metres in (depth, 1000 * depth, np.round(1000 * depth), np.minimum(depth, 10)):
        assert not doubt.evidence(metres, distances=True).is_disparity
    noisy = depth * (1 + 0.02 * np.random.default_rng(0).standard_normal(depth.shape))
    assert not doubt.evidence(noisy.astype(np.float32), distances=True).is_disparity


@pytest.mark.parametrize("world", [name for name in WORLDS if name != "wall"])
def test_true_disparity_is_never_doubted(world):
    for disparity in (planes.disparity(WORLDS[world]), np.round(planes.disparity(WORLDS[world], 255))):
        assert not doubt.evidence(disparity, distances=False).is_distance


def test_of_worlds_at_random_nothing_is_doubted_that_is_right():
    rng = np.random.default_rng(0)
    worlds = [planes.at_random(rng) for _ in range(300)]
    disparities = [planes.disparity(depth, 22.6, 1.3) for depth in worlds]
    assert not any(doubt.evidence(depth, distances=True).is_disparity for depth in worlds)
    assert not any(doubt.evidence(each, distances=False).is_distance for each in disparities)
    assert sum(doubt.evidence(each, distances=True).is_disparity for each in disparities) >= 30


@pytest.mark.parametrize("name", ["", "moving"])
def test_the_samples_are_told_from_their_disparity(name):
    depth = sampled(name)
    seen, turned = (doubt.evidence(values, distances=True) for values in (depth, 1 / depth))
    assert not seen.is_disparity
    assert turned.is_disparity
    # With confidence: patches of the right kind far outnumber the others.
    assert seen.inverse_affine >= 10 * seen.affine
    assert turned.affine >= 10 * turned.inverse_affine
    assert doubt.evidence(
        planes.disparity(depth, 22.6, 1.3), distances=True
    ).is_disparity  # as Video-Depth-Anything writes it
    assert doubt.evidence(depth.max() - depth, distances=True).is_disparity  # distances with near and far swapped


@pytest.mark.parametrize("world", ["street", "street from above", "room"])
def test_swapped_numbers_are_seen_in_disparity(world):
    disparity = planes.disparity(WORLDS[world])
    for written in (disparity, 22.6 * disparity + 1.3, np.round(255 * disparity)):
        assert doubt.evidence(written, distances=True).is_disparity


@pytest.mark.parametrize("world", ["street", "street from above"])
def test_swapped_numbers_of_a_floor_are_seen_in_distances(world):
    depth = WORLDS[world]
    far_is_light = np.round(255 * np.minimum(depth, 30) / 30)
    assert doubt.evidence(far_is_light, distances=False).is_distance
    assert not doubt.evidence(far_is_light, distances=True).is_disparity


def test_holes_at_the_top_of_true_distances_are_no_nearness():
    depth = np.minimum(WORLDS["street"], 30)
    depth[:, :70] = 0
    assert doubt.evidence(depth, distances=True).order < 0
    assert not doubt.evidence(depth, distances=True).is_disparity


def test_what_is_not_finite_counts_nowhere():
    depth = WORLDS["street"].copy()
    depth[:, :60] = np.inf
    depth[:, 100:110, :40] = np.nan
    assert not doubt.evidence(depth, distances=True).is_disparity
    nothing = doubt.evidence(np.full((2, 48, 64), np.nan, np.float32), distances=True)
    assert (nothing.affine, nothing.inverse_affine, nothing.order) == (0, 0, 0)


def test_a_stretched_range_is_told_from_millimetres_and_their_marks():
    def used(values):
        levels = np.zeros(1 << 16, np.bool_)
        levels[values] = True
        return levels

    assert doubt.is_full_range(used(np.arange(0, 65536, 50)))
    millimetres = np.arange(400, 12000)
    assert not doubt.is_full_range(used(millimetres))
    assert not doubt.is_full_range(used(np.array([0, *millimetres, 65535])))  # unknown, and too far away
    assert not doubt.is_full_range(used(np.arange(1500, 65536)))  # a street with its end clipped
