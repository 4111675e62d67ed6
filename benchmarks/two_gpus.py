"""Two GPUs: two drafts at once, and one final over both: `python benchmarks/two_gpus.py DIR`.

DIR gets random weights of the EX-4D model where it has none. Drafts go through a server with two workers, the finals
straight to the generator. Both sides of each comparison are measured warm, in this run.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from generator import job, psnr
from over_server import clip, serving
from render import synthetic

from ex4d.generate.wan.spec import SPEC
from ex4d.jobs.client import Client
from ex4d.pipeline.requests import Generate, Source
from ex4d.pipeline.settings import GenerateSettings, PathSettings
from ex4d.pipeline.take import SIDECAR, read_record
from ex4d.render import conditioning


def main(models: Annotated[Path, typer.Argument(help="Folder of models.")]) -> None:
    """Print both comparisons."""
    os.environ |= {"EX4D_MODELS": str(models), "EX4D_CACHE": str(models / "cache")}
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(models / "inductor"))
    print(f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    weights = Path(__file__).with_name("random_weights.py")
    subprocess.run([sys.executable, str(weights), str(models), "--model", "wan"], check=True)
    finals()
    drafts()


def drafts() -> None:
    """A draft alone, and two at once on two workers."""
    with TemporaryDirectory() as folder:
        source, files = clip(Path(folder))
        with serving(Path(folder), "--workers", "2") as address:
            client = Client(address, Path(folder) / "takes")
            together(client, source, files, (1, 2))  # both load the model
            alone = together(client, source, files, (3,))
            both = together(client, source, files, (4, 5))
            client.close()
    print(f"drafts: one {alone:.2f} s, two at once {both:.2f} s, {both / alone:.2f} times as long", flush=True)


def together(client: Client, source: Source, files: dict[str, Path], seeds: tuple[int, ...]) -> float:
    """Seconds that drafts of these seeds take, from the first submit to the last take."""
    began, ids = time.monotonic(), []
    for seed in seeds:
        wanted = GenerateSettings(generator="wan", seed=seed, options={"wan": {"quality": "draft"}})
        ids.append(client.submit(Generate(source, preset=PathSettings(cam="60"), generation=wanted), files))
    for job_id in ids:
        update = client.wait(job_id)
        if update.state != "done":
            sys.exit(f"{update.state}: {update.message}")
        record = read_record(update.files[SIDECAR])
        print(f"draft of seed {record.seed} on {record.device}: {record.seconds}", flush=True)
    return time.monotonic() - began


def finals() -> None:
    """The same final on one GPU and on two."""
    seen = conditioning.render(synthetic(512, 512, "60"))
    made = []
    for device in ("cuda:0", "cuda:0,cuda:1"):
        model = SPEC.make(device)
        job(model, seen, "final", f"{device} cold")
        made.append(job(model, seen, "final", f"{device} warm"))
        model.unload()
    one, two = (each.frames for each in made)
    same = one.tobytes() == two.tobytes()
    print(f"final on one and on two: {'the same bytes' if same else f'{psnr(one, two):.1f} dB'}", flush=True)


if __name__ == "__main__":
    typer.run(main)
