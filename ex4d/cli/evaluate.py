"""`ex4d evaluate`: measure results, and make tables of the figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ex4d.cli.output import bars, refuse_overwriting, results, say
from ex4d.errors import InputError
from ex4d.extras import said_once

if TYPE_CHECKING:
    from ex4d.metrics.cases import Case
    from ex4d.metrics.report import Report

evaluate = typer.Typer(no_args_is_help=True, help="Measure results, and make tables of the figures.")

Dataset = Literal["one", "pairs", "dycheck", "iphone-ptz", "vista4d"]
Device = Literal["cpu", "cuda"]

DATASETS = {
    "one": "one result",
    "pairs": "folder of pairs",
    "dycheck": "DyCheck iPhone",
    "iphone-ptz": "iPhone-PTZ",
    "vista4d": "Vista4D-Eval",
}
"""Kinds of data, and their names in tables."""

SHOWN = ("psnr", "psnr_visible", "psnr_invented", "ssim", "mpsnr", "mssim", "lpips", "warp_error", "flicker",
         "invented", "matches", "rot_err", "trans_err", "cam_mc")  # fmt: skip
"""Figures in the line for a result."""


@evaluate.command("run")
def run(
    result: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT", help="Video, or folder of a take; with --data, a folder with one result per shot."
        ),
    ],
    generator: Annotated[
        str,
        typer.Option("--generator", help="Name of the generator, for tables. Default: the name of RESULT."),
    ] = "",
    dataset: Annotated[Dataset, typer.Option("--dataset", help="Kind of data; see docs/evaluation.md.")] = "one",
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the data set.")] = None,
    source: Annotated[Path | None, typer.Option("--source", help="Source clip: a video or a folder of images.")] = None,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="True view, as a real camera saw it: a video or a folder of images.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", help="Mask of the result, white where it is real. Default: the take's own.")
    ] = None,
    camera: Annotated[
        Path | None, typer.Option("--camera", help="Requested camera path. Default: the take's own.")
    ] = None,
    source_camera: Annotated[
        Path | None, typer.Option("--source_camera", help="Motion of the clip's own camera. Default: the take's own.")
    ] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", help="Comma-separated names of metrics; see docs/evaluation.md. Default: all.")
    ] = "",
    only: Annotated[
        str, typer.Option("--range", help="Measure only shots of this range: small, large, extreme, full or other.")
    ] = "",
    resize: Annotated[bool, typer.Option("--resize", help="Resize results to the size of the true view.")] = False,
    device: Annotated[Device, typer.Option("--device", help="Device to run networks on.")] = "cpu",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File for all figures (.json), from which `ex4d evaluate table` makes tables."),
    ] = None,
) -> None:
    """Measure results, with or without a true view for comparison.

    Prints one line per result. Metrics that cannot be measured here are reported and left out.
    """
    from ex4d.metrics import report as reports
    from ex4d.metrics.ranges import NAMES, OTHER
    from ex4d.metrics.running import Plan
    from ex4d.metrics.running import run as measured

    _check_writable([out], result, source, truth, mask, camera, source_camera)
    if dataset == "one":
        if data is not None:
            raise InputError("--data is for a whole data set: name its kind with --dataset.")
        cases = [_one(result, source, truth, mask, camera, source_camera)]
    else:
        if any(each is not None for each in (source, truth, mask, camera, source_camera)):
            raise InputError(
                "--source, --truth, --mask, --camera and --source_camera are for one result: leave out --dataset."
            )
        cases = _with_results(dataset, data, result)
    if only and only not in (*NAMES, OTHER):
        raise InputError(f"There is no range {only}: choose from {', '.join((*NAMES, OTHER))}.")
    if only:
        ranges = ", ".join(dict.fromkeys(case.range for case in cases))
        cases = [case for case in cases if case.range == only]
        if not cases:
            raise InputError(
                f"No shot is in the range {only}, only in {ranges}: the range follows from the camera path."
            )
    named = frozenset(name.strip() for name in metrics.split(",") if name.strip())
    plan = Plan(generator or result.stem, DATASETS[dataset], resize=resize, device=device)
    if named:
        plan = Plan(plan.generator, plan.dataset, named, resize, device)
    with bars() as progress:
        report = measured(cases, plan, progress)
    _print(report)
    if out is not None:
        reports.write(out, report)
        results(out)


def _one(
    result: Path, source: Path | None, truth: Path | None, mask: Path | None, camera: Path | None, own: Path | None
) -> "Case":
    """Make the case of one result; a take's folder adds its mask, its cameras, and the frames of the clip it shows."""
    import numpy as np

    from ex4d.metrics.cases import Case, read_path, read_poses
    from ex4d.metrics.streams import open_stream
    from ex4d.pipeline import take
    from ex4d.pipeline.requests import Generate

    used = None
    if (result / take.RESULT).is_file():
        folder = result
        result = folder / take.RESULT
        mask = mask or _there(folder / take.MASK)
        camera = camera or _there(folder / take.CAMERA)
        own = own or _there(folder / take.SOURCE_CAMERA)
        name = folder.stem
        if (folder / take.SIDECAR).is_file():
            record = take.read_record(folder / take.SIDECAR)
            read = record.job.source.settings if isinstance(record.job, Generate) else None
            if read is not None and read.fps is None:  # at another rate, frames are not those of the file
                used = read.start + read.step * np.arange(record.frames)
    else:
        name = result.stem
    if own is not None and camera is None:
        raise InputError("--source_camera needs the camera path to compare with: name it with --camera.")
    size = open_stream(result, "result")
    path = None if camera is None else read_path(camera, size.width, size.height)
    poses = None if own is None else read_poses(own)
    return Case(name, result, source, truth, mask=mask, path=path, source_poses=poses, source_at=used)


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def _with_results(dataset: Dataset, data: Path | None, folder: Path) -> "list[Case]":
    """The shots of a data set that have a result; prints which have none."""
    from ex4d.metrics.datasets import dycheck, iphone_ptz, pairs, vista4d
    from ex4d.metrics.datasets.results import result_of, with_result

    if data is None:
        raise InputError(f"--dataset {dataset} needs the folder of the data set: name it with --data.")
    if dataset == "vista4d":
        named = vista4d.cases(data)
    else:
        of = {"pairs": pairs.cases, "dycheck": dycheck.cases, "iphone-ptz": iphone_ptz.cases}[dataset]
        named = [(case, "") for case in of(data)]
    found, without = [], []
    for case, other in named:
        place = result_of(folder, case.name, *([other] if other else []))
        if place is None:
            without.append(case.name)
        else:
            found.append(with_result(case, place))
    if not found:
        raise InputError(
            f"{folder} has no result for any shot in {data}: that of the first should be called {named[0][0].name}.mp4."
        )
    if without:
        say(f"{len(without)} shots have no result in {folder} and are left out: {', '.join(without[:5])}"
            f"{' ...' if len(without) > 5 else ''}.")  # fmt: skip
    return found


def _print(report: "Report") -> None:
    from ex4d.metrics.table import TITLES, number, title

    for result in report.results:
        shown = [(name, result.means.get(name)) for name in SHOWN]
        figures = ", ".join(
            f"{title(name).rstrip(' ↑↓')} {number(name, value)}" for name, value in shown if value is not None
        )
        typer.echo(f"{result.name} ({result.range}): {figures or 'nothing could be measured'}")
        say(*result.notes)
    for range_, of_set in report.sets.items():
        values = ", ".join(f"{TITLES[name]} {number(name, value)}" for name, value in of_set.items())
        typer.echo(f"set {range_}: {values}")
    if report.missing:
        say(said_once((name.upper(), reason) for name, reason in report.missing.items()))


@evaluate.command("table")
def table(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Files of figures from `ex4d evaluate run --out`.")
    ],
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="File for the tables (.md). Default: print them.")
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="File for all figures, one per line (.csv).")] = None,
    plots: Annotated[Path | None, typer.Option("--plots", help="Folder for plots by angle (.png).")] = None,
    published: Annotated[
        bool,
        typer.Option("--published/--no-published", help="Include figures that others have published, marked as such."),
    ] = True,
) -> None:
    """Make tables and plots of figures, with one column per generator."""
    from ex4d.metrics import plots as plotting
    from ex4d.metrics import published as others
    from ex4d.metrics import report
    from ex4d.metrics import table as tables

    _check_writable([markdown, csv], *files)
    rows = tables.rows_of([report.read(file) for file in files])
    if not rows:
        raise InputError(f"There is no figure in {files[0] if len(files) == 1 else 'these files'}: measure again, with"
                         " what the measures need, such as a true view.")  # fmt: skip
    known = others.published() if published else ()
    _write_text(markdown, tables.markdown(rows, known))
    if csv is not None:
        _write_text(csv, tables.as_csv(rows, known))
    if plots is not None:
        results(*plotting.plot(rows, plots))


def _check_writable(outputs: Sequence[Path | None], *inputs: Path | None) -> None:
    """Refuse outputs that cannot be written or would replace an input, before anything is measured."""
    for out in filter(None, outputs):
        if out.is_dir():
            raise InputError(f"{out} is a folder: name a file in it.")
        if not out.absolute().parent.is_dir():
            raise InputError(f"{out} cannot be written: its folder does not exist; create it first.")
        refuse_overwriting([out], None, *inputs)


def _write_text(path: Path | None, text: str) -> None:
    from ex4d.storage.atomic import replacing

    if path is None:
        typer.echo(text)
        return
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    results(path)


@evaluate.command("scenes")
def scenes(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder for the scenes, with a folder for each shot.")
    ],
    names: Annotated[str, typer.Option("--scenes", help="Comma-separated names of scenes. Default: five scenes.")] = "",
    ranges: Annotated[
        str, typer.Option("--ranges", help="Comma-separated ranges that the second camera sweeps. Default: all four.")
    ] = "",
    frames: Annotated[int, typer.Option("--frames", min=2, help="Frames per shot.")] = 49,
    width: Annotated[
        int, typer.Option("--width", min=64, help="Width in pixels, even; the height is 9/16 of it.")
    ] = 512,
) -> None:
    """Render scenes to evaluate on.

    Writes a folder of pairs, with the true depth and the true view from the second camera. The first time, the renderer
    is compiled, which takes a minute.
    """
    from ex4d.metrics import rendered
    from ex4d.metrics.ranges import NAMES, RANGES
    from ex4d.synthetic.footage import Recording

    if width % 2:
        raise InputError(f"Videos have even sides: give --width {width + 1} instead of {width}.")
    wanted = _listed(ranges) or list(NAMES)
    if unknown := [name for name in wanted if name not in NAMES]:
        raise InputError(f"There is no range {unknown[0]}: choose from {', '.join(NAMES)}.")
    recording = Recording(width, width * 9 // 32 * 2, frames)
    chosen = [each for each in RANGES if each.name in wanted]
    with bars() as progress:
        made = rendered.write(folder, _listed(names) or rendered.SCENES, chosen, recording, progress)
    results(*made)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@evaluate.command("vbench-setup")
def vbench_setup(
    python: Annotated[
        Path | None, typer.Option("--python", help="Python 3.8 to 3.11 to set it up with. Default: this one.")
    ] = None,
) -> None:
    """Set up VBench in an environment of its own.

    It pins versions of packages that nothing else here can work with.
    """
    from ex4d.metrics import vbench

    say("Installing VBench and its packages, up to 7 GB; this takes several minutes.")
    results(vbench.set_up(python))


@evaluate.command("vbench")
def vbench_run(
    videos: Annotated[Path, typer.Argument(metavar="VIDEOS", help="Video, or folder of .mp4 files.")],
    dimensions: Annotated[
        str,
        typer.Option(
            "--dimensions", help="Comma-separated names. Default: the seven that VBench measures on custom videos."
        ),
    ] = "",
    device: Annotated[Device, typer.Option("--device", help="Device to run VBench on.")] = "cuda",
) -> None:
    """Score videos on VBench's dimensions.

    Prints the scores of each dimension as soon as they are known. Dimensions that cannot be scored here are reported
    and left out.
    """
    from ex4d.metrics import vbench

    if why := vbench.missing():
        raise InputError(f"{why} Run `ex4d evaluate vbench-setup`.")

    def tell(dimension: str, scores: dict[str, float]) -> None:
        for name, score in scores.items():
            typer.echo(f"{dimension} {name} {score:.4f}")

    scored = vbench.evaluate(videos, _listed(dimensions) or vbench.DIMENSIONS, device, tell=tell)
    if scored.missing:
        say(said_once(scored.missing.items()))
