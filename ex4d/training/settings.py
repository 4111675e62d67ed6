"""How an adapter is trained and distilled. Needs numpy only.

Defaults are the release's or DiffSynth's where those are known: the LoRA's rank is the published adapter's, the
learning rate DiffSynth's for LoRAs. The others are proposals.
"""

from dataclasses import dataclass
from typing import Literal

from ex4d.generate.diffsynth.quality import SIZES, ModelSize
from ex4d.schema import Choice, Settings, setting

Quantisation = Literal["none", "nf4"]

_QUANTISATIONS = (
    Choice("none", "None", "weights of the video model as they are, 33 GB"),
    Choice("nf4", "4 Bits", "weights of the video model in 4 bits (bitsandbytes NF4, QLoRA), 9 GB"),
)


@dataclass(frozen=True, kw_only=True)
class LoopSettings(Settings):
    """What every training has."""

    steps: int = setting(3000, "Steps", "Updates of the weights", minimum=1)
    batch: int = setting(
        8, "Batch", "Samples in each step, over all GPUs; each GPU takes one after the other", minimum=1
    )
    rate: float = setting(1e-4, "Rate", "Learning rate after the warm-up", minimum=1e-9, maximum=1)
    warm_up: int = setting(100, "Warm-Up", "Steps in which the rate rises; it falls as a cosine afterwards", minimum=0)
    weight_decay: float = setting(0.01, "Weight Decay", "AdamW's", minimum=0, maximum=1)
    clip: float = setting(1.0, "Clip", "Longest gradient; longer ones are shortened to it", minimum=1e-6)
    average: float = setting(
        0.999,
        "Average",
        "Decay of the moving average of the weights, which becomes the result",
        minimum=0,
        maximum=0.99999,
    )
    rank: int = setting(16, "Rank", "Of the LoRA; the published adapter has 16", minimum=1, maximum=1024)
    seed: int = setting(0, "Seed", "Of the first weights, the order of the samples and the noise", minimum=0)
    quant: Quantisation = setting("none", "Quantisation", "How the frozen weights are kept", choices=_QUANTISATIONS)
    offload: bool = setting(
        False, "Offload", "Keep what the backward pass needs in main memory; slower, and takes less of the GPU's"
    )
    model_size: ModelSize = setting(
        "512x512", "Model Size", "Approximate pixels per frame inside the model", choices=SIZES
    )
    save_every: int = setting(100, "Save Every", "Steps from one checkpoint to the next", minimum=1)


@dataclass(frozen=True, kw_only=True)
class TrainSettings(LoopSettings):
    """How an adapter is trained."""

    held_back: int = setting(4, "Held Back", "Clips that are not trained on but validated with", minimum=0)
    validate_every: int = setting(200, "Validate Every", "Steps from one validation to the next", minimum=1)


@dataclass(frozen=True, kw_only=True)
class DistilSettings(LoopSettings):
    """How an adapter is distilled to the four steps of a draft."""

    steps: int = setting(2000, "Steps", "Updates of the weights, of the student's and the critic's together", minimum=1)
    rate: float = setting(2e-5, "Rate", "Learning rate after the warm-up", minimum=1e-9, maximum=1)
    warm_up: int = setting(20, "Warm-Up", "Steps in which the rate rises; it falls as a cosine afterwards", minimum=0)
    clip: float = setting(10.0, "Clip", "Longest gradient; longer ones are shortened to it", minimum=1e-6)
    every: int = setting(
        5, "Student Every", "Each so-manieth step is the student's, the others the critic's", minimum=2
    )
    teacher_guidance: float = setting(
        5.0, "Teacher Guidance", "Guidance of the teacher, which the draft then does without", minimum=1
    )
