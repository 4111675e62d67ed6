import json
import struct
from importlib.util import find_spec
from unittest.mock import patch

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra depthcrafter: make test-wan")

from ex4d.depth.estimators import depthcrafter_network as depthcrafter
from ex4d.errors import Cancelled, InputError

pytestmark = [
    pytest.mark.depth,
    # diffusers' and transformers' warnings about themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]
needs_diffusers = pytest.mark.skipif(find_spec("diffusers") is None, reason="needs the extra depthcrafter")

if find_spec("diffusers"):
    import tiny_depthcrafter as tiny


@pytest.fixture
def clip():
    noise = np.random.default_rng(0).integers(0, 256, (9, 5, 7, 3), np.uint8)
    return noise.repeat(14, 1).repeat(11, 2)


def test_it_is_refused_until_the_licence_is_accepted(tmp_path):
    with pytest.raises(InputError, match="academic, research and education purposes only"):
        depthcrafter.disparity(np.zeros((1, 64, 64, 3), np.uint8), tmp_path, accept_licence=False)


@pytest.mark.skipif(find_spec("diffusers") is not None, reason="diffusers is here")
def test_without_diffusers_it_says_what_to_install(tmp_path):
    with pytest.raises(InputError, match=r"pip install '\.\[depthcrafter\]'"):
        depthcrafter.load(tmp_path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [((480, 854), (512, 832)), ((1080, 1920), (576, 1024)), ((1024, 576), (1024, 576)), ((20, 20), (64, 64))],
)
def test_it_works_at_the_sizes_of_the_release(given, expected):
    assert depthcrafter.working_size(*given) == expected


@needs_diffusers
def test_a_clip_gives_disparity_from_0_to_1_at_its_own_size(clip):
    stages = []
    result = depthcrafter.painted(clip, tiny.models(), lambda *report: stages.append(report[:3]))
    assert result.shape == clip.shape[:3]
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.ptp(result) > 0.5
    assert stages[-1] == ("DepthCrafter: decoding", 9, 9)
    assert ("DepthCrafter: denoising", 5, 5) in stages


@needs_diffusers
def test_the_same_clip_gives_the_same_disparity_whatever_was_drawn_before(clip):
    first = depthcrafter.painted(clip, tiny.models())
    torch.manual_seed(7)
    np.testing.assert_allclose(depthcrafter.painted(clip, tiny.models()), first, atol=1e-4)


@needs_diffusers
def test_every_frame_is_seen_with_its_own_embedding(clip):
    models = tiny.models()
    embeddings = torch.randn(4, 32)
    sample = torch.randn(1, 4, 8, 8, 8)
    time_ids = torch.tensor([[7.0, 127.0, 0.02]])

    def predicted(embeddings):
        with torch.inference_mode(), depthcrafter._seeing(models.unet, embeddings) as unet:
            return unet(sample, torch.tensor(1.0), time_ids)

    one = predicted(embeddings[:1].expand(4, -1))
    with torch.inference_mode():
        stock = models.unet(sample, torch.tensor(1.0), embeddings[:1, None], time_ids).sample
    assert torch.equal(one, stock)  # diffusers' own model uses one for all, also after ours has been released
    changed = embeddings[:1].repeat(4, 1)
    changed[3] = embeddings[3]
    assert not torch.equal(predicted(changed)[:, 3], one[:, 3])


@needs_diffusers
def test_a_long_clip_goes_in_windows_that_begin_from_each_others_ends():
    models = tiny.models()
    count = 41
    conditions, embeddings = torch.randn(count, 4, 8, 8), torch.randn(count, 32)
    steps = []

    def step(self, predicted, time, latents):
        done = original(self, predicted, time, latents)
        steps.append((latents.clone(), done.prev_sample.clone()))
        return done

    original = type(models.scheduler).step
    with (
        patch.multiple(depthcrafter, WINDOW=20, OVERLAP=6),
        patch.object(type(models.scheduler), "step", step),
        torch.inference_mode(),
    ):
        generator = torch.Generator().manual_seed(0)
        latents = depthcrafter._denoised(embeddings, conditions, models, generator, lambda *report: None)
    assert latents.shape == (count, 4, 8, 8)
    first, second, third = ([start for start, _ in steps][n * depthcrafter.STEPS] for n in range(3))
    ends = [end for _, end in steps][depthcrafter.STEPS - 1 :: depthcrafter.STEPS]
    assert [len(start) for start in (first, second, third)] == [20, 20, 13]

    noise = torch.randn((20, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    strength, strongest = models.scheduler.init_noise_sigma, models.scheduler.sigmas[0]
    assert torch.equal(first, noise * strength)
    assert torch.equal(second[6:], noise[:14] * strength)
    assert torch.equal(second[:6], ends[0][-6:] + noise[14:] * strongest)
    assert torch.equal(latents[:14], ends[0][:14])
    assert torch.equal(latents[14], ends[0][14])  # the overlap starts as the first window
    assert torch.equal(latents[19], ends[1][5])  # and ends as the second
    assert torch.equal(latents[34:], ends[2][6:])


@needs_diffusers
def test_cancelling_stops_between_two_steps(clip):
    def cancel(stage, step, steps, picture=None):
        if "denoising" in stage and step == 2:
            raise Cancelled("enough")

    models = tiny.models()
    with pytest.raises(Cancelled):
        depthcrafter.painted(clip, models, cancel)
    assert not any(block._forward_pre_hooks for block in models.unet.modules())


@needs_diffusers
def test_the_published_files_give_the_same_as_the_models_they_hold(tmp_path, clip):
    made = tiny.files(tmp_path)
    expected = depthcrafter.painted(clip, made)
    read = depthcrafter.disparity(clip, tmp_path, accept_licence=True)
    np.testing.assert_allclose(read, expected, atol=1e-4)


@needs_diffusers
@pytest.mark.parametrize("part", ["unet", "vae", "image_encoder"])
@pytest.mark.parametrize("damage", ["missing", "cut off", "huge header", "other model", "other config", "no config"])
def test_hostile_files_are_refused_in_a_sentence(tmp_path, part, damage):
    tiny.files(tmp_path)
    folder = tmp_path / depthcrafter.UNET if part == "unet" else tmp_path / depthcrafter.BASE / part
    (file,) = folder.glob("*.safetensors")
    config = folder / "config.json"
    if damage == "missing":
        file.unlink()
    elif damage == "cut off":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "huge header":
        with file.open("r+b") as opened:
            opened.write(struct.pack("<Q", 1 << 60))
    elif damage == "other model":
        (other,) = (tmp_path / depthcrafter.BASE / ("vae" if part != "vae" else "image_encoder")).glob("*.safetensors")
        file.write_bytes(other.read_bytes())
    elif damage == "other config":
        values = json.loads(config.read_text())
        key = "hidden_size" if part == "image_encoder" else "block_out_channels"
        values[key] = 64 if part == "image_encoder" else [64] * len(values[key])
        config.write_text(json.dumps(values))
    else:
        config.write_text("[]")
    with pytest.raises(InputError) as raised:
        depthcrafter.load(tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert str(raised.value).endswith(".")
