"""What makes a generator: its specification, its input and its output. Needs only numpy."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ex4d.plain import Facts, Gigabytes, Stride, Text, Word
from ex4d.progress import Progress
from ex4d.render.conditioning import Conditioning
from ex4d.render.scene import Engine, Scene
from ex4d.schema import Settings
from ex4d.weights.store import Part


@dataclass(frozen=True)
class Generated:
    """A finished video.

    Attributes:
        frames: (T,h,w,3) uint8.
        settings: what it was actually made with, as plain JSON values; together with the seed, enough to remake it.
        notes: sentences for the user.
    """

    frames: NDArray[np.uint8]
    settings: Facts = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """The input of a generator.

    Attributes:
        conditioning: T rendered frames: what is real along the path, including its lead-in, which is cut off the result
            later. The rim of its mask is still there, see `ex4d.render.mask_edges`.
        scene: what the conditioning was rendered from; None if only colour and mask are known.
        settings: an instance of the specification's `settings`.
        seed: for everything that is drawn at random.
        engine: renders the scene if a generator does so itself; None uses the fastest that can run here.
        as_released: do everything as the EX-4D release does, including its peculiarities.
    """

    conditioning: Conditioning
    scene: Scene | None
    settings: Any
    seed: int = 0
    engine: Engine | None = None
    as_released: bool = False


class Generator(Protocol):
    """A generator on one device; what it has loaded stays loaded until `unload`."""

    def generate(self, request: Request, progress: Progress) -> Generated:
        """Make the video. It need not preserve what the source saw, because the pipeline puts those pixels back.

        Args:
            request: what to make.
            progress: called after each step; raises `Cancelled` to stop.

        Raises:
            InputError: the video cannot be made here, or not with these settings.
        """
        ...

    def unload(self) -> None:
        """Release all memory held between requests; the next request loads what it needs again."""
        ...


@dataclass(frozen=True)
class OwnFile:
    """A file that the user may add to those of a generator.

    Attributes:
        name: what it is, for people.
        place: where it is expected, below the folder of all models.
        found: name of the file that is there; empty if there is none.
        problem: a sentence about what is wrong with it; empty if nothing is.
    """

    name: str
    place: str
    found: str = ""
    problem: str = ""


@dataclass(frozen=True)
class Memory:
    """How much GPU memory a generator needs, in GB of 10^9 bytes.

    Attributes:
        least: the minimum with which the generator runs.
        best: with this much or more, no weights are copied to the GPU while it works.
    """

    least: Gigabytes = 0.0
    best: Gigabytes = 0.0


def no_memory(settings: Any) -> Memory:
    """Memory of a generator that needs no GPU."""
    return Memory()


@dataclass(frozen=True)
class Spec:
    """What is known about a generator before its code is imported.

    Attributes:
        name: in jobs and on the command line, lower case.
        title: for people, in title case.
        help: what it is, in one sentence without a full stop.
        settings: class of its settings; `Settings` itself if it has none.
        make: creates one for a device ("cuda:0", "cuda", "cpu", or "auto" for whatever it can use best); imports
            anything heavy.
        several_gpus: whether `make` also accepts several GPUs, as "cuda:0,cuda:1".
        missing: why it cannot run here, as a sentence; "" if it can. Called with False, it imports nothing heavy, so
            that a server can call it for every client, and may overlook what only an import can reveal.
        rank: "auto" uses the highest that can run here; the default ranks behind every built-in generator.
        memory: how much GPU memory it needs with given settings, for a shot as long as the model takes at once.
        is_preview: whether its frames stand in for those of a model; everything made from them says so. They are the
            same with every seed.
        licence: of its weights, for people.
        stride: it works on one frame and then on groups of this many; shots of other lengths are padded.
        parts: model files that it needs.
        convert: rewrites model files below the folder of all models so that they load faster and contain no pickles;
            returns sentences for the user. None if there is nothing to rewrite.
        own_files: looks for files that the user may have added; None if it uses none.
    """

    name: Word
    title: Word
    help: Text
    settings: type[Settings]
    make: Callable[[str], Generator]
    missing: Callable[[bool], str]
    rank: int = 0
    memory: Callable[[Any], Memory] = no_memory
    is_preview: bool = False
    several_gpus: bool = False
    licence: Text = "free for any use"
    stride: Stride = 1
    parts: tuple[Part, ...] = ()
    convert: Callable[[Path, Progress], tuple[str, ...]] | None = None
    own_files: Callable[[Path], tuple[OwnFile, ...]] | None = None

    @property
    def gigabytes(self) -> float:
        """Approximate size of its model files in GB."""
        return round(sum(part.gigabytes for part in self.parts), 1)


def metadata(spec: Spec, generated: Generated) -> dict[str, str]:
    """Texts for the movie file, "title" and "comment", so that a preview says what it is wherever it ends up."""
    title = "EX-4D preview, not made by a model" if spec.is_preview else spec.title
    return {"title": title, "comment": " ".join(generated.notes)}
