"""The image encoder DINOv2 (arXiv 2304.07193), without registers, as several depth models have it inside.

The classes bear the names of the published files, so these load without renaming.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 14
"""Pixels of a token a side."""


@dataclass(frozen=True)
class BackboneShape:
    """Of the image encoder DINOv2; `side` is that of the grid of tokens that it was trained on."""

    dim: int
    depth: int
    heads: int
    side: int = 37


SHAPES = {
    "dinov2_vits14": BackboneShape(384, 12, 6),
    "dinov2_vitb14": BackboneShape(768, 12, 12),
    "dinov2_vitl14": BackboneShape(1024, 24, 16),
}
"""By the names of the published models."""


class DINOv2(nn.Module):
    """The image encoder (arXiv 2304.07193), without registers."""

    def __init__(self, shape: BackboneShape) -> None:
        super().__init__()
        self.side = shape.side
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + shape.side**2, shape.dim))
        self.mask_token = nn.Parameter(torch.zeros(1, shape.dim))  # of its training; it is in the files
        self.patch_embed = _Patches(shape.dim)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.dim, eps=1e-6)

    def forward(self, pictures: Tensor, taps: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        """Tokens (B, rows * columns, C) and class token (B,C), normalised, after each block of `taps`.

        Args:
            pictures: (B,3,H,W), normalised, both sides multiples of 14.
            taps: numbers of blocks, ascending.
        """
        patches = self.patch_embed(pictures)
        places = self._places(*patches.shape[-2:]).to(patches)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches.flatten(2).mT], 1) + places
        tapped = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in taps:
                tapped.append(self.norm(x))
        return [(tokens[:, 1:], tokens[:, 0]) for tokens in tapped]

    def _places(self, rows: int, columns: int) -> Tensor:
        """Embedded places of all tokens (1, 1 + rows * columns, C), float32."""
        places = self.pos_embed.float()
        if rows == columns == self.side:
            return places
        grid = places[:, 1:].unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        # DINOv2 stretches by a little more than it needs, and was trained so.
        stretch = ((rows + 0.1) / self.side, (columns + 0.1) / self.side)
        grid = functional.interpolate(grid, scale_factor=stretch, mode="bicubic")
        return torch.cat([places[:, :1], grid.flatten(2).mT], 1)


class _Block(nn.Module):
    def __init__(self, shape: BackboneShape) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(shape.dim, eps=1e-6) for _ in range(2))
        self.attn = _Attention(shape)
        self.ls1, self.ls2 = _Scale(shape.dim), _Scale(shape.dim)
        self.mlp = _Perceptron(shape.dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _Attention(nn.Module):
    def __init__(self, shape: BackboneShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv, self.proj = nn.Linear(shape.dim, 3 * shape.dim), nn.Linear(shape.dim, shape.dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Scale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _Patches(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.proj(pictures)


class _Perceptron(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))
