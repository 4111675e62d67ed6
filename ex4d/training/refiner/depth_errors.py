"""Errors of depth models added to true disparity, on the device: soft edges, shifted, coarse, grainy."""

import torch
from torch import Tensor
from torch.nn import functional

from ex4d.training.refiner.pictures import blurred, sampled
from ex4d.training.refiner.random_numbers import RandomNumbers

_SOFTEST = 4.5
"""Maximum standard deviation of the blur, in pixels."""

_SHARP = 0.12
"""Fraction of the pictures whose depth has no soft edges."""

_LEAST = 1e-4


def made_wrong(numbers: RandomNumbers, true: Tensor) -> tuple[Tensor, Tensor]:
    """Disparity as estimated and as it should be, each (B,1,S,S).

    Both have a smooth shape error, because edges do not show it and a refiner of edges is not meant to correct it.
    """
    count, _, size, _ = true.shape
    sharp = numbers.chance(count, of=_SHARP)
    deviation = numbers.log_uniform(count, low=0.5, high=_SOFTEST) * (1 - sharp)
    soft = blurred(true, deviation, _SOFTEST)
    less_soft = blurred(true, deviation * numbers.uniform(count, low=0.3, high=1), _SOFTEST)
    mix = torch.sigmoid(3 * _smooth(numbers, count, 1, 6, size)) * numbers.chance(count, 1, 1, 1, of=0.5)
    made = soft * (1 - mix) + less_soft * mix
    is_sharp, deviation = sharp[:, None, None, None] > 0, deviation[:, None, None, None]
    made = torch.where(is_sharp, made, _coarser(numbers, made)) if numbers.one() < 0.4 else made
    made = sampled(made, _beside(numbers, deviation, size) * torch.where(is_sharp, 0.0, 1.0))
    shape = 1 + 0.1 * _smooth(numbers, count, 1, 3, size).clamp(-3, 3) * numbers.uniform(count, 1, 1, 1)
    return _with_grain(numbers, made * shape).clamp(min=_LEAST), true * shape


def _smooth(numbers: RandomNumbers, count: int, channels: int, cells: int, size: int) -> Tensor:
    coarse = numbers.normal(count, channels, cells, cells)
    return functional.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False)


def _coarser(numbers: RandomNumbers, made: Tensor) -> Tensor:
    """Disparity as if estimated in a smaller picture."""
    size = made.shape[-1]
    less = int(size / numbers.one(1.3, 3.2))
    low = functional.interpolate(made, size=(less, less), mode="bilinear", antialias=True, align_corners=False)
    mode = "bicubic" if numbers.one() < 0.5 else "bilinear"
    return functional.interpolate(low, size=(size, size), mode=mode, align_corners=False)


def _beside(numbers: RandomNumbers, deviation: Tensor, size: int) -> Tensor:
    """Offset (B,2,S,S) in pixels: of some pictures as a whole, and varying within them."""
    count = len(deviation)
    whole = numbers.normal(count, 2, 1, 1).clamp(-2, 2) * numbers.chance(count, 1, 1, 1, of=0.5) * deviation.clamp(1, 2)
    places = _smooth(numbers, count, 2, 12, size) * numbers.uniform(count, 1, 1, 1, high=1.2) * deviation.clamp(0.7, 2)
    return (whole + places) * numbers.chance(count, 1, 1, 1, of=0.6)


def _with_grain(numbers: RandomNumbers, made: Tensor) -> Tensor:
    """Disparity with grain, specks, and few levels, each at random."""
    count, _, size, _ = made.shape
    strength = numbers.chance(count, 1, 1, 1, of=0.35) * numbers.log_uniform(count, 1, 1, 1, low=3e-4, high=6e-3)
    grain = blurred(numbers.normal(count, 1, size, size), numbers.uniform(count, high=0.8), 0.8)
    made = made * torch.exp(strength * grain)
    specks = numbers.chance(count, 1, size, size, of=0.002) * numbers.chance(count, 1, 1, 1, of=0.2)
    made = made * torch.exp(specks * 0.2 * numbers.normal(count, 1, size, size))
    low, high = made.amin((1, 2, 3), keepdim=True), made.amax((1, 2, 3), keepdim=True)
    levels = numbers.log_uniform(count, 1, 1, 1, low=255, high=65535)
    in_levels = ((made - low) / (high - low) * levels).round() / levels * (high - low) + low
    return torch.where(numbers.chance(count, 1, 1, 1, of=0.4) > 0, in_levels, made)
