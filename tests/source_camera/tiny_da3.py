"""Depth Anything 3 with few channels and made-up weights, in a file like the published one."""

import numpy as np
import torch
from safetensors.torch import save_file

from ex4d.networks.dinov2 import BackboneShape
from ex4d.source_camera import da3_network as da3

SHAPE = da3.Shape(BackboneShape(24, 6, 2, side=5))
"""The last two blocks use positions of tokens; in the last one pictures attend to one another."""

NOT_NEEDED = {"model.head.norm.weight": (48,), "model.cam_enc.token_norm.weight": (24,)}
"""Some of the published file's tensors that are not needed."""


def weights(shapes):
    """Tensors by name from shapes by name, the same on every machine and with every version of torch."""
    made = {}
    for name in sorted(shapes):
        random = np.random.default_rng(sum(name.encode()))
        size = 0.4 / np.sqrt(shapes[name][-1]) if ".cam_dec." in name and name.endswith("weight") else 0.3
        values = random.normal(0, size, shapes[name]).astype(np.float32)
        if name.endswith("gamma") or ("norm" in name and name.endswith("weight")):
            values += 1
        if name.endswith("fc_fov.0.bias"):  # a plausible field of view of a lens
            values[:] = 1.0, 1.3
        made[name] = torch.from_numpy(values)
    return made


def pictures(count=5, height=42, width=56):
    """Normalised pictures (K,3,h,w), the same everywhere."""
    values = np.random.default_rng(7).normal(0, 1, (count, 3, height, width)).astype(np.float32)
    return torch.from_numpy(values)


def tensors():
    """All tensors of the file."""
    with torch.device("meta"):
        model = da3.DepthAnything3(SHAPE)
    return weights({name: tuple(t.shape) for name, t in model.state_dict().items()} | NOT_NEEDED)


def published(path, change=lambda tensors: tensors):
    """Write the file, with its tensors changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(change(tensors()), path)
    return path
