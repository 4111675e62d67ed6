"""Quality levels of the EX-4D model: one name each for what is traded for time. Needs no torch."""

from dataclasses import dataclass
from typing import Literal

QualityName = Literal["final", "balanced", "draft"]

ModelSize = Literal["512x512", "832x480"]
"""About so many pixels has a picture in the model, whatever its aspect; the model was trained near both."""


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
        says: a sentence on what was changed against `final`; empty for `final`.
    """

    name: QualityName
    steps: int
    guidance: float
    guided: float
    reuse: float
    fp8: bool
    says: str


QUALITIES: dict[str, Quality] = {
    quality.name: quality
    for quality in (
        Quality("final", 25, 5.0, 1.0, 0.0, False, ""),
        Quality(
            "balanced",
            25,
            5.0,
            0.36,
            0.5,
            True,
            "Made at balanced quality: 8-bit products, guidance on the first 9 of 25 steps, and up to every second"
            " prediction used again.",
        ),
        Quality(
            "draft", 4, 1.0, 0.0, 0.0, True, "Made at draft quality: 4 steps of 25, without guidance, 8-bit products."
        ),
    )
}
"""By name, best first."""
