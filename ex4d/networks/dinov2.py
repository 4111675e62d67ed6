"""The image encoder DINOv2 (arXiv 2304.07193), without registers, as part of several models.

The classes use the names in the published files, so these load without renaming.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 14
"""Side of a token's patch in pixels."""


@dataclass(frozen=True)
class BackboneShape:
    """Shape of the image encoder DINOv2; `side` is that of the token grid it was trained on."""

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
        self.mask_token = nn.Parameter(torch.zeros(1, shape.dim))  # used only in its training, but in the files
        self.patch_embed = Patches(shape.dim)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.dim, eps=1e-6)

    def forward(self, pictures: Tensor, taps: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
        """Tokens (B, rows * columns, C) and class token (B,C), normalised, after each block in `taps`.

        Args:
            pictures: (B,3,H,W), normalised, both sides multiples of 14.
            taps: block numbers, ascending.
        """
        patches = self.patch_embed(pictures)
        places = embedded_places(self.pos_embed, self.side, *patches.shape[-2:]).to(patches)
        x = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches.flatten(2).mT], 1) + places
        tapped = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in taps:
                tapped.append(self.norm(x))
        return [(tokens[:, 1:], tokens[:, 0]) for tokens in tapped]


def embedded_places(embedding: Tensor, side: int, rows: int, columns: int) -> Tensor:
    """Positional embedding of all tokens (1, 1 + rows * columns, C), float32; the first is the class token's.

    Args:
        embedding: (1, 1 + side * side, C), for the grid that the network was trained on.
        side: of that grid.
        rows, columns: of the desired grid.
    """
    places = embedding.float()
    if rows == columns == side:
        return places
    grid = places[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    # DINOv2 stretches by slightly more than necessary, and was trained that way.
    stretch = ((rows + 0.1) / side, (columns + 0.1) / side)
    grid = functional.interpolate(grid, scale_factor=stretch, mode="bicubic")
    return torch.cat([places[:, :1], grid.flatten(2).mT], 1)


class Block(nn.Module):
    """One block of the transformer.

    Args:
        shape: of the encoder.
        attention: replaces the usual attention; takes the tokens and any further arguments of `forward`.
    """

    def __init__(self, shape: BackboneShape, attention: nn.Module | None = None) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(shape.dim, eps=1e-6) for _ in range(2))
        self.attn = attention or Attention(shape)
        self.ls1, self.ls2 = _Scale(shape.dim), _Scale(shape.dim)
        self.mlp = _Perceptron(shape.dim)

    def forward(self, x: Tensor, *more: object) -> Tensor:
        """Map (B,N,C) to the same shape."""
        x = x + self.ls1(self.attn(self.norm1(x), *more))
        return self.each(x)

    def each(self, x: Tensor) -> Tensor:
        """The second half of the block, which processes each token separately."""
        return x + self.ls2(self.mlp(self.norm2(x)))


class Attention(nn.Module):
    """Self-attention over the tokens (B,N,C) of a picture."""

    def __init__(self, shape: BackboneShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv, self.proj = nn.Linear(shape.dim, 3 * shape.dim), nn.Linear(shape.dim, shape.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B,N,C) to the same shape."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Scale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Patches(nn.Module):
    """Turns every `PATCH` x `PATCH` pixels of pictures (B,3,H,W) into a token (B,C,rows,columns)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, PATCH, PATCH)

    def forward(self, pictures: Tensor) -> Tensor:
        """Tokens (B,C,rows,columns) of pictures (B,3,H,W) whose sides are multiples of `PATCH`."""
        return self.proj(pictures)


class _Perceptron(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))
