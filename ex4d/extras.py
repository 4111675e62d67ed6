"""Optional Python packages, and instructions for installing missing ones that suit the reader.

Looking for a package imports nothing.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

SET_UP_MARK = "set-up-by-blender"
"""Name of the file that marks an environment made by Set Up Server."""

_NVIDIA = "press Repair in the add-on's preferences and choose NVIDIA GPU"
_REPAIR = {"wan": _NVIDIA, "cuda": _NVIDIA}
_USUAL_REPAIR = "press Repair in the add-on's preferences"
_NOT_BROUGHT = {
    "depthcrafter": "Set Up Server does not install it; see docs/depth-models.md for a Server Python of your own",
    "evaluate": "Set Up Server does not install it; see docs/evaluation.md for a Python of your own",
    "evaluate-models": "Set Up Server does not install it; see docs/evaluation.md for a Python of your own",
    "train": "Set Up Server does not install it; see docs/training.md for a Python of your own",
    "cluster": "Set Up Server does not install it; see docs/another-host.md for a server that has a cluster",
}


def is_set_up_by_blender(prefix: Path = Path(sys.prefix)) -> bool:
    """Whether Set Up Server made this Python's environment; its users have a button, not a terminal.

    Args:
        prefix: of the environment. `blender_addon/setup/install.py` writes the mark once the environment is complete.
    """
    return (prefix / SET_UP_MARK).is_file()


def extra_to_install(extra: str) -> str:
    """How to get an extra of ex4d, as part of a sentence: Repair if Set Up Server made this environment, else pip."""
    if not is_set_up_by_blender():
        return f"pip install 'ex4d[{extra}]'"
    return _NOT_BROUGHT.get(extra) or _REPAIR.get(extra, _USUAL_REPAIR)


def models_to_get() -> str:
    """How to get a model's files, as part of a sentence."""
    return "press Get beside it in Blender" if is_set_up_by_blender() else "`ex4d models` says how to get them"


def said_once(reasons: Iterable[tuple[str, str]]) -> str:
    """Explain in sentences why several things cannot run; reasons that differ only in the name are given once.

    Args:
        reasons: pairs of a name and a sentence that may contain it.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for name, reason in reasons:
        alike.setdefault(reason.replace(name, "\0"), []).append((name, reason))
    sentences = []
    for (_, reason), *others in alike.values():
        names = " and ".join(filter(None, (", ".join(name for name, _ in others[:-1]), *(n for n, _ in others[-1:]))))
        sentences.append(f"{reason} This also applies to {names}." if names else reason)
    return " ".join(sentences)


@dataclass(frozen=True)
class Package:
    """A Python package.

    Attributes:
        name: import name.
        extra: extra of ex4d that installs it; empty if it is installed under its own name.
    """

    name: str
    extra: str = ""

    @property
    def is_there(self) -> bool:
        """Whether it is installed."""
        return find_spec(self.name) is not None

    @property
    def install(self) -> str:
        """What to do, as part of a sentence; see `extra_to_install`."""
        if self.extra:
            return extra_to_install(self.extra)
        return _USUAL_REPAIR if is_set_up_by_blender() else f"pip install {self.name}"
