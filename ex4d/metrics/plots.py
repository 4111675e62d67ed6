"""Plots of figures by angle, as PNG files. Matplotlib is imported where it is used."""

from collections.abc import Sequence
from pathlib import Path

from ex4d.errors import InputError
from ex4d.extras import Package
from ex4d.metrics.table import ANGLE_STEP, Row, mean_at, title

PLOTTED = ("psnr", "psnr_visible", "psnr_invented", "ssim", "lpips", "warp_error", "flicker", "invented", "matches")

LOOKS = ("o-", "s--", "^-.", "D:", "v-", "P--", "X-.", "*:")
"""Markers and line styles, so that generators can be told apart without colour."""


def plot(rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write a plot for each figure known by angle, with a line for each generator; return the files.

    Raises:
        InputError: matplotlib is not installed, or no figure is known by angle.
    """
    package = Package("matplotlib", "evaluate")
    if not package.is_there:
        raise InputError(f"Plots need the Python package matplotlib: {package.install}.")
    from matplotlib.figure import Figure

    known = [m for m in PLOTTED if any(row.metric == m and row.angle is not None for row in rows)]
    if not known:
        raise InputError("There is nothing to plot by angle: no shot was measured with its camera.")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for metric in known:
        figure = Figure(figsize=(6.4, 4.0), dpi=110, layout="constrained")
        axes = figure.subplots()
        bins = sorted({row.angle for row in rows if row.metric == metric and row.angle is not None})
        for look, generator in zip(_looks(), dict.fromkeys(row.generator for row in rows), strict=False):
            values = [(low + ANGLE_STEP / 2, mean_at(rows, generator, metric, low)) for low in bins]
            there = [(angle, value) for angle, value in values if value is not None]
            if there:
                axes.plot([a for a, _ in there], [v for _, v in there], look, label=generator, markersize=5)
        axes.set_xlabel("degrees between the source's and the new camera")
        axes.set_ylabel(title(metric))
        axes.set_xticks(range(0, max(bins) + ANGLE_STEP + 1, ANGLE_STEP))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")
        file = folder / f"{metric}.png"
        figure.savefig(file, metadata={"Software": None})
        files.append(file)
    return files


def _looks() -> tuple[str, ...]:
    return LOOKS * 8
