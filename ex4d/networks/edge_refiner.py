"""The network that refines the edges of depth: it predicts where each pixel's disparity is taken from.

A U-Net with 1.4 million weights, most of them at a sixteenth of the picture's size. `ex4d.depth.refinement` prepares
its input and uses its output. Needs torch.
"""

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

INPUTS = 5
"""Red, green, blue, the disparity, and the range of the surrounding disparities."""

OUTPUTS = 4
"""Where to take the disparity from (x, y), what to add to it, and the uncertainty of it."""

_WIDTHS = (24, 48, 96, 192)
"""Channels at a half, a quarter, an eighth and a sixteenth of the size."""


class _Block(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(width, width, 3, padding=1)
        self.b = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B,C,H,W) to the same shape."""
        return functional.relu(x + self.b(functional.relu(self.a(x))))


class EdgeRefiner(nn.Module):
    """Maps (B,5,H,W) float32 to (B,4,H,W); H and W are multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(pairwise(_WIDTHS))
        self.first = nn.Conv2d(INPUTS, _WIDTHS[0], 6, stride=2, padding=2)
        self.down = nn.ModuleList([nn.Conv2d(fine, coarse, 3, stride=2, padding=1) for fine, coarse in pairs])
        self.encoder = nn.ModuleList([_Block(coarse) for _, coarse in pairs])
        self.up = nn.ModuleList([nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs])
        self.decoder = nn.ModuleList([_Block(fine) for fine, _ in pairs])
        self.last = nn.ConvTranspose2d(_WIDTHS[0], OUTPUTS, 2, stride=2)
        nn.init.zeros_(self.last.bias)  # starts by changing nothing
        nn.init.normal_(self.last.weight, std=3e-3)

    def forward(self, x: Tensor) -> Tensor:
        """Return the raw output (B,4,H,W) for `ex4d.depth.refinement`, before its limits are applied."""
        x = functional.relu(self.first(x))
        finer = []
        for down, block in zip(self.down, self.encoder, strict=True):
            finer.append(x)
            x = block(functional.relu(down(x)))
        for up, block in zip(reversed(self.up), reversed(self.decoder), strict=True):
            x = block(finer.pop() + up(x))
        return self.last(x)
