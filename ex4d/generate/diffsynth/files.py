"""Where the files of a model are, and .safetensors copies of those that are loaded each time. Needs no torch."""

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
    """Where the weights are; models with more files add them.

    Attributes:
        dit: of the video model, all its parts.
        vae: of the VAE.
        text_encoder, tokenizer: only needed for prompts that have never been embedded on this machine.
        notes: sentences for the user.
    """

    CONVERTED: ClassVar[tuple[str, ...]] = ("vae",)
    """Attributes of files that may be in torch's format and are loaded each time."""

    dit: tuple[Path, ...]
    vae: Path
    text_encoder: Path | None = None
    tokenizer: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def loaded(self) -> tuple[Path, ...]:
        """All files except those for prompts."""
        return (*self.dit, *(getattr(self, name) for name in self.CONVERTED))

    def identity(self) -> tuple[Any, ...]:
        """A value that changes if one of these files is replaced."""
        return tuple(_identity(path) for path in self.loaded)

    def identity_of_text(self) -> tuple[Any, ...]:
        """A value that changes if the text encoder or the tokenizer is replaced."""
        words = sorted(self.tokenizer.glob("*.json")) if self.tokenizer else []
        return tuple(_identity(path) for path in (*([self.text_encoder] if self.text_encoder else []), *words))


F = TypeVar("F", bound=Files)


def _identity(path: Path) -> tuple[str, int, int]:
    return str(path), path.stat().st_size, path.stat().st_mtime_ns


def lacking(title: str, parts: Sequence[Part], root: Path) -> str:
    """A sentence about the parts of a model that are missing; empty if none are."""
    names = [part.name for part in parts if not store.is_there(part, root)]
    if not names:
        return ""
    return f"Files of the {title} are missing ({', '.join(names)}): {models_to_get()}."


def notes(root: Path) -> tuple[str, ...]:
    """Notes for everything that is made with the files in a folder."""
    if (root / store.RANDOM).exists():
        return ("Made with random weights, to try the machine: the results mean nothing.",)
    return ()


def converted(there: F, progress: Progress = silent) -> F:
    """Write .safetensors copies of .pth and .ckpt files that are loaded each time, once; return the files to use.

    The text encoder is left as it is, because each prompt is embedded only once. A file that cannot be converted is
    used as it is, and a note says why.

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
            check_file(path, title)  # a damaged file is not a conversion problem
            said.append(f"{path.name} is used as it is, which loads more slowly: {error}")
    progress("Converting models", len(there.CONVERTED), len(there.CONVERTED))
    return replace(there, **changed, notes=tuple(said))
