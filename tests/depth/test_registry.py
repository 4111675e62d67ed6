"""Choosing an estimator, running it, caching its depth by content, and reporting what is missing."""

import json
import re
import struct
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from ex4d import extras
from ex4d.depth import cached, registry
from ex4d.depth.base import Metric, Request, Spec
from ex4d.depth.encoding import DepthEncoding
from ex4d.depth.estimate import NO_UNIT, Estimate
from ex4d.depth.estimators import plane
from ex4d.depth.registry import choose, estimate, estimators
from ex4d.depth.scaling import scaled
from ex4d.errors import InputError, PluginError
from ex4d.geometry.depth_video import DepthVideo, save_depth
from ex4d.geometry.intrinsics import fit_frame, from_focal
from ex4d.media.clip import Clip
from ex4d.weights import store

WIDTH, HEIGHT = 96, 64

RELATIVE = Spec("relative", "Relative", "Disparity without a scale")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path / "models"))


def clip_of(frames: int = 3, seed: int = 0) -> Clip:
    pictures = np.random.default_rng(seed).integers(0, 255, (frames, HEIGHT, WIDTH, 3), np.uint8)
    return Clip(pictures, Fraction(24), "a.mp4", 0, fit_frame(WIDTH, HEIGHT))


def depth_file(path: Path, frames: int = 3) -> Path:
    depth = np.linspace(2, 9, frames * HEIGHT * WIDTH, dtype=np.float32).reshape(frames, HEIGHT, WIDTH)
    save_depth(path, DepthVideo(depth, from_focal(90, WIDTH, HEIGHT), "file"))
    return path


def missing(name: str) -> str:
    return registry.missing(estimators()[name])


def test_every_estimator_says_its_licence_and_whether_it_may_be_used_commercially():
    known = estimators()
    assert set(known) == {"file", "video-depth-anything", "moge", "depthcrafter", "plane"}
    assert [name for name, spec in known.items() if not spec.commercial] == ["depthcrafter"]
    assert [name for name, spec in known.items() if spec.terms] == ["depthcrafter"]
    assert [name for name, spec in known.items() if spec.is_helper] == ["moge"]
    assert [name for name, spec in known.items() if spec.is_guess] == ["plane"]
    assert next(iter(known)) == "file"


def test_every_model_is_pinned_to_a_commit():
    for part in [part for spec in estimators().values() for part in spec.parts]:
        assert re.fullmatch("[0-9a-f]{40}", part.revision), part.name
        assert len(part.sha256) in (0, len(part.files))
        assert all(re.fullmatch("([0-9a-f]{64})?", digest) for digest in part.sha256)
        assert {part.folder} == {file.partition("/")[0] for file in part.files}


def test_only_models_with_a_permissive_licence_can_be_fetched_without_accepting_one(tmp_path):
    restricted = [part for spec in estimators().values() for part in spec.parts if part.research_only]
    assert {part.name for part in restricted} == {"DepthCrafter", "Stable Video Diffusion"}
    with pytest.raises(InputError, match="accept its licence"):
        store.fetch(restricted[0], tmp_path)


def test_without_models_the_sentence_says_what_is_missing():
    assert missing("file") == missing("plane") == ""
    for name in ("video-depth-anything", "moge", "depthcrafter"):
        assert missing(name).endswith(".")
        assert "pip install 'ex4d[" in missing(name) or "`ex4d models`" in missing(name)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("video-depth-anything", "torch", "depth"),
        ("moge", "safetensors", "depth"),
        ("depthcrafter", "diffusers", "depthcrafter"),
        ("plane", "cv2", "render"),
    ],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch, name, package, extra):
    monkeypatch.setattr(extras, "find_spec", lambda asked: None if asked == package else True)
    assert f"needs the Python package {package}: pip install 'ex4d[{extra}]'" in missing(name)


def test_a_damaged_model_file_counts_as_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: True)
    assert "missing" in missing("video-depth-anything")
    path = tmp_path / "models" / "Video-Depth-Anything-Small" / "video_depth_anything_vits.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff" * 100)
    assert "video_depth_anything_vits" in missing("video-depth-anything")


def test_another_models_file_counts_as_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda name: True)
    entry = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    for part in estimators()["moge"].parts:
        path = (tmp_path / "models" / part.files[0]).with_suffix(".safetensors")
        path.parent.mkdir(parents=True)
        path.write_bytes(struct.pack("<Q", len(entry)) + entry + bytes(4))
    assert "is another model" in missing("moge")


def test_auto_takes_the_file_beside_the_clip_else_the_guess_and_says_why(tmp_path):
    video = tmp_path / "shot.mp4"
    video.write_bytes(b"")
    choice = choose("auto", video)
    assert (choice.spec.name, choice.file) == ("plane", None)
    assert "Video-Depth-Anything" in choice.note
    beside = depth_file(tmp_path / "shot.depth.npz")
    choice = choose("auto", video)
    assert (choice.spec.name, choice.file, choice.note) == ("file", beside, "")
    named = depth_file(tmp_path / "other.npz")
    assert choose("auto", video, named).file == named


def test_auto_takes_the_best_that_is_there_and_never_what_asks_for_consent(monkeypatch):
    monkeypatch.setattr(registry, "missing", lambda spec: "")
    assert choose("auto").spec.name == "video-depth-anything"
    assert choose("auto").note == ""
    known = {"strict": replace(RELATIVE, name="strict", terms="Never on Mondays", rank=9, run=lambda *_: None)}
    with pytest.raises(InputError, match="No depth estimator can run here"):
        choose("auto", known=known)


def test_choices_that_cannot_be_are_refused(tmp_path):
    for arguments, words in [
        (("midas",), "no depth estimator 'midas' here: choose one of auto, file, video-depth-anything"),
        (("moge",), "for other estimators"),
        (("file", tmp_path / "shot.mp4"), r"no depth file beside shot\.mp4"),
        (("video-depth-anything",), "Video-Depth-Anything Small"),
        (("plane", None, tmp_path / "d.npz"), "reads no depth file"),
    ]:
        with pytest.raises(InputError, match=words):
            choose(*arguments)


def test_a_research_licence_has_to_be_accepted_first(monkeypatch):
    monkeypatch.setattr(registry, "missing", lambda spec: "")
    with pytest.raises(InputError, match=r"never commercially.*: accept these terms first"):
        estimate("depthcrafter", clip_of())


def test_a_file_is_read_as_it_is_said(tmp_path):
    path = depth_file(tmp_path / "d.npz")
    made = estimate("file", clip_of(), file=path, reading=DepthEncoding(unit=0.01))
    assert made.depth.depth.max() == pytest.approx(0.09)
    assert made.scale_note == "The distances are in metres."
    assert made.confidence is None


def test_a_job_of_before_that_calls_numbers_distances_needs_no_file():
    made = estimate("plane", clip_of(), reading=DepthEncoding(convention="depth"))
    assert made.depth.provider == "plane"
    with pytest.raises(InputError, match="but there is no such file"):
        estimate("plane", clip_of(), reading=DepthEncoding(convention="disparity"))


def test_the_guess_is_labelled_in_every_output():
    made = estimate("auto", clip_of())
    assert made.depth.provider == "plane"
    assert plane.NOTE in made.depth.notes
    assert made.depth.is_guess
    assert made.choice_note.startswith("Nothing better than Ground Plane and Parallax can run here: Video-Depth-")


def test_a_guess_stays_one_when_it_comes_back_as_a_file_even_of_an_older_version(tmp_path):
    made = estimate("plane", clip_of())
    made.save(tmp_path / "new.npz")
    assert estimate("file", clip_of(), file=tmp_path / "new.npz").depth.is_guess
    np.savez(tmp_path / "old.npz", depth=made.depth.depth, intrinsics=made.depth.intrinsics, provider="plane")
    read = estimate("file", clip_of(), file=tmp_path / "old.npz").depth
    assert read.is_guess
    assert plane.NOTE in read.notes
    assert not estimate("file", clip_of(), file=depth_file(tmp_path / "d.npz")).depth.is_guess


def test_depth_that_was_made_under_terms_stays_under_them_as_a_file(tmp_path):
    terms = f"{estimators()['depthcrafter'].terms}."
    depth = DepthVideo(np.ones((3, HEIGHT, WIDTH), np.float32), from_focal(90, WIDTH, HEIGHT), "depthcrafter")
    save_depth(tmp_path / "d.npz", depth)
    read = estimate("file", clip_of(), file=tmp_path / "d.npz")
    assert read.licence == terms
    assert read.depth.notes.count(terms) == 1


def test_an_estimator_of_another_package_is_found_chosen_and_run(monkeypatch):
    assert "flat-wall" not in estimators()
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "plugins")
    assert estimators()["flat-wall"].title == "Flat Wall"
    made = estimate("flat-wall", clip_of(), focal_px=90)
    assert (made.depth.depth == 3).all()
    assert made.depth.provider == "flat-wall"
    assert made.depth.intrinsics[0, 0, 0] == 90
    assert made.scale_note in made.depth.notes
    assert choose("auto").spec.name == "plane", "the default rank takes nothing's place"


def test_the_second_time_nothing_is_estimated(monkeypatch):
    first = estimate("plane", clip_of())
    monkeypatch.setattr(plane, "estimate", lambda *_: pytest.fail("estimated again"))
    second = estimate("plane", clip_of())
    assert np.array_equal(first.depth.depth, second.depth.depth)
    assert np.array_equal(first.depth.intrinsics, second.depth.intrinsics)
    assert (first.depth.notes, first.scale_note, first.licence) == (
        second.depth.notes,
        second.scale_note,
        second.licence,
    )


def test_other_frames_settings_or_weights_are_estimated_anew(tmp_path):
    weights = tmp_path / "w"
    weights.write_bytes(b"1")
    key = cached.key(clip_of(), "a", 1, {"focal_px": None}, (weights,))
    assert key == cached.key(replace(clip_of(), source="b.mp4"), "a", 1, {"focal_px": None}, (weights,))
    others = [
        cached.key(clip_of(seed=1), "a", 1, {"focal_px": None}, (weights,)),
        cached.key(clip_of(2), "a", 1, {"focal_px": None}, (weights,)),
        cached.key(clip_of(), "b", 1, {"focal_px": None}, (weights,)),
        cached.key(clip_of(), "a", 2, {"focal_px": None}, (weights,)),
        cached.key(clip_of(), "a", 1, {"focal_px": 90}, (weights,)),
        cached.key(clip_of(), "a", 1, {"focal_px": None}),
    ]
    weights.write_bytes(b"12")
    others.append(cached.key(clip_of(), "a", 1, {"focal_px": None}, (weights,)))
    assert key not in others
    assert len(set(others)) == len(others)


@pytest.mark.parametrize(
    "damage", [lambda data: data[:1000], lambda data: b"", lambda data: data[:9000] + b"x" + data[9001:]]
)
def test_damaged_kept_depth_is_estimated_again_and_said(tmp_path, damage):
    first = estimate("plane", clip_of())
    (path,) = (tmp_path / "cache" / "depth").iterdir()
    path.write_bytes(damage(path.read_bytes()))
    again = estimate("plane", clip_of())
    assert np.array_equal(first.depth.depth, again.depth.depth)
    assert any("damaged, so the depth was estimated again" in note for note in again.depth.notes)
    assert estimate("plane", clip_of()).depth.notes == first.depth.notes


def test_again_estimates_although_it_is_kept():
    estimate("plane", clip_of())
    stages = []
    estimate("plane", clip_of(), progress=lambda stage, *_: stages.append(stage))
    assert stages == []
    estimate("plane", clip_of(), again=True, progress=lambda stage, *_: stages.append(stage))
    assert stages


def test_confidence_is_kept_too_and_the_oldest_depth_goes_first(tmp_path, monkeypatch):
    depth = DepthVideo(np.ones((1, 4, 4), np.float32), from_focal(4, 4, 4), "x")
    made = Estimate(depth, "unit", "licence", np.full((1, 4, 4), 0.5, np.float32))
    cached.kept("a", lambda: made)
    assert (cached.kept("a", lambda: pytest.fail("estimated again")).confidence == 0.5).all()
    monkeypatch.setattr(cached, "LIMIT_BYTES", 1)
    cached.kept("b", lambda: made)
    assert [path.name for path in (tmp_path / "cache" / "depth").iterdir()] == ["b.npz"]


def test_a_stopped_estimate_leaves_nothing_behind(tmp_path):
    def stop(stage: str, step: int, steps: int, picture: object = None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate("plane", clip_of(), progress=stop)
    assert list((tmp_path / "cache" / "depth").iterdir()) == []


def disparity_and_truth() -> tuple[np.ndarray, np.ndarray]:
    """Relative disparity of a shot and its true depth in metres."""
    disparity = np.linspace(0.1, 1, 3 * HEIGHT * WIDTH, dtype=np.float32).reshape(3, HEIGHT, WIDTH)
    return disparity, 1 / (0.5 * disparity + 0.02)


def test_key_frames_give_metres_and_the_lens_to_the_whole_shot():
    disparity, truth = disparity_and_truth()
    seen = truth[[0, 2]].astype(np.float32)
    seen[0, :9] = np.nan
    metric = Metric(np.array([0, 2]), seen, 77.0, "seen by a helper", "In metres.")
    made = scaled(RELATIVE, clip_of(), disparity, None, metric)
    assert np.allclose(made.depth.depth, truth, rtol=1e-4)
    assert made.depth.intrinsics[1, 0, 0] == 77
    assert made.scale_note == "In metres."
    assert "seen by a helper" in made.depth.notes
    by_hand = scaled(RELATIVE, clip_of(), disparity, 50, metric)
    assert by_hand.depth.intrinsics[1, 0, 0] == 50


def test_without_a_scale_the_shot_is_mapped_as_released_and_says_so():
    disparity, truth = disparity_and_truth()
    made = scaled(RELATIVE, clip_of(), disparity, None, None)
    assert made.depth.depth.min() == pytest.approx(10000 / 3900)
    assert made.depth.depth.max() == pytest.approx(1e4)
    assert made.scale_note == NO_UNIT
    swapped = Metric(np.array([0, 1, 2]), (1 / truth).astype(np.float32), np.nan, "swapped", "In metres.")
    made = scaled(RELATIVE, clip_of(), disparity, None, swapped)
    assert made.scale_note == NO_UNIT
    assert any("swapped" in note for note in made.depth.notes)


def relative(clip: Clip, request: Request) -> Estimate:
    """An estimator that takes its scale from any available helper."""
    return scaled(RELATIVE, clip, disparity_and_truth()[0], request.focal_px, request.metric())


def measures(clip: Clip, numbers: np.ndarray, request: Request) -> Metric:
    truth = disparity_and_truth()[1].astype(np.float32)
    return Metric(numbers, truth[numbers], 77.0, f"Measured on {request.device}.", "In metres.")


def fails(clip: Clip, numbers: np.ndarray, request: Request) -> Metric:
    raise InputError("Nothing to be seen.")


@pytest.mark.parametrize("measure", [measures, fails])
def test_lens_and_scale_come_from_whatever_helper_is_installed(monkeypatch, measure):
    needy = replace(RELATIVE, run=relative, uses_metric=True)
    helper = Spec("helper", "Helper", "Measures", measure=measure)
    monkeypatch.setattr(registry, "estimators", lambda: {"relative": needy, "helper": helper})
    made = estimate("relative", clip_of(), device="cuda:1")
    if measure is measures:
        assert np.allclose(made.depth.depth, disparity_and_truth()[1], rtol=1e-4)
        assert made.depth.intrinsics[0, 0, 0] == 77
        assert {"Measured on cuda:1.", "In metres."} <= set(made.depth.notes)
    else:
        assert "Helper gives no scale: Nothing to be seen." in made.depth.notes
        assert made.scale_note == NO_UNIT
    monkeypatch.setattr(registry, "estimators", lambda: {"relative": needy})
    assert estimate("relative", clip_of()).scale_note == NO_UNIT, "kept depth of another helper is not taken"


def test_a_depth_file_is_read_without_a_folder_of_models(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "folder", lambda: pytest.fail("asked for the folder of models"))
    assert estimate("file", clip_of(), file=depth_file(tmp_path / "d.npz")).depth.provider == "file"


def test_choosing_and_listing_import_neither_torch_nor_opencv():
    code = (
        "import sys\nfrom ex4d.depth import registry\n"
        "[registry.missing(spec) for spec in registry.estimators().values()]\n"
        "print([name for name in ('torch', 'cv2', 'av', 'OpenEXR') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def made_by(monkeypatch, run):
    """Estimate with an estimator `odd` that runs `run`."""
    monkeypatch.setattr(registry, "estimators", lambda: {"odd": Spec("odd", "Odd", "For tests", run)})
    return estimate("odd", clip_of())


def a_wall(frames=3, provider="odd", notes=()):
    depth = np.full((frames, HEIGHT, WIDTH), 2, np.float32)
    return Estimate(DepthVideo(depth, from_focal(90, WIDTH, HEIGHT), provider, notes), NO_UNIT, "any use")


def not_finite_afterwards():
    made = a_wall()
    made.depth.depth[0, 0, 0] = np.nan
    return made


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: None, "it must be an Estimate with a DepthVideo, not NoneType."),
        (lambda: a_wall(2), "depth must have the shape (3, 64, 96), not (2, 64, 96)."),
        (lambda: a_wall(provider="another"), "provider must be its own name, not 'another'."),
        (lambda: a_wall(notes="a note"), "notes must be a tuple, not str."),
        (lambda: replace(a_wall(), licence=None), "licence must be of type str, not NoneType."),
        (not_finite_afterwards, "Depth must be finite and above 0 everywhere, which frame 0 (from 0) is not."),
    ],
)
def test_what_an_estimator_gives_back_must_be_depth_of_the_clip_under_its_own_name(monkeypatch, make, wrong):
    with pytest.raises(PluginError) as told:
        made_by(monkeypatch, lambda clip, request: make())
    assert str(told.value) == f"The depth estimator odd returned something that cannot be used: {wrong}"


@pytest.mark.parametrize("error", [TypeError("no such thing"), SystemExit("no such thing")])
def test_an_error_of_an_estimator_is_a_sentence_with_its_name(monkeypatch, error):
    def run(clip, request):
        raise error

    with pytest.raises(PluginError) as told:
        made_by(monkeypatch, run)
    assert str(told.value) == f"The depth estimator odd failed: {type(error).__name__}: no such thing"


def test_an_estimator_whose_packages_cannot_be_looked_for_lacks_something():
    odd = replace(RELATIVE, packages=(extras.Package("nowhere_to_be_found.inside"),))
    assert registry.missing(odd) == (
        "Relative cannot tell whether it can run here: ModuleNotFoundError: No module named 'nowhere_to_be_found'"
    )
