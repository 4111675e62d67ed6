"""A process that trains: `python train_tiny.py OUT STEPS`; tests kill it, and start several with torchrun."""

import sys
from pathlib import Path

import tiny_training

from ex4d.training.loop import train
from ex4d.training.network import training_library
from ex4d.training.result import write_adapter
from ex4d.training.settings import TrainSettings

if __name__ == "__main__":
    out, steps = Path(sys.argv[1]), int(sys.argv[2])
    accelerator = training_library().accelerate.Accelerator(cpu=True)
    settings = TrainSettings(steps=steps, batch=2, rate=1e-3, warm_up=5, save_every=3, rank=4)
    train(
        tiny_training.network(),
        tiny_training.Few(validate=1),
        settings,
        out,
        accelerator,
        lambda weights: write_adapter(out, weights),
        validate_every=10,
    )
