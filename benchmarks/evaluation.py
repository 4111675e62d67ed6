"""The tables and plots of docs/evaluation.md: `python benchmarks/evaluation.py --docs docs`.

Five generated scenes are seen by a second camera that sweeps through each range, and the preview fills the holes, with
five variants of depth: a plane, true depth from a file, and depth with the errors of models, the last two before and
after. "Before" is the same preview with Other Frames and Depth Edges off, so each frame by itself and the depth as it
is. The clip's own camera and the moving mask are the true ones, so that only depth and filling are compared. Visible
and invented are the same pixels for all variants, according to true depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

import ex4d
from ex4d.geometry.depth_video import DepthVideo, load_depth_npz, save_depth
from ex4d.media.movie import write_png_frames
from ex4d.metrics import plots, rendered, report, table
from ex4d.metrics.cases import Case
from ex4d.metrics.datasets import pairs
from ex4d.metrics.datasets.results import with_result
from ex4d.metrics.measure import Measured
from ex4d.metrics.published import published
from ex4d.metrics.ranges import RANGES
from ex4d.metrics.report import Report
from ex4d.metrics.running import Plan, run
from ex4d.synthetic import depth_errors
from ex4d.synthetic.footage import Recording

DATASET = "rendered scenes"
METRICS = frozenset({"psnr", "warp", "flicker"})
PLOTTED = ("psnr_visible", "psnr_invented", "flicker")


@dataclass(frozen=True)
class Way:
    """A column of the table."""

    name: str
    depth: str
    is_after: bool


WAYS = (
    Way("plane", "plane", True),
    Way("true depth, before", "truth", False),
    Way("true depth, after", "truth", True),
    Way("wrong depth, before", "wrong", False),
    Way("wrong depth, after", "wrong", True),
)

CAMERA_OF, CAMERA_RANGE = WAYS[2], "small"
"""The results whose camera is searched for; elsewhere a preview invents too much to be tracked."""

CAMERA_ERRORS = ("rot_err", "trans_err", "cam_mc")


def depths(shot: Path, out: Path) -> Iterator[tuple[str, Path]]:
    """The depth files of a shot by variant; all in metres."""
    truth = load_depth_npz(shot / rendered.DEPTH)
    yield "truth", shot / rendered.DEPTH
    yield "wrong", _saved(out / "wrong.npz", depth_errors.wrong(truth.depth, depth_errors.DepthErrors(), 0), truth)
    guess = ex4d.open_clip(shot / "source", source_camera=shot / "source_camera.npz", moving=shot / rendered.MOVING,
                           estimator="plane", frames=None).depth.depth  # fmt: skip
    scaled = guess * np.float32(np.median(truth.depth[0]) / np.median(guess[0]))  # a plane has no scale in metres
    yield "plane", _saved(out / "plane.npz", scaled, truth)


def _saved(file: Path, depth: NDArray[np.float32], truth: DepthVideo) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_depth(file, DepthVideo(depth.astype(np.float32), truth.intrinsics, file.stem))
    return file


def take(shot: Path, depth: Path, way: Way) -> NDArray[np.uint8]:
    """The preview's frames (T,H,W,3)."""
    opened = ex4d.open_clip(
        shot / "source",
        depth=depth,
        source_camera=shot / "source_camera.npz",
        moving=shot / rendered.MOVING,
        frames=None,
        camera_scale=1.0,
        depth_edges="snap" if way.is_after else "off",
    )
    view = ex4d.render_path(opened, shot / "camera.npz", persistence="fill" if way.is_after else "off")
    return ex4d.generate_video(view, "preview").frames


def measured(cases: list[Case], data: Path, out: Path) -> list[Report]:
    """Make all results below `out` and measure them."""
    for case in cases:
        ways = [way for way in WAYS if not (out / way.name / case.name).is_dir()]
        files = dict(depths(data / case.name, out / "depth" / case.name)) if ways else {}
        for way in ways:
            place = out / way.name / case.name
            place.parent.mkdir(parents=True, exist_ok=True)
            write_png_frames(place, take(data / case.name, files[way.depth], way))
            print(f"{case.name}, {way.name}", flush=True)
    return [figures(cases, way, METRICS, out / f"{way.name}.json", out) for way in WAYS]


def cameras(cases: list[Case], out: Path, search: bool) -> list[Measured]:
    """Errors of the camera in some results, as kept in files; those without a file are only measured if requested."""
    found: list[Measured] = []
    for case in (case for case in cases if case.range == CAMERA_RANGE):
        file = out / "camera" / f"{case.name}.json"
        if search and not file.is_file():
            file.parent.mkdir(exist_ok=True)
            print(f"{case.name}, camera", flush=True)
        if search or file.is_file():
            found.extend(figures([case], CAMERA_OF, frozenset({"camera"}), file, out).results)
    return found


def camera_table(found: list[Measured]) -> str:
    """Errors of the camera by shot, in the result and in the true view."""
    heads = [f"{table.title(name)[:-2]} ({of})" for name in CAMERA_ERRORS for of in ("preview", "true view")]
    title = f"Error of the camera found in each shot, {CAMERA_OF.name}, {CAMERA_RANGE} range"
    lines = [title, "", f"| shot | {' | '.join(heads)} |", "| --- " * (1 + len(heads)) + "|"]
    for shot in found:
        cells = [_cell(shot, name, part) for name in CAMERA_ERRORS for part in ("", "_of_truth")]
        lines.append(f"| {shot.name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _cell(shot: Measured, name: str, part: str) -> str:
    if shot.means.get(f"cam_mc{part}") is None:
        return "not found"
    return table.number(name, shot.means.get(name + part))


def figures(cases: list[Case], way: Way, metrics: frozenset[str], file: Path, out: Path) -> Report:
    """Figures of one variant, which are kept in a file."""
    if not file.is_file():
        made = run([with_result(case, out / way.name / case.name) for case in cases], Plan(way.name, DATASET, metrics))
        report.write(file, made)
    return report.read(file)


def page(docs: Path, text: str) -> None:
    """Insert tables between the marks in docs/evaluation.md."""
    file = docs / "evaluation.md"
    before, begin, rest = file.read_text(encoding="utf-8").partition("<!-- tables -->\n")
    _old, end, after = rest.partition("<!-- end of tables -->")
    assert begin
    assert end
    file.write_text(f"{before}{begin}{text}{end}{after}", encoding="utf-8")


def main(
    out: Annotated[Path, typer.Option("--out", help="Folder for scenes, results and figures.")] = Path(
        "out/evaluation"
    ),
    docs: Annotated[
        Path | None, typer.Option("--docs", help="Folder of the docs, whose tables and plots are replaced.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", help="Frames per shot.")] = 25,
    width: Annotated[int, typer.Option("--width", help="Width in pixels.")] = 256,
    camera: Annotated[
        bool, typer.Option("--camera", help="Also measure the error of the camera in the small range.")
    ] = False,
    scenes: Annotated[str, typer.Option("--scenes", help="Comma-separated names of scenes.")] = ",".join(
        rendered.SCENES
    ),
) -> None:
    """Render, generate, measure, and print the tables. Results of an earlier run are reused."""
    names, data = scenes.split(","), out / "data"
    missing = [name for name in names if not (data / f"{name}_{RANGES[-1].name}").is_dir()]
    if missing:
        rendered.write(data, missing, recording=Recording(width, width * 9 // 32 * 2, frames))
    cases = pairs.cases(data)
    reports, found = measured(cases, data, out), cameras(cases, out, camera)
    rows = table.rows_of(reports)
    by_camera = table.rows_of([Report(CAMERA_OF.name, DATASET, tuple(found))])
    others = [table.by_angle(rows, metric) for metric in PLOTTED] + ([camera_table(found)] if found else [])
    angles = "\n".join(others)
    print(table.markdown(rows), angles, sep="\n")
    folder = docs / "pictures" / "evaluation" if docs else out / "plots"
    plots.plot([row for row in rows if row.metric in PLOTTED], folder)
    if docs is not None:
        page(docs, f"\n{table.markdown(rows, published())}\n{angles}\n")
        (docs / "evaluation.csv").write_text(table.as_csv(rows + by_camera, published()), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
