"""Quality levels and sizes: what is traded for time, under one name each. Needs no torch."""

from dataclasses import dataclass
from typing import Literal

from ex4d.schema import Choice

QualityName = Literal["final", "balanced", "draft"]

ModelSize = Literal["512x512", "832x480"]
"""Approximate pixels per frame inside the model, whatever the aspect ratio; the models were trained near both."""

AREAS = {"512x512": 512 * 512, "832x480": 832 * 480}
"""Pixels per picture, close to the sizes in training; upstream "Published and measured" has their cost."""

SIZES = (
    Choice("512x512", "512 x 512", "The size of the release; frames keep the clip's aspect ratio"),
    Choice("832x480", "832 x 480", "Half as many pixels again, in about twice the time"),
)
"""The same as choices for a setting."""

NEGATIVE_PROMPT = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall"
    " gray, worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands,"
    " poorly drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three"
    " legs, many people in the background, walking backwards"
)
"""What Wan2.1 recommends to avoid; used, as in EX-4D's release, wherever a step is guided."""


@dataclass(frozen=True)
class Quality:
    """How a model is run.

    Attributes:
        name: of the level.
        steps: of sampling.
        guidance: how far to go from the negative prompt's prediction towards, and past, the prompt's; 1 halves the
            work.
        guided: fraction of the steps, from the first, that are guided; the others use only the prompt's prediction.
        reuse: how much (relative) a prediction may be expected to change and still be reused; 0 computes all.
        fp8: whether products of the large layers are in 8 bits if the GPU supports it; weights are kept in 8 bits in
            any case.
    """

    name: QualityName
    steps: int
    guidance: float
    guided: float
    reuse: float
    fp8: bool

    def says(self, final: "Quality") -> str:
        """A sentence on what differs from `final`, the model's best; empty for that level itself."""
        changes = [f"{self.steps} steps instead of {final.steps}"] if self.steps != final.steps else []
        if self.guidance == 1:
            changes.append("no guidance")
        elif self.guided < 1:
            changes.append(f"guidance on the first {round(self.guided * self.steps)} of {self.steps} steps")
        if self.reuse:
            changes.append("up to every second prediction reused")
        if self.fp8:
            changes.append("8-bit products")
        return f"Made at {self.name} quality: {', '.join(changes)}." if changes else ""
