"""What makes a depth estimator: its specification, its input and its output. Needs only numpy."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ex4d.depth.detail import Detail
from ex4d.depth.encoding import DepthEncoding
from ex4d.depth.estimate import Estimate
from ex4d.extras import Package
from ex4d.networks.devices import torch_device
from ex4d.plain import Text, Word
from ex4d.progress import Progress, silent
from ex4d.weights.store import Part

if TYPE_CHECKING:
    from ex4d.media.clip import Clip
else:
    Clip = Any  # lets the annotations of a `Spec` be checked without the video code


@dataclass(frozen=True)
class Metric:
    """What some frames of a clip reveal about its lens and its distances.

    Attributes:
        numbers: (K,) frame numbers.
        depth: (K,H,W) float32, distances in the unit of `scale_note`; not finite where unknown.
        focal_px: focal length in pixels of (H, W), or NaN.
        note: a sentence for the user.
        scale_note: a sentence about the unit of the distances.
    """

    numbers: NDArray[np.intp]
    depth: NDArray[np.float32]
    focal_px: float
    note: str
    scale_note: str


@dataclass(frozen=True)
class Request:
    """The input of an estimator, besides the clip.

    Attributes:
        device: a torch device, or "auto"; see `torch_device`.
        focal_px: focal length in pixels of the source's displayed picture; None if it was not given.
        file, encoding: a depth file or folder and the meaning of its numbers, for an estimator that reads one.
        detail: see `ex4d.depth.detail`; always "full" or "reduced" for an estimator with `has_detail` in its
            specification.
        metric: when called, lets another model measure lens and distances of some frames; None if nothing here can
            measure them. Only for an estimator with `uses_metric` in its specification.
        progress: called after each step; raises `Cancelled` to stop.
    """

    device: str = "auto"
    focal_px: float | None = None
    file: Path | None = None
    encoding: DepthEncoding | None = None
    detail: Detail = "auto"
    metric: Callable[[], Metric | None] = lambda: None
    progress: Progress = silent


@dataclass(frozen=True)
class Spec:
    """What is known about an estimator before it is imported.

    Attributes:
        name: in jobs, on the command line and as the provider of its depth, lower case.
        title: for people, in title case.
        help: what it is, in one sentence without a full stop.
        run: estimates the depth of a clip; imports anything heavy. None for a helper, which only measures.
        measure: measures lens and distances in some frames (K,) of a clip, for estimators that use them.
        licence: of the model, for people.
        commercial: whether its depth may be used commercially.
        terms: what the user has to accept before it runs, a sentence without a full stop; empty if nothing.
        caution: a sentence attached to its depth wherever that goes; empty if there is nothing to say.
        packages: Python packages it needs besides numpy.
        parts: model files it needs, the best first if one is enough.
        any_part: whether one of the parts is enough.
        version: changes when the same clip would give different depth.
        rank: "auto" uses the highest that can run here and needs no consent.
        reads_file: whether it reads a depth file instead of estimating; "auto" uses it first if there is a file.
        is_guess: whether its distances are a guess in place of a model's, and say so.
        uses_metric: whether it needs the lens and distances of some frames from a helper.
        has_detail: whether it can work on frames in full and reduced detail.
    """

    name: Word
    title: Word
    help: Text
    run: Callable[[Clip, Request], Estimate] | None = None
    measure: Callable[[Clip, NDArray[np.intp], Request], Metric] | None = None
    licence: Text = "free for any use"
    commercial: bool = True
    terms: Text = ""
    caution: str = ""
    packages: tuple[Package, ...] = ()
    parts: tuple[Part, ...] = ()
    any_part: bool = False
    version: int = 1
    rank: int = 0
    reads_file: bool = False
    is_guess: bool = False
    uses_metric: bool = False
    has_detail: bool = False

    @property
    def is_helper(self) -> bool:
        """Whether it only measures for other estimators, and so cannot be chosen."""
        return self.run is None

    @property
    def usual_parts(self) -> tuple[Part, ...]:
        """The files to download if nothing is there yet: all parts, or the best one if one is enough."""
        return self.parts[:1] if self.any_part else self.parts


def detail_for(request: Request) -> Literal["full", "reduced"]:
    """The detail at which to estimate. May import torch, to see whether a GPU can be used."""
    if request.detail != "auto":
        return request.detail
    return "reduced" if torch_device(request.device) == "cpu" else "full"
