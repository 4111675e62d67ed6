import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")

from ex4d.generate.runtime import step_cache
from ex4d.generate.runtime.step_cache import FIRST_STEPS, StepCache

pytestmark = pytest.mark.wan


def after_two_predictions(threshold, steps=20):
    """Latents went from 0 to 2 and the prediction from 8 to 10, so it changes by 1 for a change of 1."""
    cache = StepCache(threshold, steps)
    for latents, prediction in ((0.0, 8.0), (2.0, 10.0)):
        assert not cache.can_skip(FIRST_STEPS, torch.tensor([latents]), (0,))
        cache.store(torch.tensor([latents]), {0: torch.tensor([prediction])})
    return cache


@pytest.mark.parametrize(("latents", "expected"), [(3.0, 0.1), (1.0, 0.1), (7.0, 0.5), (2.0, 0.0)])
def test_the_change_that_is_expected_is_compared_with_the_threshold(latents, expected):
    for threshold, may in ((expected + 1e-4, True), (expected - 1e-4, False)):
        if threshold > 0:
            assert after_two_predictions(threshold).can_skip(10, torch.tensor([latents]), (0,)) == may


@pytest.mark.parametrize(("step", "may"), [(FIRST_STEPS - 1, False), (FIRST_STEPS, True), (18, True), (19, False)])
def test_the_first_and_the_last_steps_are_no_steps_to_save(step, may):
    assert after_two_predictions(100.0).can_skip(step, torch.tensor([2.1]), (0,)) == may


def test_expected_changes_add_up_until_a_prediction_is_computed(monkeypatch):
    monkeypatch.setattr(step_cache, "IN_A_ROW", 100)
    cache = after_two_predictions(0.35)
    answers = [cache.can_skip(10, torch.tensor([latents]), (0,)) for latents in (3.0, 4.0, 5.0, 6.0)]
    assert answers == [True, True, True, False]
    cache.store(torch.tensor([6.0]), {0: torch.tensor([14.0])})
    assert cache.can_skip(11, torch.tensor([7.0]), (0,))


def test_what_stands_in_keeps_its_difference_from_the_latents():
    cache = StepCache(1.0, 20)
    cache.store(torch.tensor([2.0, 4.0]), {0: torch.tensor([10.0, 1.0]), 1: torch.tensor([3.0, 3.0])})
    assert cache.prediction(torch.tensor([2.5, 4.0]), 0).tolist() == [10.5, 1.0]
    assert cache.prediction(torch.tensor([2.5, 4.0]), 1).tolist() == [3.5, 3.0]


def test_a_prompt_that_was_not_asked_for_last_time_is_not_guessed():
    assert not after_two_predictions(100.0).can_skip(10, torch.tensor([2.1]), (0, 1))
    assert after_two_predictions(100.0).can_skip(10, torch.tensor([2.1]), (0,))
