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
            help="Folder of videos, a list of them (.txt, one per line), or a table such as OpenVid's (.csv)."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the dataset; an interrupted run continues there.")],
    frames: Annotated[int, typer.Option("--frames", min=2, max=1025, help="Frames per clip.")] = DatasetSettings.frames,
    size: Annotated[
        int, typer.Option("--size", min=64, max=2048, help="Side of the square clips in pixels.")
    ] = DatasetSettings.size,
    masks: Annotated[int, typer.Option("--masks", min=1, max=100, help="Masks per clip.")] = DatasetSettings.masks,
    clips_a_video: Annotated[
        int,
        typer.Option(
            "--clips_a_video", min=0, max=1_000_000, help="Maximum number of clips from one video; 0 for all."
        ),
    ] = DatasetSettings.clips_a_video,
    depth_estimator: Annotated[
        str, typer.Option("--depth_estimator", help="Where the depth comes from, as in `ex4d depth`.")
    ] = DatasetSettings.depth_estimator,
    accept_licence: Annotated[
        bool, typer.Option("--accept_licence", help="Accept the terms of the depth estimator.")
    ] = False,
    tracker: Annotated[
        str, typer.Option("--tracker", help="Point tracker for tracking masks.")
    ] = DatasetSettings.tracker,
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            min=1,
            max=256,
            help="Videos processed at the same time, with 0.7 GB of memory each. Default: 1 with a depth model,"
            " otherwise one per two cores.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of all random choices.")] = DatasetSettings.seed,
) -> None:
    """Make a dataset of clips without cuts, with several simulated masks for each.

    Writes the dataset, and a contact sheet of its masks into it. Videos that cannot be used are left out and listed.
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


Dataset = Annotated[Path, typer.Argument(help="Folder of a dataset from `ex4d train masks`.")]


@train.command()
@with_settings(settings=TrainSettings)
def run(
    dataset: Dataset,
    out: Annotated[Path, typer.Argument(help="Folder for the training run; an interrupted run continues there.")],
    start: Annotated[
        Path | None, typer.Option("--start", help="Adapter to start from, such as ex4d.ckpt. Default: a new one.")
    ] = None,
    *,
    settings: TrainSettings,
) -> None:
    """Train an adapter: a LoRA in the video model, and the camera encoder.

    Writes ex4d.ckpt and ex4d.safetensors to OUT with each checkpoint. To use several GPUs: accelerate launch
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
    out: Annotated[Path, typer.Argument(help="Folder for the distillation; an interrupted run continues there.")],
    adapter: Annotated[
        Path | None, typer.Option("--adapter", help="Adapter to distil. Default: the installed one.")
    ] = None,
    *,
    settings: DistilSettings,
) -> None:
    """Distil an adapter to the four steps of a draft.

    Writes draft_lora.safetensors to OUT. Drafts use it once you put it into the folder Draft-LoRA of the models.
    """
    _check_packages("torch", "diffsynth")
    from ex4d.training.dataset import Dataset as Clips
    from ex4d.training.runs import distil_adapter

    with bars() as progress, result_folder(out):
        files = distil_adapter(Clips.open(dataset), out, settings, adapter=adapter, progress=progress, say=say)
    results(*files)


@train.command()
def refiner(
    folder: Annotated[Path, typer.Argument(help="Folder for the training run; an interrupted run continues there.")],
    minutes: Annotated[
        float, typer.Option(help="Stop after this many minutes; the same command then continues.", min=0)
    ] = 8.0,
    steps: Annotated[int, typer.Option(help="Total number of steps.", min=1)] = RefinerPlan.steps,
    batch: Annotated[int, typer.Option(help="Pictures per step.", min=1)] = RefinerPlan.batch,
    size: Annotated[
        int, typer.Option(help="Side of a picture in pixels, a multiple of 16.", min=32)
    ] = RefinerPlan.size,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and the pictures.")] = RefinerPlan.seed,
    rate: Annotated[float, typer.Option(help="Learning rate after the warm-up.", min=0)] = RefinerPlan.rate,
    begin: Annotated[Path | None, typer.Option(help="Weights of an earlier training run to start from.")] = None,
    device: Annotated[Literal["cuda", "cpu"], typer.Option(help="Device to train on.")] = "cuda",
) -> None:
    """Train the network of Depth Edges: Refine on pictures that are generated during training.

    Writes edge_refiner.safetensors to FOLDER.
    """
    _check_packages("torch", "safetensors")
    from torch import cuda

    from ex4d.training.refiner import loop
    from ex4d.training.reserved import reserved

    if size % 16:
        raise InputError(f"The side of a picture must be a multiple of 16, not {size}.")
    if device == "cuda" and not cuda.is_available():
        raise InputError("No NVIDIA GPU can be used here: give --device cpu, which takes hundreds of times as long.")
    continues = (folder / loop.STATE).is_file()
    weights = None if begin is None or continues else loop.read_weights(begin)  # refused before a folder is made
    plan = RefinerPlan(seed, steps, batch, size, rate)
    with bars() as progress, result_folder(folder), reserved(folder):
        done = loop.train(folder, plan, minutes * 60, device, say, progress, weights)
    if done:
        results(folder / loop.WEIGHTS)
    else:
        say("Not finished yet: run the same command again to continue.")


def _check_packages(*names: str) -> None:
    for package in (Package(name, "train") for name in names):
        if not package.is_there:
            raise InputError(f"Training needs the Python package {package.name}: {package.install}.")
