"""What a user can set of the EX-4D model. Needs numpy only."""

from dataclasses import dataclass

from ex4d.generate.wan.quality import ModelSize, QualityName
from ex4d.schema import Choice, Settings, setting

PROMPT = "4K ultra HD, surround motion, realistic tone, panoramic shot, wide-angle view, cinematic quality"
"""What the release asks for."""

NEGATIVE_PROMPT = (
    "Bright tones, overexposed, static, blurred details, subtitles, style, works, paintings, images, static, overall"
    " gray, worst quality, low quality, JPEG compression residue, ugly, incomplete, extra fingers, poorly drawn hands,"
    " poorly drawn faces, deformed, disfigured, misshapen limbs, fused fingers, still picture, messy background, three"
    " legs, many people in the background, walking backwards"
)
"""What the release asks to avoid, wherever a step is guided."""


@dataclass(frozen=True)
class WanSettings(Settings):
    """How the EX-4D model is run."""

    quality: QualityName = setting(
        "final",
        "Quality",
        "Time against detail",
        choices=(
            Choice("final", "Final", "As released: 25 steps with guidance"),
            Choice(
                "balanced",
                "Balanced",
                "A third of the time: 8-bit products, guidance on a part of the steps, steps left out",
            ),
            Choice(
                "draft", "Draft", "To judge a move: 4 steps, no guidance, 8-bit products; details are soft or wrong"
            ),
        ),
    )
    model_size: ModelSize = setting(
        "512x512",
        "Model Size",
        "Approximate pixels per frame inside the model; the result has the size that was asked for",
        choices=(
            Choice("512x512", "512 x 512", "The size of the release; frames keep the clip's aspect ratio"),
            Choice("832x480", "832 x 480", "Half as many pixels again, in about twice the time"),
        ),
    )
    steps: int | None = setting(
        None,
        "Steps",
        "Sampling steps; by default as many as the quality takes",
        minimum=1,
        maximum=1000,
        option="--num_inference_steps",
    )
    prompt: str = setting(
        PROMPT,
        "Prompt",
        "What the video should look like, the release's prompt by default; an empty one leaves it to the frames alone",
    )
