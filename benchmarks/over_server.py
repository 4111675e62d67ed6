"""A job over a server, from submission to take, cold and warm, and where its time goes.

    python benchmarks/over_server.py preview
    python benchmarks/over_server.py wan --models DIR       # or vace, vace-14b

A server with one worker on this machine; a clip of 49 frames of 512x512 (noise on moving boxes, the worst case for
video files) with its depth, along an orbit of 60 degrees. Cold is the first job of the server's life, without its clip;
warm are the jobs after it, with other seeds. DIR gets random weights if it has none. "Writing files" is the time to
finish writing after the generator has ended; time in no stage is starting, blending, hashing, and moving files. On an
H100 about four minutes for `wan`, of which three are for random weights and the first prompt, and two for `vace`.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import typer
from render import synthetic

from ex4d.generate.registry import generators
from ex4d.jobs.client import Client
from ex4d.media.movie import write_movie
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Generate, Source
from ex4d.pipeline.settings import GenerateSettings, PathSettings
from ex4d.pipeline.take import SIDECAR, read_record
from ex4d.schema import describe

RANDOM = ("wan", "vace", "vace-14b")
"""Generators for which random weights can be written."""


def main(
    generator: Annotated[str, typer.Argument(help="Name of the generator.")],
    quality: Annotated[str, typer.Option("--quality", help="Quality, if the generator has that setting.")] = "draft",
    models: Annotated[Path | None, typer.Option("--models", help="Folder of models.")] = None,
    warm: Annotated[int, typer.Option("--warm", help="Number of jobs after the first.")] = 2,
) -> None:
    """Print a line for each job."""
    if models:
        os.environ |= {"EX4D_MODELS": str(models), "EX4D_CACHE": str(models / "cache")}
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(models / "inductor"))
    if models and generator in RANDOM:
        weights = Path(__file__).with_name("random_weights.py")
        subprocess.run([sys.executable, str(weights), str(models), "--model", generator], check=True)
    own = {about.name for about in describe(generators()[generator].settings)}
    options = {generator: {"quality": quality}} if "quality" in own else {}
    with TemporaryDirectory() as folder:
        source, files = clip(Path(folder))
        with serving(Path(folder)) as address:
            client = Client(address, Path(folder) / "takes")
            for number in range(1 + warm):
                wanted = GenerateSettings(generator=generator, seed=number, options=options)
                job = Generate(source, preset=PathSettings(cam="60"), generation=wanted)
                timed(client, job, files, f"{generator} {quality if options else ''} {'warm' if number else 'cold'}")
            client.close()


def clip(folder: Path) -> tuple[Source, dict[str, Path]]:
    """A clip and its depth, and where the files are."""
    scene = synthetic(512, 512, "60")
    picture, depth = folder / "clip.mp4", folder / "clip.depth.npz"
    write_movie(picture, scene.pictures, Fraction(24))
    np.savez(depth, depth=scene.mesh.depth, intrinsics=scene.path.intrinsics[0])
    blobs = blob_of(picture), blob_of(depth)
    return Source(blobs[:1], blobs[1:]), {blob.sha256: path for blob, path in zip(blobs, (picture, depth), strict=True)}


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[str]:
    """Run a server until the context ends; gives its address."""
    command = [sys.executable, "-m", "ex4d_server", "--address", "tcp://127.0.0.1:0", "--state", str(folder / "state")]
    command += options
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def timed(client: Client, job: Generate, files: dict[str, Path], label: str) -> None:
    """Run a job, and print a line about it."""
    began = time.monotonic()
    update = client.wait(client.submit(job, files))
    total = time.monotonic() - began
    if update.state != "done":
        sys.exit(f"{label}: {update.state}: {update.message}")
    record = read_record(update.files[SIDECAR])
    stages = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in record.seconds.items())
    digest = hashlib.sha256(update.files["result.mp4"].read_bytes()).hexdigest()[:12]
    print(
        f"{label}: submit to take {total:.2f} s; {stages}; no stage {total - sum(record.seconds.values()):.2f};"
        f" result.mp4 {digest}",
        flush=True,
    )


if __name__ == "__main__":
    typer.run(main)
