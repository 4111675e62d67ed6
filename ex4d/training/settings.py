"""How datasets are made, and how an adapter and the refiner are trained. Needs numpy only.

Defaults are the release's or DiffSynth's if known: the LoRA's rank is the published adapter's, the learning rate is
DiffSynth's for LoRAs. The others are proposals.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from ex4d.generate.diffsynth.quality import SIZES, ModelSize
from ex4d.plain import between, length
from ex4d.schema import Choice, Settings, setting

Quantisation = Literal["none", "nf4"]

_QUANTISATIONS = (
    Choice("none", "None", "In bfloat16, 33 GB"),
    Choice("nf4", "4 Bits", "In 4 bits (QLoRA, needs bitsandbytes), 9 GB"),
)


@dataclass(frozen=True)
class DatasetSettings:
    """Settings of a dataset.

    Attributes:
        frames: of each clip.
        size: side of its pictures in pixels.
        masks: of each clip.
        clips_a_video: maximum number of clips per video; 0 for all.
        depth_estimator, tracker: by name.
        seed: of all random numbers.
    """

    frames: Annotated[int, between(2, 1025)] = 49
    size: Annotated[int, between(64, 2048)] = 512
    masks: Annotated[int, between(1, 100)] = 8
    clips_a_video: Annotated[int, between(0, 1_000_000)] = 4
    depth_estimator: Annotated[str, length(1, 100)] = "auto"
    tracker: Annotated[str, length(1, 100)] = "lk"
    seed: Annotated[int, between(0, (1 << 63) - 1)] = 0


@dataclass(frozen=True, kw_only=True)
class LoopSettings(Settings):
    """What every training has."""

    steps: int = setting(3000, "Steps", "Optimiser steps", minimum=1)
    batch: int = setting(8, "Batch", "Samples per step over all GPUs; a GPU processes one at a time", minimum=1)
    rate: float = setting(1e-4, "Rate", "Learning rate after warm-up", minimum=1e-9, maximum=1)
    warm_up: int = setting(
        100, "Warm-Up", "Steps over which the learning rate rises; then it follows a cosine down to 0", minimum=0
    )
    weight_decay: float = setting(0.01, "Weight Decay", "AdamW's weight decay", minimum=0, maximum=1)
    clip: float = setting(1.0, "Clip", "Gradients with a larger norm are scaled down to it", minimum=1e-6)
    average: float = setting(
        0.999,
        "Average",
        "Decay of the moving average of the weights, which is what gets saved as the adapter",
        minimum=0,
        maximum=0.99999,
    )
    rank: int = setting(16, "Rank", "Rank of the LoRA; the published adapter has 16", minimum=1, maximum=1024)
    seed: int = setting(0, "Seed", "Seed of the initial weights, the order of the samples and the noise", minimum=0)
    quant: Quantisation = setting(
        "none", "Quantisation", "How the frozen weights of the video model are stored", choices=_QUANTISATIONS
    )
    offload: bool = setting(
        False, "Offload", "Keep activations in main memory until the backward pass; saves GPU memory and is slower"
    )
    model_size: ModelSize = setting(
        "512x512", "Model Size", "Approximate pixels per frame inside the model", choices=SIZES
    )
    save_every: int = setting(100, "Save Every", "Steps between checkpoints", minimum=1)


@dataclass(frozen=True, kw_only=True)
class TrainSettings(LoopSettings):
    """How an adapter is trained."""

    held_back: int = setting(4, "Held Back", "Clips held back for validation", minimum=0)
    validate_every: int = setting(200, "Validate Every", "Steps between validations", minimum=1)


@dataclass(frozen=True, kw_only=True)
class DistilSettings(LoopSettings):
    """How an adapter is distilled to the four steps of a draft."""

    steps: int = setting(2000, "Steps", "Optimiser steps, the student's and the critic's together", minimum=1)
    rate: float = setting(2e-5, "Rate", "Learning rate after warm-up", minimum=1e-9, maximum=1)
    warm_up: int = setting(
        20, "Warm-Up", "Steps over which the learning rate rises; then it follows a cosine down to 0", minimum=0
    )
    clip: float = setting(10.0, "Clip", "Gradients with a larger norm are scaled down to it", minimum=1e-6)
    every: int = setting(
        5, "Student Every", "One step in this many trains the student, the others the critic", minimum=2
    )
    teacher_guidance: float = setting(
        5.0, "Teacher Guidance", "Guidance of the teacher; drafts then run without guidance", minimum=1
    )


@dataclass(frozen=True)
class RefinerPlan:
    """Settings of a training of the refiner, independent of its progress.

    Attributes:
        seed: of the weights and the pictures.
        steps: total number of steps, over which the rate falls to 0.
        batch, size: pictures per step, and their side in pixels, a multiple of 16.
        rate: the learning rate after the warm-up.
    """

    seed: int = 1
    steps: int = 36_000
    batch: int = 32
    size: int = 256
    rate: float = 1.5e-3
