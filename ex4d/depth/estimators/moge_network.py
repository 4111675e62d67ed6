"""MoGe-2 (arXiv 2507.02546, MIT): field of view and metric depth of single pictures, for the key frames of a shot.

The network predicts points (x, y, z) up to a shift along z and a scale, and separately the scale. Shift and focal
length follow from the points alone, because every pixel must see its point along its own ray (section 3 of arXiv
2410.19115). The classes use the names in the published files, so these load without renaming.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ex4d.errors import InputError
from ex4d.geometry import intrinsics
from ex4d.networks.assembly import assemble, ready
from ex4d.networks.dinov2 import PATCH, SHAPES, DINOv2
from ex4d.progress import MEASURING, Progress, silent
from ex4d.storage.atomic import check_there, replacing
from ex4d.weights.headers import check_archive, header, readable

NAME = "MoGe-2 weights"
"""Name of the file in messages."""


SOLVER_SIDE = 64
"""Side in pixels of the grid on which shift and focal length are solved for, as published."""

_CONFIG = "model_config"
_LARGEST = 4096
_RESAMPLERS = ("conv_transpose", "bilinear")


# --- what the file says about the network ---


@dataclass(frozen=True)
class StackShape:
    """Shape of a pyramid of convolutions, one entry per level, coarse to fine.

    Attributes:
        inputs: input channels of each level.
        widths: channels inside.
        outputs: output channels of the level; None passes its result on as it is.
        blocks: residual blocks.
        resamplers: how the next level is reached, "conv_transpose" or "bilinear".
    """

    inputs: tuple[int, ...]
    widths: tuple[int, ...]
    outputs: tuple[int | None, ...]
    blocks: tuple[int, ...]
    resamplers: tuple[str, ...]


@dataclass(frozen=True)
class Shape:
    """Shape of the whole network; `heads` by the names points_head, mask_head and normal_head."""

    backbone: str
    taps: tuple[int, ...]
    width: int
    neck: StackShape
    heads: dict[str, StackShape]
    scale_head: tuple[int, ...]
    most_tokens: int

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Shape":
        """Read and check the `model_config` of a published file.

        Raises:
            ValueError, KeyError, TypeError: it does not describe a MoGe-2 with metric scale.
        """
        encoder = config["encoder"]
        if encoder["backbone"] not in SHAPES:
            raise ValueError(f"the image encoder {str(encoder['backbone'])[:40]!r} is not one of MoGe-2's")
        if config["remap_output"] != "exp":
            raise ValueError(f"it remaps its points by {str(config['remap_output'])[:40]!r} instead of 'exp'")
        if config.get("scale_head") is None:
            raise ValueError("it has no metric scale: use a file of MoGe-2, not of MoGe-1")
        depth = SHAPES[encoder["backbone"]].depth
        taps = encoder["intermediate_layers"]
        taps = range(depth - _count(taps, depth), depth) if isinstance(taps, int) else taps
        heads = {name: _stack(config[name]) for name in ("points_head", "mask_head")}
        if config.get("normal_head") is not None:
            heads["normal_head"] = _stack(config["normal_head"])
        return cls(
            encoder["backbone"],
            tuple(sorted({_count(tap, depth - 1) for tap in taps})),
            _count(encoder["dim_out"]),
            _stack(config["neck"]),
            heads,
            tuple(_count(width) for width in config["scale_head"]["dims"]),
            _count(config["num_tokens_range"][1]),
        )


def _count(value: object, most: int = _LARGEST) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{str(value)[:40]!r} is not a valid size")
    return value


def _stack(config: dict[str, Any]) -> StackShape:
    widths = tuple(_count(width) for width in config["dim_res_blocks"])
    levels = len(widths)
    if levels > 8:
        raise ValueError(f"it has {levels} levels")

    def per_level(key: str, count: int) -> list[Any]:
        value = config[key]
        value = list(value) if isinstance(value, list | tuple) else [value] * count
        if len(value) != count:
            raise ValueError(f"{key} has {len(value)} entries instead of {count}")
        return value

    for key in ("res_block_in_norm", "res_block_hidden_norm"):
        if config.get(key) != "none":
            raise ValueError(f"{key} is {str(config.get(key))[:40]!r} instead of 'none'")
    if config.get("activation", "relu") != "relu" or config.get("dim_times_res_block_hidden", 1) != 1:
        raise ValueError("its residual blocks are not MoGe-2's")
    resamplers = tuple(per_level("resamplers", levels - 1))
    if not set(resamplers) <= set(_RESAMPLERS):
        raise ValueError(f"it resamples by {str(resamplers)[:80]}")
    return StackShape(
        tuple(_count(channels) for channels in per_level("dim_in", levels)),
        widths,
        tuple(None if channels is None else _count(channels) for channels in per_level("dim_out", levels)),
        tuple(_count(blocks, 8) for blocks in per_level("num_res_blocks", levels)),
        resamplers,
    )


# --- the network ---


class MoGe(nn.Module):
    """Predicts points up to a shift, a mask and the metric scale of pictures."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.neck = Stack(shape.neck)
        for name, head in shape.heads.items():
            self.add_module(name, Stack(head))
        self.scale_head = _perceptron(shape.scale_head)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict the geometry of pictures.

        Args:
            pictures: (B,3,H,W) in [0, 1], in the network's dtype.

        Returns:
            float32: points (B,H,W,3), x right, y down, z forward without its shift; mask (B,H,W), the probability that
                a pixel shows something with a distance; metres per unit (B,).
        """
        height, width = pictures.shape[-2:]
        aspect = width / height
        rows, columns = (max(1, round((self.shape.most_tokens * a) ** 0.5)) for a in (1 / aspect, aspect))
        features, token = self.encoder(pictures, rows, columns)
        levels = []
        for level in range(len(self.shape.neck.widths)):
            rays = view_plane(columns << level, rows << level, aspect).to(features)
            rays = rays.permute(2, 0, 1).expand(len(pictures), -1, -1, -1)
            levels.append(torch.cat([features, rays], 1) if level == 0 else rays)
        levels = self.neck(levels)
        points, mask = (
            functional.interpolate(self.get_submodule(head)(levels)[-1].float(), (height, width), mode="bilinear")
            for head in ("points_head", "mask_head")
        )
        z = points[:, 2:].exp()
        points = torch.cat([points[:, :2] * z, z], 1).permute(0, 2, 3, 1)
        return points, mask[:, 0].sigmoid(), self.scale_head(token)[:, 0].float().exp()


class Encoder(nn.Module):
    """DINOv2 on a grid of tokens; the features of the tapped blocks are projected and summed."""

    image_mean: Tensor
    image_std: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.taps = shape.taps
        self.backbone = DINOv2(SHAPES[shape.backbone])
        inside = SHAPES[shape.backbone].dim
        self.output_projections = nn.ModuleList(nn.Conv2d(inside, shape.width, 1) for _ in shape.taps)
        self.register_buffer("image_mean", torch.empty(1, 3, 1, 1))
        self.register_buffer("image_std", torch.empty(1, 3, 1, 1))

    def forward(self, pictures: Tensor, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """Features (B,C,rows,columns) and the class token (B,D) of pictures (B,3,H,W) in [0, 1]."""
        # Antialiasing has no half-precision kernel on some devices; in full precision it costs next to nothing.
        small = functional.interpolate(
            pictures.float(), (rows * PATCH, columns * PATCH), mode="bilinear", antialias=True
        )
        small = ((small - self.image_mean.float()) / self.image_std.float()).to(pictures.dtype)
        tapped = self.backbone(small, self.taps)
        features: Tensor = sum(
            project(tokens.permute(0, 2, 1).unflatten(2, (rows, columns)))
            for project, (tokens, _) in zip(self.output_projections, tapped, strict=True)
        )
        return features, tapped[-1][1]


class Stack(nn.Module):
    """A pyramid of convolutions: each level adds its input to the upsampled result of the coarser level."""

    def __init__(self, shape: StackShape) -> None:
        super().__init__()
        self.input_blocks = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for channels, width in zip(shape.inputs, shape.widths, strict=True)
        )
        steps = zip(pairwise(shape.widths), shape.resamplers, strict=True)
        self.resamplers = nn.ModuleList(_resampler(before, after, how) for (before, after), how in steps)
        self.res_blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
            for width, blocks in zip(shape.widths, shape.blocks, strict=True)
        )
        self.output_blocks = nn.ModuleList(
            nn.Identity() if channels is None else nn.Conv2d(width, channels, 1)
            for width, channels in zip(shape.widths, shape.outputs, strict=True)
        )

    def forward(self, levels: list[Tensor]) -> list[Tensor]:
        """Results of all levels, coarse to fine, from the inputs of each."""
        x: Tensor | None = None
        results = []
        for level, incoming in enumerate(levels):
            here = self.input_blocks[level](incoming)
            x = self.res_blocks[level](here if x is None else self.resamplers[level - 1](x) + here)
            results.append(self.output_blocks[level](x))
        return results


class ResidualBlock(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # The published names count the norms, which MoGe-2 leaves out.
        self.layers = nn.Sequential(
            nn.Identity(), nn.ReLU(), _convolution(width, width), nn.Identity(), nn.ReLU(), _convolution(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B,C,H,W) to the same shape."""
        return x + self.layers(x)


def _convolution(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1, padding_mode="replicate")


def _resampler(before: int, after: int, how: str) -> nn.Sequential:
    if how == "bilinear":
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), _convolution(before, after))
    return nn.Sequential(nn.ConvTranspose2d(before, after, 2, stride=2), _convolution(after, after))


def _perceptron(widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def view_plane(width: int, height: int, aspect: float) -> Tensor:
    """Position of each pixel's centre (height,width,2) from the middle of the picture, in half diagonals; float32."""
    span = torch.tensor([aspect, 1.0]) / (1 + aspect**2) ** 0.5
    x = (torch.arange(width) + 0.5) * (2 / width) - 1
    y = (torch.arange(height) + 0.5) * (2 / height) - 1
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) * span


# --- loading it ---


def load(path: Path, device: str = "cpu") -> MoGe:
    """Load the network from a published `model.pt`, or from one converted by `as_safetensors`; half precision on a GPU.

    Raises:
        InputError: missing, damaged, truncated, or of another model.
    """
    shape, tensors = _read(path)
    model = _assembled(shape, tensors, path)
    if "normal_head" in shape.heads:
        del model.normal_head  # normals are not used
    return ready(model, device)


def as_safetensors(path: Path) -> Path:
    """Write the same weights as .safetensors next to `path`, which needs no unpickling.

    Raises:
        InputError: as `load`, or the folder cannot be written.
    """
    from safetensors.torch import save_file

    shape, tensors = _read(path)
    _assembled(shape, tensors, path)
    with _opened(path) as checkpoint:
        metadata = {"format": "pt", _CONFIG: json.dumps(checkpoint[_CONFIG])}
    converted = Path(path).with_suffix(".safetensors")
    with replacing(converted) as temporary:
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, temporary, metadata)
    return converted


def _read(path: Path) -> tuple[Shape, dict[str, Tensor]]:
    with _opened(path) as checkpoint:
        tensors = checkpoint["model"]
        if not tensors or not all(isinstance(k, str) and isinstance(t, Tensor) for k, t in tensors.items()):
            raise ValueError("it holds something else than tensors by name")
        if sum(tensor.nbytes for tensor in tensors.values()) > Path(path).stat().st_size:
            raise ValueError("it announces more than it holds")
        try:
            return Shape.from_config(checkpoint[_CONFIG]), dict(tensors)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"its {_CONFIG} is not MoGe-2's: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[dict[str, Any]]:
    """Open the published dictionary of `model_config` and `model`; any fault in the file becomes one sentence."""
    path = check_there(path, NAME)
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the file of the {NAME}.")
    with readable(path, NAME):
        if path.suffix.lower() == ".safetensors":
            from safetensors import SafetensorError, safe_open

            names = header(path, NAME)
            try:
                with safe_open(path, "pt") as file:
                    config = (file.metadata() or {}).get(_CONFIG)
                    if config is None:
                        raise ValueError(f"it has no {_CONFIG}, so it is not MoGe-2")
                    tensors = {name: file.get_tensor(name) for name in names}
                    checkpoint = {_CONFIG: json.loads(config), "model": tensors}
            except SafetensorError as error:
                raise ValueError(str(error)) from error
        else:
            check_archive(path)
            checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("model"), dict):
                raise ValueError(f"it has no {_CONFIG} and model, so it is not MoGe-2")
        yield checkpoint


def _assembled(shape: Shape, tensors: dict[str, Tensor], path: Path) -> MoGe:
    """Build the network from exactly these tensors."""
    with torch.device("meta"):
        model = MoGe(shape)
    assemble(model, tensors, NAME, path)
    return model


# --- using it ---


@dataclass(frozen=True)
class KeyFrames:
    """What some frames of a shot reveal about the lens and the distances.

    Attributes:
        depth: (K,H,W) float32, metres along the optical axis; NaN where there is no distance, as in the sky.
        focal_px: (K,) float64, focal length in pixels of (H, W); NaN if a frame does not reveal it.
        note: a sentence for the user.
    """

    depth: NDArray[np.float32]
    focal_px: NDArray[np.float64]
    note: str

    @property
    def shot_focal_px(self) -> float:
        """One focal length for the shot, in pixels of (H, W)."""
        return float(np.nanmedian(self.focal_px))


def field_of_view_and_scale(
    frames: NDArray[np.uint8], weights: Path, device: str = "cpu", progress: Progress = silent
) -> KeyFrames:
    """Measure metric depth and focal length of key frames, each on its own.

    Args:
        frames: (K,H,W,3) uint8, a few frames of one shot.
        weights: file of MoGe-2.
        device: a torch device: "cpu", "cuda", "mps".
        progress: called after each frame.

    Raises:
        InputError: the file is bad, or no frame reveals a lens and a distance.
    """
    model = load(weights, device)
    height, width = frames.shape[1:3]
    depth = np.full(frames.shape[:3], np.nan, np.float32)
    focal_px = np.full(len(frames), np.nan)
    kind = next(model.parameters()).dtype
    for number, frame in enumerate(frames):
        with torch.inference_mode():
            picture = torch.from_numpy(np.ascontiguousarray(frame)).to(device).permute(2, 0, 1)[None].to(kind) / 255
            points, mask, scale = (result[0].cpu().numpy() for result in model(picture))
        progress(MEASURING, number + 1, len(frames))
        solved = focal_and_shift(points, mask > 0.5)
        if solved is None:
            continue
        focal, shift = solved[0] * np.hypot(width, height) / 2, solved[1]
        least, most = intrinsics.FIELD_OF_VIEW
        if not least <= intrinsics.field_of_view_of(focal, width) <= most:
            continue  # without a lens, its geometry is no use
        focal_px[number] = focal
        z = points[..., 2] + shift
        seen = (mask > 0.5) & (z > 0)
        depth[number][seen] = z[seen] * scale
    if np.isnan(focal_px).all():
        raise InputError("MoGe-2 found no lens in the key frames: give the field of view and the scale yourself.")
    found = KeyFrames(depth, focal_px, "")
    degrees = intrinsics.field_of_view_of(found.shot_focal_px, width)
    note = f"The field of view, {degrees:.1f} degrees wide, and the scale in metres are MoGe-2's estimates."
    return KeyFrames(depth, focal_px, note)


def focal_and_shift(points: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Solve for the lens and shift with which every pixel sees its point along its own ray.

    Minimises sum |f * xy / (z + shift) - ray|^2 over the pixels of the mask. For a given shift the best f has a closed
    form; the shift is found by Gauss-Newton from 0, which never moves a point behind the camera.

    Args:
        points: (H,W,3), x right, y down, z forward.
        mask: (H,W), the points that count; points with z not above 0 never do.

    Returns:
        Focal length in half diagonals of the picture, and shift along z; None if fewer than 2 pixels count, a point is
        not finite, or no positive focal length fits.
    """
    height, width = mask.shape
    rows, columns = (np.arange(SOLVER_SIDE) * side // SOLVER_SIDE for side in (height, width))
    sampled = points[rows[:, None], columns].astype(np.float64)
    used = mask[rows[:, None], columns] & (sampled[..., 2] > 0)
    rays = view_plane(width, height, width / height).numpy()[rows[:, None], columns][used].astype(np.float64)
    sampled = sampled[used]
    if len(sampled) < 2 or not np.isfinite(sampled).all() or not sampled[:, :2].any():
        return None
    xy, z = sampled[:, :2], sampled[:, 2:]

    def fitted(shift: float) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Best focal length, residuals (N,2) and their derivative with respect to the shift."""
        seen = xy / (z + shift)
        change = -seen / (z + shift)
        power, match = (seen * seen).sum(), (seen * rays).sum()
        focal = match / power
        focal_change = ((change * rays).sum() - 2 * focal * (seen * change).sum()) / power
        return focal, focal * seen - rays, focal_change * seen + focal * change

    shift = 0.0
    focal, residual, slope = fitted(shift)
    nearest = z.min()
    for _ in range(50):
        steepness = (slope * slope).sum()
        step = -(slope * residual).sum() / steepness if steepness > 0 else 0.0
        step = max(step, -0.9 * (nearest + shift))
        before = (residual * residual).sum()
        while abs(step) > 1e-7 * (nearest + shift):
            now = fitted(shift + step)
            if (now[1] * now[1]).sum() < before:
                break
            step /= 2
        else:
            break
        shift += step
        focal, residual, slope = now
    return (float(focal), float(shift)) if np.isfinite(focal) and focal > 0 else None
