"""A step cache: predictions that hardly change from step to step are reused (EasyCache).

Whenever a prediction is computed, its change relative to the change of the latents is measured. The expected changes
are added up, and once they exceed the threshold, the next prediction is computed (arXiv 2507.02860).
"""

from torch import Tensor

FIRST_STEPS, LAST_STEPS = 4, 1
"""Number of first and last steps that are always computed: the first lay out the picture, the last finishes it."""

IN_A_ROW = 1
"""Maximum number of consecutive steps without a new prediction, however little change is expected."""


class StepCache:
    """Holds the difference between latents and prediction, and decides when it may stand in for a new prediction.

    Args:
        threshold: how much a prediction may be expected to change, relative to its size; 0 computes every step.
        steps: of sampling.
    """

    def __init__(self, threshold: float, steps: int) -> None:
        self._threshold, self._steps = threshold, steps
        self._rate: float | None = None  # change of the prediction over change of the latents
        self._expected = 0.0
        self._skipped = 0
        self._latents: Tensor | None = None
        self._computed: tuple[Tensor, Tensor] | None = None  # latents and prediction
        self._differences: dict[int, Tensor] = {}

    def can_skip(self, step: int, latents: Tensor, prompts: tuple[int, ...]) -> bool:
        """Whether the predictions for these prompts can be skipped in this step; call it once per step."""
        before, self._latents = self._latents, latents
        if not self._threshold or self._rate is None or before is None or self._computed is None:
            return False
        if step < FIRST_STEPS or step >= self._steps - LAST_STEPS or any(p not in self._differences for p in prompts):
            return False
        if self._skipped >= IN_A_ROW:
            return False
        change = self._rate * _size(latents - before) / _size(self._computed[1])
        self._expected += change
        self._skipped += 1
        return self._expected < self._threshold

    def prediction(self, latents: Tensor, prompt: int) -> Tensor:
        """The stand-in for the prediction."""
        return latents + self._differences[prompt]

    def store(self, latents: Tensor, predictions: dict[int, Tensor]) -> None:
        """Store computed predictions, by prompt."""
        if not self._threshold:
            return
        if self._computed is not None and (moved := _size(latents - self._computed[0])) > 0:
            self._rate = _size(predictions[0] - self._computed[1]) / moved
        self._computed, self._expected, self._skipped = (latents, predictions[0]), 0.0, 0
        self._differences = {prompt: prediction - latents for prompt, prediction in predictions.items()}


def _size(x: Tensor) -> float:
    return float(x.abs().mean())
