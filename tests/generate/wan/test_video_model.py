from importlib.util import find_spec
from unittest.mock import patch

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

import plain
import tiny

from ex4d.errors import Cancelled, InputError
from ex4d.generate.diffsynth import video_model as common
from ex4d.generate.runtime import blocks, offload
from ex4d.generate.runtime.resume import Checkpoint
from ex4d.generate.wan import video_model
from ex4d.generate.wan.adapter import Adapter, ModelShape
from ex4d.generate.wan.preparation import Prepared

pytestmark = pytest.mark.wan


def adapter(**changes):
    tensors = tiny.adapter_tensors(**changes)
    encoder = {name: tensor for name, tensor in tensors.items() if name.startswith("latent_")}
    lora = {name: tensor for name, tensor in tensors.items() if name not in encoder}
    return Adapter(encoder, lora, tiny.RANK, tuple(tiny.SHAPE.lora_modules()))


@pytest.fixture(scope="module")
def models():
    return video_model.assemble(tiny.pipeline(), adapter(), "reference")


@pytest.fixture(scope="module")
def shot():
    generator = torch.Generator().manual_seed(5)
    colour = torch.rand(5, 3, 32, 48, generator=generator) * 2 - 1
    mask = torch.where(torch.rand(5, 32, 48, generator=generator) < 0.3, -3.0, 1.0)
    mask[0] = 1
    return Prepared(colour, mask, np.zeros((5, 32, 48), np.uint8), frames=4, notes=("A note.",))


SHORT = video_model.Settings(steps=3)  # with guidance


def test_a_video_comes_out_and_says_how_it_was_made(models, shot):
    told = []
    result = video_model.generate(models, shot, tiny.prompts(), 7, SHORT, lambda *step: told.append(step))
    assert result.frames.shape == (4, 32, 48, 3)
    assert result.frames.dtype == np.uint8
    assert result.frames.std() > 1
    assert result.notes == ("A note.",)
    assert {"steps": 3, "guidance": 5.0, "shift": 5.0, "precision": "reference"}.items() <= result.settings.items()
    assert {"guided": 1.0, "reuse": 0.0, "predictions": 6}.items() <= result.settings.items()
    assert [step[:3] for step in told if step[0] == "Sampling"] == [("Sampling", n, 3) for n in range(4)]
    assert list(dict.fromkeys(step[0] for step in told)) == ["Encoding pictures", "Sampling", "Decoding"]
    pictures = [step[3] for step in told if len(step) == 4]
    assert len(pictures) == 3
    assert {(picture.shape, picture.dtype) for picture in pictures} == {((107, 160, 3), np.dtype(np.uint8))}


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(models, shot):
    one, two, other = (video_model.generate(models, shot, tiny.prompts(), seed, SHORT).frames for seed in (1, 1, 2))
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


def test_it_equals_the_model_written_out_in_plain_torch(models, shot):
    torch.manual_seed(0)
    untouched, parts = tiny.pipeline(), adapter()
    weights = dict(untouched.dit.state_dict())
    settings, texts = video_model.Settings(steps=4, guidance=3.0), tiny.prompts()
    with torch.no_grad():
        inputs = video_model._encode(models, shot, video_model.silent)
        colour, mask = (
            untouched.vae.encode([video], device="cpu")
            for video in (shot.colour.transpose(0, 1), shot.mask[None].expand(3, -1, -1, -1))
        )
        first = torch.cat([shot.colour[:1], torch.zeros(4, 3, 32, 48)]).transpose(0, 1)
        known = torch.tensor([1.0, 0.0]).view(1, 1, 2, 1, 1).expand(1, 4, 2, 4, 6)
        y = torch.cat([known, untouched.vae.encode([first], device="cpu")], 1)
        feature = untouched.image_encoder.encode_image([shot.colour[:1].clone()])
        added = plain.camera(parts.encoder, colour, mask)
        assert torch.equal(inputs.y, y)
        assert torch.equal(inputs.clip_feature, feature)
        assert torch.allclose(inputs.camera, added, atol=1e-5)
        assert added.abs().mean() > 0.01

        def guess(latents, time, prompt):
            context = (texts.positive, texts.negative)[prompt]
            return plain.forward(weights, parts.lora, torch.cat([latents, y], 1), time, context, feature, added, 4)

        noise = torch.randn((1, 16, 2, 4, 6), generator=torch.Generator().manual_seed(11))
        theirs = plain.sample(guess, noise, 4, 3.0, 5.0)
        ours, asked = video_model._sample(models, inputs, texts, 11, settings, video_model.silent)
    assert asked == 8
    assert (ours - theirs).norm() / theirs.norm() < 1e-5
    assert (ours - noise).norm() / noise.norm() > 0.1


def test_the_camera_changes_the_result_and_guidance_1_asks_once(models, shot):
    one = video_model.generate(models, shot, tiny.prompts(), 0, video_model.Settings(steps=2, guidance=1))
    assert one.settings["predictions"] == 2
    assert (
        video_model.generate(models, shot, tiny.prompts(), 0, video_model.Settings(steps=2)).settings["predictions"]
        == 4
    )
    half = video_model.generate(models, shot, tiny.prompts(), 0, video_model.Settings(steps=2, guided=0.5))
    assert half.settings["predictions"] == 3
    moved = Prepared(shot.colour, torch.full_like(shot.mask, 1), shot.sure, shot.frames)
    two = video_model.generate(models, moved, tiny.prompts(), 0, video_model.Settings(steps=2, guidance=1)).frames
    assert not np.array_equal(one.frames, two)


def test_cancel_stops_between_two_steps_and_leaves_nothing_behind(models, shot):
    reference = video_model.generate(models, shot, tiny.prompts(), 3, SHORT).frames
    steps = []

    def stop(stage, step, count, picture=None):
        if stage == "Sampling":
            steps.append(step)
            if step == 2:
                raise Cancelled("stop")

    with pytest.raises(Cancelled):
        video_model.generate(models, shot, tiny.prompts(), 3, SHORT, stop)
    assert steps == [0, 1, 2]
    assert not models.pipe.dit.patch_embedding._forward_hooks
    assert np.array_equal(video_model.generate(models, shot, tiny.prompts(), 3, SHORT).frames, reference)


def test_the_hook_is_there_within_and_gone_afterwards_also_on_errors(models):
    dit = models.pipe.dit
    video = torch.randn(1, 36, 1, 4, 4)
    with torch.no_grad():
        before = dit.patch_embedding(video)
        with video_model.camera_latent(dit, torch.ones(1, 96, 1, 2, 2)):
            assert torch.equal(dit.patch_embedding(video), before + 1)
            both = dit.patch_embedding(video.repeat(2, 1, 1, 1, 1))  # as with batched guidance
            assert torch.allclose(both, (before + 1).expand(2, -1, -1, -1, -1), atol=1e-5)
        assert torch.equal(dit.patch_embedding(video), before)
        with (
            pytest.raises(ValueError, match="does not fit"),
            video_model.camera_latent(dit, torch.ones(1, 96, 1, 1, 2)),
        ):
            dit.patch_embedding(video)
    assert not dit.patch_embedding._forward_hooks


def test_every_layer_of_the_adapter_is_in_the_weights_and_no_other_changes():
    pipe, parts = tiny.pipeline(), adapter()
    block = pipe.dit.blocks[1]
    lora = {name.removeprefix("blocks.1."): ab for name, ab in parts.lora_layers().items() if "blocks.1." in name}
    assert len(lora) == 10
    without, whole = blocks.gather(block, [], False), blocks.gather(block, [lora], False)
    for name in ("q", "k", "v", "out", "cross_q", "cross_k", "cross_v", "cross_out", "up", "down"):
        assert not torch.equal(getattr(without, name).weight, getattr(whole, name).weight), name
    assert torch.equal(without.image_k.weight, whole.image_k.weight)
    q, (a, b) = block.self_attn.q.weight, lora["self_attn.q"]
    assert torch.allclose(whole.q.weight, q + b @ a, atol=1e-6)
    with pytest.raises(ValueError, match=r"no linear layer self_attn\.norm_q"):
        blocks.gather(block, [{"self_attn.norm_q": (a, b)}], False)


def test_an_adapter_of_a_larger_model_is_refused():
    parts = adapter(shape=ModelShape(tiny.SHAPE.dim, tiny.SHAPE.ffn_dim, 3))
    more = Adapter(parts.encoder, parts.lora, parts.rank, tuple(ModelShape(96, 256, 3).lora_modules()))
    with pytest.raises(AttributeError):
        video_model.assemble(tiny.pipeline(), more, "reference")


def test_where_the_blocks_lie_does_not_change_a_bit(shot):
    prompts, results = tiny.prompts(), []
    for streamed in ((), (1,), (0, 1)):
        pipe = tiny.pipeline()
        with patch.object(offload, "Plan", lambda count, streamed=streamed: LAYOUT(count, streamed)):
            models = video_model.assemble(pipe, adapter(), "reference")
        assert models.layout.streamed == streamed
        results.append(video_model.generate(models, shot, prompts, 0, SHORT).frames.tobytes())
    assert len(set(results)) == 1


LAYOUT = offload.Plan


def test_8_bits_cost_little_and_say_that_they_are_only_kept_so_here(models, shot):
    exact = one_step(models, shot)
    noise = torch.randn((1, 16, 2, 4, 6), generator=torch.Generator().manual_seed(0))
    error = {}
    for precision in ("reference", "fast"):
        rounded = video_model.assemble(tiny.pipeline().to(torch.bfloat16), adapter(), precision)
        latents = one_step(rounded, shot)
        assert latents.dtype == torch.float32
        error[precision] = float((latents - exact).norm() / (exact - noise).norm())
        assert any("8 bits" in note for note in rounded.notes) == (precision == "fast")
    assert error["reference"] < 0.7 * error["fast"], error
    assert error["fast"] < 0.1


def one_step(models, shot):
    with torch.no_grad():
        inputs = video_model._encode(models, shot, video_model.silent)
        return video_model._sample(
            models, inputs, tiny.prompts(), 0, video_model.Settings(steps=1, guidance=1), video_model.silent
        )[0]


def test_an_interrupted_job_goes_on_where_it_was_and_ends_with_the_same_bytes(models, shot, tmp_path):
    place = Checkpoint(tmp_path / "job.safetensors")
    settings = video_model.Settings(steps=8, guidance=1)
    whole = video_model.generate(models, shot, tiny.prompts(), 3, settings).frames

    def run(stop_at):
        steps = []

        def stop(stage, step, count, picture=None):
            if stage == "Sampling":
                steps.append(step)
                if step == stop_at:
                    raise Cancelled("stop")

        return steps, video_model.generate(models, shot, tiny.prompts(), 3, settings, stop, place).frames

    with pytest.raises(Cancelled):
        run(3)
    assert place.read() == {}  # nothing is saved this early
    with pytest.raises(Cancelled):
        run(7)
    assert int(place.read()["step"]) == common.KEPT_EVERY
    steps, frames = run(None)
    assert steps == [5, 6, 7, 8]
    assert frames.tobytes() == whole.tobytes()
    assert not place.path.exists()
    place.path.write_bytes(b"no tensors")
    steps, frames = run(None)
    assert steps[0] == 0
    assert frames.tobytes() == whole.tobytes()


def test_predictions_that_hardly_change_are_used_again(models, shot):
    all_of_them = video_model.generate(models, shot, tiny.prompts(), 0, video_model.Settings(steps=12))
    some = video_model.generate(models, shot, tiny.prompts(), 0, video_model.Settings(steps=12, reuse=0.3))
    assert all_of_them.settings["predictions"] == 24
    assert 10 <= some.settings["predictions"] < 24  # the first four steps and the last are always computed
    difference = np.abs(all_of_them.frames.astype(int) - some.frames).mean()
    assert 0 < difference < 8


def test_sizes_that_the_model_cannot_take_are_refused(models, shot):
    six = Prepared(torch.zeros(6, 3, 32, 48), torch.zeros(6, 32, 48), shot.sure, 6)
    odd = Prepared(torch.zeros(5, 3, 32, 40), torch.zeros(5, 32, 40), shot.sure, 5)
    for wrong in (six, odd):
        with pytest.raises(InputError, match="multiples of 16"):
            video_model.generate(models, wrong, tiny.prompts(), 0, SHORT)
    with pytest.raises(InputError, match="at least one step"):
        video_model.generate(models, shot, tiny.prompts(), 0, video_model.Settings(steps=0))
