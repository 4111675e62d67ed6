"""The user's settings for the EX-4D model. Needs only numpy."""

from dataclasses import dataclass

from ex4d.generate.diffsynth.quality import SIZES, ModelSize, QualityName
from ex4d.schema import Choice, Settings, setting

PROMPT = "4K ultra HD, surround motion, realistic tone, panoramic shot, wide-angle view, cinematic quality"
"""The release's prompt."""


@dataclass(frozen=True)
class WanSettings(Settings):
    """How the EX-4D model is run."""

    quality: QualityName = setting(
        "final",
        "Quality",
        "Time versus detail",
        choices=(
            Choice("final", "Final", "As released: 25 steps with guidance"),
            Choice(
                "balanced",
                "Balanced",
                "A third of the time: 8-bit products, guidance on some of the steps, some steps skipped",
            ),
            Choice(
                "draft", "Draft", "To judge a move: 4 steps, no guidance, 8-bit products; details are soft or wrong"
            ),
        ),
    )
    model_size: ModelSize = setting(
        "512x512",
        "Model Size",
        "Approximate pixels per frame inside the model; the result has the requested size",
        choices=SIZES,
    )
    steps: int | None = setting(
        None,
        "Steps",
        "Sampling steps; by default the quality's own number",
        minimum=1,
        maximum=1000,
        option="--num_inference_steps",
    )
    prompt: str = setting(
        PROMPT,
        "Prompt",
        "What the video should look like, the release's prompt by default; leave it empty to go by the frames alone",
    )
    hold: bool = setting(
        False,
        "Hold Real Part",
        "While sampling, keep pulling the real part back to the clip; wrong depth is held as well",
    )
