"""From conditioning to the finished video: running the generator, and putting the source's pixels back."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import EX4DError, InputError, PluginError
from ex4d.generate.base import Generated, Request, Spec
from ex4d.generate.registry import AUTO, Choice, check_options, choose, generators
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, RenderSettings
from ex4d.plain import Facts, PlainError, check
from ex4d.progress import Progress
from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning, without_rim
from ex4d.render.scene import Engine, Scene
from ex4d.schema import Settings, build, describe


@dataclass(frozen=True)
class Plan:
    """How a shot will be generated.

    Attributes:
        choice: the generator, and why a better one was not chosen.
        settings: its own settings, an instance of its specification's class.
        seed, keep_source: see `GenerateSettings`.
    """

    choice: Choice
    settings: Settings
    seed: int
    keep_source: bool

    @property
    def spec(self) -> Spec:
        """Specification of the generator."""
        return self.choice.spec


def plan(settings: GenerateSettings) -> Plan:
    """Choose the generator and check the settings before anything takes time.

    Raises:
        InputError: there is no such generator, it cannot run here, or it does not take a setting.
    """
    known = generators()
    check_options(settings.options, known)
    choice = choose(settings.generator, known, settings.options)
    others = [known[name] for name in settings.options if name in known and name != choice.spec.name]
    unused = {
        about.label for spec in others for about in describe(spec.settings) if about.name in settings.of(spec.name)
    }
    if unused and settings.generator != AUTO:
        said = f"{choice.spec.title} takes no {', '.join(sorted(unused))}, so that was left out."
        choice = replace(choice, notes=(*choice.notes, said))
    return Plan(choice, build(choice.spec.settings, settings.of(choice.spec.name)), settings.seed, settings.keep_source)


def refuse_stereo(settings: RenderSettings) -> None:
    """Raise InputError if both eyes were requested, because generators make the video of a single camera."""
    if settings.stereo is not None:
        raise InputError("A take is made for one camera: leave Stereo out, and make a take for each eye.")


def refuse_lead_in(settings: RenderSettings) -> None:
    """Raise InputError if a lead-in is combined with `release_compat`, which uses the path as it is."""
    if settings.release_compat:
        raise InputError("The EX-4D release makes no lead-in: turn off Lead-In or Release Compatibility.")


def generate(
    conditioning: Conditioning,
    scene: Scene | None,
    wanted: Plan,
    runtime: Runtime,
    progress: Progress,
    *,
    engine: Engine | None = None,
    as_released: bool = False,
) -> Generated:
    """Generate a shot: the generator's own frames, without a lead-in.

    Args:
        conditioning: what is real along the path. A lead-in is generated too, then cut off. What an earlier take shows
            counts as known.
        scene: what it was rendered from; None if unknown.
        wanted: the generator and its settings.
        runtime: holds the generator.
        progress: called after each step.
        engine: draws the views that a generator renders; None uses the fastest that can run here.
        as_released: as the EX-4D release does.

    Raises:
        InputError: the generator cannot make it, for instance because the GPU is too small.
        PluginError: it fails with an error that is not one of ours, or does not return a video of this shot.
    """
    request = Request(conditioning.with_earlier, scene, wanted.settings, wanted.seed, engine, as_released)
    made = _made(wanted.spec, request, runtime, progress)
    notes, settings = made.notes, dict(made.settings)
    if wanted.spec.is_preview:
        notes = ("This is a preview: no video model was used.", *notes)
    if conditioning.lead_in:
        settings["lead_in_frames"] = conditioning.lead_in
    return replace(made, frames=made.frames[conditioning.lead_in :], notes=notes, settings=settings)


def put_back(
    conditioning: Conditioning, made: Generated, wanted: Plan, as_released: bool = False
) -> tuple[Generated, NDArray[np.uint8]]:
    """The result with or without the source's pixels put back, as the plan says, and the frames of the other kind.

    Pixels of an earlier take are put back like those of the source.

    The rim of what each frame itself saw is not trusted, so it is generated too and blended with the source (see
    `ex4d.render.mask_edges`). With `as_released`, nothing is put back: the result is the model's output at its own
    size.

    Args:
        conditioning: what is real along the path, with or without a lead-in.
        made: the result of `generate`.
        wanted: the generator and its settings.
        as_released: as the EX-4D release does.
    """
    if as_released and not wanted.spec.is_preview:
        return made, made.frames
    conditioning = conditioning.without_lead_in.with_earlier
    sure = without_rim(conditioning, wanted.seed)
    weight = mask_edges.soft_edge(conditioning.mask, sure.mask)
    composited = mask_edges.composite(conditioning.colour, made.frames, weight)
    made = with_edge(made, wanted, mask_edges.DEFAULT_KERNELS)
    pair = (composited, made.frames) if wanted.keep_source else (made.frames, composited)
    return replace(made, frames=pair[0]), pair[1]


def with_edge(made: Generated, wanted: Plan, eroded_by: tuple[int, int]) -> Generated:
    """The result of a generator, with a record of how the source's pixels are put back into it."""
    return replace(made, settings={**made.settings, "keep_source": wanted.keep_source, "eroded_by": eroded_by})


def _made(spec: Spec, request: Request, runtime: Runtime, progress: Progress) -> Generated:
    said = f"The generator {spec.name}"
    try:
        made = runtime.generator(spec).generate(request, progress)
    except (EX4DError, OSError):
        raise
    except (Exception, SystemExit) as error:  # raised by a package that may not be ours
        raise PluginError(f"{said} failed: {type(error).__name__}: {error}") from error
    try:
        _check_made(made, spec, request)
    except PlainError as error:
        raise PluginError(f"{said} returned something that cannot be used: {error}") from error
    return made


def _check_made(made: Generated, spec: Spec, request: Request) -> None:
    if not isinstance(made, Generated):
        raise PlainError(f"it must be a Generated, not {type(made).__name__}.")
    frames, wanted = made.frames, request.conditioning.colour.shape
    if not isinstance(frames, np.ndarray) or frames.dtype != np.uint8:
        raise PlainError(f"frames must be an array of uint8, not {getattr(frames, 'dtype', type(frames).__name__)}.")
    if request.as_released and not spec.is_preview:  # the model's own number of frames and size
        if frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
            raise PlainError(f"frames must have the shape (T, H, W, 3), not {frames.shape}.")
    elif frames.shape != wanted:
        raise PlainError(f"frames must have the shape {wanted}, not {frames.shape}.")
    check(Facts, made.settings, "settings")
    check(tuple[str, ...], made.notes, "notes")
