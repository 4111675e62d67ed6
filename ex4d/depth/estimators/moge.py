"""Specification of MoGe-2, which measures lens and distances of single frames for other estimators.

The network is in the module next to this one.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ex4d.depth.base import Metric, Request, Spec
from ex4d.extras import Package
from ex4d.networks.devices import torch_device
from ex4d.weights import store

if TYPE_CHECKING:
    from ex4d.media.clip import Clip


def _as_safetensors(path: Path) -> Path:
    from ex4d.depth.estimators.moge_network import as_safetensors

    return as_safetensors(path)


def _part(size: str, gigabytes: float, keys: str, revision: str, sha256: str) -> store.Part:
    name = f"moge-2-{size}"
    return store.Part(
        f"MoGe-2 {size.partition('-')[0]}",
        (f"{name}/model.pt",),
        gigabytes,
        "MIT",
        f"Ruicheng/{name}",
        keys,
        revision,
        (sha256,),
        extra="depth",
        convert=_as_safetensors,
    )


PARTS = (
    _part(
        "vitl",
        1.31,
        "72a7cc3177935f41d922b21c83d8fdea",
        "39c4d5e957afe587e04eec59dc2bcc3be5ecd968",
        "3eefd4abb2102f38f12b2d1992e5ff15e4923e5431c67dd494afe157e0111cd5",
    ),
    _part(
        "vitb-normal",
        0.42,
        "a42357368fc26d993d17754f0baf4a72",
        "54ad3a693e61907ea4633d13dec6ee682fa09419",
        "16b8110e86d5dc5a849db120ca96ef3a223fd30b0c9146d1d81db504073da5f6",
    ),
    _part(
        "vits-normal",
        0.14,
        "2d8e12bf2b9d4d01ec100fbd1e4f5466",
        "679230677b4d282c6f304189a93e98e14f085902",
        "79a16621928c2bf0ed04659218c55c01075e950507f40bb3332fb4c873d3e1dc",
    ),
)
"""Any one of them is enough; the best comes first."""


def measure(clip: "Clip", numbers: NDArray[np.intp], request: Request) -> Metric:
    """Measure the lens and the distances, in metres, of some frames.

    Raises:
        InputError: the model file is bad, or no frame reveals a lens and a distance.
    """
    from ex4d.depth.estimators import moge_network as network

    root = store.folder()
    part = next(part for part in PARTS if store.state(part, root) == "ready")
    weights, device = store.located(part.files[0], root), torch_device(request.device)
    seen = network.field_of_view_and_scale(clip.frames[numbers], weights, device, request.progress)
    return Metric(
        numbers, seen.depth, seen.shot_focal_px, seen.note, "The distances are in metres, as MoGe-2 estimates them."
    )


SPEC = Spec(
    "moge",
    "MoGe-2",
    "Measures the field of view and metres in some frames for other estimators",
    measure=measure,
    licence="MIT",
    packages=(Package("torch", "depth"), Package("safetensors", "depth")),
    parts=PARTS,
    any_part=True,
)
