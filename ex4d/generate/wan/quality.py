"""Quality levels of the EX-4D model: one name each for what is traded for time. Needs no torch."""

from dataclasses import dataclass
from typing import Literal

QualityName = Literal["final", "balanced", "draft"]

ModelSize = Literal["512x512", "832x480"]
"""Approximate pixels per frame inside the model, whatever the aspect ratio; it was trained near both."""


@dataclass(frozen=True)
class Quality:
    """How the model is run.

    Attributes:
        name: of the level.
        steps: of sampling.
        guidance: how far to go from the negative prompt's prediction towards, and past, the prompt's; 1 saves half.
        guided: part of the steps, from the first, that is guided; the others take the prompt's prediction alone.
        reuse: how much (relative) a prediction may be expected to change and still be used again; 0 computes all.
        fp8: products of the large layers in 8 bits, where the GPU can; weights are kept in 8 bits in any case.
    """

    name: QualityName
    steps: int
    guidance: float
    guided: float
    reuse: float
    fp8: bool

    @property
    def says(self) -> str:
        """A sentence on what was changed against `final`; empty for `final` itself."""
        final = QUALITIES["final"]
        changes = [f"{self.steps} steps instead of {final.steps}"] if self.steps != final.steps else []
        if self.guidance == 1:
            changes.append("no guidance")
        elif self.guided < 1:
            changes.append(f"guidance on the first {round(self.guided * self.steps)} of {self.steps} steps")
        if self.reuse:
            changes.append("up to every second prediction used again")
        if self.fp8:
            changes.append("8-bit products")
        return f"Made at {self.name} quality: {', '.join(changes)}." if changes else ""


QUALITIES: dict[str, Quality] = {
    quality.name: quality
    for quality in (
        Quality("final", 25, 5.0, 1.0, 0.0, False),
        Quality("balanced", 25, 5.0, 0.36, 0.5, True),
        Quality("draft", 4, 1.0, 0.0, 0.0, True),
    )
}
"""By name, best first."""
