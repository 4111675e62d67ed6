"""What stays warm between jobs on one device: loaded models, and the shot that somebody is working on."""

from collections.abc import Callable

from ex4d.generate.base import Generator, Spec
from ex4d.pipeline.open import Shot


class Runtime:
    """Creates generators and keeps them, one at a time, since each may want all of a GPU's memory.

    Args:
        device: on which models run ("cuda:0", "cpu"); "auto" uses a GPU if there is one. Several of
            them, as "cuda:0,cuda:1", are for models that can share a video; others behave as with "auto".
        name: of the device, for people; empty if nobody knows.

    Attributes:
        device: for models that run on one device.
        name: as given.
    """

    def __init__(self, device: str = "auto", name: str = "") -> None:
        self.device, self.name = "auto" if "," in device else device, name
        self._devices = device
        self._generator: tuple[str, Generator] | None = None
        self._shot: tuple[object, Shot] | None = None

    def generator(self, spec: Spec) -> Generator:
        """The generator of a specification, still loaded if the last one was the same."""
        if self._generator is None or self._generator[0] != spec.name:
            self.unload()
            self._generator = spec.name, spec.make(self._devices if spec.several_gpus else self.device)
        return self._generator[1]

    def shot(self, key: object, open: Callable[[], Shot], fresh: bool) -> Shot:
        """What `open` returns, or returned the last time for the same key: an artist tries many paths on one shot.

        `fresh` opens it again, because files and models may have arrived in the meantime.
        """
        if self._shot is None or self._shot[0] != key or fresh:
            self._shot = None  # the memory of the old one is free before the new one takes its own
            self._shot = key, open()
        return self._shot[1]

    def unload(self) -> None:
        """Release the memory of the generator; the shot stays."""
        if self._generator is not None:
            self._generator[1].unload()
            self._generator = None
