"""Python packages that are not always installed, and how to install them. Looking for one imports nothing."""

from dataclasses import dataclass
from importlib.util import find_spec

_NVIDIA = "; in Blender, press Repair and choose NVIDIA GPU"
REPAIR = {"depth": "; in Blender, press Repair", "wan": _NVIDIA, "cuda": _NVIDIA}
"""How those who have no terminal get an extra: the add-on's Set Up Server brings it."""


@dataclass(frozen=True)
class Package:
    """One package.

    Attributes:
        name: as it is imported.
        extra: of ex4d that brings it; empty where it is installed under its own name.
    """

    name: str
    extra: str = ""

    @property
    def is_there(self) -> bool:
        """Whether it is installed."""
        return find_spec(self.name) is not None

    @property
    def install(self) -> str:
        """What to type, as a part of a sentence."""
        if not self.extra:
            return f"pip install {self.name}"
        return f"pip install -c constraints.txt '.[{self.extra}]' in a checkout{REPAIR.get(self.extra, '')}"
