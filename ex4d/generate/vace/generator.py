"""VACE as a generator of whole shots."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ex4d.generate.base import Generated, Memory, Request
from ex4d.generate.diffsynth.files import converted
from ex4d.generate.diffsynth.generator import Job, VideoGenerator
from ex4d.generate.diffsynth.quality import AREAS
from ex4d.generate.vace import model_files
from ex4d.generate.vace.model_files import Model
from ex4d.generate.vace.quality import QUALITIES
from ex4d.generate.vace.settings import VaceSettings
from ex4d.generate.vace.spec import memory, missing, rest_bytes
from ex4d.progress import Progress
from ex4d.render.conditioning import Conditioning
from ex4d.weights import store

if TYPE_CHECKING:
    from ex4d.generate.diffsynth.library import Prompts
    from ex4d.generate.diffsynth.video_model import Models
    from ex4d.generate.runtime.resume import Checkpoint
    from ex4d.generate.vace.preparation import Prepared


class VaceGenerator(VideoGenerator):
    """VACE on one device.

    Args:
        model: its size.
        device: see `VideoGenerator`.
    """

    def __init__(self, model: Model, device: str) -> None:
        super().__init__(device)
        self.model = model

    def missing(self) -> str:
        """Why it cannot run here; "" if it can."""
        return missing(self.model, True, self.device)

    def plan(self, request: Request) -> Job:
        """Work out what a request needs."""
        from ex4d.generate.diffsynth import pictures
        from ex4d.generate.runtime import windows
        from ex4d.generate.vace import video_model

        wanted: VaceSettings = request.settings
        level = QUALITIES[wanted.quality]
        level = replace(level, steps=wanted.steps or level.steps, guidance=wanted.guidance or level.guidance)
        files = model_files.files(self.model, store.folder())
        count, height, width = request.conditioning.mask.shape
        plan = windows.plan(count, int(wanted.window), pictures.STRIDE)
        size = pictures.fitting_size(width, height, AREAS[wanted.model_size])
        notes: tuple[str, ...] = (
            f"{self.model.title} was not trained on this kind of hole: look closely at what it has invented.",
        )
        if request.as_released:
            notes += (f"The EX-4D release has no {self.model.title}: its model was run without release_compat.",)
        if wanted.reference and request.scene is None:
            notes += (
                "The reference is the first frame along the path, because the source's own frames are not known.",
            )
        return Job(
            files=files,
            level=level,
            final=QUALITIES["final"],
            settings=video_model.Settings(
                steps=level.steps,
                guidance=level.guidance,
                guided=level.guided,
                reuse=level.reuse,
                prompt=wanted.prompt,
                negative_prompt=wanted.negative_prompt,
                scale=wanted.scale,
            ),
            size=size,
            windows=plan,
            rest=rest_bytes(self.model, pictures.padded_length(len(plan[0])), size[0] * size[1]),
            key=(files.identity(), level.fp8),
            begun=windows.OVERLAP,  # the mask can leave out any frame, not only the first
            notes=notes,
        )

    def load(self, job: Job, progress: Progress) -> "Models":
        """Load all models except the text encoder."""
        from ex4d.generate.vace import video_model

        light = converted(job.files, progress)
        return video_model.load(light, "fast" if job.level.fp8 else "reference", self.device, job.rest, progress)

    def prepare(self, job: Job, request: Request, part: Conditioning) -> "Prepared":
        """Convert pictures and masks of one window to the model's input."""
        from ex4d.generate.vace import preparation

        reference = None
        if request.settings.reference:
            reference = request.conditioning.colour[0] if request.scene is None else request.scene.pictures[0]
        return preparation.prepare(part, request.seed, job.size, reference)

    def make(
        self,
        models: Any,
        prepared: Any,
        prompts: "Prompts",
        seed: int,
        settings: Any,
        progress: Progress,
        checkpoint: "Checkpoint",
    ) -> Generated:
        """Make the frames of one window."""
        from ex4d.generate.vace import video_model

        return video_model.generate(models, prepared, prompts, seed, settings, progress, checkpoint)

    def memory(self, settings: VaceSettings) -> Memory:
        """How much GPU memory it needs with these settings."""
        return memory(self.model, settings)

    def lighter(self, settings: VaceSettings) -> dict[str, VaceSettings]:
        """Settings that may take less memory."""
        return {
            "the model size 512x512": replace(settings, model_size="512x512"),
            "windows of 49 frames": replace(settings, window="49"),
            "balanced or draft quality": replace(settings, quality="draft"),
        }
