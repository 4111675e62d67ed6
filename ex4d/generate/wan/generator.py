"""The EX-4D model as a generator of whole shots."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ex4d.errors import InputError
from ex4d.generate.base import Generated, Memory, Request
from ex4d.generate.diffsynth.files import converted
from ex4d.generate.diffsynth.generator import Job, VideoGenerator
from ex4d.generate.wan import model_files
from ex4d.generate.wan.quality import QUALITIES
from ex4d.generate.wan.settings import WanSettings
from ex4d.generate.wan.spec import memory, missing, rest_bytes
from ex4d.progress import Progress
from ex4d.render.conditioning import Conditioning
from ex4d.weights import store

if TYPE_CHECKING:
    from ex4d.generate.diffsynth.library import Prompts
    from ex4d.generate.runtime.resume import Checkpoint
    from ex4d.generate.wan.preparation import Prepared
    from ex4d.generate.wan.video_model import Models


class WanGenerator(VideoGenerator):
    """The EX-4D model on one device.

    In release mode, frames are squeezed to 512x512 and at most 49 are made, which is then the size of the result.
    """

    def missing(self) -> str:
        """Why it cannot run here; "" if it can."""
        return missing(True, self.device)

    def plan(self, request: Request) -> Job:
        """Work out what a request needs.

        Raises:
            InputError: settings that contradict each other.
        """
        from ex4d.generate.diffsynth import pictures
        from ex4d.generate.runtime import windows
        from ex4d.generate.wan import preparation, video_model

        wanted: WanSettings = request.settings
        if wanted.hold and request.as_released:
            raise InputError(
                "The EX-4D release does not hold the real part: turn off Hold Real Part or Release Compatibility."
            )
        level = QUALITIES[wanted.quality]
        if wanted.steps is not None:
            level = replace(level, steps=wanted.steps)
        files = model_files.files(store.folder())
        count, height, width = request.conditioning.mask.shape
        plan = windows.plan(count, preparation.LENGTH, pictures.STRIDE)
        size = pictures.fitting_size(width, height, preparation.AREAS[wanted.model_size])
        frames = pictures.padded_length(len(plan[0]))
        if request.as_released:
            plan, size, frames = (range(count),), preparation.RELEASE_SIZE, preparation.LENGTH
        settings = video_model.Settings(
            steps=level.steps,
            guidance=level.guidance,
            guided=level.guided,
            reuse=level.reuse,
            prompt=wanted.prompt,
            hold=wanted.hold,
        )
        return Job(
            files=files,
            level=level,
            final=QUALITIES["final"],
            settings=settings,
            size=size,
            windows=plan,
            rest=rest_bytes(pictures.tokens(frames, *size)),
            key=(files.identity(), level.fp8, level.name == "draft" and files.distilled is not None),
            keeps_size=request.as_released,
        )

    def load(self, job: Job, progress: Progress) -> "Models":
        """Load all models except the text encoder."""
        from ex4d.generate.wan import video_model

        assert isinstance(job.files, model_files.Files)
        light, precision = converted(job.files, progress), "fast" if job.level.fp8 else "reference"
        distilled = job.level.name == "draft" and light.distilled is not None
        return video_model.load(
            light,
            precision,  # type: ignore[arg-type]
            self.device,
            rest=job.rest,
            distilled=distilled,
            progress=progress,
        )

    def prepare(self, job: Job, request: Request, part: Conditioning) -> "Prepared":
        """Convert pictures and masks of one window to the model's input."""
        from ex4d.generate.wan import preparation

        if request.as_released:
            return preparation.as_released(part, request.seed)
        return preparation.own_aspect(part, request.seed, preparation.AREAS[request.settings.model_size])

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
        from ex4d.generate.wan import video_model

        return video_model.generate(models, prepared, prompts, seed, settings, progress, checkpoint)

    def memory(self, settings: WanSettings) -> Memory:
        """How much GPU memory it needs with these settings."""
        return memory(settings)

    def lighter(self, settings: WanSettings) -> dict[str, WanSettings]:
        """Settings that may take less memory."""
        return {
            "the model size 512x512": replace(settings, model_size="512x512"),
            "balanced or draft quality": replace(settings, quality="draft"),
        }
