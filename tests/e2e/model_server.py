"""A server that has something in the EX-4D model's place: python model_server.py ADDRESS STATE.

It fills holes with orange and shows pictures while it does; all around it is the real thing, in the server as in its
worker, which imports `run` from here. A file `missing` in the state folder holds a sentence why it cannot run.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

from ex4d.generate.base import Generated
from ex4d.generate.wan import generator, spec
from ex4d.generate.wan.quality import QUALITIES
from ex4d.pipeline import shot

ORANGE = (250, 120, 0)
STEPS = 4


def missing(deep: bool, device: str = "cuda") -> str:
    sentence = Path(os.environ["EX4D_TEST_MISSING"])
    return sentence.read_text() if sentence.exists() else ""


def generate(self, request, progress):
    for step in range(1, STEPS + 1):
        progress("Sampling", step, STEPS, np.full((90, 160, 3), (250, 30 * step, 0), np.uint8))
        time.sleep(0.2)
    conditioning, quality = request.conditioning, request.settings.quality
    frames = np.where(conditioning.mask[..., None] > 0, conditioning.colour, np.uint8(ORANGE))
    settings = {"quality": quality, "size": request.settings.model_size}
    says = QUALITIES[quality].says
    return Generated(frames, settings, (says,) if says else ())


def put_in_place():
    object.__setattr__(spec.SPEC, "missing", missing)
    spec.missing, generator.WanGenerator.generate = missing, generate


def run(job, inputs, out, progress):
    put_in_place()
    return shot.run(job, inputs, out, progress)


if __name__ == "__main__":
    from ex4d_server.server import serve

    address, state = sys.argv[1:]
    os.environ["EX4D_TEST_MISSING"] = str(Path(state) / "missing")
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # for the worker
    put_in_place()
    serve(address, Path(state), runner="model_server:run")
