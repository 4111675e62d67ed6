"""The user's settings for VACE. Needs only numpy."""

from dataclasses import dataclass
from typing import Literal

from ex4d.generate.diffsynth.quality import NEGATIVE_PROMPT, SIZES, ModelSize, QualityName
from ex4d.schema import Choice, Settings, setting

Window = Literal["49", "81"]


@dataclass(frozen=True)
class VaceSettings(Settings):
    """How VACE is run."""

    quality: QualityName = setting(
        "final",
        "Quality",
        "Time versus detail",
        choices=(
            Choice("final", "Final", "50 steps with guidance, as in VACE's own examples"),
            Choice(
                "balanced",
                "Balanced",
                "A third of the time: 30 steps, guidance on half of them, 8-bit products, some steps skipped",
            ),
            Choice("draft", "Draft", "To judge a move: 10 steps, guidance on half of them, 8-bit products"),
        ),
    )
    model_size: ModelSize = setting(
        "832x480",
        "Model Size",
        "Approximate pixels per frame inside the model; the result has the requested size",
        choices=SIZES,
    )
    window: Window = setting(
        "81",
        "Window",
        "Frames generated at once; longer shots are generated in several overlapping windows",
        choices=(
            Choice("49", "49 Frames", "Less time and memory for each window"),
            Choice("81", "81 Frames", "As many as the model was trained with"),
        ),
    )
    steps: int | None = setting(
        None,
        "Steps",
        "Sampling steps; by default the quality's own number",
        minimum=1,
        maximum=1000,
        option="--num_inference_steps",
    )
    guidance: float | None = setting(
        None,
        "Guidance",
        "How closely the prompt is followed; by default the quality's own, and 1 turns guidance off and halves the"
        " time",
        minimum=1,
        maximum=20,
    )
    scale: float = setting(
        1.0, "Control", "How much the source's frames and the mask weigh against the prompt", minimum=0, maximum=2
    )
    reference: bool = setting(
        False,
        "Source as Reference",
        "Also show the model the first frame of the source, so that what it invents matches",
    )
    prompt: str = setting(
        "",
        "Prompt",
        "What the unseen parts show, such as the place and the light; leave it empty to go by the frames alone",
    )
    negative_prompt: str = setting(
        NEGATIVE_PROMPT, "Negative Prompt", "What the video should not look like; applies to guided steps"
    )
