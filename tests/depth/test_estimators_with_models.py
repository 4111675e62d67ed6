"""Estimators with tiny random models under the published names: from clip to distances, licence and lens."""

from fractions import Fraction
from unittest.mock import patch

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra depth: make test-wan")
pytest.importorskip("safetensors", reason="needs the extra depth: make test-wan")

from test_moge import TINY
from tiny_video_depth_anything import SHAPE, published

from ex4d.depth import registry
from ex4d.depth.base import Request, detail_for
from ex4d.depth.estimators import moge_network as moge
from ex4d.depth.registry import choose, estimate, estimators
from ex4d.depth.scaling import KEY_FRAMES, key_frames
from ex4d.geometry.intrinsics import fit_frame
from ex4d.media.clip import Clip
from ex4d.networks import dinov2
from ex4d.networks.devices import torch_device
from ex4d.weights import store

pytestmark = [
    pytest.mark.depth,
    # diffusers' and transformers' warnings about themselves, and those about the absurd distances of random weights.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::RuntimeWarning"),
]


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path / "models"))


def missing(name: str) -> str:
    return registry.missing(estimators()[name])


def clip_of(frames: int, height: int = 64, width: int = 96) -> Clip:
    pictures = np.random.default_rng(0).integers(0, 255, (frames, height, width, 3), np.uint8)
    return Clip(pictures, Fraction(24), "a.mp4", 0, fit_frame(width, height))


def test_depthcrafter_maps_as_released_and_carries_its_licence(tmp_path):
    pytest.importorskip("diffusers", reason="needs the extra depthcrafter")
    from tiny_depthcrafter import files

    assert "missing" in missing("depthcrafter")
    files(tmp_path / "models")
    assert missing("depthcrafter") == ""
    made = estimate("depthcrafter", clip_of(3), accept_licence=True)
    assert made.depth.depth.shape == (3, 64, 96)
    assert made.depth.depth.min() == pytest.approx(10000 / 3900)
    assert made.depth.depth.max() == pytest.approx(1e4)
    assert "never commercially" in made.licence
    assert made.licence in made.depth.notes
    again = estimate("depthcrafter", clip_of(3), accept_licence=True)
    assert np.array_equal(again.depth.depth, made.depth.depth)


@pytest.fixture
def tiny_moge(tmp_path):
    """MoGe-2 with random weights under the name of its largest model."""
    with patch.dict(dinov2.SHAPES, tiny=dinov2.BackboneShape(32, 4, 2, side=5)):
        torch.manual_seed(0)
        path = tmp_path / "models" / "moge-2-vitl" / "model.pt"
        path.parent.mkdir(parents=True)
        state = moge.MoGe(moge.Shape.from_config(TINY)).state_dict()
        state["encoder.image_mean"] = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
        state["encoder.image_std"] = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        torch.save({"model_config": TINY, "model": state}, path)
        yield


def test_key_frames_are_spread_over_the_shot_and_seen_by_moge(tiny_moge, monkeypatch):
    assert missing("moge") == ""
    monkeypatch.setattr(moge, "focal_and_shift", lambda points, mask: (1.0, 9.0))  # random points reveal no lens
    told = []
    request = Request(progress=lambda stage, step, steps, picture=None: told.append((step, steps)))
    seen = estimators()["moge"].measure(clip_of(9), key_frames(9), request)
    assert told == [(step, 5) for step in (1, 2, 3, 4, 5)]
    assert list(seen.numbers) == [0, 2, 4, 6, 8]
    assert len(seen.numbers) == KEY_FRAMES
    assert seen.depth.shape == (5, 64, 96)
    assert np.isfinite(seen.depth).any()
    assert seen.focal_px == pytest.approx(np.hypot(64, 96) / 2)
    assert "MoGe-2" in seen.note
    assert "metres" in seen.scale_note


def test_a_helper_that_measures_nothing_is_told_of_and_the_depth_has_no_unit(tmp_path, tiny_moge, monkeypatch):
    from ex4d.depth.estimators import video_depth_anything_network as vda
    from ex4d.depth.estimators.video_depth_anything import PART

    monkeypatch.setattr(vda, "SMALL", SHAPE)
    monkeypatch.setattr(vda, "SHORT_SIDE", 56)
    monkeypatch.setattr(vda, "REDUCED_SIDE", 42)
    monkeypatch.setattr(moge, "focal_and_shift", lambda points, mask: None)
    published(store.located(PART.files[0], tmp_path / "models"))
    made = estimate("video-depth-anything", clip_of(3), device="cpu")
    assert any(note.startswith("MoGe-2 gives no scale: ") for note in made.depth.notes)
    assert "mapped as in EX-4D's release" in made.scale_note


def test_video_depth_anything_runs_without_asking_where_its_file_is(tmp_path, monkeypatch):
    from ex4d.depth.estimators import video_depth_anything_network as vda
    from ex4d.depth.estimators.video_depth_anything import PART

    monkeypatch.setattr(vda, "SMALL", SHAPE)
    monkeypatch.setattr(vda, "SHORT_SIDE", 56)
    monkeypatch.setattr(vda, "REDUCED_SIDE", 42)
    clip = clip_of(35)
    assert choose("auto").spec.name == "plane"
    published(store.located(PART.files[0], tmp_path / "models"))
    assert (choose("auto").spec.name, choose("auto").note) == ("video-depth-anything", "")
    made = estimate("auto", clip)
    assert made.depth.provider == "video-depth-anything"
    assert made.depth.depth.shape == (35, 64, 96)
    assert made.depth.depth.max() == pytest.approx(1e4)
    assert made.licence == "Apache-2.0"
    assert "mapped as in EX-4D's release" in made.scale_note

    assert not made.depth.is_guess

    # Cached by content: nothing is predicted the second time.
    monkeypatch.setattr(vda, "load", None)
    again = estimate("auto", clip)
    assert np.array_equal(again.depth.depth, made.depth.depth)


def test_on_the_cpu_the_detail_is_reduced_unless_full_is_asked_for_and_a_note_says_so(tmp_path, monkeypatch):
    from ex4d.depth.estimators import video_depth_anything_network as vda
    from ex4d.depth.estimators.video_depth_anything import PART

    monkeypatch.setattr(vda, "SMALL", SHAPE)
    monkeypatch.setattr(vda, "SHORT_SIDE", 56)
    monkeypatch.setattr(vda, "REDUCED_SIDE", 42)
    published(store.located(PART.files[0], tmp_path / "models"))
    note = (
        "The depth model worked at 56x42 pixels instead of 84x56, which is faster and coarser: set Depth Detail to"
        " Full for full detail."
    )
    reduced = estimate("video-depth-anything", clip_of(3), device="cpu")
    assert note in reduced.depth.notes
    full = estimate("video-depth-anything", clip_of(3), device="cpu", detail="full")
    assert not [said for said in full.depth.notes if "Depth Detail" in said]
    assert not np.array_equal(full.depth.depth, reduced.depth.depth)
    # Each is cached separately.
    monkeypatch.setattr(vda, "load", None)
    for kept, detail in ((reduced, "reduced"), (full, "full"), (reduced, "auto")):
        again = estimate("video-depth-anything", clip_of(3), device="cpu", detail=detail)
        assert np.array_equal(again.depth.depth, kept.depth.depth)


@pytest.mark.parametrize(
    ("cuda", "apple", "device", "detail"),
    [(True, True, "cuda", "full"), (False, True, "mps", "full"), (False, False, "cpu", "reduced")],
)
def test_a_gpu_is_taken_where_torch_can_use_one(cuda, apple, device, detail):
    with (
        patch.object(torch.cuda, "is_available", lambda: cuda),
        patch.object(torch.backends.mps, "is_available", lambda: apple),
    ):
        assert torch_device("auto") == device
        assert torch_device("cpu") == "cpu"
        assert detail_for(Request()) == detail
        assert detail_for(Request(detail="full")) == "full"
        assert detail_for(Request("cpu")) == "reduced"
