from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

import plain
import tiny

from ex4d.errors import Cancelled, InputError
from ex4d.generate import wan
from ex4d.generate.checkpoint import Adapter
from ex4d.generate.preparation import Prepared

pytestmark = pytest.mark.wan


def adapter(**changes):
    tensors = tiny.adapter_tensors(**changes)
    encoder = {name: tensor for name, tensor in tensors.items() if name.startswith("latent_")}
    lora = {name: tensor for name, tensor in tensors.items() if name not in encoder}
    return Adapter(encoder, lora, tiny.RANK, tuple(tiny.SHAPE.lora_modules()))


@pytest.fixture(scope="module")
def models():
    return wan.assemble(tiny.pipeline(), adapter(), "reference")


@pytest.fixture(scope="module")
def shot():
    generator = torch.Generator().manual_seed(5)
    colour = torch.rand(5, 3, 32, 48, generator=generator) * 2 - 1
    mask = torch.where(torch.rand(5, 32, 48, generator=generator) < 0.3, -3.0, 1.0)
    mask[0] = 1
    return Prepared(colour, mask, np.zeros((5, 32, 48), np.uint8), frames=4, notes=("A note.",))


SHORT = wan.Settings(steps=3)  # with guidance


def test_a_video_comes_out_and_says_how_it_was_made(models, shot):
    told = []
    result = wan.generate(models, shot, 7, SHORT, tiny.prompts(), lambda *step: told.append(step))
    assert result.frames.shape == (4, 32, 48, 3)
    assert result.frames.dtype == np.uint8
    assert result.frames.std() > 1
    assert (result.generator, result.seed, result.is_preview) == ("wan", 7, False)
    assert result.notes == ("A note.",)
    assert {"steps": 3, "guidance": 5.0, "shift": 5.0, "precision": "reference"}.items() <= result.settings.items()
    assert [step for step in told if step[0] == "Sampling"] == [("Sampling", n, 3) for n in range(4)]
    assert list(dict.fromkeys(stage for stage, _, _ in told)) == [
        "Reading the prompt",
        "Encoding pictures",
        "Sampling",
        "Decoding",
    ]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(models, shot):
    one, two, other = (wan.generate(models, shot, seed, SHORT, tiny.prompts()).frames for seed in (1, 1, 2))
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != other.tobytes()


def test_it_equals_the_model_written_out_in_plain_torch(models, shot):
    torch.manual_seed(0)
    untouched, parts = tiny.pipeline(), adapter()
    weights = dict(untouched.dit.state_dict())
    settings, texts = wan.Settings(steps=4, guidance=3.0), tiny.prompts()
    with torch.no_grad():
        inputs = wan._encode(models, shot, wan.silent)
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
        ours = wan._sample(models, inputs, texts, 11, settings, wan.silent)
    assert (ours - theirs).norm() / theirs.norm() < 1e-5
    assert (ours - noise).norm() / noise.norm() > 0.1


def test_the_camera_changes_the_result_and_guidance_1_asks_once(models, shot):
    asked = []
    handle = models.pipe.dit.blocks[0].register_forward_hook(lambda *_: asked.append(1))
    try:
        one = wan.generate(models, shot, 0, wan.Settings(steps=2, guidance=1), tiny.prompts()).frames
        assert len(asked) == 2
        wan.generate(models, shot, 0, wan.Settings(steps=2), tiny.prompts())
        assert len(asked) == 6
    finally:
        handle.remove()
    moved = Prepared(shot.colour, torch.full_like(shot.mask, 1), shot.sure, shot.frames)
    two = wan.generate(models, moved, 0, wan.Settings(steps=2, guidance=1), tiny.prompts()).frames
    assert not np.array_equal(one, two)


def test_cancel_stops_between_two_steps_and_leaves_nothing_behind(models, shot):
    reference = wan.generate(models, shot, 3, SHORT, tiny.prompts()).frames
    steps = []

    def stop(stage, step, count):
        if stage == "Sampling":
            steps.append(step)
            if step == 2:
                raise Cancelled("stop")

    with pytest.raises(Cancelled):
        wan.generate(models, shot, 3, SHORT, tiny.prompts(), stop)
    assert steps == [0, 1, 2]
    assert not models.pipe.dit.patch_embedding._forward_hooks
    assert np.array_equal(wan.generate(models, shot, 3, SHORT, tiny.prompts()).frames, reference)


def test_the_hook_is_there_within_and_gone_afterwards_also_on_errors(models):
    dit = models.pipe.dit
    video = torch.randn(1, 36, 1, 4, 4)
    with torch.no_grad():
        before = dit.patch_embedding(video)
        with wan.camera_latent(dit, torch.ones(1, 96, 1, 2, 2)):
            assert torch.equal(dit.patch_embedding(video), before + 1)
            both = dit.patch_embedding(video.repeat(2, 1, 1, 1, 1))  # as with merged guidance
            assert torch.allclose(both, (before + 1).expand(2, -1, -1, -1, -1), atol=1e-5)
        assert torch.equal(dit.patch_embedding(video), before)
        with pytest.raises(ValueError, match="does not fit"), wan.camera_latent(dit, torch.ones(1, 96, 1, 1, 2)):
            dit.patch_embedding(video)
    assert not dit.patch_embedding._forward_hooks


def test_an_adapter_that_not_every_layer_takes_is_refused():
    pipe = tiny.pipeline()
    parts = adapter()
    lost = {name: tensor for name, tensor in parts.lora.items() if not name.startswith("blocks.1.ffn.2")}
    with pytest.raises(InputError, match=r"Only 19 of 20 layers took the adapter \(not: blocks\.1\.ffn\.2\)"):
        wan.add_lora(pipe, Adapter(parts.encoder, lost, parts.rank, parts.modules))


def test_the_shape_is_read_off_the_model(models):
    assert wan.shape_of(models.pipe.dit) == tiny.SHAPE


def test_reference_precision_is_nearer_to_float32_than_fast(models, shot):
    exact = one_step(models, shot)
    noise = torch.randn((1, 16, 2, 4, 6), generator=torch.Generator().manual_seed(0))
    error = {}
    for precision, between in (("reference", torch.float32), ("fast", torch.bfloat16)):
        pipe = tiny.pipeline().to(torch.bfloat16)
        rounded = wan.assemble(pipe, adapter(), precision)
        assert pipe.dit.blocks[0].ffn[0].weight.dtype == torch.bfloat16
        latents = one_step(rounded, shot)
        assert latents.dtype == between
        error[precision] = float((latents.float() - exact).norm() / (exact - noise).norm())
        frames = wan.generate(rounded, shot, 0, wan.Settings(steps=1), tiny.prompts()).frames
        assert frames.shape == (4, 32, 48, 3)
    assert error["reference"] < 0.7 * error["fast"], error
    assert error["fast"] < 0.1


def one_step(models, shot):
    with torch.no_grad():
        inputs = wan._encode(models, shot, wan.silent)
        return wan._sample(models, inputs, tiny.prompts(), 0, wan.Settings(steps=1, guidance=1), wan.silent)


def test_sizes_that_the_model_cannot_take_are_refused(models, shot):
    six = Prepared(torch.zeros(6, 3, 32, 48), torch.zeros(6, 32, 48), shot.sure, 6)
    odd = Prepared(torch.zeros(5, 3, 32, 40), torch.zeros(5, 32, 40), shot.sure, 5)
    for wrong in (six, odd):
        with pytest.raises(InputError, match="multiples of 16"):
            wan.generate(models, wrong, 0, SHORT, tiny.prompts())
    with pytest.raises(InputError, match="at least one step"):
        wan.generate(models, shot, 0, wan.Settings(steps=0), tiny.prompts())


def test_prompts_need_the_text_encoder(models, shot):
    with pytest.raises(InputError, match="text encoder is not loaded"):
        wan.generate(models, shot, 0, SHORT)
