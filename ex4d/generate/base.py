"""What every generator is: its specification, what it is given, and what it gives back. Needs numpy only."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ex4d.progress import Progress
from ex4d.render.conditioning import Conditioning
from ex4d.render.scene import Engine, Scene
from ex4d.schema import Settings


@dataclass(frozen=True)
class Generated:
    """A finished video.

    Attributes:
        frames: (T,h,w,3) uint8.
        settings: what it was really made with, plain values.
        notes: sentences for the user.
    """

    frames: NDArray[np.uint8]
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """What a generator is asked for.

    Attributes:
        conditioning: T frames as rendered: what is real along the path. The rim of its mask is not eroded yet.
        scene: what it was rendered from; None where only colour and mask are known.
        settings: an instance of the specification's `settings`.
        seed: of everything that is drawn at random.
        engine: what draws, where the generator draws; None takes the fastest that can run here.
        as_released: do everything as the EX-4D release does, its peculiarities included.
    """

    conditioning: Conditioning
    scene: Scene | None
    settings: Any
    seed: int = 0
    engine: Engine | None = None
    as_released: bool = False


class Generator(Protocol):
    """A generator on one device; what it has loaded stays with it until `unload`."""

    def generate(self, request: Request, progress: Progress) -> Generated:
        """Make the video; raises `Cancelled` between two steps, and `InputError` where it cannot be made."""
        ...

    def unload(self) -> None:
        """Give back all memory that is held between jobs."""
        ...


@dataclass(frozen=True)
class Spec:
    """What there is to know about a generator before it is imported.

    Attributes:
        name: in jobs and on the command line, lower case.
        title: for people, in title case.
        help: one sentence without its full stop: what it is.
        settings: class of its settings.
        make: makes one for a device ("cuda:0", "cpu"); imports what is heavy.
        missing: a sentence about why it cannot run here, "" where it can. With False it imports nothing heavy, and may
            miss what only an import tells.
        rank: "auto" takes the greatest that can run here.
        is_preview: its pictures are a stand-in for those of a model, and say so.
        licence: of what it is made of, for people.
    """

    name: str
    title: str
    help: str
    settings: type[Settings]
    make: Callable[[str], Generator]
    missing: Callable[[bool], str]
    rank: int = 0
    is_preview: bool = False
    licence: str = "free for any use"
