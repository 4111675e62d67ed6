"""The store of model weights: where each file belongs, whether it is complete, and how to download it. Needs no torch.

Each generator or estimator declares its models where it uses them, as a list of `Part`s. Revisions are pinned to
commits of the hub. A part has a hash for each file whose published hash was found in two places; without a hash, only
the commit identifies the file.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ex4d.errors import EX4DError, InputError
from ex4d.extras import Package
from ex4d.progress import Progress, silent
from ex4d.storage import user_cache
from ex4d.weights.headers import check_file, check_table, header, is_old

VARIABLE = "EX4D_MODELS"
"""Environment variable that names the folder for all models."""

RANDOM = "RANDOM_WEIGHTS"
"""A file with this name in the folder marks its weights as random, like those of the benchmarks."""

PICKLES = {".bin", ".ckpt", ".pt", ".pth"}
"""Extensions of files written by torch; a file downloaded as one is kept as .safetensors."""


@dataclass(frozen=True)
class Part:
    """One model file, or several that belong together.

    Attributes:
        name: name to display.
        files: paths below the folder for all models; the first folder of each stands for the hub's repository.
        gigabytes: approximate size of the download, in GB.
        licence: of the weights.
        hub: repository on Hugging Face that has the files.
        keys: `key_hash` of all files together; empty if names are not checked, or are checked in another way.
        revision: commit on the hub; empty if none is pinned.
        sha256: hash of each file as published, "" if unknown; empty if none is known.
        research_only: whether the licence forbids commercial use, so that the user has to accept it.
        extra: extra of ex4d that installs the packages to download and read the files.
        convert: writes a torch file as .safetensors beside it and returns the new path; None if the file is a plain
            state dict.
        check: raises InputError if the first file is not what it should be; needs torch, and imports it itself.
        elsewhere: folders of other repositories that have the same files under the same names, see `places`.
        address: of the folder that has the files if they are not on the hub; `hub` is empty then.
        may_be_old: whether the file may come from torch before 1.6, and so cannot be checked without reading it.
    """

    name: str
    files: tuple[str, ...]
    gigabytes: float
    licence: str
    hub: str
    keys: str = ""
    revision: str = ""
    sha256: tuple[str, ...] = ()
    research_only: bool = False
    extra: str = ""
    convert: Callable[[Path], Path] | None = None
    check: Callable[[Path], object] | None = None
    elsewhere: tuple[str, ...] = ()
    address: str = ""
    may_be_old: bool = False

    @property
    def folder(self) -> str:
        """Folder for the whole repository, below the folder for all models."""
        return self.files[0].partition("/")[0]

    def inside(self, file: str) -> str:
        """Path of a file inside the hub's repository."""
        return file.partition("/")[2]


@dataclass(frozen=True)
class Listing:
    """The parts of a generator or estimator, and their state on this machine.

    Attributes:
        name: of the generator or estimator.
        states: each part with its `state`.
        wanted: parts that still have to be downloaded before it can run.
    """

    name: str
    states: tuple[tuple[Part, str], ...]
    wanted: tuple[Part, ...]


# --- what is there ---


def folder() -> Path:
    """The folder for all models: `EX4D_MODELS` if that is set, otherwise one in the cache."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    return user_cache.folder("models")


def located(file: str, root: Path) -> Path:
    """Path of a file; if a torch file is gone, that of the .safetensors file it was converted to."""
    path = root / file
    other = path.with_suffix(".safetensors")
    return other if path.suffix in PICKLES and not path.is_file() and other.is_file() else path


def places(part: Part, root: Path) -> tuple[Path, ...]:
    """Where a part's files are, or belong: in its own folder, unless only another folder has all of them."""
    own, *others = (
        tuple(located(f"{folder}/{part.inside(file)}", root) for file in part.files)
        for folder in (part.folder, *part.elsewhere)
    )
    return next((paths for paths in (own, *others) if all(path.is_file() for path in paths)), own)


def is_there(part: Part, root: Path) -> bool:
    """Whether all files of a part exist, whatever they contain."""
    return all(path.is_file() for path in places(part, root))


def state(part: Part, root: Path, *, deep: bool = False) -> str:
    """ "ready", "missing", how many files are missing, or a sentence about what is wrong with one of them.

    Args:
        part: the part to check.
        root: folder for all models.
        deep: also read torch files and run the part's own check, if torch is installed; otherwise next to nothing of a
            file is read.
    """
    paths = places(part, root)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        return "missing" if len(missing) == len(paths) else f"{len(missing)} of {len(paths)} files missing"
    try:
        _check(part, paths, deep and _torch_is_there())
    except InputError as error:
        return str(error)
    return "ready"


def listing(name: str, parts: Sequence[Part], root: Path, *, any_part: bool = False, deep: bool = False) -> Listing:
    """Which parts of a generator or estimator are there, and what to download.

    Args:
        name: of the generator or estimator.
        parts: its parts, best first if one is enough.
        root: folder for all models.
        any_part: whether one of the parts is enough.
        deep: see `state`.
    """
    states = tuple((part, state(part, root, deep=deep)) for part in parts)
    wanted = tuple(part for part, found in states if found != "ready")
    if any_part:
        wanted = () if len(wanted) < len(states) else wanted[:1]
    return Listing(name, states, wanted)


def key_hash(shapes: dict[str, tuple[int, ...]]) -> str:
    """Hash of tensor names and shapes, as computed by diffsynth (core/loader/file.py, hash_model_file)."""
    words = [f"{name}:{'_'.join(map(str, shape))}" for name, shape in shapes.items()]
    return hashlib.md5(",".join(sorted([*words, *shapes])).encode(), usedforsecurity=False).hexdigest()


def _check(part: Part, paths: Sequence[Path], deep: bool = False) -> None:
    """Raise InputError if a file is damaged, or if the files of a complete part hold another model."""
    for path in paths:
        if part.may_be_old and is_old(path):
            continue
        (check_table if path.suffix == ".json" else check_file)(path, part.name)
    if len(paths) < len(part.files):
        return
    if part.keys:
        _check_keys(part, paths, deep)
    if part.check is not None and deep:
        try:
            part.check(paths[0])
        except InputError:
            raise
        except Exception as error:  # raised by third-party code
            raise InputError(f"The {part.name} cannot be checked: {type(error).__name__}: {error}.") from error


def _check_keys(part: Part, paths: Sequence[Path], deep: bool) -> None:
    """Raise InputError unless the files together hold the tensors of the published model, by name and shape."""
    found: dict[str, tuple[int, ...]] = {}
    for path in paths:
        if path.suffix == ".safetensors":
            found |= header(path, part.name)
        elif deep and not part.convert:  # a file that needs its own converter is not a plain state dict
            from ex4d.weights.tensors import read_tensors

            found |= {name: tuple(tensor.shape) for name, tensor in read_tensors(path, part.name).items()}
        else:
            return
    if key_hash(found) != part.keys:
        files = f"all {len(paths)} files" if len(paths) > 1 else paths[0].name
        raise InputError(
            f"The {part.name} in {paths[0].parent} is another model: its {len(found)} tensors do not have the names and"
            f" shapes of those in {part.hub}; download {files} again."
        )


def _torch_is_there() -> bool:
    return all(Package(name).is_there for name in ("torch", "safetensors"))


def unusable(part: Part, root: Path) -> tuple[str, ...]:
    """The files of a part to download again: the missing ones, or all of them if the content is wrong."""
    missing = tuple(file for file in part.files if not located(file, root).is_file())
    return missing or part.files


def still_to_come(part: Part, root: Path) -> float:
    """Approximate GB of a part still to be downloaded; what an interrupted download left behind counts as there."""
    found = state(part, root)
    if found == "ready":
        return 0.0
    whole = [located(file, root) for file in part.files] if found.endswith("missing") else []
    kept = whole + [_partial(root / file) for file in part.files]
    return max(0.0, part.gigabytes - sum(path.stat().st_size for path in kept if path.is_file()) / 1e9)


def room_needed(parts: Sequence[Part], root: Path) -> float:
    """Disk space in GB needed to download these parts: what is missing, plus the largest torch part once more, because
    it is converted before it is deleted."""
    wanted = [part for part in parts if state(part, root) != "ready"]
    rewritten = [part.gigabytes for part in wanted if Path(part.files[0]).suffix in PICKLES]
    return sum(still_to_come(part, root) for part in wanted) + max(rewritten, default=0.0)


def free_gigabytes(root: Path) -> float:
    """Free space in GB on the disk of a folder, which need not exist yet."""
    there = next(folder for folder in (root, *root.absolute().parents) if folder.is_dir())
    return shutil.disk_usage(there).free / 1e9


def check_disk(parts: Sequence[Part], root: Path) -> None:
    """Refuse a download that the disk cannot hold.

    Nothing is refused offline or without huggingface_hub, because then `fetch` says which file to put where.

    Args:
        parts: parts to download.
        root: folder for all models.

    Raises:
        InputError: there is not enough space; says how much is needed.
    """
    if not Package("huggingface_hub").is_there or _is_offline():
        return
    need, free = room_needed(parts, root), free_gigabytes(root)
    if free < need:
        raise InputError(
            f"{need:.1f} GB are needed in {root} and {free:.1f} GB are free: make room, or keep the models on another"
            " disk (see docs/models.md)."
        )


def _partial(place: Path) -> Path:
    return place.with_name(place.name + ".part")


def fetch(part: Part, root: Path, progress: Progress = silent, *, accept_licence: bool = False) -> tuple[Path, ...]:
    """Download a part to its own folder below the folder for all models; returns the paths of its files.

    Complete files are kept, and nothing is downloaded if another folder has all of them (see `places`). An interrupted
    download resumes where it stopped. Torch files are read once, without unpickling more than tensors, and kept as
    .safetensors. `HF_HUB_OFFLINE` is respected.

    Args:
        part: the part to download.
        root: folder for all models.
        progress: called during the download, in megabytes.
        accept_licence: whether the user accepts a licence for research only.

    Raises:
        InputError: the licence is not accepted, a package is missing, the hub cannot be reached, or the content is not
            what was published. If the hub's client is missing or the hub cannot be reached, the message says which
            file to put where.
    """
    if part.research_only and not accept_licence:
        raise InputError(f"{part.name} is not free for every use ({part.licence}): accept its licence to download it.")
    hub = Package("huggingface_hub", part.extra)
    if not hub.is_there:
        raise InputError(
            f"Downloading needs the Python package {hub.name}: {hub.install}, or {_by_hand(part, root, part.files)}."
        )
    if part.elsewhere and state(part, root) == "ready":
        return places(part, root)
    digests = part.sha256 or ("",) * len(part.files)
    fetched = tuple(
        _fetched(part, file, digest, root, progress) for file, digest in zip(part.files, digests, strict=True)
    )
    _check(part, fetched)
    return fetched


def _fetched(part: Part, file: str, digest: str, root: Path, progress: Progress) -> Path:
    path = located(file, root)
    if path.is_file():
        try:
            _check(part, [path])
            return path
        except InputError:
            pass  # keep it until its replacement has arrived
    path = root / file
    partial = _partial(path)
    _download(part, file, root, partial, progress)
    if digest and _sha256(partial) != digest:
        partial.unlink()
        raise InputError(f"{file} came from {part.hub} with different bytes from those published: try again later.")
    partial.replace(path)
    if path.suffix in PICKLES:
        torch = Package("torch", part.extra)
        if not torch.is_there:
            raise InputError(f"{path} is there, but only torch can read it: {torch.install}.")
        converted = _converted(part, path)
        path.unlink()
        path = converted
    _check(part, [path])
    return path


def _converted(part: Part, path: Path) -> Path:
    if part.convert is not None:
        try:
            return part.convert(path)
        except (EX4DError, OSError):
            raise
        except Exception as error:  # raised by third-party code
            raise InputError(f"The {part.name} cannot be converted: {type(error).__name__}: {error}.") from error
    from ex4d.weights.tensors import as_safetensors

    return as_safetensors(path, part.name)


def _download(part: Part, file: str, root: Path, partial: Path, progress: Progress) -> None:
    """Download a file to `partial`, resuming at its end: the hub's own client starts over each time."""
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.errors import GatedRepoError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    by_hand = _by_hand(part, root, [file])
    if part.address:
        raise InputError(f"{part.name} is not on the hub that models are fetched from: {by_hand}.")
    if _is_offline():
        raise InputError(
            f"{part.name} cannot be downloaded, because downloads are turned off on this machine: {by_hand}."
        )
    try:
        url = hf_hub_url(part.hub, part.inside(file), revision=part.revision or None)
        size = get_hf_file_metadata(url, token=get_token()).size
        partial.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("ab") as opened:
            if size is not None and opened.tell() > size:
                opened.truncate(0)
            http_get(
                url,
                opened,
                resume_size=opened.tell(),
                headers=build_hf_headers(token=get_token()),
                expected_size=size,
                tqdm_class=_bar(f"Fetching {part.name}", progress),
            )
    except EX4DError:
        raise
    except GatedRepoError as error:
        raise InputError(
            f"{part.hub} gives its files only to registered users: accept its terms at"
            f" https://huggingface.co/{part.hub} and log in to Hugging Face on this machine, or {by_hand}."
        ) from error
    except Exception as error:  # the client's exception types vary between its versions
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise InputError(
            f"{part.name} cannot be downloaded ({reason}): check the connection and try again, or {by_hand}."
        ) from error


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.is_offline_mode())


def addresses(part: Part, root: Path, files: Sequence[str]) -> list[tuple[str, Path]]:
    """URL of each of these files of a part, and the path where it belongs."""
    address = part.address or f"https://huggingface.co/{part.hub}/resolve/{part.revision or 'main'}/"
    return [(f"{address}{part.inside(file)}", root / file) for file in files]


def _by_hand(part: Part, root: Path, files: Sequence[str]) -> str:
    """Which file to put where, as the end of a sentence."""
    return f"place {', '.join(f'{address} as {place}' for address, place in addresses(part, root, files))}"


def _bar(stage: str, progress: Progress) -> Any:
    """A progress bar class for huggingface_hub that reports to `progress` in megabytes."""
    from tqdm.auto import tqdm

    class Bar(tqdm):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named | {"file": _Nowhere()})

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if self.total:
                progress(stage, int(self.n / 1e6), max(1, int(self.total / 1e6)))
            return shown

    return Bar


class _Nowhere:
    """A file that discards the progress bars drawn to it."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Do nothing: there is no buffer."""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
