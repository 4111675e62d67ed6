"""VACE against diffsynth's own pipeline, in float32 with tiny models: conditioning, a prediction, a whole sampling."""

from importlib.util import find_spec
from unittest.mock import patch

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

import tiny_vace as tiny

from ex4d.errors import Cancelled, InputError
from ex4d.generate.diffsynth import video_model as common
from ex4d.generate.diffsynth.library import library
from ex4d.generate.runtime import offload
from ex4d.generate.runtime.resume import Checkpoint
from ex4d.generate.vace import video_model
from ex4d.generate.vace.preparation import Prepared
from ex4d.progress import silent

pytestmark = pytest.mark.wan

SHORT = video_model.Settings(steps=3)  # with guidance


@pytest.fixture(scope="module")
def models():
    return video_model.assemble(tiny.pipeline(), "reference")


def shot(reference):
    generator = torch.Generator().manual_seed(5)
    colour = torch.rand(9, 3, 32, 48, generator=generator) * 2 - 1
    mask = (torch.rand(9, 32, 48, generator=generator) < 0.3).float()
    mask[0] = 0
    shown = torch.rand(3, 32, 48, generator=generator) * 2 - 1 if reference else None
    return Prepared(colour * (1 - mask[:, None]), mask, 8, shown, ("A note.",))


def pictures(video):
    """Pictures in diffsynth's layout: rows, columns, channels from 0 to 255; grey is 127.5, between 8-bit levels."""
    return [((frame.permute(1, 2, 0) + 1) * 127.5).numpy() for frame in video]


def theirs(pipe, prepared):
    """The context made by diffsynth's own unit."""
    with torch.no_grad():
        return (
            library()
            .wan_video.WanVideoUnit_VACE()
            .process(
                pipe,
                vace_video=pictures(prepared.colour),
                vace_video_mask=[(mask[..., None].expand(-1, -1, 3) * 255).numpy() for mask in prepared.mask],
                vace_reference_image=None if prepared.reference is None else pictures(prepared.reference[None])[0],
                vace_scale=1.0,
                height=32,
                width=48,
                num_frames=9,
                tiled=False,
                tile_size=None,
                tile_stride=None,
            )["vace_context"]
        )


def distance(ours, theirs):
    return float((ours - theirs).norm() / theirs.norm())


@pytest.mark.parametrize("reference", [False, True])
def test_the_conditions_are_those_of_diffsynths_unit(models, reference):
    prepared = shot(reference)
    with torch.no_grad():
        ours, _ = video_model._encode(models, prepared, silent)
    expected = theirs(tiny.pipeline(), prepared)
    assert ours.shape == expected.shape == (1, 96, 4 if reference else 3, 4, 6)
    assert torch.equal(ours[:, 32:], expected[:, 32:])  # the mask, pixel by pixel
    assert set(ours[:, 32:].unique().tolist()) == {0.0, 1.0}
    error = distance(ours[:, :32], expected[:, :32])
    print(f"conditions: {error:.1e}")
    assert error < 1e-5


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_one_prediction_equals_diffsynths(models, scale):
    pipe, prepared, text = tiny.pipeline(), shot(True), tiny.prompts().positive
    context = theirs(pipe, prepared)
    latents = torch.randn(1, 16, 4, 4, 6, generator=torch.Generator().manual_seed(1))
    given = {"latents": latents, "timestep": torch.tensor([800.0]), "context": text}
    predict = library().wan_video.model_fn_wan_video
    with torch.no_grad():
        expected = predict(dit=pipe.dit, vace=pipe.vace, vace_context=context, vace_scale=scale, **given)
        without = predict(dit=pipe.dit, **given)
        with models.pipe.dit.blocks.by(context, scale):
            ours = predict(dit=models.pipe.dit, **given)
    error = distance(ours, expected)
    print(f"one prediction, scale {scale}: {error:.1e}")
    assert error < 1e-5
    assert distance(without, expected) > 0.05


@pytest.mark.parametrize("reference", [False, True])
def test_sampled_latents_equal_diffsynths(models, reference):
    """With guidance, diffsynth's own order of noise, and its scheduler's steps."""
    pipe, prepared, texts = tiny.pipeline(), shot(reference), tiny.prompts()
    context, shown = theirs(pipe, prepared), int(reference)
    units, predict = library().wan_video, library().wan_video.model_fn_wan_video
    noise = units.WanVideoUnit_NoiseInitializer().process(pipe, 32, 48, 9, 11, "cpu", [0] if reference else None, None)
    latents = noise["noise"]
    pipe.scheduler.set_timesteps(4, shift=5.0)
    with torch.no_grad():
        for step, time in enumerate(pipe.scheduler.timesteps):
            wanted, unwanted = (
                predict(
                    dit=pipe.dit,
                    vace=pipe.vace,
                    latents=latents,
                    timestep=time[None],
                    context=text,
                    vace_context=context,
                    vace_scale=1.0,
                )
                for text in (texts.positive, texts.negative)
            )
            latents = pipe.scheduler.step(unwanted + 3 * (wanted - unwanted), pipe.scheduler.timesteps[step], latents)
        expected = latents[:, :, shown:]
        settings = video_model.Settings(steps=4, guidance=3.0)
        ours_context, colours = video_model._encode(models, prepared, silent)
        ours, asked = video_model._sample(models, prepared, ours_context, colours, texts, 11, settings, silent)
    error = distance(ours, expected)
    print(f"sampled, reference {reference}: {error:.1e}")
    assert asked == 8
    assert error < 1e-5
    assert distance(ours, noise["noise"][:, :, shown:]) > 0.1


@pytest.mark.parametrize("reference", [False, True])
def test_a_video_comes_out_and_says_how_it_was_made(models, reference):
    told = []
    prepared = shot(reference)
    result = video_model.generate(models, prepared, tiny.prompts(), 7, SHORT, lambda *step: told.append(step))
    assert result.frames.shape == (8, 32, 48, 3)
    assert result.frames.std() > 1
    assert result.notes == ("A note.",)
    assert {"steps": 3, "guidance": 5.0, "scale": 1.0, "predictions": 6}.items() <= result.settings.items()
    assert list(dict.fromkeys(step[0] for step in told)) == ["Encoding pictures", "Sampling", "Decoding"]
    again, other = (video_model.generate(models, prepared, tiny.prompts(), seed, SHORT).frames for seed in (7, 8))
    assert result.frames.tobytes() == again.tobytes()
    assert result.frames.tobytes() != other.tobytes()


def test_what_is_seen_the_scale_and_the_reference_change_the_result(models):
    base = video_model.generate(models, shot(False), tiny.prompts(), 7, SHORT).frames
    grey = Prepared(torch.zeros(9, 3, 32, 48), torch.ones(9, 32, 48), 8)
    others = [
        video_model.generate(models, grey, tiny.prompts(), 7, SHORT),
        video_model.generate(models, shot(True), tiny.prompts(), 7, SHORT),
        video_model.generate(models, shot(False), tiny.prompts(), 7, video_model.Settings(steps=3, scale=0.5)),
    ]
    assert len({frames.tobytes() for frames in (base, *(other.frames for other in others))}) == 4


def test_blocks_in_main_memory_give_the_same_bytes():
    results, plan = [], offload.Plan
    for streamed in ((), (1,), (0, 2, 5), tuple(range(6))):
        with patch.object(offload, "Plan", lambda count, streamed=streamed: plan(count, streamed)):
            models = video_model.assemble(tiny.pipeline(), "reference")
        assert (models.layout.blocks, models.layout.streamed) == (tiny.LAYERS + len(tiny.CONTROLLED), streamed)
        results.append(video_model.generate(models, shot(False), tiny.prompts(), 0, SHORT).frames.tobytes())
    assert len(set(results)) == 1


def test_rounded_weights_and_8_bits_cost_little(models):
    """Latents of one step against float32; the layers that stay in float32 do so."""

    def one_step(models):
        with torch.no_grad():
            context, colours = video_model._encode(models, shot(False), silent)
            settings = video_model.Settings(steps=1, guidance=1)
            return video_model._sample(models, shot(False), context, colours, tiny.prompts(), 0, settings, silent)[0]

    exact, noise = one_step(models), common.noise((1, 16, 3, 4, 6), 0)
    error = {}
    for precision in ("reference", "fast"):
        rounded = video_model.assemble(tiny.pipeline().to(torch.bfloat16), precision)
        assert rounded.pipe.dit.head.head.weight.dtype == torch.float32
        error[precision] = distance(one_step(rounded) - noise, exact - noise)
        assert any("8 bits" in note for note in rounded.notes) == (precision == "fast")
    print(error)
    assert error["reference"] < 0.7 * error["fast"]
    assert error["fast"] < 0.15


def test_an_interrupted_job_goes_on_where_it_was_and_ends_with_the_same_bytes(models, tmp_path):
    place, settings = Checkpoint(tmp_path / "job.safetensors"), video_model.Settings(steps=8, guidance=1)
    prepared = shot(True)
    whole = video_model.generate(models, prepared, tiny.prompts(), 3, settings).frames
    steps = []

    def stop(stage, step, count, picture=None):
        if stage == "Sampling":
            steps.append(step)
            if step == 7 and len(steps) < 10:
                raise Cancelled("stop")

    with pytest.raises(Cancelled):
        video_model.generate(models, prepared, tiny.prompts(), 3, settings, stop, place)
    with pytest.raises(ValueError, match="no context"):
        next(iter(models.pipe.dit.blocks))  # nothing of the stopped job remains
    steps.clear()
    steps += [-1] * 10
    again = video_model.generate(models, prepared, tiny.prompts(), 3, settings, stop, place).frames
    assert steps[10:] == [5, 6, 7, 8]
    assert again.tobytes() == whole.tobytes()


def test_sizes_that_the_model_cannot_take_are_refused(models):
    six = Prepared(torch.zeros(6, 3, 32, 48), torch.zeros(6, 32, 48), 6)
    odd = Prepared(torch.zeros(5, 3, 32, 40), torch.zeros(5, 32, 40), 5)
    for wrong in (six, odd):
        with pytest.raises(InputError, match="multiples of 16"):
            video_model.generate(models, wrong, tiny.prompts(), 0, SHORT)
    with pytest.raises(InputError, match="at least one step"):
        video_model.generate(models, shot(False), tiny.prompts(), 0, video_model.Settings(steps=0))
