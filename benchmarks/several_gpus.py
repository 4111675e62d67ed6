"""Several GPUs: one video over some or all of them, and two drafts at once: `python benchmarks/several_gpus.py DIR`.

DIR gets random weights of the EX-4D model if it has none. Videos go straight to the generator, which is loaded once per
quality, on as many GPUs as needed; simultaneous drafts go through a server with two workers. Both sides of each
comparison are measured warm, in this run. Anything that does not fit into `--seconds` is left out, and this is
reported. Prompts are random too, because encoding them takes half a minute and is unrelated.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Annotated, Any

import torch
import typer
from generator import SEED, Clock
from over_server import clip, serving
from render import synthetic
from torch import Tensor

from ex4d.generate.base import Generated, Request
from ex4d.generate.diffsynth.generator import VideoGenerator
from ex4d.generate.diffsynth.library import Prompts
from ex4d.generate.diffsynth.quality import QualityName
from ex4d.generate.diffsynth.video_model import attention
from ex4d.generate.runtime import blocks, several_gpus
from ex4d.generate.runtime.runner import runner
from ex4d.generate.runtime.sequence_parallel import Group, Member, shares, split
from ex4d.generate.runtime.several_gpus import Gpu, Together, together
from ex4d.generate.wan.settings import WanSettings
from ex4d.generate.wan.spec import SPEC
from ex4d.generate.wan.video_model import IMAGE_TOKENS
from ex4d.jobs.client import Client
from ex4d.metrics.pixels import psnr
from ex4d.pipeline.requests import Generate, Source
from ex4d.pipeline.settings import GenerateSettings, PathSettings
from ex4d.pipeline.take import SIDECAR, read_record
from ex4d.render import conditioning

HEADS, HEAD, TOKENS, BLOCKS = 40, 128, 13_312, 40
"""Sizes of Wan2.1 14B, and of a window of 49 frames of 512x512."""

BEGAN = time.monotonic()


def main(
    models: Annotated[Path, typer.Argument(help="Folder of models.")],
    parts: Annotated[
        list[str] | None,
        typer.Option("--part", help="exchange, blocks, final, balanced, draft or server; repeatable. Default: all."),
    ] = None,
    gpus: Annotated[
        list[int] | None, typer.Option("--gpus", help="Number of GPUs; repeatable. Default: 1, 2, 4 and 8.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of finals. Default: all.")] = None,
    most: Annotated[
        int, typer.Option("--most", help="Maximum number of GPUs for one prediction.")
    ] = several_gpus.MOST_PER_PREDICTION,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Start no further measurement after this many seconds.")
    ] = 3600,
) -> None:
    """Print the comparisons."""
    os.environ |= {"EX4D_MODELS": str(models), "EX4D_CACHE": str(models / "cache")}
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(models / "inductor"))
    several_gpus.MOST_PER_PREDICTION = most
    there = torch.cuda.device_count()
    print(f"{there} x {torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    counts = sorted({count for count in gpus or (1, 2, 4, 8) if count <= there}, reverse=True)
    chosen = parts or ["exchange", "blocks", "final", "balanced", "draft", "server"]
    if "exchange" in chosen:
        for count in counts:
            exchange(count)
    if "blocks" in chosen:
        predictions(counts, seconds)
    if not {"final", "balanced", "draft", "server"} & set(chosen):
        return
    weights = Path(__file__).with_name("random_weights.py")
    subprocess.run([sys.executable, str(weights), str(models), "--model", "wan"], check=True)
    print(f"weights are there after {time.monotonic() - BEGAN:.0f} s", flush=True)
    for quality in ("final", "balanced", "draft"):
        if quality in chosen:
            videos(quality, counts, steps if quality == "final" else None, seconds)
    if "server" in chosen and time.monotonic() - BEGAN < seconds:
        drafts_at_once()


# -- one video over several GPUs --------------------------------------------------------------------


def videos(quality: QualityName, counts: list[int], steps: int | None, seconds: float) -> None:
    """The same video over each number of GPUs, the largest first, compared with that of the smallest."""
    seen = conditioning.render(synthetic(512, 512, "60"))
    model = SPEC.make(",".join(f"cuda:{number}" for number in range(counts[0])))
    assert isinstance(model, VideoGenerator)
    generator = torch.Generator().manual_seed(1)
    prompts = Prompts(*(torch.randn(1, 512, 4096, generator=generator) for _ in range(2)))
    model._prompts = lambda job, progress: prompts  # type: ignore[method-assign]
    made: dict[int, Generated] = {}
    everything = model._other_devices
    for count in counts:
        if time.monotonic() - BEGAN > seconds:
            print(f"{quality} on {count}: left out, there is no time", flush=True)
            continue
        model._other_devices = everything[: count - 1]  # the others stay loaded and do nothing
        cold = Clock()
        few = 4 if quality == "draft" else 8 if quality == "balanced" else 2  # guided steps and others in each
        model.generate(Request(seen, None, WanSettings(quality=quality, steps=few), SEED), cold)
        for number in range(counts[0]):
            torch.cuda.reset_peak_memory_stats(number)
        warm = Clock()
        made[count] = one = model.generate(Request(seen, None, WanSettings(quality=quality, steps=steps), SEED), warm)
        peaks = [torch.cuda.max_memory_allocated(number) / 1e9 for number in range(count)]
        print(
            f"{quality} on {count}: sampling {warm.seconds('Sampling'):.2f} s, {one.settings['steps']} steps,"
            f" {one.settings['predictions']} predictions, {one.settings.get('gpus', 1)} GPUs used; all"
            f" {warm.total():.1f} s; peaks {', '.join(f'{peak:.1f}' for peak in peaks)} GB; the first time, {few}"
            f" steps: loading {cold.seconds('Loading the model'):.1f}, sampling {cold.seconds('Sampling'):.1f} s;"
            f" after {time.monotonic() - BEGAN:.0f} s",
            *one.notes,
            sep="\n    ",
            flush=True,
        )
    for count, one in made.items():
        if count != counts[-1] and counts[-1] in made:
            fewest = made[counts[-1]].frames
            same = one.frames.tobytes() == fewest.tobytes()
            how = "the same bytes" if same else f"{psnr(one.frames, fewest):.1f} dB"
            print(f"{quality} on {count} against {counts[-1]}: {how}", flush=True)
    model.unload()


def exchange(count: int) -> None:
    """Time of the two exchanges of a block with `count` GPUs, without attention; and time of attention."""
    if count == 1:
        return
    direct = torch.cuda.can_device_access_peer(0, 1)
    group, tokens = Group([torch.device("cuda", n) for n in range(count)]), shares(TOKENS, count)

    def work(rank: int, attend: bool) -> None:
        member = Member(group, rank)
        with torch.cuda.device(rank), torch.no_grad(), group.linked(rank):
            size = HEADS, 3, 1, tokens[rank].stop - tokens[rank].start, HEAD
            qkv = torch.randn(size, dtype=torch.bfloat16, device=f"cuda:{rank}")
            for _ in range(BLOCKS):
                if attend:
                    member.attention(qkv)
                    continue
                got = group.swap(rank, [qkv[heads] for heads in shares(HEADS, count)])
                all_of_them = torch.cat([part[:, 0] for part in got], dim=2)
                parts = (
                    all_of_them.transpose(0, 1).transpose(1, 2).flatten(2).split([t.stop - t.start for t in tokens], 1)
                )
                torch.cat(group.swap(rank, [part.contiguous() for part in parts]), dim=2)
            torch.cuda.synchronize()

    def safely(rank: int, attend: bool) -> None:
        try:
            work(rank, attend)
        except BaseException:
            group.give_up()
            raise

    def timed(attend: bool) -> float:
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(safely, range(count), [attend] * count))
            began = time.monotonic()
            list(threads.map(safely, range(count), [attend] * count))
        return (time.monotonic() - began) / BLOCKS * 1000

    megabytes = 4 * HEADS * HEAD * (TOKENS / count) * 2 * (count - 1) / count / 1e6
    print(
        f"exchange over {count} GPUs ({'direct' if direct else 'through main memory'}): {timed(False):.2f} ms a block"
        f" for {megabytes:.0f} MB that each gets; with attention {timed(True):.2f} ms",
        flush=True,
    )


def predictions(counts: list[int], seconds: float) -> None:
    """All blocks of one prediction, and of both predictions of a guided step, without model files: time, and the effect
    of splitting."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(1, TOKENS, HEADS * HEAD, generator=generator).to("cuda:0")
    for in_8_bits in (True, False):
        gpus = [Gpu(torch.device("cuda", n), stack(torch.device("cuda", n), in_8_bits)) for n in range(counts[0])]
        whole: dict[int, Tensor] = {}
        for count in sorted(counts):
            for prompts in ((0,), (0, 1)) if count > 2 else ((0,),):
                if time.monotonic() - BEGAN > seconds:
                    print("left out, there is no time")
                    return
                began = time.monotonic()
                with attention(gpus[0].device), several(gpus[:count]) as predict:
                    made = predict(x, torch.zeros(()), prompts)
                    cold, spent = time.monotonic() - began, []
                    for _ in range(9):
                        began = time.monotonic()
                        made = predict(x, torch.zeros(()), prompts)
                        float(made[0].flatten()[0])
                        spent.append(time.monotonic() - began)
                whole = whole or {0: made[0]}
                median, error = statistics.median(spent), float((made[0] - whole[0]).norm() / whole[0].norm())
                print(
                    f"blocks, {'8 bits' if in_8_bits else 'reference'}, {len(prompts)} at once on {count}:"
                    f" {1000 * median:.0f} ms; {error:.1e} from that on one; the first time {cold:.1f} s;"
                    f" peak {torch.cuda.max_memory_allocated(0) / 1e9:.1f} GB; after {time.monotonic() - BEGAN:.0f} s",
                    flush=True,
                )


@contextmanager
def several(gpus: list[Gpu]) -> Iterator[Together]:
    """Predictions on these GPUs, even if there is only one."""
    if len(gpus) == 1:
        yield lambda x, time, prompts: {prompt: gpus[0].guess(x, time, prompt, None) for prompt in prompts}
        return
    with together(gpus, HEADS) as predict:
        yield predict


def stack(device: torch.device, in_8_bits: bool) -> Callable[[Tensor, Tensor, int, Member | None], Tensor]:
    """A function that sends tokens through 40 blocks on a device, all with the same random weights."""
    generator, dim, inner = torch.Generator(device).manual_seed(3), HEADS * HEAD, 13_824

    def random(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, device=device)

    def linear(outputs: int, inputs: int) -> blocks.Linear:
        weight = (random(outputs, inputs) * inputs**-0.5).bfloat16()
        layer = blocks.Linear(weight, torch.zeros(outputs, dtype=torch.bfloat16, device=device))
        return blocks.quantized(layer) if in_8_bits else layer

    given: dict[str, Any] = {name: linear(dim, dim) for name in blocks.BlockWeights._fields}
    ones = torch.ones(dim, device=device)
    given |= {name: ones.bfloat16() for name in given if "norm_" in name}
    given |= {"norm_weight": ones, "norm_bias": ones * 0, "modulation": random(1, 6, dim) * dim**-0.5}
    given |= {"up": linear(inner, dim), "down": linear(dim, inner)}
    run, _ = runner(device, HEAD, IMAGE_TOKENS)
    model = SimpleNamespace(blocks=[partial(run, blocks.BlockWeights(**given))] * BLOCKS)
    context, t_mod = random(1, IMAGE_TOKENS + 512, dim), random(1, 6, dim) * dim**-0.5
    freqs = torch.polar(torch.ones(TOKENS, 1, HEAD // 2, device=device), random(TOKENS, 1, HEAD // 2)).to(
        torch.complex128
    )

    def guess(x: Tensor, time: Tensor, prompt: int, member: Member | None) -> Tensor:
        with torch.no_grad(), torch.cuda.device(device), split(model, member):
            for block in model.blocks:
                x = block(x, context, t_mod, freqs)
        return x

    return guess


# -- two drafts at once -----------------------------------------------------------------------------


def drafts_at_once() -> None:
    """One draft alone, and two at once on two workers."""
    with TemporaryDirectory() as folder:
        source, files = clip(Path(folder))
        with serving(Path(folder), "--workers", "2") as address:
            client = Client(address, Path(folder) / "takes")
            at_once(client, source, files, (1, 2))  # so that both load the model
            alone = at_once(client, source, files, (3,))
            both = at_once(client, source, files, (4, 5))
            client.close()
    print(f"drafts: one {alone:.2f} s, two at once {both:.2f} s, {both / alone:.2f} times as long", flush=True)


def at_once(client: Client, source: Source, files: dict[str, Path], seeds: tuple[int, ...]) -> float:
    """Seconds for drafts with these seeds, from the first submission to the last take."""
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


if __name__ == "__main__":
    typer.run(main)
