"""Sampling: from noise to latents in Euler steps of flow matching, with guidance and a step cache."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ex4d.generate.runtime.step_cache import StepCache

Guess = Callable[[Tensor, Tensor, int], Tensor]
"""The model's prediction for (latents, time, prompt): prompt 0 is what is wanted, 1 what is not. A model of several
transformers chooses among them by the time."""


class BesideError(Exception):
    """What predicts on another GPU failed; the first one is as it was."""


Beside = Callable[[Tensor, Tensor, int], Callable[[], Tensor]]
"""The same model on another GPU: begins a prediction, and returns what waits for it."""


@dataclass(frozen=True)
class Schedule:
    """How the steps are taken.

    Attributes:
        sigmas: (steps+1) part of noise before each step and after the last.
        times: (steps) what the model is told of each.
        guidance: how far to go from prediction 1 towards, and past, prediction 0; 1 asks for prediction 0 alone.
        guided: how many steps, from the first, are guided.
        reuse: threshold of the `StepCache`.
    """

    sigmas: tuple[float, ...]
    times: Tensor
    guidance: float
    guided: int
    reuse: float


def sample(
    guess: Guess,
    latents: Tensor,
    schedule: Schedule,
    after: Callable[[int, Tensor, Tensor, int], None],
    first: int = 0,
    steer: Callable[[Tensor, float], Tensor] | None = None,
    beside: Beside | None = None,
) -> tuple[Tensor, int]:
    """Euler steps of flow matching, from noise to a picture without any.

    Args:
        guess: the model.
        latents: before step `first`.
        schedule: of the steps.
        after: told after each step: how many are done, the latents, the finished latents as they look from here, and
            how many predictions were computed.
        first: step to go on from.
        steer: changes the finished latents, as they look from a step, for the part of noise that it begins with; the
            noise of the next step stays what it is.
        beside: predicts for prompt 1 meanwhile, where there is another GPU.

    Returns:
        The latents after the last step, and how many predictions were computed.

    Raises:
        BesideError: the model on the other GPU failed.
    """
    steps, asked = len(schedule.times), 0
    cache = StepCache(schedule.reuse, steps)
    for step in range(first, steps):
        guided = schedule.guidance != 1 and step < schedule.guided
        prompts = (0, 1) if guided else (0,)
        if cache.can_skip(step, latents, prompts):
            guesses = {prompt: cache.prediction(latents, prompt) for prompt in prompts}
        else:
            # At the first step torch compiles, and refuses calls of other threads meanwhile.
            guesses = _guesses(guess, beside, step > first, latents, schedule.times[step], prompts)
            cache.store(latents, guesses)
            asked += len(prompts)
        flow = guesses[1] + schedule.guidance * (guesses[0] - guesses[1]) if guided else guesses[0]
        finished = latents - flow * schedule.sigmas[step]
        latents = latents + flow * (schedule.sigmas[step + 1] - schedule.sigmas[step])
        if steer is not None:
            steered = steer(finished, schedule.sigmas[step])
            latents = latents + (1 - schedule.sigmas[step + 1]) * (steered - finished)
            finished = steered
        after(step + 1, latents, finished, asked)
    return latents, asked


def _guesses(
    guess: Guess, beside: Beside | None, at_once: bool, latents: Tensor, time: Tensor, prompts: tuple[int, ...]
) -> dict[int, Tensor]:
    """Predictions by prompt, the second by whoever is there for it: at the same time, or after the first."""
    if beside is None or len(prompts) == 1:
        return {prompt: guess(latents, time, prompt) for prompt in prompts}
    try:
        # Begun before this GPU is busy, which it has to copy the latents from.
        wait = beside(latents, time, 1) if at_once else None
    except RuntimeError as error:
        raise _failed(error) from error
    wanted = guess(latents, time, 0)
    try:
        return {0: wanted, 1: (wait or beside(latents, time, 1))()}
    except RuntimeError as error:
        raise _failed(error) from error


def _failed(error: RuntimeError) -> BesideError:
    """An error of CUDA, such as that its memory is full."""
    return BesideError(str(error).split("\n")[0])
