"""What stays loaded between jobs on one device: models, and the shot that is being worked on."""

from collections.abc import Callable

from ex4d.generate.base import Generator, Spec
from ex4d.pipeline.open import Shot


class Runtime:
    """Creates generators and keeps them, one at a time, because each may need all of a GPU's memory.

    Args:
        device: on which models run ("cuda:0", "cpu"); "auto" uses a GPU if there is one. A list such as
            "cuda:0,cuda:1" is for models that can split a video; others then behave as with "auto".
        name: of the device, for display; empty if unknown.

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
        """The generator of a specification, still loaded if the previous one was the same."""
        if self._generator is None or self._generator[0] != spec.name:
            self.unload()
            self._generator = spec.name, spec.make(self._devices if spec.several_gpus else self.device)
        return self._generator[1]

    def shot(self, key: object, open: Callable[[], Shot], fresh: bool) -> Shot:
        """The result of `open`, reused for the same key as last time, because artists try many paths on one shot.

        `fresh` always calls `open` again, because files and models may have arrived in the meantime.
        """
        if self._shot is None or self._shot[0] != key or fresh:
            self._shot = None  # release the old shot's memory before the new one takes its own
            self._shot = key, open()
        return self._shot[1]

    def unload(self) -> None:
        """Release the memory of the generator; the shot stays."""
        if self._generator is not None:
            self._generator[1].unload()
            self._generator = None
