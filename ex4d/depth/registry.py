"""Every way to a clip's depth behind one call: what each is, what it needs, and running it.

Importing this costs numpy; torch comes in only where an estimator that needs it is run.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.depth import alignment, cached, lens
from ex4d.depth.encoding import DepthEncoding
from ex4d.depth.estimate import NO_UNIT, Estimate
from ex4d.depth.estimators import plane
from ex4d.depth.files import beside, read_estimate
from ex4d.errors import InputError
from ex4d.generate.wan.model_files import RANDOM
from ex4d.geometry import intrinsics
from ex4d.geometry.depth_video import DepthVideo
from ex4d.progress import Progress, silent
from ex4d.weights import store
from ex4d.weights.store import DepthPart

if TYPE_CHECKING:
    from ex4d.media.clip import Clip

KEY_FRAMES = 5
"""So many frames, evenly over the shot, tell field of view and scale."""


@dataclass(frozen=True)
class Estimator:
    """One way to depth.

    Attributes:
        name: as in `EstimatorName`; or "moge", which helps others and is not asked for by itself.
        title: for people.
        weights_licence: of the model file; "" where there is none.
        commercial: whether the depth may be used commercially.
        packages: Python packages it needs, besides numpy.
        parts: model files it needs; of `any_part`, one of them.
        any_part: whether one of the parts is enough.
        version: changes when the same clip would give other depth.
        terms: what the user has to accept before it runs, a sentence without its end; "" where nothing.
    """

    name: str
    title: str
    weights_licence: str
    commercial: bool
    packages: tuple[str, ...] = ()
    parts: tuple[DepthPart, ...] = ()
    any_part: bool = False
    version: int = 1
    terms: str = ""

    @property
    def usual_parts(self) -> tuple[DepthPart, ...]:
        """The files to get where nothing is there yet: all parts, or the best where one is enough."""
        return self.parts[:1] if self.any_part else self.parts

    @property
    def licence(self) -> str:
        """What stands in the way of using its depth, or that nothing does, in a few words."""
        if not self.weights_licence:
            return "free for any use"
        return f"weights: {self.weights_licence}"


ESTIMATORS = {
    estimator.name: estimator
    for estimator in (
        Estimator("file", "Depth file", "", True),
        Estimator(
            "video-depth-anything",
            "Video-Depth-Anything small",
            "Apache-2.0",
            True,
            ("torch", "cv2"),
            (store.VIDEO,),
        ),
        Estimator(
            "moge",
            "MoGe-2",
            "MIT",
            True,
            ("torch",),
            store.MOGE,
            any_part=True,
        ),
        Estimator(
            "depthcrafter",
            "DepthCrafter",
            "research only",
            False,
            ("torch", "diffusers", "transformers", "cv2"),
            (store.DEPTHCRAFTER, store.BASE),
            terms=store.DEPTHCRAFTER_TERMS,
        ),
        Estimator(
            plane.NAME,
            "Ground plane and parallax",
            "",
            True,
            ("cv2",),
            version=plane.VERSION,
        ),
    )
}
"""By name, what is there to choose from."""


def missing(name: str) -> str:
    """A sentence about what `name` needs and lacks here, or "" where it can run. Imports no torch.

    Raises:
        InputError: no such estimator.
    """
    estimator = _known(name)
    for package in estimator.packages:
        if find_spec(package) is None:
            extra = {"cv2": "render", "diffusers": "depthcrafter"}.get(package, "wan")
            return f"{estimator.title} needs the Python package {package}: pip install '.[{extra}]' in a checkout."
    if not estimator.parts:
        return ""
    root = store.folder()
    states = {part.name: store.state(part, root) for part in estimator.parts}
    wrong = {name: state for name, state in states.items() if state != "ready"}
    if not wrong or (estimator.any_part and len(wrong) < len(states)):
        return ""
    if damaged := next((state for state in wrong.values() if state.endswith(".")), ""):
        return damaged
    found = "; ".join(f"{name}: {state}" for name, state in wrong.items())
    return f"{estimator.title} has not all its model files in {root} ({found}): `ex4d models` says how to get them."


def choose(name: str, video: Path | None = None, file: Path | None = None) -> tuple[str, Path | None, str]:
    """What will run when `name` is asked for: the estimator's name, the depth file, and a sentence for the user.

    Args:
        name: one of `EstimatorName`.
        video: where the clip lies; its depth is looked for beside it.
        file: a depth file or folder that the user named.

    Raises:
        InputError: unknown, what it needs is missing, or there is no depth file.
    """
    if name == "auto":
        if found := file or (beside(video) if video else None):
            return "file", found, ""
        if not missing("video-depth-anything"):
            return "video-depth-anything", None, ""
        name, why = plane.NAME, f"Nothing better than the ground plane was there: {missing('video-depth-anything')}"
        if sentence := missing(name):
            raise InputError(sentence)
        return name, None, why
    if name == "moge":
        raise InputError("MoGe-2 gives field of view and scale to other estimators: choose one of those.")
    if sentence := missing(name):
        raise InputError(sentence)
    if name == "file":
        found = file or (beside(video) if video else None)
        if found is None:
            beside_what = f" beside {video.name}" if video else ""
            raise InputError(f"There is no depth file{beside_what}: name one, or choose another estimator.")
        return name, found, ""
    if file is not None:
        raise InputError(f"A depth file is read by the estimator file, not by {name}: leave one of them out.")
    return name, None, ""


def estimate(
    name: str,
    clip: "Clip",
    *,
    video: Path | None = None,
    file: Path | None = None,
    reading: DepthEncoding | None = None,
    focal_px: float | None = None,
    accept_licence: bool = False,
    again: bool = False,
    progress: Progress = silent,
) -> Estimate:
    """The depth of a clip. What is estimated is kept by content, so that the second time costs a hash.

    Args:
        name: one of `EstimatorName`.
        clip: frames at the working size.
        video: where the clip lies, to find the depth beside it.
        file, reading: a depth file or folder, and what its numbers mean.
        focal_px: focal length in pixels of the source's displayed picture; None takes the file's or the estimator's,
            or else the release's.
        accept_licence: the user accepts that DepthCrafter is for research only.
        again: estimate anew even where the depth was kept.
        progress: told after each step.

    Raises:
        InputError: as `choose` and `read_depth`, the licence is not accepted, or a model file is bad.
    """
    name, found, sentence = choose(name, video, file)
    estimator = ESTIMATORS[name]
    if name == "file":
        assert found is not None
        read = read_estimate(found, clip, reading=reading, focal_px=focal_px, progress=progress)
        return _with_terms(read)
    if reading not in (None, DepthEncoding()):
        raise InputError(
            f"How a depth file is to be read was given, but there is none, and {estimator.title} takes none: name the"
            " file, or leave that out."
        )
    if not estimator.commercial and not accept_licence:
        raise InputError(
            f"{estimator.title} may be used for research only, never commercially: accept its licence first, or choose"
            " another estimator."
        )
    used = _weight_files(estimator)
    if name == "video-depth-anything":
        used += _weight_files(ESTIMATORS["moge"])
    made = cached.kept(
        cached.key(clip, name, estimator.version, {"focal_px": focal_px, "key_frames": KEY_FRAMES}, used),
        lambda: _RUN[name](clip, focal_px, progress),
        again,
    )
    if used and (store.folder() / RANDOM).exists():
        sentence = "Estimated with random weights, to try the machine: this depth means nothing."
    notes = (*([sentence] if sentence else []), *made.depth.notes, made.scale_note)
    return replace(made, depth=replace(made.depth, notes=notes))


def _noted(made: Estimate, sentence: str) -> Estimate:
    """The same with one more note of the depth, before the others."""
    return replace(made, depth=replace(made.depth, notes=(sentence, *made.depth.notes)))


def _with_terms(read: Estimate) -> Estimate:
    """Depth that was estimated earlier stays under the terms of what estimated it, also by way of a file."""
    estimator = ESTIMATORS.get(read.depth.provider)
    if estimator is None or not estimator.terms:
        return read
    terms = f"{estimator.terms}."
    return replace(read if terms in read.depth.notes else _noted(read, terms), licence=terms)


def _known(name: str) -> Estimator:
    if name not in ESTIMATORS:
        raise InputError(f"There is no depth estimator {name!r}: choose one of auto, {', '.join(ESTIMATORS)}.")
    return ESTIMATORS[name]


def _weight_files(estimator: Estimator) -> tuple[Path, ...]:
    """The model files that are there."""
    root = store.folder()
    files = (store.located(file, root) for part in estimator.parts for file in part.files)
    return tuple(file for file in files if file.is_file())


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _plane(clip: "Clip", focal_px: float | None, progress: Progress) -> Estimate:
    depth = plane.estimate(clip, focal_px, progress)
    return Estimate(depth, "The unit is the height of the camera above the ground, as guessed.", "Apache-2.0")


def _video_depth_anything(clip: "Clip", focal_px: float | None, progress: Progress) -> Estimate:
    from ex4d.depth.estimators import video_depth_anything

    path = store.located(store.VIDEO.files[0], store.folder())
    frames = video_depth_anything.disparity(clip.frames, path, _device(), progress=progress)
    return scaled("video-depth-anything", clip, _gathered(clip, frames), focal_px, _key_frames(clip, progress))


def _depthcrafter(clip: "Clip", focal_px: float | None, progress: Progress) -> Estimate:
    from ex4d.depth.estimators import depthcrafter

    disparity = depthcrafter.disparity(clip.frames, store.folder(), _device(), accept_licence=True, progress=progress)
    made = scaled("depthcrafter", clip, disparity, focal_px, None)
    return replace(_noted(made, f"{store.DEPTHCRAFTER_TERMS}."), licence=f"{store.DEPTHCRAFTER_TERMS}.")


_RUN: dict[str, Callable[["Clip", float | None, Progress], Estimate]] = {
    "video-depth-anything": _video_depth_anything,
    "depthcrafter": _depthcrafter,
    plane.NAME: _plane,
}


@dataclass(frozen=True)
class Metric:
    """What key frames of a clip say about its lens and its distances.

    Attributes:
        numbers: (K,) which frames.
        depth: (K,H,W) metres; not finite where nothing is known.
        focal_px: in pixels of (H, W), or NaN.
        note: a sentence for the user.
    """

    numbers: NDArray[np.intp]
    depth: NDArray[np.float32]
    focal_px: float
    note: str


def scaled(
    name: str, clip: "Clip", disparity: NDArray[np.float32], focal_px: float | None, metric: Metric | None
) -> Estimate:
    """Distances from the relative disparity (T,H,W) of a whole shot: one scale and shift for all frames.

    In metres by a robust fit to `metric`; without it, or where it cannot be fitted (a note says so), as in the release.
    """
    notes: list[str] = []
    k, about_lens = lens.given_or_assumed(clip, focal_px)
    depth, scale_note = None, NO_UNIT
    if metric is not None:
        if focal_px is None and np.isfinite(metric.focal_px):
            k = intrinsics.per_frame(
                intrinsics.from_focal(metric.focal_px, clip.fit.width, clip.fit.height), len(clip.frames)
            )
            about_lens = ""  # what the metric says is enough
        notes.append(metric.note)
        seen = np.isfinite(metric.depth)
        try:
            scale, shift = alignment.fit_disparity(disparity[metric.numbers][seen], 1 / metric.depth[seen])
            depth = alignment.metric_depth(disparity, scale, shift)
            scale_note = "The distances are in metres, as MoGe-2 estimates them."
        except InputError as error:
            notes.append(str(error))
    if depth is None:
        depth = alignment.relative_depth(disparity)
    if about_lens:
        notes.append(about_lens)
    return Estimate(DepthVideo(depth, k, name, tuple(notes)), scale_note, ESTIMATORS[name].weights_licence)


def _gathered(clip: "Clip", frames: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Disparity (T,H,W) from one frame after the other."""
    result = np.empty(clip.frames.shape[:3], np.float32)
    count = 0
    for count, frame in enumerate(frames, 1):
        result[count - 1] = frame
    if count != len(result):
        raise ValueError(f"the estimator gave {count} frames of {len(result)}")
    return result


def _key_frames(clip: "Clip", progress: Progress) -> Metric | None:
    """What MoGe-2 sees in some frames, where its weights are there."""
    if missing("moge"):
        return None
    from ex4d.depth.estimators import moge

    root = store.folder()
    part = next(part for part in store.MOGE if store.state(part, root) == "ready")
    numbers = np.unique(np.linspace(0, len(clip.frames) - 1, KEY_FRAMES).round().astype(np.intp))
    progress("Measuring scale and field of view", 0, 1)
    try:
        seen = moge.field_of_view_and_scale(clip.frames[numbers], store.located(part.files[0], root), _device())
    except InputError as error:
        nothing = np.full((len(numbers), *clip.frames.shape[1:3]), np.nan, np.float32)
        return Metric(numbers, nothing, np.nan, f"MoGe-2 gives no scale: {error}")
    progress("Measuring scale and field of view", 1, 1)
    return Metric(numbers, seen.depth, seen.shot_focal_px, seen.note)
