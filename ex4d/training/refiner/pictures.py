"""Pictures with true disparity: layers of textured shapes, some thin, some blurred by motion or defocus.

Everything is a tensor of a whole batch on the device. Pictures are drawn at twice their size and averaged.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from ex4d.training.refiner.random_numbers import RandomNumbers

_FINER = 2
"""Factor by which pictures are drawn larger than their size."""

_LEAST_LAYERS, _MOST_LAYERS = 4, 13


def pictures(numbers: RandomNumbers, count: int, size: int) -> tuple[Tensor, Tensor]:
    """Pictures (B,3,S,S) with 256 levels in 0..1, and their true relative disparities (B,1,S,S), above 0."""
    x, y = grid(size, 1, numbers.device)
    fine_x, fine_y = grid(size, _FINER, numbers.device)
    layers = int(numbers.one(_LEAST_LAYERS, _MOST_LAYERS))
    places = _from_far_to_near(numbers, count, layers)
    alike = numbers.chance(count, 1, 1, 1, of=0.25) > 0  # neighbours of nearly the same colour, the hardest edges
    backdrop = _Layer(numbers, count, size, places[:, 0], None)
    picture, disparity = backdrop.colour(fine_x, fine_y), backdrop.disparity(x, y)
    below = backdrop
    for number in range(1, layers):
        layer = _Layer(numbers, count, size, places[:, number], below.base, alike)
        inside = layer.inside(fine_x, fine_y)
        at = layer.disparity(x, y)
        covered = functional.avg_pool2d(inside, _FINER) > 0
        disparity = torch.where(covered, torch.maximum(at, disparity), disparity)
        alpha = (inside * _FINER + 0.5).clamp(0, 1)
        drawn = _blurred_by_chance(numbers, torch.cat([layer.colour(fine_x, fine_y) * alpha, alpha], 1))
        picture = picture * (1 - drawn[:, 3:]) + drawn[:, :3]
        below = layer
    return _as_a_camera(numbers, functional.avg_pool2d(picture, _FINER)), disparity


def grid(size: int, finer: int, device: str) -> tuple[Tensor, Tensor]:
    """Coordinates (x, y) in pixels of the pixel centres of a square picture, each (S,S)."""
    at = (torch.arange(size * finer, device=device) + 0.5) / finer
    y, x = torch.meshgrid(at, at, indexing="ij")
    return x, y


def blurred(values: Tensor, deviation: Tensor, largest: float) -> Tensor:
    """Values (B,C,H,W) blurred by Gaussians with standard deviations (B,) in pixels, none above `largest`."""
    count, channels, height, width = values.shape
    reach = math.ceil(2.7 * largest)
    at = torch.arange(-reach, reach + 1, device=values.device)
    kernels = torch.exp(-(at[None] ** 2) / (2 * deviation[:, None].clamp(min=1e-3) ** 2))
    kernels = (kernels / kernels.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    flat = values.reshape(1, count * channels, height, width)
    for kernel, pad in (
        (kernels[:, None, None, :], (reach, reach, 0, 0)),
        (kernels[:, None, :, None], (0, 0, reach, reach)),
    ):
        flat = functional.conv2d(functional.pad(flat, pad, mode="replicate"), kernel, groups=count * channels)
    return flat.reshape(values.shape)


def sampled(values: Tensor, offset: Tensor, mode: str = "bilinear") -> Tensor:
    """Values (B,C,H,W) at each pixel plus an offset (B,2,H,W) of (x, y) in pixels."""
    height, width = values.shape[2:]
    at_y, at_x = torch.meshgrid(
        torch.arange(height, device=values.device), torch.arange(width, device=values.device), indexing="ij"
    )
    x = (at_x + 0.5 + offset[:, 0]) / width * 2 - 1
    y = (at_y + 0.5 + offset[:, 1]) / height * 2 - 1
    places = torch.stack([x, y], -1).expand(len(values), -1, -1, -1)
    return functional.grid_sample(values, places, mode=mode, padding_mode="border", align_corners=False)


def _from_far_to_near(numbers: RandomNumbers, count: int, layers: int) -> Tensor:
    """Disparity of each layer (B,layers), increasing."""
    spread = numbers.log_uniform(count, 1, low=0.05, high=1.2)
    steps = spread * (0.05 + numbers.uniform(count, layers - 1) ** 2) * 1.2
    first = torch.exp(-numbers.uniform(count, 1, low=0.2, high=3.5))
    return first * (1 + torch.cat([torch.zeros_like(first), torch.cumsum(steps, 1)], 1))


class _Layer:
    """One layer of each picture of a batch: a shape, its surface and its colours."""

    def __init__(
        self,
        numbers: RandomNumbers,
        count: int,
        size: int,
        place: Tensor,
        below: Tensor | None,
        alike: Tensor | None = None,
    ) -> None:
        self._numbers, self._count, self._size = numbers, count, size
        self._place = _of_picture(place)
        self._draw_shape()
        self._draw_surface()
        grey = numbers.uniform(count, 1, 1, 1, low=0.03, high=0.97)
        tint = numbers.normal(count, 3, 1, 1) * 0.15 * numbers.uniform(count, 1, 1, 1)
        self.base = (grey + tint).clamp(0.02, 0.98)
        """A colour for each picture, (B,3,1,1)."""
        if below is not None and alike is not None:
            near_it = (below + numbers.normal(count, 3, 1, 1) * 0.06).clamp(0, 1)
            self.base = torch.where(alike, near_it, self.base)

    def _draw_shape(self) -> None:
        n, count, size = self._numbers, self._count, self._size
        self._kind = _of_picture(n.uniform(count))
        self._centre = [_of_picture(n.uniform(count, high=size)) for _ in range(2)]
        turn = n.uniform(count, high=2 * math.pi)
        self._cos, self._sin = _of_picture(turn.cos()), _of_picture(turn.sin())
        self._radius = _of_picture(n.log_uniform(count, low=5, high=size * 0.55))
        self._aspect = _of_picture(n.log_uniform(count, low=0.5, high=2))
        self._power = _of_picture(n.uniform(count, low=1.2, high=5))
        self._thickness = _of_picture(n.log_uniform(count, low=0.6, high=9))
        self._period = self._thickness * _of_picture(n.uniform(count, low=2.5, high=9))
        self._is_fence = _of_picture(n.chance(count, of=0.2)) > 0
        self._bend = _of_picture(n.uniform(count, high=12) * n.chance(count, of=0.5))
        self._wave = _of_picture(n.uniform(count, low=20, high=120))
        self._normals = n.uniform(count, 5, high=2 * math.pi)
        self._sides = n.uniform(count, 5, low=0.3, high=1)
        self._rough = _of_picture(n.uniform(count, high=0.5) * n.chance(count, of=0.6))
        self._sparse = _of_picture(n.uniform(count, low=0.2, high=1.2))

    def _draw_surface(self) -> None:
        n, count = self._numbers, self._count
        self._slant = n.normal(count, 2, 1, 1) * 0.12
        self._bulge = _of_picture(n.uniform(count, high=0.3) * n.chance(count, of=0.4))
        self._falling = n.one(0.5, 0.95)
        self._colourful = n.uniform(count, 1, 1, 1) ** 3 * 0.25
        self._uneven = n.uniform(count, 1, 1, 1) ** 2 * 0.4
        self._stripes = n.chance(count, 1, 1, 1, of=0.25) * n.uniform(count, 1, 1, 1, low=0.05, high=0.4)
        turn = n.uniform(count, 1, 1, 1, high=math.pi)
        self._stripes_cos, self._stripes_sin = turn.cos(), turn.sin()
        self._stripe = n.log_uniform(count, 1, 1, 1, low=3.3, high=40)
        self._shade = n.uniform(count, 2, 1, 1, low=-0.3, high=0.3)

    def _own(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates along and across a shape (B,1,H,W), and the distance from its centre in radii."""
        dx, dy = x - self._centre[0], y - self._centre[1]
        along, across = self._cos * dx + self._sin * dy, self._cos * dy - self._sin * dx
        round_off = (along.abs() / self._radius) ** self._power
        round_off = round_off + (across.abs() / (self._radius * self._aspect)) ** self._power
        return along, across, (round_off + 1e-9) ** (1 / self._power)

    def inside(self, x: Tensor, y: Tensor) -> Tensor:
        """Approximate distance in pixels to the shape's outline (B,1,H,W), positive inside."""
        along, across, away = self._own(x, y)
        noise = _noise(self._numbers, self._count, 1, len(x), 3, 0.6)
        blob = self._radius * (1 - away + self._rough * 0.5 * noise)
        sides = [
            self._radius * _of_picture(side) - (_of_picture(turn.cos()) * along + _of_picture(turn.sin()) * across)
            for turn, side in zip(self._normals.T, self._sides.T, strict=True)
        ]
        polygon = torch.stack(sides).amin(0)
        bent = across + self._bend * torch.sin(along / self._wave * 2 * math.pi)
        pole = self._thickness / 2 - bent.abs()
        fence = self._thickness / 2 - (torch.remainder(bent, self._period) - self._period / 2).abs()
        thin = torch.minimum(torch.where(self._is_fence, fence, pole), self._radius * 3 - along.abs())
        leaves = torch.minimum((noise - self._sparse) * 20, self._radius * 1.5 * (1 - away))
        rest = torch.where(self._kind < 0.8, thin, leaves)
        return torch.where(self._kind < 0.28, blob, torch.where(self._kind < 0.5, polygon, rest))

    def disparity(self, x: Tensor, y: Tensor) -> Tensor:
        """Disparity of a slanted or bulging surface (B,1,H,W)."""
        across_picture = self._slant[:, :1] * (x - self._centre[0]) + self._slant[:, 1:] * (y - self._centre[1])
        along, across, _ = self._own(x, y)
        from_middle = (along / self._radius) ** 2 + (across / (self._radius * self._aspect)) ** 2
        bulge = self._bulge * (1 - from_middle).clamp(0, 1).sqrt()
        return self._place * (1 + across_picture * 2 / self._size + bulge).clamp(0.3, 3)

    def colour(self, x: Tensor, y: Tensor) -> Tensor:
        """Colour (B,3,H,W) in 0..1."""
        n, count, size = self._numbers, self._count, self._size
        noise = self._colourful * _noise(n, count, 3, len(x), 4, self._falling)
        noise = noise + self._uneven * _noise(n, count, 1, len(x), 4, self._falling)
        wave = torch.sin((self._stripes_cos * x + self._stripes_sin * y) / self._stripe * 2 * math.pi)
        shade = self._shade[:, :1] * (x / size - 0.5) + self._shade[:, 1:] * (y / size - 0.5)
        return (self.base + noise + self._stripes * torch.tanh(4 * wave) + shade).clamp(0, 1)


def _of_picture(values: Tensor) -> Tensor:
    """One value for each picture (B,) as (B,1,1,1)."""
    return values[:, None, None, None]


def _noise(numbers: RandomNumbers, count: int, channels: int, size: int, first: int, falling: float) -> Tensor:
    """Smooth noise (B,C,S,S), a sum of octaves from `first` cells on, each `falling` times as strong as the last."""
    made, strength, cells = numbers.normal(count, channels, first, first), 1.0, first
    while cells < size:
        cells = min(2 * cells, size)
        strength *= falling
        mode = "bicubic" if cells <= 64 else "bilinear"
        made = functional.interpolate(made, size=(cells, cells), mode=mode, align_corners=False)
        if strength > 0.02 and cells <= size // 2:
            made = made + strength * numbers.normal(count, channels, cells, cells)
    return made


def _blurred_by_chance(numbers: RandomNumbers, layer: Tensor) -> Tensor:
    """A layer with its opacity (B,4,H,W): out of focus, in motion, or sharp, at random."""
    kind = numbers.one()
    if kind < 0.2:
        deviation = numbers.one(0.5, 4.0)
        return blurred(layer, torch.full((len(layer),), deviation, device=layer.device), deviation)
    if kind < 0.4:
        length, turn = numbers.one(2, 16), numbers.one(0, math.pi)
        ways = torch.linspace(-0.5, 0.5, 9).tolist()
        offset = torch.tensor([math.cos(turn), math.sin(turn)], device=layer.device)[None, :, None, None] * length
        return sum((sampled(layer, offset * way) for way in ways), torch.zeros_like(layer)) / len(ways)
    return layer


def _as_a_camera(numbers: RandomNumbers, picture: Tensor) -> Tensor:
    """A picture with a lens's softness, an exposure, a tone curve, grain, and 256 levels."""
    count, _, size, _ = picture.shape
    soft = blurred(picture, numbers.uniform(count, high=0.9), 0.9).clamp(0, 1)
    gain = numbers.uniform(count, 1, 1, 1, low=0.6, high=1.15)
    exposed = (soft * gain) ** numbers.uniform(count, 1, 1, 1, low=0.7, high=1.5)
    grain = blurred(numbers.normal(count, 3, size, size), numbers.uniform(count, high=0.8), 0.8)
    strength = numbers.uniform(count, 1, 1, 1, high=0.035) * numbers.chance(count, 1, 1, 1, of=0.6)
    return ((exposed + grain * strength).clamp(0, 1) * 255).round() / 255
