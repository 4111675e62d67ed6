"""Sampling: from noise to latents by Euler steps of flow matching, with guidance and a step cache."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from ex4d.generate.runtime.several_gpus import Together
from ex4d.generate.runtime.step_cache import StepCache

Guess = Callable[[Tensor, Tensor, int], Tensor]
"""The model's prediction for (latents, time, prompt): prompt 0 is what is wanted, 1 what is not. A model with several
transformers chooses among them by the time."""


@dataclass(frozen=True)
class Schedule:
    """How the steps are taken.

    Attributes:
        sigmas: (steps+1) noise level before each step and after the last.
        times: (steps) the time passed to the model in each.
        guidance: how far to go from prediction 1 towards, and past, prediction 0; 1 uses prediction 0 alone.
        guided: number of steps, from the first, that are guided.
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
    together: Together | None = None,
) -> tuple[Tensor, int]:
    """Take Euler steps of flow matching, from noise to latents without noise.

    Args:
        guess: the model.
        latents: before step `first`.
        schedule: of the steps.
        after: called after each step with the number of steps done, the latents, the finished latents as predicted from
            here, and the number of predictions computed.
        first: step to resume from.
        steer: changes the finished latents predicted in a step, given the noise level at its start; the noise for the
            next step stays the same.
        together: makes all predictions of a step instead of `guess`, if there are several GPUs.

    Returns:
        The latents after the last step, and the number of predictions computed.

    Raises:
        GpuError: the model on a GPU other than the first failed.
    """
    steps, asked = len(schedule.times), 0
    cache = StepCache(schedule.reuse, steps)
    for step in range(first, steps):
        guided = schedule.guidance != 1 and step < schedule.guided
        prompts = (0, 1) if guided else (0,)
        if cache.can_skip(step, latents, prompts):
            guesses = {prompt: cache.prediction(latents, prompt) for prompt in prompts}
        else:
            time = schedule.times[step]
            if together is not None:
                guesses = together(latents, time, prompts)
            else:
                guesses = {prompt: guess(latents, time, prompt) for prompt in prompts}
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
