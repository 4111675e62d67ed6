"""Depth Anything 3 (arXiv 2511.10647, Apache-2.0 in its base size): cameras and lens of several pictures of a shot.

A DINOv2 encodes the pictures; from its fifth block on, every second block lets all pictures attend to one another. A
camera token of each picture is decoded at the end into position, rotation and field of view. The file also has the
heads that make depth and rays from the other tokens; they are not needed here, because the shot has depth. The classes
use the names of the published file, so it loads without renaming.

The publisher's package is not a dependency: it requires open3d, xformers, numpy below 2, a server and evo, which is
GPL.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ex4d.cameras.rotations import from_quaternions
from ex4d.geometry.intrinsics import FIELD_OF_VIEW
from ex4d.networks.assembly import assemble
from ex4d.networks.dinov2 import PATCH, SHAPES, Attention, BackboneShape, Block, Patches, embedded_places
from ex4d.progress import Progress, silent
from ex4d.source_camera.da3 import Seen
from ex4d.weights.tensors import read_tensors

NAME = "Depth Anything 3 weights"
"""Name of the file in messages."""

LONG_SIDE = 504
"""Longer side in pixels of the model's input, as published."""

UNUSED = ("model.head.", "model.cam_enc.")
"""Prefixes of the tensors that make depth and rays, or encode known cameras."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FREQUENCY = 100.0
_AT_ONCE = 8
"""Pictures processed together by the blocks that encode each picture separately, to limit memory."""

Turns = tuple[Tensor, Tensor]
"""Cosines and sines (N,C) that rotate the features of tokens."""


@dataclass(frozen=True)
class Shape:
    """Shape of the network; the defaults are the base size.

    Attributes:
        backbone: of the image encoder.
        together: from this block on, tokens know their positions, and every odd block lets all pictures attend to one
            another.
    """

    backbone: BackboneShape = SHAPES["dinov2_vitb14"]
    together: int = 4


BASE = Shape()


def cameras(
    frames: NDArray[np.uint8],
    weights: Path,
    device: str = "cpu",
    *,
    shape: Shape | None = None,
    long_side: int = LONG_SIDE,
    progress: Progress = silent,
) -> Seen:
    """Cameras and lens of pictures that show the same place. Time grows with the square of the number of pictures.

    Args:
        frames: (K,H,W,3) uint8 RGB.
        weights: the published file.
        device: of torch: "cpu", "cuda", "mps".
        shape: of the network; None is the base size.
        long_side: longer side of the model's input in pixels.
        progress: called after each block; raises `Cancelled` to stop.

    Raises:
        InputError: the file is missing, damaged, truncated, or belongs to another model.
    """
    model = load(weights, device, shape)
    pictures = shown(frames, long_side).to(device)
    with torch.inference_mode():
        encoded = model(pictures, progress).double().cpu().numpy()
    return decoded(encoded, frames.shape[2], frames.shape[1])


def decoded(encoded: NDArray[np.float64], width: int, height: int) -> Seen:
    """Cameras and lens from the output of the network.

    Args:
        encoded: (K,9): position of the camera, its rotation to the world as an unnormalised quaternion with the real
            part last, and the vertical and horizontal field of view in radians.
        width, height: of the pictures.
    """
    poses = np.tile(np.eye(4), (len(encoded), 1, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        poses[:, :3, :3] = from_quaternions(encoded[:, [6, 3, 4, 5]])
        poses[:, :3, 3] = encoded[:, :3]
        angles = encoded[:, 7:]
        focal = np.sqrt(np.prod(np.array([height, width]) / (2 * np.tan(angles / 2)), axis=1))
    least, most = np.radians(FIELD_OF_VIEW)
    return Seen(poses, np.where(((angles >= least) & (angles <= most)).all(axis=1), focal, np.nan))


def working_size(height: int, width: int, long_side: int = LONG_SIDE) -> tuple[int, int]:
    """Height and width of the model's input: multiples of 14, the longer one near `long_side`."""
    scale = long_side / max(height, width)
    rows, columns = (max(1, int(round(side * scale) / PATCH + 0.5)) * PATCH for side in (height, width))
    return rows, columns


def shown(frames: NDArray[np.uint8], long_side: int = LONG_SIDE) -> Tensor:
    """The model's input from frames (K,H,W,3): (K,3,h,w) float32, normalised."""
    import cv2

    height, width = working_size(frames.shape[1], frames.shape[2], long_side)
    how = cv2.INTER_AREA if height <= frames.shape[1] and width <= frames.shape[2] else cv2.INTER_CUBIC
    small = np.empty((len(frames), height, width, 3), np.float32)
    for frame, into in zip(frames, small, strict=True):
        into[:] = cv2.resize(np.ascontiguousarray(frame), (width, height), interpolation=how)
    small /= 255
    small -= np.array(_MEAN, np.float32)
    small /= np.array(_DEVIATION, np.float32)
    return torch.from_numpy(small).permute(0, 3, 1, 2)


def load(path: Path, device: str = "cpu", shape: Shape | None = None) -> "DepthAnything3":
    """The network of the published file, without the parts that cameras do not need.

    Args:
        path: the file.
        device: of torch.
        shape: of the network; None is the base size.

    Raises:
        InputError: the file is missing, damaged, truncated, or belongs to another model.
    """
    tensors = {name: t for name, t in read_tensors(path, NAME).items() if not name.startswith(UNUSED)}
    with torch.device("meta"):
        model = DepthAnything3(shape or BASE)
    assemble(model, tensors, NAME, path)
    return model.eval().requires_grad_(False).to(device, torch.float32)


# --- the network ---


class DepthAnything3(nn.Module):
    """Cameras of pictures; its parts are named as in the file."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.model = nn.Module()
        self.model.backbone = nn.Module()
        self.model.backbone.pretrained = _Encoder(shape)
        self.model.cam_dec = _Reader(2 * shape.backbone.dim)

    def forward(self, pictures: Tensor, progress: Progress = silent) -> Tensor:
        """Cameras (K,9), as `decoded` expects them, from normalised pictures (K,3,h,w); h, w are multiples of 14."""
        return self.model.cam_dec(self.model.backbone.pretrained(pictures, progress))


class _Encoder(nn.Module):
    """DINOv2 with camera tokens."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.together, self.side = shape.together, shape.backbone.side
        self.features = shape.backbone.dim // shape.backbone.heads
        dim = shape.backbone.dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.camera_token = nn.Parameter(torch.zeros(1, 2, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.side**2, dim))
        self.patch_embed = Patches(dim)
        self.blocks = nn.ModuleList(
            Block(shape.backbone, _PlacedAttention(shape.backbone) if number >= shape.together else None)
            for number in range(shape.backbone.depth)
        )
        self.norm = nn.LayerNorm(dim)  # of the tokens that make depth

    def forward(self, pictures: Tensor, progress: Progress) -> Tensor:
        """Camera tokens (K,2C): after the last block that encodes each picture separately, and after the last block."""
        rows, columns = (side // PATCH for side in pictures.shape[-2:])
        alone, among = (
            tuple(part.to(pictures) for part in turns(places, self.features)) for places in _places(rows, columns)
        )
        patches = torch.cat([self.patch_embed(part) for part in pictures.split(_AT_ONCE)]).flatten(2).mT
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches], 1).float()
        x = x + embedded_places(self.pos_embed, self.side, rows, columns).to(x)
        first, local = 0, x[:, 0]
        for number, block in enumerate(self.blocks):
            if number == self.together - 1:
                first = reference(x[:, 0].float())
            if number == self.together:
                # The world is that of one picture, which alone gets the first token.
                x[:, 0] = self.camera_token[0, 1]
                x[first, 0] = self.camera_token[0, 0]
            if number >= self.together and number % 2:
                x = _all(block, x, among)
            else:
                more = (alone,) if number >= self.together else ()
                x = torch.cat([block(part, *more) for part in x.split(_AT_ONCE)])
                local = x[:, 0]
            progress("Depth Anything 3", number + 1, len(self.blocks))
        return torch.cat([local, x[:, 0]], -1).float()


class _PlacedAttention(Attention):
    """Attention with normalised queries and keys, rotated by the positions of their tokens."""

    def __init__(self, shape: BackboneShape) -> None:
        super().__init__(shape)
        self.q_norm, self.k_norm = (nn.LayerNorm(shape.dim // shape.heads) for _ in range(2))

    def forward(self, x: Tensor, places: Turns | None = None) -> Tensor:
        """Output of the same shape (B,N,C)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if places is not None:
            q, k = turned(q, places), turned(k, places)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Reader(nn.Module):
    """Decodes cameras from camera tokens."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, dim), nn.ReLU())
        self.fc_t, self.fc_qvec = nn.Linear(dim, 3), nn.Linear(dim, 4)
        self.fc_fov = nn.Sequential(nn.Linear(dim, 2), nn.ReLU())

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.backbone(tokens)
        return torch.cat([self.fc_t(x), self.fc_qvec(x), self.fc_fov(x)], -1)


def _all(block: Block, x: Tensor, places: Turns) -> Tensor:
    """One block in which the tokens of all pictures (K,N,C) attend to one another."""
    cosines, sines = (table.repeat(len(x), 1) for table in places)
    flat = x.flatten(0, 1)[None]
    x = x + block.ls1(block.attn(block.norm1(flat), (cosines, sines))).view_as(x)
    return torch.cat([block.each(part) for part in x.split(_AT_ONCE)])


def reference(tokens: Tensor) -> int:
    """Index of the picture whose world the others are placed in: the most typical one, by its class token.

    Similarity to the other tokens, norm and variance are each normalised to 0 to 1; the picture nearest to the middle
    of all three is taken (the publisher's "saddle_balanced").

    Args:
        tokens: (K,C) float32.
    """
    if len(tokens) < 3:
        return 0
    size = tokens.norm(dim=-1, keepdim=True)
    unit = tokens / size
    like = (unit @ unit.T).sum(-1)
    off = torch.zeros_like(like)
    for measure in (like / (len(tokens) - 1), size[:, 0], unit.var(-1)):
        least, most = measure.aminmax()
        off += ((measure - least) / (most - least + 1e-8) - 0.5).abs()
    return int(off.argmin())


def _places(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Positions (1 + rows * columns, 2) of tokens, row and column: within their own picture, and among all pictures.

    The camera token is at 0, the others start at 1. Among all pictures, all of these are at the same position.
    """
    grid = torch.cartesian_prod(torch.arange(1.0, rows + 1), torch.arange(1.0, columns + 1))
    camera = torch.zeros(1, 2)
    return torch.cat([camera, grid]), torch.cat([camera, torch.ones_like(grid)])


def turns(places: Tensor, features: int) -> Turns:
    """Rotary embedding in two dimensions (RoPE, arXiv 2104.09864): rows rotate the features' first half, columns the
    second.

    Args:
        places: (N,2) row and column.
        features: per token, a multiple of 4.
    """
    half = features // 2
    speeds = _FREQUENCY ** (-torch.arange(0, half, 2) / half)
    angles = (places[:, :, None] * speeds).repeat(1, 1, 2).flatten(1)
    return angles.cos(), angles.sin()


def turned(x: Tensor, places: Turns) -> Tensor:
    """Features (...,N,C), rotated: in each half, those of its first half with those of its second."""
    cosines, sines = places
    a, b, c, d = x.chunk(4, -1)
    return x * cosines + torch.cat((-b, a, -d, c), -1) * sines
