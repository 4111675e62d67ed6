from unittest.mock import patch

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra depth: make test-wan")
pytest.importorskip("safetensors", reason="needs the extra depth: make test-wan")
from tiny_video_depth_anything import SHAPE, published

from ex4d.depth.estimators import video_depth_anything_network as vda
from ex4d.depth.estimators.video_depth_anything import PART
from ex4d.errors import InputError
from ex4d.weights import tensors
from ex4d.weights.store import key_hash

pytestmark = pytest.mark.depth


@pytest.fixture(autouse=True)
def small_pictures():
    with patch.object(vda, "SHORT_SIDE", 42):
        yield


@pytest.fixture
def file(tmp_path):
    return published(tmp_path / "video_depth_anything_vits.pth")


@pytest.fixture
def model(file):
    return vda.load(file, shape=SHAPE)


def clip(frames, height=30, width=44, seed=0):
    """Frames of a pattern that drifts, so that no two are the same."""
    random = np.random.default_rng(seed).integers(0, 255, (height, width + frames, 3), np.uint8)
    return np.stack([random[:, n : n + width] for n in range(frames)])


def test_the_published_model_is_the_one_that_is_listed():
    # The hash of the part was taken of the publisher's own class.
    with torch.device("meta"):
        model = vda.VideoDepthAnything(vda.SMALL)
    assert key_hash({name: tuple(t.shape) for name, t in model.state_dict().items()}) == PART.keys


@pytest.mark.parametrize("frames", [1, 9, 22, 23, 32, 33, 60])
def test_a_clip_of_any_length_gives_one_disparity_a_frame(model, frames):
    shown = []
    seen = list(vda.estimated(clip(frames), model, lambda *step: shown.append(step[:3])))
    assert len(seen) == frames
    assert all(d.shape == (30, 44) and d.dtype == np.float32 and np.isfinite(d).all() for d in seen)
    assert min(d.min() for d in seen) >= 0
    assert max(d.std() for d in seen) > 0
    assert shown[-1] == ("Video-Depth-Anything", frames, frames)


def test_frames_come_before_the_whole_clip_was_seen(model):
    shown = []
    disparities = vda.estimated(clip(120), model, lambda *step: shown.append(step[1]))
    for _ in range(24):
        next(disparities)
    assert shown == [32]
    next(disparities)
    assert shown == [32, 54]


def plain(frames, model):
    """The published procedure, with every frame prepared and every window kept: windows of 32, carried frames, fit."""
    size = vda.working_size(*frames.shape[1:3])
    extra = (22 - len(frames) % 22) % 22 + 10
    padded = torch.cat([vda._shown(frames, size), vda._shown(frames[-1:].repeat(extra, 0), size)])
    depths, before = [], None
    for start in range(0, len(frames), 22):
        window = padded[start : start + 32].clone()
        if before is not None:
            window[:10] = before[[0, 12, *range(24, 32)]]
        seen = torch.nn.functional.interpolate(
            model(window)[:, None], frames.shape[1:3], mode="bilinear", align_corners=True
        )
        depths.append(seen[:, 0].detach().numpy().astype(np.float64))
        before = window
    aligned = list(depths[0])
    references = [depths[0][0], depths[0][12]]
    for window in depths[1:]:
        x, y = np.concatenate(list(window[:2])).ravel(), np.concatenate(references).ravel()
        scale, shift = np.linalg.lstsq(np.stack([x, np.ones_like(x)], 1), y, rcond=None)[0]
        fitted = np.clip(window * scale + shift, 0, None)
        for n in range(8):
            aligned[n - 8] = aligned[n - 8] * (1 - n / 7) + fitted[2 + n] * n / 7
        aligned += list(fitted[10:])
        references = [references[0], fitted[12]]
    return np.stack(aligned[: len(frames)])


def test_windows_are_made_and_joined_as_published(model):
    frames = clip(70)
    expected = plain(frames, model)
    found = np.stack(list(vda.estimated(frames, model)))
    np.testing.assert_allclose(found, expected, atol=1e-3 * expected.std())
    assert expected.std() > 0.05 * expected.max()


def test_a_window_of_another_scale_is_brought_to_that_of_the_first():
    random = np.random.default_rng(1)
    truth = random.uniform(1, 5, (76, 6, 8)).astype(np.float32)
    windows = []
    for start, (scale, shift) in zip((0, 22, 44), ((1, 0), (3, -1), (0.2, 4)), strict=True):
        window = truth[start : start + 32].copy()
        if start:
            window[:2] = truth[[0, start - 22 + 12]]
        windows.append(window * scale + shift)
    np.testing.assert_allclose(np.stack(list(vda.stitched(windows))), truth, rtol=1e-4)


def test_windows_without_any_depth_are_joined_all_the_same():
    flat = np.full((32, 4, 4), 2, np.float32)
    assert np.array_equal(np.stack(list(vda.stitched([flat, flat]))), np.full((54, 4, 4), 2))


@pytest.mark.parametrize(
    ("picture", "shown"),
    [
        ((576, 1024), (518, 924)),
        ((512, 512), (518, 518)),
        ((1024, 576), (924, 518)),
        ((100, 400), (224, 896)),
        ((480, 854), (518, 924)),
    ],
)
def test_the_model_is_shown_the_published_size(picture, shown):
    with patch.object(vda, "SHORT_SIDE", 518):
        assert vda.working_size(*picture) == shown


def test_converted_it_gives_the_same_and_holds_no_pickle(file, model):
    converted = tensors.as_safetensors(file, vda.NAME)
    assert converted.suffix == ".safetensors"
    frames = clip(3)
    for one, other in zip(
        vda.estimated(frames, model), vda.estimated(frames, vda.load(converted, shape=SHAPE)), strict=True
    ):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("head.motion_modules.0.temporal_transformer.norm.bias"), "lacks head.motion_modules.0"),
        (lambda s: s.update(more=torch.zeros(1)), "too much: more"),
        (lambda s: s.update({"pretrained.norm.bias": torch.zeros(7)}), r"pretrained.norm.bias has the shape \(7,\)"),
        (lambda s: s.update({"pretrained.norm.bias": torch.zeros(1).expand(10**9)}), "announces more than it holds"),
        (lambda s: s.clear(), "no tensors by name"),
    ],
)
def test_wrong_tensors_are_refused_in_a_sentence(file, change, said):
    tensors = torch.load(file, weights_only=True)
    change(tensors)
    torch.save(tensors, file)
    with pytest.raises(InputError, match=said) as raised:
        vda.load(file, shape=SHAPE)
    assert str(file) in str(raised.value)


def test_the_large_models_file_is_refused(file):
    with pytest.raises(InputError, match="another model"):
        vda.load(file)


def test_damaged_files_are_refused_in_a_sentence(file, tmp_path):
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"MZ" + whole):
        file.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read"):
            vda.load(file, shape=SHAPE)
    with pytest.raises(InputError, match="no Video-Depth-Anything weights"):
        vda.load(tmp_path / "nothing.pth")
