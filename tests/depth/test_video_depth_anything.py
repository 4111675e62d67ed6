from itertools import pairwise
from unittest.mock import patch

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra depth: make test-wan")
pytest.importorskip("safetensors", reason="needs the extra depth: make test-wan")
from tiny_video_depth_anything import SHAPE, published

from ex4d.depth.estimators import video_depth_anything_network as vda
from ex4d.depth.estimators.video_depth_anything import PART
from ex4d.errors import InputError
from ex4d.progress import silent
from ex4d.weights import tensors
from ex4d.weights.store import key_hash

pytestmark = pytest.mark.depth


SIDE = 42
"""Side of the pictures that the tiny model sees."""


@pytest.fixture
def file(tmp_path):
    return published(tmp_path / "video_depth_anything_vits.pth")


@pytest.fixture
def model(file):
    return vda.load(file, shape=SHAPE)


def estimated(frames, model, progress=silent):
    """Disparity of a clip, from small pictures."""
    return vda.estimated(frames, model, progress, SIDE)


def clip(frames, height=30, width=44, seed=0):
    """Frames with a drifting pattern, so that no two are the same."""
    random = np.random.default_rng(seed).integers(0, 255, (height, width + frames, 3), np.uint8)
    return np.stack([random[:, n : n + width] for n in range(frames)])


def test_the_published_model_is_the_one_that_is_listed():
    # The hash of the part was computed from the publisher's own class.
    with torch.device("meta"):
        model = vda.VideoDepthAnything(vda.SMALL)
    assert key_hash({name: tuple(t.shape) for name, t in model.state_dict().items()}) == PART.keys


@pytest.mark.parametrize("frames", [1, 9, 22, 23, 32, 33, 60])
def test_a_clip_of_any_length_gives_one_disparity_a_frame(model, frames):
    shown = []
    seen = list(estimated(clip(frames), model, lambda *step: shown.append(step[:3])))
    assert len(seen) == frames
    assert all(d.shape == (30, 44) and d.dtype == np.float32 and np.isfinite(d).all() for d in seen)
    assert min(d.min() for d in seen) >= 0
    assert max(d.std() for d in seen) > 0
    assert shown[-1] == ("Video-Depth-Anything", frames, frames)


def test_frames_come_before_the_whole_clip_was_seen(model):
    shown = []
    disparities = estimated(clip(120), model, lambda *step: shown.append(step[1]))
    for _ in range(24):
        next(disparities)
    first_window = shown[-1]
    assert 20 < first_window < 40
    next(disparities)
    assert shown[-1] > first_window


def test_every_frame_is_encoded_once_and_only_frames_of_the_clip_are_finished(model):
    encoded, finished = [], []
    encode, finish = model.pretrained.forward, model.head._finest
    with (
        patch.object(model.pretrained, "forward", lambda p, t: encoded.append(len(p)) or encode(p, t)),
        patch.object(model.head, "_finest", lambda x, *more: finished.append(len(x)) or finish(x, *more)),
    ):
        assert len(list(estimated(clip(49), model))) == 49
    assert sum(encoded) == 49
    assert sum(finished) == 32 + 27 + 5  # the second and third window begin with 10 known frames


@pytest.mark.parametrize("frames", [9, 49, 120])
def test_progress_rises_by_a_few_frames_at_a_time_as_the_work_does(model, frames):
    steps, encode = [], model.pretrained.forward
    work = []  # in frames of the image encoder, which takes most of the time
    with patch.object(model.pretrained, "forward", lambda p, t: work.append(len(p)) or encode(p, t)):
        list(estimated(clip(frames), model, lambda stage, step, of: steps.append((step, of, sum(work)))))
    numbers = [step for step, _, _ in steps]
    assert numbers == sorted(numbers)
    assert max(b - a for a, b in pairwise(numbers)) <= 4
    assert steps[-1] == (frames, frames, frames)
    for step, of, encoded in steps:
        assert abs(step / of - encoded / frames) < 0.35  # what is left can be predicted from what is done


def plain(frames, model):
    """The published procedure, preparing every frame and keeping every window: windows of 32, carried frames, fit."""
    size = vda.working_size(*frames.shape[1:3], SIDE)
    extra = (22 - len(frames) % 22) % 22 + 10
    padded = torch.cat([vda._shown(frames, size), vda._shown(frames[-1:].repeat(extra, 0), size)])
    depths, before = [], None
    for start in range(0, len(frames), 22):
        window = padded[start : start + 32].clone()
        if before is not None:
            window[:10] = before[[0, 12, *range(24, 32)]]
        seen = model.decoded(model.encoded(window), size, len(window), lambda work: None)[:, None]
        seen = torch.nn.functional.interpolate(seen, frames.shape[1:3], mode="bilinear", align_corners=True)
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
    found = np.stack(list(estimated(frames, model)))
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
    assert vda.working_size(*picture) == shown


def test_reduced_the_model_is_shown_the_same_shape_with_fewer_pixels():
    assert vda.working_size(576, 1024, vda.REDUCED_SIDE) == (392, 700)
    assert vda.working_size(1024, 576, vda.REDUCED_SIDE) == (700, 392)


def test_converted_it_gives_the_same_and_holds_no_pickle(file, model):
    converted = tensors.as_safetensors(file, vda.NAME)
    assert converted.suffix == ".safetensors"
    frames = clip(3)
    for one, other in zip(estimated(frames, model), estimated(frames, vda.load(converted, shape=SHAPE)), strict=True):
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
