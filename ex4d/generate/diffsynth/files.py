"""Where the files of a model lie, and .safetensors beside those that are loaded each time. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from ex4d.errors import InputError
from ex4d.extras import Package, models_to_get
from ex4d.generate.diffsynth.parts import EXTRA
from ex4d.progress import Progress, silent
from ex4d.weights import store
from ex4d.weights.headers import check_file
from ex4d.weights.store import Part


@dataclass(frozen=True, kw_only=True)
class Files:
    """Where the weights lie; a model that has more adds them.

    Attributes:
        dit: of the video model, all its parts.
        vae: of the VAE.
        text_encoder, tokenizer: only needed for prompts that were never embedded on this machine.
        notes: sentences for the user.
    """

    CONVERTED: ClassVar[tuple[str, ...]] = ("vae",)
    """Attributes of files that may be torch's and are loaded each time."""

    dit: tuple[Path, ...]
    vae: Path
    text_encoder: Path | None = None
    tokenizer: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def loaded(self) -> tuple[Path, ...]:
        """All but those for prompts."""
        return (*self.dit, *(getattr(self, name) for name in self.CONVERTED))

    def identity(self) -> tuple[Any, ...]:
        """What changes when another file takes the place of one of them."""
        return tuple(_identity(path) for path in self.loaded)

    def identity_of_text(self) -> tuple[Any, ...]:
        """What changes when another text encoder or tokenizer takes the place of the one that is there."""
        words = sorted(self.tokenizer.glob("*.json")) if self.tokenizer else []
        return tuple(_identity(path) for path in (*([self.text_encoder] if self.text_encoder else []), *words))


F = TypeVar("F", bound=Files)


def _identity(path: Path) -> tuple[str, int, int]:
    return str(path), path.stat().st_size, path.stat().st_mtime_ns


def lacking(title: str, parts: Sequence[Part], root: Path) -> str:
    """A sentence about the parts of a model that are not there; empty if all are."""
    names = [part.name for part in parts if not store.is_there(part, root)]
    if not names:
        return ""
    return f"Files of the {title} are missing ({', '.join(names)}): {models_to_get()}."


def notes(root: Path) -> tuple[str, ...]:
    """What is to be said of everything that is made with the files in a folder."""
    if (root / store.RANDOM).exists():
        return ("Made with random weights, to try the machine: the results mean nothing.",)
    return ()


def converted(there: F, progress: Progress = silent) -> F:
    """The same with .safetensors beside what is loaded each time and came as .pth or .ckpt, written once.

    The text encoder is left as it is: it is read once in a lifetime, for the prompts. What cannot be converted is used
    as it is, and a note says why.

    Raises:
        InputError: a file is damaged, or torch is missing.
    """
    for package in (Package("torch", EXTRA), Package("safetensors", EXTRA)):
        if not package.is_there:
            raise InputError(f"Converting needs the Python package {package.name}: {package.install}.")
    from ex4d.weights.tensors import as_safetensors

    changed: dict[str, Any] = {}
    said = list(there.notes)
    for number, name in enumerate(there.CONVERTED):
        path, title = getattr(there, name), name.replace("_", " ")
        progress("Converting models", number, len(there.CONVERTED))
        try:
            changed[name] = as_safetensors(path, title)
        except InputError as error:
            check_file(path, title)  # a damaged file is no matter of conversion
            said.append(f"{path.name} is used as it is, which loads more slowly: {error}")
    progress("Converting models", len(there.CONVERTED), len(there.CONVERTED))
    return replace(there, **changed, notes=tuple(said))
