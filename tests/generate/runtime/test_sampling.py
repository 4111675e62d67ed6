from itertools import pairwise

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")

from ex4d.generate.runtime import step_cache
from ex4d.generate.runtime.sampling import Schedule, sample
from ex4d.generate.runtime.step_cache import FIRST_STEPS, IN_A_ROW, LAST_STEPS

pytestmark = pytest.mark.wan


def ignore(*_):
    """Ignore all calls."""


def sigmas_of(steps, shift):
    """Noise levels from 1 to 0: even steps s, with the ratio of noise to picture multiplied by `shift`."""
    noise_to_picture = [shift * (steps - n) / n for n in range(1, steps)]
    return (1.0, *(ratio / (1 + ratio) for ratio in noise_to_picture), 0.0)


def schedule(steps, guidance=1.0, guided=None, reuse=0.0, shift=5.0):
    sigmas = sigmas_of(steps, shift)
    return Schedule(sigmas, 1000 * torch.tensor(sigmas[:-1]), guidance, steps if guided is None else guided, reuse)


def noise(seed=0, size=32):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def steps_computed(predict, steps, reuse):
    """Numbers of the steps in which the model was called."""
    plan, asked = schedule(steps, reuse=reuse), []

    def guess(latents, time, prompt):
        asked.append(plan.times.tolist().index(float(time)))
        return predict(latents, asked[-1])

    _, count = sample(guess, noise(), plan, ignore)
    assert count == len(asked)
    return asked


def changing(latents, step):
    """A prediction unrelated to the one before."""
    return noise(seed=100 + step)


def constant(latents, step):
    return torch.ones_like(latents)


@pytest.mark.parametrize("steps", [1, 2, 4, 25])
def test_a_perfect_model_arrives_at_the_picture_and_shows_it_at_every_step(steps):
    picture, start, told = noise(seed=1), noise(), []
    plan = schedule(steps)
    sigmas = dict(zip(plan.times.tolist(), plan.sigmas, strict=False))

    def guess(latents, time, prompt):
        return (latents - picture) / sigmas[float(time)]

    latents, asked = sample(guess, start, plan, lambda *step: told.append(step[:3]))
    assert torch.allclose(latents, picture)
    assert asked == steps
    assert [done for done, _, _ in told] == list(range(1, steps + 1))
    for done, between, finished in told:
        assert torch.allclose(between, plan.sigmas[done] * start + (1 - plan.sigmas[done]) * picture)
        assert torch.allclose(finished, picture)
    assert told[-1][1] is latents


def test_steps_are_those_computed_by_hand():
    plan = Schedule((1.0, 0.75, 0.0), torch.tensor([1000.0, 750.0]), guidance=3.0, guided=1, reuse=0.0)
    told = []

    def guess(latents, time, prompt):
        return latents + time / 1000 if prompt == 0 else latents / 2

    latents, asked = sample(guess, torch.tensor([8.0]), plan, lambda *step: told.append(step[:3]))
    # 9 is wanted, 4 is not: 4 + 3 * 5 = 19; then 3.25 + 0.75 without guidance.
    assert [(done, float(x), float(finished)) for done, x, finished in told] == [(1, 3.25, -11.0), (2, 0.25, 0.25)]
    assert (float(latents), asked) == (0.25, 3)


@pytest.mark.parametrize(("steps", "guided"), [(6, 0), (6, 1), (6, 4), (6, 6), (25, 9)])
def test_only_the_first_part_of_the_steps_is_guided(steps, guided):
    plan, told = schedule(steps, guidance=5.0, guided=guided), []

    def guess(latents, time, prompt):
        told.append((float(time), prompt))
        return latents

    _, asked = sample(guess, noise(), plan, ignore)
    times = plan.times.tolist()
    assert [time for time, prompt in told if prompt == 0] == times
    assert [time for time, prompt in told if prompt == 1] == times[:guided]
    assert asked == len(told) == steps + guided


def test_guidance_1_never_asks_for_what_is_not_wanted():
    def guess(latents, time, prompt):
        assert prompt == 0
        return latents

    assert sample(guess, noise(), schedule(5, guidance=1.0), ignore)[1] == 5


@pytest.mark.parametrize(("guidance", "flow"), [(0.0, 7.0), (0.5, 4.5), (2.0, -3.0), (5.0, -18.0)])
def test_guidance_goes_from_what_is_not_wanted_past_what_is(guidance, flow):
    latents, _ = sample(lambda x, t, p: torch.full_like(x, (2.0, 7.0)[p]), noise(), schedule(3, guidance), ignore)
    assert torch.allclose(latents, noise() - flow)


@pytest.mark.parametrize("first", [1, 5, 9, 10])
def test_going_on_from_a_step_ends_with_the_same_bits(first):
    plan, kept = schedule(10, guidance=3.0, guided=7), {}

    def guess(latents, time, prompt):
        return torch.sin(3 * latents) + time / 1000 - prompt

    whole, _ = sample(guess, noise(), plan, lambda step, latents, *_: kept.update({step: latents.clone()}))
    told = []
    rest, asked = sample(guess, kept[first], plan, lambda *step: told.append(step[0]), first)
    assert torch.equal(rest, whole)
    assert told == list(range(first + 1, 11))
    assert asked == (10 - first) + max(0, 7 - first)


def test_latents_that_were_given_are_left_alone():
    start = noise()
    sample(lambda x, t, p: x, start, schedule(6, reuse=1.0), ignore)
    assert torch.equal(start, noise())


@pytest.mark.parametrize("predict", [constant, changing])
def test_without_a_threshold_every_prediction_is_computed(predict):
    assert steps_computed(predict, 25, reuse=0.0) == list(range(25))


@pytest.mark.parametrize("steps", [1, 4, 5, 6, 7, 12, 25, 50])
def test_first_and_last_steps_are_always_computed_and_never_more_left_out_in_a_row_than_allowed(steps):
    computed = steps_computed(changing, steps, reuse=1e9)
    assert computed[: min(steps, FIRST_STEPS)] == list(range(min(steps, FIRST_STEPS)))
    assert set(range(steps - LAST_STEPS, steps)) <= set(computed)
    between = max(0, steps - FIRST_STEPS - LAST_STEPS)
    assert steps - len(computed) == -(-between * IN_A_ROW // (IN_A_ROW + 1))
    assert max((two - one for one, two in pairwise(computed)), default=1) <= IN_A_ROW + 1


@pytest.mark.parametrize("in_a_row", [1, 2, 3])
def test_no_more_steps_in_a_row_are_left_out_than_the_constant_says(monkeypatch, in_a_row):
    monkeypatch.setattr(step_cache, "IN_A_ROW", in_a_row)
    computed = steps_computed(constant, 30, reuse=0.01)
    gaps = [two - one for one, two in pairwise(computed[FIRST_STEPS - 1 : -1])]
    assert set(gaps) == {in_a_row + 1}


def test_a_constant_prediction_is_used_again_at_the_least_threshold():
    assert steps_computed(constant, 12, reuse=1e-9) == [0, 1, 2, 3, 5, 7, 9, 11]


def test_predictions_without_relation_to_each_other_are_computed():
    assert steps_computed(changing, 25, reuse=0.05) == list(range(25))


def test_a_larger_threshold_never_computes_more():
    def predict(latents, step):
        return torch.sin(latents) + step**2 / 200

    counts = [len(steps_computed(predict, 40, reuse)) for reuse in (0.0, 0.001, 0.02, 0.05, 0.1, 0.3, 1e9)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] == 40
    assert counts[-1] == 40 - 18
    assert len(set(counts)) > 3


def test_both_prompts_of_a_step_are_used_again_or_none():
    plan, told = schedule(12, guidance=5.0, guided=7, reuse=1e9), []

    def guess(latents, time, prompt):
        told.append((plan.times.tolist().index(float(time)), prompt))
        return changing(latents, told[-1][0]) + prompt

    sample(guess, noise(), plan, ignore)
    assert told == [(n, prompt) for n in (0, 1, 2, 3, 5) for prompt in (0, 1)] + [(n, 0) for n in (7, 9, 11)]


def test_a_model_that_suits_the_step_cache_loses_nothing_by_it():
    """If the difference between latents and prediction never changes, the stand-in equals the computed prediction."""
    offset = noise(seed=3)
    all_of_them, some = (
        sample(lambda x, t, p: x + offset, noise(), schedule(25, reuse=reuse), ignore) for reuse in (0.0, 1e9)
    )
    assert torch.allclose(all_of_them[0], some[0], atol=1e-12)
    assert (all_of_them[1], some[1]) == (25, 15)
