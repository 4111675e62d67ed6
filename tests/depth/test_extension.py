"""More frames of a shot: existing depth is kept, new frames are estimated and fitted to it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ex4d.depth import alignment, lens, registry
from ex4d.depth.base import Request, Spec
from ex4d.depth.estimate import METRES, Estimate
from ex4d.depth.runs import OVERLAP, Run, runs
from ex4d.errors import InputError
from ex4d.frame_numbers import renumbered
from ex4d.geometry.depth_video import DepthVideo, load_depth_npz
from ex4d.geometry.intrinsics import from_focal
from ex4d.media.clip import Clip
from ex4d.synthetic import scenes
from ex4d.synthetic.depth_errors import DepthErrors, wrong

FRAMES, STOOD, WIDTH, HEIGHT = 40, 20, 96, 54
ERRORS = DepthErrors(shift=0.0, jitter=0.0, shape=0.04, edge=0.4)
"""Errors of a video model; scale and shift are added for each run."""


@pytest.fixture(scope="module")
def street():
    return scenes.make("street", FRAMES, WIDTH, HEIGHT, noise=0, shutter=0)


class Estimator:
    """Estimates each run with a scale and shift of its own, and counts the frames it is given."""

    def __init__(self, example, name: str = "own-scale") -> None:
        self.truth, self.runs, self.notes = example.source.depth, [], ("As estimated.",)
        self.spec = Spec(name, "Own Scale", "Each run has a scale of its own", self.run)

    def run(self, clip: Clip, request: Request) -> Estimate:
        numbers = clip.numbers
        self.runs.append((int(numbers[0]), len(numbers)))
        random = np.random.default_rng(len(self.runs))
        made = wrong(self.truth[numbers], replace(ERRORS, shift=random.uniform(-0.08, 0.08)), len(self.runs))
        depth = alignment.relative_depth(random.uniform(0.3, 3) / made)
        k = from_focal(request.focal_px or 90, WIDTH, HEIGHT)
        return Estimate(DepthVideo(depth, k, self.spec.name, self.notes), METRES, "free")


@pytest.fixture
def estimator(street, monkeypatch, tmp_path):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    made = Estimator(street)
    monkeypatch.setattr(registry, "estimators", lambda: {made.spec.name: made.spec})
    return made


def part(example, start: int, frames: int, step: int = 1) -> Clip:
    numbers = start + step * np.arange(frames)
    return replace(example.clip, frames=example.clip.frames[numbers], start=start, step=step, stored=numbers)


def estimate(clip: Clip, standing: Path | None = None, **more) -> Estimate:
    return registry.estimate("own-scale", clip, standing=standing, **more)


def stood(example, folder: Path, start: int, frames: int = STOOD, step: int = 1, of: int = FRAMES) -> Path:
    """The depth of a shot, as written when it is opened."""
    path = folder / "depth.npz"
    estimate(part(example, start, frames, step)).save(path, (start, step, of), packed=True)
    return path


def error(depth: np.ndarray, truth: np.ndarray, unit: slice) -> np.ndarray:
    """Log of each depth over the true depth, in the unit of the frames `unit`."""
    near = truth < 100
    scale, shift = alignment.fit_disparity(1 / depth[unit][near[unit]], 1 / truth[unit][near[unit]])
    found = np.log(1 / np.maximum(scale / depth.astype(np.float64) + shift, 1e-3)) - np.log(truth)
    return np.where(near, found, np.nan)


@pytest.mark.parametrize(
    ("count", "first", "standing", "wanted"),
    [
        (98, 0, 49, [Run(41, 98, 8, False)]),
        (98, 49, 49, [Run(0, 57, 8, True)]),
        (60, 20, 20, [Run(0, 28, 8, True), Run(32, 60, 8, False)]),
        (10, 4, 3, [Run(0, 5, 1, True), Run(6, 10, 1, False)]),
        (10, 0, 3, [Run(0, 10, 3, False)]),
        (10, 0, 10, []),
    ],
)
def test_new_frames_are_estimated_with_some_that_stand_beside_them(count, first, standing, wanted):
    assert runs(count, first, standing) == tuple(wanted)
    assert sum(run.new for run in wanted) == count - standing


@pytest.mark.parametrize("start", [0, 10, 20])
def test_frames_that_stand_keep_their_depth_to_the_bit_and_new_ones_come_within_the_error_of_estimating_all(
    estimator, street, tmp_path, start
):
    """New frames after the existing ones, on both sides, and before them."""
    path = stood(street, tmp_path, start)
    before = load_depth_npz(path).depth
    made = estimate(part(street, 0, FRAMES), path)
    expected = {0: [(12, 28)], 10: [(0, 18), (22, 18)], 20: [(0, 28)]}[start]
    assert estimator.runs[1:] == expected
    first = start + (OVERLAP if start > 0 else 0)
    last = start + STOOD - (OVERLAP if start + STOOD < FRAMES else 0)
    assert np.array_equal(made.depth.depth[first:last], before[first - start :][: last - first])
    truth, here = street.source.depth, slice(start, start + STOOD)
    joined = error(made.depth.depth, truth, here)
    anew = error(estimate(part(street, 0, FRAMES)).depth.depth, truth, here)
    new = np.ones(FRAMES, bool)
    new[here] = False
    assert np.nanmedian(np.abs(joined[new])) < 1.4 * np.nanmedian(np.abs(anew[new])) < 0.06
    cut = made.depth.depth.copy()
    cut[here] = before
    at_once = error(cut, truth, here)
    worst = max(np.nanmean(np.abs(one)) for one in np.diff(joined, axis=0))
    assert worst < 0.5 * max(np.nanmean(np.abs(one)) for one in np.diff(at_once, axis=0)), "a seam shows"


def test_a_run_that_is_not_fitted_would_be_far_off(estimator, street, tmp_path):
    path = stood(street, tmp_path, 0)
    before = load_depth_npz(path).depth
    unfitted = estimate(part(street, 12, 28)).depth.depth
    there = np.concatenate([before, unfitted[OVERLAP:]])
    assert np.nanmedian(np.abs(error(there, street.source.depth, slice(0, STOOD))[STOOD:])) > 0.1


def test_the_depth_says_which_frames_were_estimated_later_and_how_well_they_fit(estimator, street, tmp_path):
    made = estimate(part(street, 0, FRAMES), stood(street, tmp_path, 10))
    said = [note for note in made.depth.notes if "estimated later" in note]
    pattern = r"The 10 frames from frame (\d+) on were estimated later and fitted to the existing depth"
    found = [
        re.match(pattern + r" \(scale [\d.]+, remaining difference ([\d.]+) %\)\.$", renumbered(n, 1)) for n in said
    ]
    assert [match[1] for match in found] == ["1", "31"]
    assert all(0.1 < float(match[2]) < 10 for match in found)
    assert made.depth.notes.count("As estimated.") == made.depth.notes.count(METRES) == 1
    assert (made.depth.provider, made.scale_note, made.licence) == ("own-scale", METRES, "free")


def test_the_step_of_a_clip_is_kept_to(estimator, street, tmp_path):
    path = stood(street, tmp_path, 1, 10, step=2)
    made = estimate(part(street, 5, 15, step=2), path)
    assert estimator.runs == [(1, 10), (5, 15)], "eight of the standing frames are left, and all are shown"
    assert len(made.depth.depth) == 15
    assert any("The 7 frames from frame 21 (from 0 in the file) on" in note for note in made.depth.notes)


def test_what_is_fitted_is_not_kept_as_an_estimate_of_the_whole_clip(estimator, street, tmp_path):
    path = stood(street, tmp_path, 0)
    joined = estimate(part(street, 0, FRAMES), path).depth.depth
    again = estimate(part(street, 0, FRAMES), path).depth.depth
    assert estimator.runs == [(0, 20), (12, 28)], "the run was kept under its own frames"
    assert np.array_equal(joined, again)
    whole = estimate(part(street, 0, FRAMES)).depth.depth
    assert estimator.runs[2:] == [(0, FRAMES)]
    assert not np.allclose(whole, joined, rtol=0.01)


def test_going_back_to_all_frames_of_a_shot_that_was_made_shorter_estimates_nothing(estimator, street, tmp_path):
    whole = estimate(part(street, 0, FRAMES))
    some = replace(whole.depth, depth=whole.depth.depth[5:25], intrinsics=whole.depth.intrinsics[5:25])
    replace(whole, depth=some).save(tmp_path / "depth.npz", (5, 1, FRAMES), packed=True)
    back = estimate(part(street, 0, FRAMES), tmp_path / "depth.npz")
    assert np.array_equal(back.depth.depth, whole.depth.depth)
    assert estimator.runs == [(0, FRAMES)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"start": 30, "frames": 10}, "no frame that was open is among them"),
        ({"start": 0, "frames": 20, "step": 2}, "no frame that was open is among them"),
        ({"focal_px": 60}, "a different field of view is given now"),
        ({"of": 50}, "street.mp4 had 50 frames and has 40 now"),
        ({"name": "other"}, "it was made by Own Scale, and Another runs now"),
        ({"size": 48}, "it was 96x54 pixels large and is to be 48x54"),
    ],
)
def test_depth_that_does_not_apply_is_made_again_and_it_is_said_why(
    estimator, street, tmp_path, monkeypatch, change, why
):
    path = stood(street, tmp_path, 0, of=change.get("of", FRAMES))
    clip = part(street, change.get("start", 0), change.get("frames", 30), change.get("step", 1))
    name = change.get("name", "own-scale")
    if "name" in change:
        other, known = Estimator(street, name), registry.estimators()
        other.spec = replace(other.spec, title="Another")
        monkeypatch.setattr(registry, "estimators", lambda: {**known, name: other.spec})
        estimator = other
    if "size" in change:
        clip = replace(clip, frames=clip.frames[:, :, :48], fit=replace(clip.fit, width=48))
        estimator.truth = estimator.truth[:, :, :48]
    made = registry.estimate(name, clip, standing=path, focal_px=change.get("focal_px"))
    assert made.depth.notes[0] == f"The depth of all frames was estimated again: {why}."
    assert estimator.runs[-1] == (clip.start, len(clip.frames))
    assert not any("estimated later" in note for note in made.depth.notes)


def test_frames_whose_depth_contradicts_what_stands_are_not_fitted_to_it(estimator, street, tmp_path):
    path = stood(street, tmp_path, 0)
    estimator.truth = (1 / street.source.depth).astype(np.float32)
    made = estimate(part(street, 0, FRAMES), path)
    assert made.depth.notes[0].startswith("The depth of all frames was estimated again. The new frames contradict")
    assert estimator.runs[1:] == [(12, 28), (0, FRAMES)]


def test_the_lens_that_stands_stays(estimator, street, tmp_path):
    path = stood(street, tmp_path, 0)
    known = load_depth_npz(path)
    found = Estimate(replace(known, intrinsics=from_focal(123, WIDTH, HEIGHT)), METRES, "free")
    found.save(path, (0, 1, FRAMES), packed=True)
    made = estimate(part(street, 0, FRAMES), path)
    assert (made.depth.intrinsics[:, 0, 0] == 123).all()


@pytest.mark.parametrize("first", [5, 0])
def test_the_lens_that_stands_stays_also_with_kept_depth_of_all_frames(estimator, street, tmp_path, first):
    """The lens was found with the camera after the depth was cached; the cached depth only has an assumed lens."""
    estimator.notes = (lens.ASSUMED,)
    whole = estimate(part(street, 0, FRAMES))
    some = replace(whole.depth, depth=whole.depth.depth[first:25], intrinsics=from_focal(123, WIDTH, HEIGHT), notes=())
    replace(whole, depth=some).save(tmp_path / "depth.npz", (first, 1, FRAMES), packed=True)
    back = estimate(part(street, 0, FRAMES), tmp_path / "depth.npz")
    assert np.array_equal(back.depth.depth, whole.depth.depth)
    assert (back.depth.intrinsics[:, 0, 0] == 123).all()
    assert lens.ASSUMED not in back.depth.notes


@pytest.mark.parametrize("is_told", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_a_lens_that_zooms_stays_in_frames_that_were_open_and_it_is_said_where_nobody_knows_how_it_goes_on(
    estimator, street, tmp_path, is_told, kept
):
    estimator.notes = () if is_told else (lens.ASSUMED,)
    here, focal = slice(3, 3 + STOOD), np.linspace(100.0, 130.0, STOOD)
    known = estimate(part(street, 0, FRAMES) if kept else part(street, 3, STOOD))
    depth, k = known.depth.depth[here if kept else slice(None)], np.stack([from_focal(f, WIDTH, HEIGHT) for f in focal])
    zooms = replace(known.depth, depth=depth, intrinsics=k, notes=("The lens was found with the camera: it zooms.",))
    replace(known, depth=zooms).save(tmp_path / "depth.npz", (3, 1, FRAMES), packed=True)
    made = estimate(part(street, 0, FRAMES), tmp_path / "depth.npz").depth
    assert made.notes[0] == zooms.notes[0]
    assert len(estimator.runs) == (1 if kept else 3)
    np.testing.assert_allclose(made.intrinsics[here, 0, 0], focal)
    before, after = made.intrinsics[: here.start, 0, 0], made.intrinsics[here.stop :, 0, 0]
    np.testing.assert_allclose([before.min(), before.max()], 90 if is_told else 100)
    np.testing.assert_allclose([after.min(), after.max()], 90 if is_told else 130)
    assert made.notes.count(lens.GOES_ON) == (0 if is_told else 1)
    assert lens.ASSUMED not in made.notes


@pytest.mark.parametrize("keep", [0, 200, 0.5])
def test_damaged_depth_is_made_again_and_it_is_said_without_naming_a_file_that_nobody_knows(
    estimator, street, tmp_path, keep
):
    path = stood(street, tmp_path, 0)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    made = estimate(part(street, 0, FRAMES), path)
    assert made.depth.notes[0] == (
        "The depth of all frames was estimated again: the file with the shot's depth is damaged."
    )
    assert estimator.runs[-1] == (0, FRAMES)


def test_depth_whose_distances_are_none_is_made_again(estimator, street, tmp_path):
    path = stood(street, tmp_path, 0)
    with np.load(path) as arrays:
        broken = {name: arrays[name] for name in arrays.files}
    broken["packed_depth"] = broken["packed_depth"][::-1]
    np.savez(path, **broken)
    made = estimate(part(street, 0, FRAMES), path)
    assert "the file with the shot's depth is damaged" in made.depth.notes[0]


def test_a_flat_wall_is_fitted_by_its_distance_alone(estimator, street, tmp_path):
    path = tmp_path / "depth.npz"
    flat = DepthVideo(np.full((STOOD, HEIGHT, WIDTH), 2, np.float32), from_focal(90, WIDTH, HEIGHT), "own-scale")
    Estimate(flat, METRES, "free").save(path, (0, 1, FRAMES), packed=True)

    def run(clip, request):
        depth = np.full(clip.frames.shape[:3], 5, np.float32)
        return Estimate(replace(flat, depth=depth, intrinsics=flat.intrinsics[0]), METRES, "free")

    spec = replace(estimator.spec, run=run)
    registry_of_one = {"own-scale": spec}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "estimators", lambda: registry_of_one)
        assert estimate(part(street, 0, FRAMES), path).depth.depth == pytest.approx(2)


def test_a_depth_file_and_depth_of_a_part_are_not_given_together(tmp_path, street):
    with pytest.raises(InputError, match="leave one out"):
        registry.estimate("file", street.clip, file=tmp_path / "d.npz", standing=tmp_path / "depth.npz")
