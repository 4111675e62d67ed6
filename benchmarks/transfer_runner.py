"""Runner for the workers of `benchmarks/transfer.py`, which returns the clip itself as the result."""

import os
from collections.abc import Callable
from pathlib import Path

from ex4d.pipeline.requests import Blob, Reconstruct


def make() -> Callable:
    """Called once by a worker."""
    return run


def run(job: Reconstruct, locate: Callable[[Blob], Path], out: Path, progress: Callable) -> dict:
    """The files of the clip as results; links, because only the way to the client is measured."""
    for blob in job.source.clip:
        os.link(locate(blob), out / blob.name)
    return {}
