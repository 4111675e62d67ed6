"""Random numbers, none of which makes the CPU wait for the GPU."""

import random

import torch
from torch import Tensor


class RandomNumbers:
    """Random numbers of one seed: those of whole batches come from the device, those for control flow from the host."""

    def __init__(self, seed: int, device: str) -> None:
        self.device = device
        self._generator = torch.Generator(device).manual_seed(seed)
        self._host = random.Random(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """A tensor with a uniform distribution."""
        return low + (high - low) * torch.rand(*shape, generator=self._generator, device=self.device)

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """A tensor whose logarithm has a uniform distribution."""
        bounds = torch.tensor([low, high]).log().tolist()
        return torch.exp(self.uniform(*shape, low=bounds[0], high=bounds[1]))

    def normal(self, *shape: int) -> Tensor:
        """A tensor with mean 0 and standard deviation 1."""
        return torch.randn(*shape, generator=self._generator, device=self.device)

    def chance(self, *shape: int, of: float) -> Tensor:
        """A tensor of 1 with this probability, otherwise 0."""
        return (self.uniform(*shape) < of).float()

    def one(self, low: float = 0.0, high: float = 1.0) -> float:
        """A single uniformly distributed number, for all pictures of a batch."""
        return self._host.uniform(low, high)
