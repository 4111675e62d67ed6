"""The tables and plots of docs/evaluation.md: `python benchmarks/evaluation.py --docs docs`.

Five generated scenes are seen by a second camera that sweeps through each range, and the preview fills the holes, with
five variants of depth: a plane, true depth from a file, and depth with the errors of models, the last two before and
after. "Before" is the same preview with Other Frames and Depth Edges off, so each frame by itself and the depth as it
is. The clip's own camera and the moving mask are the true ones, so that only depth and filling are compared. Visible
and invented are the same pixels for all variants, according to true depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
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


def measured(data: Path, out: Path, camera: bool) -> list[Report]:
    """Make all results below `out` and measure them, including the camera in some of them if requested."""
    cases = pairs.cases(data)
    for case in cases:
        ways = [way for way in WAYS if not (out / way.name / case.name).is_dir()]
        files = dict(depths(data / case.name, out / "depth" / case.name)) if ways else {}
        for way in ways:
            place = out / way.name / case.name
            place.parent.mkdir(parents=True, exist_ok=True)
            write_png_frames(place, take(data / case.name, files[way.depth], way))
            print(f"{case.name}, {way.name}", flush=True)
    reports = [figures(cases, way, METRICS, out / f"{way.name}.json", out) for way in WAYS]
    if not camera:
        return reports
    near = [case for case in cases if case.range == CAMERA_RANGE]
    seen = figures(near, CAMERA_OF, frozenset({"camera"}), out / "camera.json", out)
    cameras = {each.name: each for each in seen.results}

    def with_camera(each: Measured) -> Measured:
        found = cameras.get(each.name)
        return each if found is None else replace(each, means=each.means | found.means, notes=each.notes + found.notes)

    return [
        replace(made, results=tuple(map(with_camera, made.results))) if made.generator == CAMERA_OF.name else made
        for made in reports
    ]


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
    docs: Annotated[Path | None, typer.Option("--docs", help="Folder of the docs, to be brought up to date.")] = None,
    frames: Annotated[int, typer.Option("--frames", help="Of each shot.")] = 25,
    width: Annotated[int, typer.Option("--width", help="In pixels.")] = 256,
    camera: Annotated[
        bool, typer.Option("--camera", help="Also the error of the camera in some results, which takes as long again.")
    ] = False,
    scenes: Annotated[str, typer.Option("--scenes", help="Names with commas between.")] = ",".join(rendered.SCENES),
) -> None:
    """Render, generate, measure, and print the tables. Results of an earlier run are reused."""
    names, data = scenes.split(","), out / "data"
    missing = [name for name in names if not (data / f"{name}_{RANGES[-1].name}").is_dir()]
    if missing:
        rendered.write(data, missing, recording=Recording(width, width * 9 // 32 * 2, frames))
    rows = table.rows_of(measured(data, out, camera))
    angles = "\n".join(table.by_angle(rows, metric) for metric in PLOTTED)
    print(table.markdown(rows), angles, sep="\n")
    folder = docs / "pictures" / "evaluation" if docs else out / "plots"
    plots.plot([row for row in rows if row.metric in PLOTTED], folder)
    if docs is not None:
        page(docs, f"\n{table.markdown(rows, published())}\n{angles}\n")
        (docs / "evaluation.csv").write_text(table.as_csv(rows, published()), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
