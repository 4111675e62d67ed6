"""What is real is held while sampling; with random weights this only shows that it works as described, and its cost."""

import time
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

import tiny
from test_video_model import adapter

from ex4d.errors import InputError
from ex4d.generate.base import Request
from ex4d.generate.runtime.sampling import Schedule, sample
from ex4d.generate.wan import hold, video_model
from ex4d.generate.wan.generator import WanGenerator
from ex4d.generate.wan.preparation import Prepared
from ex4d.generate.wan.settings import WanSettings
from ex4d.progress import silent

pytestmark = pytest.mark.wan


@pytest.fixture(scope="module")
def models():
    return video_model.assemble(tiny.pipeline(), adapter(), "reference")


@pytest.fixture(scope="module")
def shot():
    """5 frames of 64x96 that are real in their left half; the first is entirely real."""
    ramp = torch.linspace(-1, 1, 96).expand(5, 3, 64, 96)
    mask = torch.ones(5, 64, 96)
    mask[1:, :, 48:] = -3
    colour = torch.where(mask[:, None] > 0, ramp, torch.tensor(-1.0))
    return Prepared(colour, mask, np.zeros((5, 64, 96), np.uint8), frames=5)


def latents_of(models, shot, **settings):
    """Finished latents, and those of the warped clip with the cells that are held."""
    wanted = video_model.Settings(**settings)
    with torch.no_grad():
        inputs = video_model._encode(models, shot, silent)
        steer = video_model._holding(models, shot) if wanted.hold else None
        latents, asked = video_model._sample(models, inputs, tiny.prompts(), 7, wanted, silent, None, steer)
        warped = video_model.encode(models.pipe, hold.filled(shot.colour, shot.mask))
    return latents, asked, warped, hold.known_cells(shot.mask, tuple(warped.shape[2:])) > 0


def test_cells_are_known_whose_frames_pixels_and_neighbours_all_are():
    mask = torch.ones(9, 64, 64)
    mask[6, 20, 30] = -3  # in the third latent frame, in the cell at row 2 and column 3
    known = hold.known_cells(mask, (3, 8, 8))
    assert known[:2].min() == 1
    expected = torch.ones(8, 8)
    expected[1:4, 2:5] = 0
    assert torch.equal(known[2], expected)
    mask[0] = -3  # the first has a latent frame of its own
    assert hold.known_cells(mask, (3, 8, 8))[:2].mean((1, 2)).tolist() == [0, 1]
    assert hold.known_cells(mask[:1], (1, 8, 8)).max() == 0


def test_holes_take_the_colour_around_them_and_what_is_real_stays(shot):
    found = hold.filled(shot.colour, shot.mask)
    real = (shot.mask > 0)[:, None].expand_as(found)
    assert torch.equal(found[real], shot.colour[real])
    edge = float(shot.colour[1, 0, 0, 47])
    assert found[1, 0, :, 48:52] == pytest.approx(np.full((64, 4), edge), abs=0.1)
    assert float(found[1, :, :, 48:].min()) > -0.9  # it was black before
    half = torch.ones(1, 3, 5, 7) * 0.5
    assert torch.allclose(hold.filled(half, torch.eye(7)[None, :5] * 4 - 3), half)


def test_it_leads_all_of_the_way_while_there_is_much_noise_and_none_at_the_end():
    assert [hold.share(sigma) for sigma in (1.0, 0.6, 0.4, 0.2, 0.1, 0.0)] == pytest.approx([1, 1, 0.5, 0, 0, 0])


def test_steps_are_those_computed_by_hand():
    """x0' = x0 + w m (z - x0), and the next step starts from (1 - s') x0' + s' noise, with the noise that was found."""
    plan = Schedule((1.0, 0.5, 0.0), torch.tensor([1000.0, 500.0]), guidance=1.0, guided=0, reuse=0.0)
    start, goal, known = torch.tensor([[4.0, 4.0]]), torch.tensor([[10.0, 10.0]]), torch.tensor([1.0, 0.0])
    ended, _ = sample(
        lambda x, time, prompt: torch.ones_like(x), start, plan, lambda *_: None, 0, hold.towards(goal, known)
    )
    # First: x0 = 3, noise = 4, held 10: 0.5 * 10 + 0.5 * 4 = 7. Then x0 = 6.5, w = 0.75: 6.5 + 0.75 * 3.5.
    assert ended[0].tolist() == pytest.approx([6.5 + 0.75 * 3.5, 4 - 1])


def test_off_it_gives_the_bytes_that_there_were_before(models, shot):
    with torch.no_grad():
        inputs = video_model._encode(models, shot, silent)
        plain = video_model._sample(models, inputs, tiny.prompts(), 7, video_model.Settings(steps=3), silent)[0]
    assert torch.equal(latents_of(models, shot, steps=3)[0], plain)
    never = video_model.Settings(steps=3)
    assert never.hold is False


def test_what_is_known_ends_near_the_clip_and_a_step_changes_nothing_else(models, shot):
    off, asked, warped, known = latents_of(models, shot, steps=8)
    on, asked_too, *_ = latents_of(models, shot, steps=8, hold=True)
    known = known.expand_as(warped[0])
    assert 0.5 < known[0].float().mean() < 0.9
    apart = {name: float((latents - warped)[0][known].norm()) for name, latents in (("off", off), ("on", on))}
    print(f"distance of known latents from the warped clip's: {apart['off']:.2f} off, {apart['on']:.2f} on")
    assert apart["on"] < 0.5 * apart["off"]
    assert asked_too == asked
    one_off, one_on = (latents_of(models, shot, steps=1, hold=held)[0][0] for held in (False, True))
    assert torch.equal(one_on[~known], one_off[~known])
    assert torch.allclose(one_on[known], warped[0][known], atol=1e-5)


def test_it_costs_one_more_encoding_and_no_prediction(models, shot):
    seconds, made = {}, {}
    for held in (False, True, False, True):
        begun = time.perf_counter()
        made[held] = video_model.generate(models, shot, tiny.prompts(), 0, video_model.Settings(steps=4, hold=held))
        seconds[held] = time.perf_counter() - begun
    begun = time.perf_counter()
    with torch.no_grad():
        video_model._holding(models, shot)
    print(f"{seconds[False]:.2f} s without, {seconds[True]:.2f} s with, encoding {time.perf_counter() - begun:.2f} s")
    assert made[True].settings["predictions"] == made[False].settings["predictions"] == 8
    assert (made[True].settings["hold"], made[False].settings["hold"]) == (True, False)
    assert not np.array_equal(made[True].frames, made[False].frames)


def test_as_released_nothing_can_be_held():
    wanted = Request(None, None, WanSettings(hold=True), as_released=True)
    with pytest.raises(InputError, match="turn off Hold Real Part or Release Compatibility"):
        WanGenerator("cpu").plan(wanted)


def test_where_nothing_is_real_nothing_is_held(models, shot):
    nothing = replace(shot, mask=torch.full_like(shot.mask, -3))
    on, off = (latents_of(models, nothing, steps=2, hold=held)[0] for held in (True, False))
    assert torch.equal(on, off)
