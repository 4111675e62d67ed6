"""Weight files: reading them safely, and the adapter `ex4d.ckpt` in its two parts.

Only tensors are unpickled, and a file is checked against what it announces before memory is allocated.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ex4d.errors import InputError
from ex4d.generate.wan.camera_encoder import CameraEncoder
from ex4d.weights.headers import REMEDY
from ex4d.weights.tensors import read_tensors

TARGETS = ("q", "k", "v", "o")
"""Layers of each attention that the adapter changes, in addition to the two of the feed-forward part."""

_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<part>[AB])(\.default)?\.weight")


@dataclass(frozen=True)
class ModelShape:
    """The properties of the video model that the adapter depends on; the defaults are Wan2.1-I2V-14B."""

    dim: int = 5120
    ffn_dim: int = 13824
    layers: int = 40

    def lora_modules(self) -> dict[str, tuple[int, int]]:
        """Name and (outputs, inputs) of every linear layer that the adapter changes: 10 per block, 400 for the 14B."""
        block = {f"{kind}.{layer}": (self.dim, self.dim) for kind in ("self_attn", "cross_attn") for layer in TARGETS}
        block |= {"ffn.0": (self.ffn_dim, self.dim), "ffn.2": (self.dim, self.ffn_dim)}
        return {f"blocks.{n}.{name}": shape for n in range(self.layers) for name, shape in block.items()}


@dataclass(frozen=True)
class Adapter:
    """EX-4D's weights.

    Attributes:
        encoder: of the camera encoder, by its own names.
        lora: by the names of peft, `blocks.0.self_attn.q.lora_A.default.weight`.
        rank: of the LoRA.
        modules: names of the linear layers that the LoRA changes.
    """

    encoder: dict[str, Tensor]
    lora: dict[str, Tensor]
    rank: int
    modules: tuple[str, ...]

    def lora_layers(self) -> dict[str, tuple[Tensor, Tensor]]:
        """A (rank, inputs) and B (outputs, rank) of each layer; alpha equals the rank, so nothing is scaled."""
        parts = {_LORA.fullmatch(name): tensor for name, tensor in self.lora.items()}
        named = {(match["module"], match["part"]): tensor for match, tensor in parts.items() if match}
        return {name: (named[name, "A"], named[name, "B"]) for name in self.modules}


def read_adapter(path: Path, shape: ModelShape | None = None, hidden: int = 1024) -> Adapter:
    """Read EX-4D's adapter, `ex4d.ckpt` as released or the same as .safetensors.

    Args:
        path: the file.
        shape: of the video model that it has to fit; None is Wan2.1-I2V-14B.
        hidden: width of the camera encoder.

    Raises:
        InputError: missing, damaged, or a tensor is missing or has the wrong name or shape.
    """
    shape = shape or ModelShape()
    tensors = read_tensors(path, "adapter")
    encoder = {name: tensor for name, tensor in tensors.items() if name.startswith("latent_")}
    lora = {name: tensor for name, tensor in tensors.items() if name not in encoder}
    with torch.device("meta"):
        expected = {name: tuple(t.shape) for name, t in CameraEncoder(shape.dim, hidden).state_dict().items()}
    _check_names(path, "tensors of the camera encoder", expected, encoder)
    _check_shapes(path, {name: (tuple(encoder[name].shape), size) for name, size in expected.items()})

    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in lora.items():
        match = _LORA.fullmatch(name)
        if match is None:
            raise InputError(f"The adapter {path} has a tensor {name!r} that EX-4D's does not have: {REMEDY}")
        module = parts.setdefault(match["module"], {})
        if match["part"] in module:
            raise InputError(f"The adapter {path} has {match['module']} twice: {REMEDY}")
        module[match["part"]] = tensor
    modules = shape.lora_modules()
    whole = [name for name, pair in parts.items() if set(pair) == {"A", "B"}]
    _check_names(path, "LoRA layers", modules, whole, also=parts)
    ranks = Counter(pair["A"].shape[0] if pair["A"].ndim == 2 else 0 for pair in parts.values())
    rank = ranks.most_common(1)[0][0]
    sizes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    for name, (outputs, inputs) in modules.items():
        sizes[f"{name}.lora_A"] = tuple(parts[name]["A"].shape), (rank, inputs)
        sizes[f"{name}.lora_B"] = tuple(parts[name]["B"].shape), (outputs, rank)
    _check_shapes(path, sizes)
    return Adapter(encoder, lora, rank, tuple(modules))


def _check_names(
    path: Path, what: str, expected: Iterable[str], found: Iterable[str], also: Iterable[str] = ()
) -> None:
    expected, found = list(expected), set(found)
    if missing := [name for name in expected if name not in found]:
        raise InputError(
            f"The adapter {path} lacks {len(missing)} of {len(expected)} {what} (the first: {missing[0]}): {REMEDY}"
        )
    if strange := sorted((found | set(also)) - set(expected)):
        raise InputError(
            f"The adapter {path} has {len(strange)} {what} that do not belong to this model (the first: {strange[0]}):"
            " it was made for another model; use the adapter of Wan2.1-I2V-14B-480P."
        )


def _check_shapes(path: Path, sizes: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    """Raise InputError if a shape is not the expected one."""
    for name, (found, expected) in sizes.items():
        if found != expected:
            raise InputError(
                f"In the adapter {path} {name} has the shape {found} instead of {expected}: it was made for another"
                " model; use the adapter of Wan2.1-I2V-14B-480P."
            )
