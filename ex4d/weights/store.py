"""The files of the depth models: where each is expected, whether it is whole, and fetching it. Listing needs no torch.

Revisions are pinned to commits of the hub. A hash stands here where the publisher's was seen in two places; without one
the commit alone says what the file is.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ex4d.errors import EX4DError, InputError
from ex4d.generate.wan.model_files import Part, folder, key_hash
from ex4d.progress import Progress, silent
from ex4d.weights.headers import check_file, header, readable

__all__ = ["BASE", "DEPTHCRAFTER", "MOGE", "PARTS", "VIDEO", "DepthPart", "fetch", "fetch_commands", "folder", "state"]

PICKLES = {".pt", ".pth"}
"""Endings of torch's files; what is fetched as one is kept as .safetensors."""

_CONFIG_LIMIT = 1 << 16


@dataclass(frozen=True)
class DepthPart(Part):
    """One depth model.

    Attributes:
        revision: commit on the hub.
        sha256: of each file as published; "" where it is not known to us.
        research_only: the licence forbids commercial use, so the user has to accept it.
    """

    revision: str = ""
    sha256: tuple[str, ...] = ()
    research_only: bool = False

    def inside(self, file: str) -> str:
        """The file's path inside the hub's repository."""
        return file.partition("/")[2]


def _moge(size: str, gigabytes: float, keys: str, revision: str, sha256: str) -> DepthPart:
    name = f"moge-2-{size}"
    return DepthPart(
        f"MoGe-2 {size.partition('-')[0]}",
        (f"{name}/model.pt",),
        gigabytes,
        "MIT",
        f"Ruicheng/{name}",
        keys,
        revision,
        (sha256,),
    )


VIDEO = DepthPart(
    "Video-Depth-Anything small",
    ("Video-Depth-Anything-Small/video_depth_anything_vits.pth",),
    0.12,
    "Apache-2.0",
    "depth-anything/Video-Depth-Anything-Small",
    "0bdf04262488a89bb755526212e3e995",
    revision="a396fdd839642f9bb4d08d54cae9fbf43ca13388",
    sha256=("13379300b739e659f076a59d52e9801bd8d38c541a7e71f73bbca4dcfb013609",),
)
"""Depth of the whole shot; the default."""

MOGE = (
    _moge(
        "vitl",
        1.31,
        "72a7cc3177935f41d922b21c83d8fdea",
        "39c4d5e957afe587e04eec59dc2bcc3be5ecd968",
        "3eefd4abb2102f38f12b2d1992e5ff15e4923e5431c67dd494afe157e0111cd5",
    ),
    _moge(
        "vitb-normal",
        0.42,
        "a42357368fc26d993d17754f0baf4a72",
        "54ad3a693e61907ea4633d13dec6ee682fa09419",
        "16b8110e86d5dc5a849db120ca96ef3a223fd30b0c9146d1d81db504073da5f6",
    ),
    _moge(
        "vits-normal",
        0.14,
        "2d8e12bf2b9d4d01ec100fbd1e4f5466",
        "679230677b4d282c6f304189a93e98e14f085902",
        "79a16621928c2bf0ed04659218c55c01075e950507f40bb3332fb4c873d3e1dc",
    ),
)
"""Field of view and scale of key frames; one is enough, the best first."""

DEPTHCRAFTER = DepthPart(
    "DepthCrafter",
    ("DepthCrafter/config.json", "DepthCrafter/diffusion_pytorch_model.safetensors"),
    3.05,
    "research only",
    "tencent/DepthCrafter",
    revision="c1a22b53f8abf80cd0b025adf29e637773229eca",
    sha256=("", ""),
    research_only=True,
)
"""The depth of EX-4D's release; needs `BASE` too."""

DEPTHCRAFTER_TERMS = (
    "DepthCrafter may be used for academic, research and education purposes only, never commercially or in production,"
    " and Stable Video Diffusion beneath it stands under the Stability AI Community License"
)
"""What the user has to accept; a sentence without its end."""

_SVD = "stable-video-diffusion-img2vid-xt"
BASE = DepthPart(
    "Stable Video Diffusion",
    (
        f"{_SVD}/scheduler/scheduler_config.json",
        f"{_SVD}/vae/config.json",
        f"{_SVD}/vae/diffusion_pytorch_model.fp16.safetensors",
        f"{_SVD}/image_encoder/config.json",
        f"{_SVD}/image_encoder/model.fp16.safetensors",
    ),
    1.46,
    "Stability AI Community",
    f"stabilityai/{_SVD}",
    revision="9e43909513c6714f1bc78bcb44d96e733cd242aa",
    sha256=(
        "",
        "",
        "af602cd0eb4ad6086ec94fbf1438dfb1be5ec9ac03fd0215640854e90d6463a3",
        "",
        "ae616c24393dd1854372b0639e5541666f7521cbe219669255e865cb7f89466a",
    ),
    research_only=True,
)
"""VAE, image encoder and scheduler beneath DepthCrafter."""

PARTS: tuple[DepthPart, ...] = (VIDEO, *MOGE, DEPTHCRAFTER, BASE)
"""Every depth model that can be used."""


def located(file: str, root: Path) -> Path:
    """Where a file lies: .safetensors, if whole, stands in for what was published as a file of torch's."""
    path = root / file
    other = path.with_suffix(".safetensors")
    if path.suffix not in PICKLES or not other.is_file():
        return path
    try:
        check_file(other, file)
    except InputError:
        return path if path.is_file() else other
    return other


def state(part: DepthPart, root: Path) -> str:
    """ "ready", "missing", how many files are missing, or what is wrong with one of them."""
    paths = [located(file, root) for file in part.files]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        return "missing" if len(missing) == len(paths) else f"{len(missing)} of {len(paths)} files missing"
    try:
        for path in paths:
            _check(part, path)
    except InputError as error:
        return str(error)
    return "ready"


def fetch_commands(parts: list[DepthPart], root: Path) -> list[str]:
    """Shell commands that fetch these parts at their pinned revisions."""
    return [
        f"hf download {part.hub} {' '.join(map(part.inside, part.files))} --revision {part.revision}"
        f' --local-dir "{root / part.folder}"'
        for part in parts
    ]


def fetch(
    part: DepthPart, root: Path, progress: Progress = silent, *, accept_licence: bool = False
) -> tuple[Path, ...]:
    """Bring a part's files to the folder of all models; what is there and whole stays.

    A broken download goes on where it stopped. Files of torch's are read once, without unpickling more than tensors,
    and kept as .safetensors. `HF_HUB_OFFLINE` is obeyed.

    Args:
        part: one of `PARTS`.
        root: folder of all models.
        progress: told while it downloads, in megabytes.
        accept_licence: the user accepts the licence, where it is for research only.

    Raises:
        InputError: the licence is not accepted, a package is missing, the hub cannot be reached, or what came is not
            what was published; says what to place where.
    """
    if part.research_only and not accept_licence:
        raise InputError(
            f"{part.name} is not free for every use ({part.licence}): accept its licence to fetch it"
            " (--accept_licence)."
        )
    if find_spec("huggingface_hub") is None:
        raise InputError(
            f"Fetching needs the Python package huggingface_hub: pip install '.[wan]' in a checkout, or"
            f" {_by_hand(part, root, part.files)}."
        )
    return tuple(
        _fetched(part, file, digest, root, progress) for file, digest in zip(part.files, part.sha256, strict=True)
    )


def _fetched(part: DepthPart, file: str, digest: str, root: Path, progress: Progress) -> Path:
    path = located(file, root)
    if path.is_file():
        try:
            _check(part, path)
            return path
        except InputError:
            pass  # it stays until another has come
    path = root / file
    partial = path.with_name(path.name + ".part")
    _download(part, file, root, partial, progress)
    if digest and _sha256(partial) != digest:
        partial.unlink()
        raise InputError(f"{file} came from {part.hub} with other bytes than were published: try again later.")
    partial.replace(path)
    if path.suffix in PICKLES:
        if find_spec("torch") is None:
            raise InputError(f"{path} is there, but only torch can read it: pip install '.[wan]' in a checkout.")
        converted = _converter(part)(path)
        path.unlink()
        path = converted
    _check(part, path)
    return path


def _download(part: DepthPart, file: str, root: Path, partial: Path, progress: Progress) -> None:
    """Bring a file to `partial`, from where that ends: the hub's own client starts anew each time."""
    from huggingface_hub import constants, get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.errors import GatedRepoError
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    by_hand = _by_hand(part, root, [file])
    if constants.is_offline_mode():
        raise InputError(f"{part.name} cannot be fetched, HF_HUB_OFFLINE forbids the network: {by_hand}.")
    try:
        url = hf_hub_url(part.hub, part.inside(file), revision=part.revision)
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
            f"{part.hub} gives its files to known users only: accept its terms at https://huggingface.co/{part.hub} and"
            f" log in with `hf auth login`, or {by_hand}."
        ) from error
    except Exception as error:  # the client's own kinds change with its version
        reason = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise InputError(
            f"{part.name} cannot be fetched ({reason}): look at the connection and try again, or {by_hand}."
        ) from error


def _by_hand(part: DepthPart, root: Path, files: tuple[str, ...] | list[str]) -> str:
    """What to place where, as the end of a sentence."""
    address = f"https://huggingface.co/{part.hub}/resolve/{part.revision}/"
    pairs = [f"{address}{part.inside(file)} as {root / file}" for file in files]
    return f"place {', '.join(pairs)}"


def _bar(stage: str, progress: Progress) -> Any:
    """A progress bar as huggingface_hub wants one, which speaks to `progress` in megabytes."""
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
    """A file into which bars may be drawn."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing waits."""


def _check(part: DepthPart, path: Path) -> None:
    """Raise InputError where a file is damaged or of another model; reads next to nothing of it."""
    if path.suffix == ".json":
        with readable(path, part.name):
            if path.stat().st_size > _CONFIG_LIMIT:
                raise ValueError("it is too long for a config")
            if not isinstance(json.loads(path.read_text(encoding="utf-8")), dict):
                raise ValueError("it is no table")
        return
    check_file(path, part.name)
    if part.keys and path.suffix == ".safetensors" and key_hash(header(path, part.name)) != part.keys:
        raise InputError(f"The {part.name} {path} is another model: fetch {part.hub} anew.")


def _converter(part: DepthPart) -> Callable[[Path], Path]:
    if part in MOGE:
        from ex4d.depth.estimators.moge import as_safetensors

        return as_safetensors
    from ex4d.weights import tensors

    return lambda path: tensors.as_safetensors(path, part.name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
