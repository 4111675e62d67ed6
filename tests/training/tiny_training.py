"""A tiny video model to train, and random samples for it, like those of the VAE and the other encoders."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "generate" / part) for part in (".", "wan")]

import tiny
import torch

from ex4d.training.network import Encoded, Network

torch.set_num_threads(1)


def encoded(seed=0, count=2, height=4, width=6):
    generator = torch.Generator().manual_seed(seed)

    def random(*size):
        return torch.randn(size, generator=generator)

    latent = (1, 16, count, height, width)
    video, image, colour, mask = (random(*latent) for _ in range(4))
    return Encoded(video, image, random(1, 257, 1280), colour, mask, random(1, 512, tiny.TEXT))


def dit(seed=0):
    """The tiny model. Its last layer is frozen, so it is set up to be able to predict any noise."""
    torch.manual_seed(seed)
    made = tiny.dit()
    torch.nn.init.orthogonal_(made.head.head.weight, gain=2)
    return made


def network(**options):
    return Network(dit(), **{"rank": tiny.RANK, "hidden": tiny.HIDDEN, **options})


class Few:
    """A few samples, repeated; the noise differs each time, or is the same for each sample."""

    def __init__(self, count=3, same_noise=False, validate=0):
        self.samples = [encoded(seed) for seed in range(count)]
        self.same_noise, self.validate = same_noise, validate

    def training(self, number):
        return self.samples[number % len(self.samples)], number % (len(self.samples) if self.same_noise else 10**9)

    def validation(self):
        return [(encoded(100 + number), number) for number in range(self.validate)]
