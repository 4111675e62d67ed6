"""Quality levels and sizes: one name each for what is traded for time. Needs no torch."""

from dataclasses import dataclass
from typing import Literal

from ex4d.schema import Choice

QualityName = Literal["final", "balanced", "draft"]

ModelSize = Literal["512x512", "832x480"]
"""Approximate pixels per frame inside the model, whatever the aspect ratio; the models were trained near both."""

AREAS = {"512x512": 512 * 512, "832x480": 832 * 480}
"""Pixels of a picture that the models were trained near; their price is in upstream "Published and measured"."""

SIZES = (
    Choice("512x512", "512 x 512", "The size of the release; frames keep the clip's aspect ratio"),
    Choice("832x480", "832 x 480", "Half as many pixels again, in about twice the time"),
)
"""The same as choices of a setting."""

NEGATIVE_PROMPT = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall"
    " gray, worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands,"
    " poorly drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three"
    " legs, many people in the background, walking backwards"
)
"""What Wan2.1 recommends to avoid, and EX-4D's release does, wherever a step is guided."""


@dataclass(frozen=True)
class Quality:
    """How a model is run.

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

    def says(self, final: "Quality") -> str:
        """A sentence on what was changed against `final`, the model's best; empty for that itself."""
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
