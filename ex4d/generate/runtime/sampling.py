"""Sampling: from noise to latents in steps of a flow, and which of the steps are worth computing."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

Guess = Callable[[Tensor, Tensor, int], Tensor]
"""The model's prediction for (latents, time, prompt): prompt 0 is what is wanted, 1 what is not."""

FIRST_STEPS, LAST_STEPS = 4, 1
"""Predictions of these are always computed: the first lay out the picture, the last finishes it."""

IN_A_ROW = 1
"""So many steps in a row may do without a new prediction, however little is expected to change."""


@dataclass(frozen=True)
class Schedule:
    """How the steps are taken.

    Attributes:
        sigmas: (steps+1) part of noise before each step and after the last.
        times: (steps) what the model is told of each.
        guidance: how far to go from prediction 1 towards, and past, prediction 0; 1 asks for prediction 0 alone.
        guided: so many steps, from the first, are guided.
        reuse: see `Reuse`.
    """

    sigmas: tuple[float, ...]
    times: Tensor
    guidance: float
    guided: int
    reuse: float


class Reuse:
    """Tells when the difference between latents and prediction may be used again instead of a new prediction.

    How much the prediction changes for a change of the latents is measured whenever it is computed; the changes to be
    expected are added up, and once they are over the threshold the next prediction is computed
    (EasyCache, arXiv 2507.02860).

    Args:
        threshold: relative to the prediction; 0 never reuses.
        steps: of sampling.
    """

    def __init__(self, threshold: float, steps: int) -> None:
        self._threshold, self._steps = threshold, steps
        self._rate: float | None = None  # change of the prediction over that of the latents
        self._expected = 0.0
        self._left_out = 0
        self._latents: Tensor | None = None
        self._computed: tuple[Tensor, Tensor] | None = None  # latents and prediction
        self._differences: dict[int, Tensor] = {}

    def may(self, step: int, latents: Tensor, prompts: tuple[int, ...]) -> bool:
        """Whether the predictions for these prompts at this step can be done without; asked once a step."""
        before, self._latents = self._latents, latents
        if not self._threshold or self._rate is None or before is None or self._computed is None:
            return False
        if step < FIRST_STEPS or step >= self._steps - LAST_STEPS or any(p not in self._differences for p in prompts):
            return False
        if self._left_out >= IN_A_ROW:
            return False
        change = self._rate * _size(latents - before) / _size(self._computed[1])
        self._expected += change
        self._left_out += 1
        return self._expected < self._threshold

    def guess(self, latents: Tensor, prompt: int) -> Tensor:
        """What stands in for the prediction."""
        return latents + self._differences[prompt]

    def computed(self, latents: Tensor, guesses: dict[int, Tensor]) -> None:
        """Remember predictions that were computed."""
        if not self._threshold:
            return
        if self._computed is not None and (moved := _size(latents - self._computed[0])) > 0:
            self._rate = _size(guesses[0] - self._computed[1]) / moved
        self._computed, self._expected, self._left_out = (latents, guesses[0]), 0.0, 0
        self._differences = {prompt: guess - latents for prompt, guess in guesses.items()}


def _size(x: Tensor) -> float:
    return float(x.abs().mean())


def sample(
    guess: Guess,
    latents: Tensor,
    schedule: Schedule,
    after: Callable[[int, Tensor, Tensor, int], None],
    first: int = 0,
) -> tuple[Tensor, int]:
    """Euler steps of flow matching, from noise to nothing but picture.

    Args:
        guess: the model.
        latents: before step `first`.
        schedule: of the steps.
        after: told after each step: how many are done, the latents, the finished latents as they look from here, and
            how many predictions were computed.
        first: step to go on from.

    Returns:
        The latents after the last step, and how many predictions were computed.
    """
    steps, asked = len(schedule.times), 0
    reuse = Reuse(schedule.reuse, steps)
    for step in range(first, steps):
        guided = schedule.guidance != 1 and step < schedule.guided
        prompts = (0, 1) if guided else (0,)
        if reuse.may(step, latents, prompts):
            guesses = {prompt: reuse.guess(latents, prompt) for prompt in prompts}
        else:
            guesses = {prompt: guess(latents, schedule.times[step], prompt) for prompt in prompts}
            reuse.computed(latents, guesses)
            asked += len(prompts)
        flow = guesses[1] + schedule.guidance * (guesses[0] - guesses[1]) if guided else guesses[0]
        finished = latents - flow * schedule.sigmas[step]
        latents = latents + flow * (schedule.sigmas[step + 1] - schedule.sigmas[step])
        after(step + 1, latents, finished, asked)
    return latents, asked
