"""`ex4d train`: make an EX-4D adapter, and the data it is trained on."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ex4d.cli.options import with_settings
from ex4d.cli.output import bars, result_folder, results, say
from ex4d.errors import InputError
from ex4d.extras import Package
from ex4d.training.settings import DatasetSettings, DistilSettings, RefinerPlan, TrainSettings

train = typer.Typer(no_args_is_help=True, help="Train an EX-4D adapter on ordinary videos with simulated masks.")


@train.command()
def masks(
    videos: Annotated[
        Path,
        typer.Argument(
            help="Folder of videos, a list of them (.txt, one a line), or a table such as OpenVid's (.csv)."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the dataset; a run that was interrupted goes on there.")],
    frames: Annotated[
        int, typer.Option("--frames", min=2, max=1025, help="Frames of each clip.")
    ] = DatasetSettings.frames,
    size: Annotated[
        int, typer.Option("--size", min=64, max=2048, help="Side of the square clips in pixels.")
    ] = DatasetSettings.size,
    masks: Annotated[int, typer.Option("--masks", min=1, max=100, help="Masks of each clip.")] = DatasetSettings.masks,
    clips_a_video: Annotated[
        int, typer.Option("--clips_a_video", min=0, max=1_000_000, help="Most clips taken from one video; 0 for all.")
    ] = DatasetSettings.clips_a_video,
    depth_estimator: Annotated[
        str, typer.Option("--depth_estimator", help="Where depth comes from, as in `ex4d depth`.")
    ] = DatasetSettings.depth_estimator,
    accept_licence: Annotated[
        bool, typer.Option("--accept_licence", help="Accept the terms of the depth estimator.")
    ] = False,
    tracker: Annotated[
        str, typer.Option("--tracker", help="What follows points for tracking masks.")
    ] = DatasetSettings.tracker,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            max=256,
            help="Videos at a time, 0.7 GB of memory each. Default: 1 with a depth model, else one for two cores.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is drawn at random.")] = DatasetSettings.seed,
) -> None:
    """Make a dataset: clips without cuts, and several simulated masks for each.

    Leaves the dataset, and a contact sheet of its masks in it. Videos that cannot be used are left out and listed.
    """
    from ex4d.training.dataset import SHEET
    from ex4d.training.making import left_out, make
    from ex4d.training.mask_sheet import mask_sheet
    from ex4d.training.sources import videos as videos_in

    settings = DatasetSettings(frames, size, masks, clips_a_video, depth_estimator, tracker, seed)
    if frames % 4 != 1:
        say(f"The video model takes 4k+1 frames, such as 49: it cannot be trained on clips of {frames}.")
    found = videos_in(videos, say)
    with bars() as progress:
        made = make(found, out, settings, processes=processes, accept_licence=accept_licence, progress=progress)
        mask_sheet(made, out / SHEET)
    notes = dict.fromkeys(note for video in made.about.videos for note in video.notes)
    clips = "1 clip" if len(made.clips) == 1 else f"{len(made.clips)} clips"
    say(f"{clips} with {made.masks} masks each.", *notes, *left_out(made.about))
    results(out, out / SHEET)


Dataset = Annotated[Path, typer.Argument(help="Folder of a dataset, from `ex4d train masks`.")]


@train.command()
@with_settings(settings=TrainSettings)
def run(
    dataset: Dataset,
    out: Annotated[Path, typer.Argument(help="Folder of the training; one that was interrupted goes on there.")],
    start: Annotated[
        Path | None, typer.Option("--start", help="An adapter to begin with, such as ex4d.ckpt. Default: a new one.")
    ] = None,
    *,
    settings: TrainSettings,
) -> None:
    """Train an adapter: a LoRA in the video model, and the camera encoder.

    Leaves ex4d.ckpt and ex4d.safetensors in OUT, with each checkpoint. On several GPUs: accelerate launch
    --num_processes 2 -m ex4d.cli train run DATASET OUT.
    """
    _check_packages("torch", "diffsynth")
    from ex4d.training.dataset import Dataset as Clips
    from ex4d.training.runs import train_adapter

    with bars() as progress, result_folder(out):
        files = train_adapter(Clips.open(dataset), out, settings, start=start, progress=progress, say=say)
    results(*files)


@train.command()
@with_settings(settings=DistilSettings)
def distil(
    dataset: Dataset,
    out: Annotated[Path, typer.Argument(help="Folder of the distillation; one that was interrupted goes on there.")],
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="What is distilled. Default: the installed adapter.")
    ] = None,
    *,
    settings: DistilSettings,
) -> None:
    """Distil an adapter to the four steps of a draft.

    Leaves draft_lora.safetensors in OUT; put it into the folder Draft-LoRA of the models, and drafts are made with it.
    """
    _check_packages("torch", "diffsynth")
    from ex4d.training.dataset import Dataset as Clips
    from ex4d.training.runs import distil_adapter

    with bars() as progress, result_folder(out):
        files = distil_adapter(Clips.open(dataset), out, settings, adapter=adapter, progress=progress, say=say)
    results(*files)


@train.command()
def refiner(
    folder: Annotated[Path, typer.Argument(help="Folder of the training; one that was interrupted goes on there.")],
    minutes: Annotated[
        float, typer.Option(help="Stop after this many minutes; the same command then goes on.", min=0)
    ] = 8.0,
    steps: Annotated[int, typer.Option(help="Number of steps in total.", min=1)] = RefinerPlan.steps,
    batch: Annotated[int, typer.Option(help="Pictures per step.", min=1)] = RefinerPlan.batch,
    size: Annotated[
        int, typer.Option(help="Side of a picture in pixels, a multiple of 16.", min=32)
    ] = RefinerPlan.size,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and the pictures.")] = RefinerPlan.seed,
    rate: Annotated[float, typer.Option(help="Learning rate after the warm-up.", min=0)] = RefinerPlan.rate,
    begin: Annotated[Path | None, typer.Option(help="Weights of an earlier training to start from.")] = None,
    device: Annotated[Literal["cuda", "cpu"], typer.Option(help="What trains it.")] = "cuda",
) -> None:
    """Train the network of Depth Edges: Refine, on pictures that are generated while it trains.

    Leaves edge_refiner.safetensors in FOLDER.
    """
    _check_packages("torch", "safetensors")
    from torch import cuda

    from ex4d.training.refiner import loop

    if size % 16:
        raise InputError(f"The side of a picture must be a multiple of 16, not {size}.")
    if device == "cuda" and not cuda.is_available():
        raise InputError("No NVIDIA GPU can be used here: give --device cpu, which takes hundreds of times as long.")
    plan = RefinerPlan(seed, steps, batch, size, rate)
    with bars() as progress, result_folder(folder):
        done = loop.train(folder, plan, minutes * 60, device, say, progress, begin)
    if done:
        results(folder / loop.WEIGHTS)
    else:
        say("Not done yet: the same command goes on from here.")


def _check_packages(*names: str) -> None:
    for package in (Package(name, "train") for name in names):
        if not package.is_there:
            raise InputError(f"Training needs the Python package {package.name}: {package.install}.")
