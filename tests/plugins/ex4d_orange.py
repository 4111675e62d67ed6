"""A generator of another package, which stands in for a video model in tests: it fills holes with orange, slowly.

It shows pictures while it does, as a model does. A file that the environment variable EX4D_TEST_MISSING names holds a
sentence about why it cannot run; where there is no such file, it can.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ex4d.generate.base import Generated, Spec
from ex4d.schema import Choice, Settings, setting

ORANGE, STEPS = (250, 120, 0), 4


@dataclass(frozen=True)
class OrangeSettings(Settings):
    quality: str = setting(
        "final",
        "Quality",
        "Time versus detail",
        choices=(Choice("final", "Final"), Choice("balanced", "Balanced"), Choice("draft", "Draft", "Quick")),
    )
    pause: float = setting(0.2, "Pause", "How long a step takes", unit="seconds", minimum=0, maximum=10)
    prompt: str = setting("orange", "Prompt", "What to fill holes with")


class Orange:
    def __init__(self, device):
        self.device = device

    def generate(self, request, progress):
        settings, seen = request.settings, request.conditioning
        for step in range(1, STEPS + 1):
            progress("Sampling", step, STEPS, np.full((90, 160, 3), (250, 30 * step, 0), np.uint8))
            time.sleep(settings.pause)
        frames = np.where(seen.mask[..., None] > 0, seen.colour, np.uint8(ORANGE))
        notes = () if settings.quality == "final" else (f"Made at {settings.quality} quality.",)
        return Generated(frames, settings.plain(), notes)

    def unload(self):
        pass


def missing(deep):
    said = Path(os.environ.get("EX4D_TEST_MISSING", "/nowhere"))
    return said.read_text() if said.exists() else ""


SPEC = Spec("orange", "Orange Model", "Fill holes with orange", OrangeSettings, Orange, missing, rank=1000)
