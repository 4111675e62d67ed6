"""Generators: from conditioning to the finished video."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Generated:
    """One result.

    Attributes:
        frames: (T,h,w,3) uint8.
        generator: its name; "preview" is no diffusion model, and everything made from it must say so.
        seed: what the result depends on besides the inputs.
        settings: everything else needed to make it again, plain JSON values.
        notes: sentences for the user.
    """

    frames: NDArray[np.uint8]
    generator: str
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def is_preview(self) -> bool:
        """Whether no diffusion model was used."""
        return self.generator == "preview"

    @property
    def metadata(self) -> dict[str, str]:
        """Texts for the movie file, so that a preview says so wherever it ends up."""
        made_by = f"EX-4D, {self.settings['quality']} quality" if "quality" in self.settings else "EX-4D"
        title = "EX-4D preview, not made by the model" if self.is_preview else made_by
        return {"title": title, "comment": " ".join(self.notes)}
