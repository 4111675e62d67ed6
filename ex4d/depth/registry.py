"""The available depth estimators: choosing and running one. Other packages add theirs through an entry point.

Importing this module and listing estimators costs only numpy; torch is imported only when an estimator that needs it
runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ex4d import plugins
from ex4d.depth import cached, extension
from ex4d.depth.base import Metric, Request, Spec, detail_for
from ex4d.depth.detail import DepthEdges, Detail
from ex4d.depth.encoding import DepthEncoding
from ex4d.depth.estimate import Estimate
from ex4d.depth.scaling import KEY_FRAMES, key_frames
from ex4d.errors import EX4DError, InputError, PluginError
from ex4d.extras import Package, said_once
from ex4d.geometry.depth_video import DepthVideo, open_depth
from ex4d.plain import PlainError, check
from ex4d.progress import MEASURING, Progress, silent
from ex4d.schema import AUTO
from ex4d.storage.names import beside, maybe_depth_note
from ex4d.weights import store
from ex4d.weights.lacking import lacking

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

GROUP = "ex4d.depth_estimators"
"""Group of the entry points; each names a `Spec`."""


@dataclass(frozen=True)
class Choice:
    """The estimator that runs.

    Attributes:
        spec: of the estimator.
        file: the depth file or folder that it reads; None if it estimates.
        note: sentences about why no better estimator was chosen if the choice was left open, or about what may be the
            clip's depth; or "".
    """

    spec: Spec
    file: Path | None = None
    note: str = ""


def estimators() -> dict[str, Spec]:
    """All installed estimators, including helpers, by name, best first."""
    return plugins.ranked(GROUP, Spec)


def missing(spec: Spec) -> str:
    """A sentence about what an estimator needs and lacks here, or "" if it can run. Does not import torch.

    If this cannot be determined, the sentence says why.
    """
    try:
        return lacking(spec.title, spec.packages, spec.parts, any_part=spec.any_part)
    except (EX4DError, OSError) as error:  # for example if the folder of models is gone
        return str(error)
    except Exception as error:  # third-party code
        return f"{spec.title} cannot tell whether it can run here: {type(error).__name__}: {error}"


def choose(
    wish: str, video: Path | None = None, file: Path | None = None, known: Mapping[str, Spec] | None = None
) -> Choice:
    """Choose an estimator by name, or the best one for "auto".

    Args:
        wish: name of an estimator, or `AUTO`.
        video: the clip's file; its depth is looked for next to it.
        file: a depth file or folder named by the user.
        known: the estimators to choose from; None for all installed ones.

    Raises:
        InputError: there is none of this name, something it needs is missing, or there is no depth file.
    """
    known = estimators() if known is None else known
    choices = {name: spec for name, spec in known.items() if not spec.is_helper}
    found = file or (beside(video) if video else None)
    if wish == AUTO:
        best = _best(choices, found)
        near_miss = maybe_depth_note(video) if video and found is None else ""
        return replace(best, note=" ".join(filter(None, (near_miss, best.note))))
    names = ", ".join([AUTO, *choices])
    if wish not in known:
        raise InputError(f"There is no depth estimator {wish[:100]!r} here: choose one of {names}.")
    spec = known[wish]
    if spec.is_helper:
        raise InputError(f"{spec.title} only measures lens and scale for other estimators: choose one of {names}.")
    if reason := missing(spec):
        raise InputError(reason)
    if spec.reads_file:
        if found is None:
            beside_what = f" beside {video.name}" if video else ""
            near_miss = maybe_depth_note(video) if video else ""
            raise InputError(
                f"There is no depth file{beside_what}: name one, or choose another estimator. {near_miss}".rstrip()
            )
        return Choice(spec, found)
    if file is not None:
        raise InputError(f"{spec.title} estimates the depth and reads no depth file: leave one of them out.")
    return Choice(spec)


def _best(choices: Mapping[str, Spec], file: Path | None) -> Choice:
    """The choice of "auto": what reads the file if there is one, else the best that can run and needs no consent."""
    reasons: list[tuple[str, str]] = []
    for spec in choices.values():
        if spec.reads_file != (file is not None) or spec.terms:
            continue
        reason = missing(spec)
        if not reason:
            note = f"Nothing better than {spec.title} can run here: {said_once(reasons)}" if reasons else ""
            return Choice(spec, file, note)
        reasons.append((spec.title, reason))
    raise InputError(f"No depth estimator can run here: {said_once(reasons) or 'none is installed.'}")


def estimate(
    wish: str,
    clip: "Clip",
    *,
    video: Path | None = None,
    file: Path | None = None,
    reading: DepthEncoding | None = None,
    focal_px: float | None = None,
    accept_licence: bool = False,
    again: bool = False,
    device: str = "auto",
    detail: Detail = "auto",
    standing: Path | None = None,
    edges: DepthEdges = "off",
    progress: Progress = silent,
) -> Estimate:
    """Estimate or read the depth of a clip. Estimated depth is cached by content, so a second run costs one hash.

    Args:
        wish: name of an estimator, or `AUTO`.
        clip: frames at the working size.
        video: the clip's file, to find the depth next to it.
        file, reading: a depth file or folder, and what its numbers mean.
        focal_px: focal length in pixels of the source's displayed picture; None takes the file's or the estimator's, or
            else the release's.
        accept_licence: the user accepts the terms of the estimator.
        again: estimate again even if there is a cached result.
        device: a torch device; "auto" takes a GPU if torch can use one, else the CPU.
        detail: how finely a model looks at the pictures; "auto" is full on a GPU and reduced on the CPU.
        standing: depth of a part of the clip that is to be kept, as written by EX-4D: only the other frames are
            estimated, and fitted to it. If it does not apply, all frames are estimated, and a note says why.
        edges: how soft edges are treated, see `DepthEdges`; those in `standing` stay as they are.
        progress: called after each step.

    Raises:
        InputError: as `choose`, the depth file or a model file is bad, or the terms are not accepted.
    """
    known = estimators()
    choice = choose(wish, video, file, known)
    spec = choice.spec

    def edged(made: Estimate, of: "Clip", offset: tuple[int, int] | None = None) -> Estimate:
        if edges == "off":
            return made
        numba = Package("numba", "render")
        if not numba.is_there:
            note = f"The depth's edges stay as soft as they are, since sharpening them needs numba: {numba.install}."
            return replace(made, depth=replace(made.depth, notes=(*made.depth.notes, note)))
        # All of these need cv2 and numba; listing estimators does not.
        from ex4d.depth.offset import moved_back

        made = replace(made, depth=moved_back(made.depth, of.frames, offset))
        torch = Package("torch", "depth")
        if edges == "refine" and torch.is_there:
            from ex4d.depth.refinement import refined

            return replace(made, depth=refined(made.depth, of.frames, progress, device))
        from ex4d.depth.edges import snapped

        if edges == "refine":
            note = f"The depth's edges were snapped, not refined, because refining needs torch: {torch.install}."
            made = replace(made, depth=replace(made.depth, notes=(*made.depth.notes, note)))
        return replace(made, depth=snapped(made.depth, of.frames, progress))

    request = Request(device, focal_px, choice.file, reading, detail, progress=progress)
    if spec.reads_file:
        if standing is not None:
            raise InputError(
                "A depth file has the depth of all frames, so the depth of a part is of no use: leave one out."
            )
        read = edged(_run(spec, clip, request), clip)
        return _marked(read, known.get(read.depth.provider))
    # Jobs of earlier versions say "depth" if the user had chosen nothing.
    if reading not in (None, DepthEncoding(), DepthEncoding(convention="depth")):
        raise InputError(
            f"Settings for reading a depth file were given, but there is no such file, and {spec.title} reads none:"
            " name the file, or leave those settings out."
        )
    if spec.terms and not accept_licence:
        raise InputError(f"{spec.terms}: accept these terms first, or choose another estimator.")
    if spec.has_detail:
        request = _with_detail(spec, request)
    helper = _helper(known) if spec.uses_metric else None
    made, note = None, ""

    def kept_before() -> Estimate | None:
        # With its edges treated, because the existing depth is compared with it.
        found = None if again else cached.found(_key(spec, helper, clip, request))
        return found and edged(found, clip)

    if standing is not None:
        made, note = extension.extended(
            standing,
            clip,
            spec.name,
            {name: each.title for name, each in known.items()},
            focal_px,
            # The existing depth sets their scale, so no helper measures it.
            estimate=lambda frames: edged(_kept(spec, None, frames, request, again), frames, _offset(standing)),
            kept=kept_before,
        )
    if made is None:
        made = edged(_kept(spec, helper, clip, request, again), clip)
    notes = [note] if note else []
    if _used_weights(spec, helper) and (store.folder() / store.RANDOM).exists():
        notes.append("Estimated with random weights, to try the machine: this depth means nothing.")
    notes += made.depth.notes
    if detail != "auto" and not spec.has_detail:
        notes.append(f"{spec.title} has no Depth Detail: the setting was ignored.")
    notes.append(made.scale_note)
    depth = replace(made.depth, notes=tuple(dict.fromkeys(notes)))  # extended depth already has some of them
    return _marked(replace(made, depth=depth, choice_note=choice.note), spec)


def _offset(standing: Path) -> tuple[int, int]:
    """By how much a shot's depth was moved back, for its other frames."""
    from ex4d.depth.offset import noted

    with open_depth(standing) as file:
        return noted(file.notes)


def _kept(spec: Spec, helper: Spec | None, clip: "Clip", request: Request, again: bool) -> Estimate:
    """The depth an estimator makes of a clip, or made before; uses a helper's measurements if there is a helper."""
    if helper is not None:
        request = replace(request, metric=partial(_measured, helper, clip, request))
    return cached.kept(_key(spec, helper, clip, request), partial(_run, spec, clip, request), again)


def _key(spec: Spec, helper: Spec | None, clip: "Clip", request: Request) -> str:
    """The key under which an estimator's depth of a clip is cached."""
    settings: dict[str, object] = {
        "focal_px": request.focal_px,
        "key_frames": KEY_FRAMES,
        "helper": helper and [helper.name, helper.version],
    }
    if spec.has_detail:
        settings["detail"] = request.detail
    return cached.key(clip, spec.name, spec.version, settings, _used_weights(spec, helper))


def _used_weights(spec: Spec, helper: Spec | None) -> tuple[Path, ...]:
    """The installed model files of an estimator and its helper."""
    return (*_weight_files(spec), *(_weight_files(helper) if helper is not None else []))


def _with_detail(spec: Spec, request: Request) -> Request:
    """Resolve the request's detail to full or reduced.

    Raises:
        PluginError: torch is broken, and is needed to look for a GPU.
    """
    try:
        return replace(request, detail=detail_for(request))
    except (ImportError, RuntimeError) as error:
        raise PluginError(f"{spec.title} cannot tell whether there is a GPU: {error}") from error


def _run(spec: Spec, clip: "Clip", request: Request) -> Estimate:
    """Run an estimator on a clip.

    Raises:
        PluginError: it fails with an error that is not one of ours, or returns something other than depth of this clip.
    """
    assert spec.run is not None
    said = f"The depth estimator {spec.name}"
    try:
        made = spec.run(clip, request)
    except (EX4DError, OSError):
        raise
    except (Exception, SystemExit) as error:  # possibly third-party code
        raise PluginError(f"{said} failed: {type(error).__name__}: {error}") from error
    try:
        _check_made(made, spec, clip)
    except EX4DError as error:
        raise PluginError(f"{said} returned something that cannot be used: {error}") from error
    return made


def _check_made(made: Estimate, spec: Spec, clip: "Clip") -> None:
    if not isinstance(made, Estimate) or not isinstance(made.depth, DepthVideo):
        raise PlainError(f"it must be an Estimate with a DepthVideo, not {type(made).__name__}.")
    depth = made.depth
    if depth.depth.shape != clip.frames.shape[:3]:
        raise PlainError(f"depth must have the shape {clip.frames.shape[:3]}, not {depth.depth.shape}.")
    for name in ("provider", "scale_note", "licence", "caution"):
        check(str, getattr(depth if name == "provider" else made, name), name)
    check(tuple[str, ...], depth.notes, "notes")
    if depth.provider != spec.name and not spec.reads_file:  # a file names the estimator that made it
        raise PlainError(f"provider must be its own name, not {depth.provider!r:.100}.")
    replace(depth)  # checks the distances, which may have been overwritten since


def _marked(made: Estimate, spec: Spec | None) -> Estimate:
    """Attach what must stay with the depth: that it is a guess, and the caution and terms of its estimator.

    Earlier estimates that come back as a file keep these too, by the provider named in the file.
    """
    if spec is None or not (spec.terms or spec.caution or spec.is_guess):
        return made
    terms = f"{spec.terms}." if spec.terms else ""
    new = [sentence for sentence in (terms, spec.caution) if sentence and sentence not in made.depth.notes]
    depth = replace(made.depth, notes=(*new, *made.depth.notes), is_guess=made.depth.is_guess or spec.is_guess)
    return replace(made, depth=depth, licence=terms or made.licence, caution=spec.caution or made.caution)


def _helper(known: Mapping[str, Spec]) -> Spec | None:
    """The best estimator that can measure lens and scale here."""
    return next((spec for spec in known.values() if spec.measure is not None and not missing(spec)), None)


def _measured(helper: Spec, clip: "Clip", request: Request) -> Metric:
    """A helper's measurements in the key frames; if it fails, only a note that says why."""
    assert helper.measure is not None
    numbers = key_frames(len(clip.frames))
    request.progress(MEASURING, 0, len(numbers))
    try:
        return helper.measure(clip, numbers, request)
    except InputError as error:
        nothing = np.full((len(numbers), *clip.frames.shape[1:3]), np.nan, np.float32)
        return Metric(numbers, nothing, np.nan, f"{helper.title} gives no scale: {error}", "")


def _weight_files(spec: Spec) -> list[Path]:
    """The installed model files."""
    if not spec.parts:
        return []
    root = store.folder()
    files = [store.located(file, root) for part in spec.parts for file in part.files]
    return [file for file in files if file.is_file()]
