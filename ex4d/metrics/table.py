"""Tables of figures: generators in columns, a row for each range and figure; as Markdown, and as CSV in long form."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ex4d.errors import InputError
from ex4d.metrics.measure import GROUPS
from ex4d.metrics.published import Published
from ex4d.metrics.ranges import OTHER, RANGES
from ex4d.metrics.report import Report

FVD_PROTOCOL = "I3D-400 torchscript, StyleGAN-V protocol"
"""How our FVD is measured; figures by other variants differ."""

TITLES = {
    "psnr": "PSNR, dB ↑",
    "ssim": "SSIM ↑",
    "lpips": "LPIPS ↓",
    "mpsnr": "mPSNR (DyCheck), dB ↑",
    "mssim": "mSSIM (DyCheck) ↑",
    "mlpips": "mLPIPS (DyCheck) ↓",
    "warp_error": "warp error, 10⁻³ ↓",
    "flicker": "flicker, levels ↓",
    "invented": "invented, share",
    "matches": "SIFT matches ↑",
    "rot_err": "RotErr, ° ↓",
    "trans_err": "TransErr ↓",
    "cam_mc": "CamMC ↓",
    "fid": "FID ↓",
    "kid": "KID ↓",
    "fvd": f"FVD ({FVD_PROTOCOL}) ↓",
    "vbench": "VBench ↑",
}
"""Display names of the figures; the arrow shows which direction is better."""

PARTS = {"_visible": "visible", "_invented": "invented", "_of_truth": "of the true view itself"}

SETS = ("fid", "kid", "fvd")
ORDER = (*(name for names in GROUPS.values() for name in names), *SETS)
ANGLE_STEP = 15
"""Width in degrees of a bin of angles."""

ABSENT = "–"


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        generator, dataset: that were measured.
        range: of the paths.
        angle: least absolute angle of the bin in degrees; None for all frames of the paths.
        metric: its name.
        value: mean over the frames of each shot, and then over the shots.
        shots: number of shots in the mean.
    """

    generator: str
    dataset: str
    range: str
    angle: int | None
    metric: str
    value: float
    shots: int


def title(metric: str) -> str:
    """Display name of a figure."""
    for ending, part in PARTS.items():
        if metric.endswith(ending):
            whole = TITLES.get(metric.removesuffix(ending), metric)
            head, comma, unit = whole.partition(",")
            return f"{head} {part}{comma}{unit}" if comma else f"{whole[:-2]} {part}{whole[-2:]}"
    return TITLES.get(metric, metric)


def rows_of(reports: Sequence[Report]) -> list[Row]:
    """All figures of reports: by range, and by range and bin of angles.

    Raises:
        InputError: two reports have the same generator and data set.
    """
    heads = [(report.generator, report.dataset) for report in reports]
    if twice := next((head for head in heads if heads.count(head) > 1), None):
        raise InputError(
            f"There are two files of figures of {twice[0]} on {twice[1]}: name the generators differently."
        )
    return [row for report in reports for row in _rows(report)]


def _rows(report: Report) -> list[Row]:
    found: dict[tuple[str, int | None, str], list[float]] = {}
    for shot in report.results:
        for name, value in shot.means.items():
            if value is not None:
                found.setdefault((shot.range, None, name), []).append(value)
        bins: dict[tuple[int, str], list[float]] = {}
        for frame in shot.frames:
            angle = frame.get("angle")
            for name, value in frame.items():
                if angle is not None and value is not None and name not in ("frame", "angle"):
                    bins.setdefault((bin_of(angle), name), []).append(value)
        for (low, name), values in bins.items():
            found.setdefault((shot.range, low, name), []).append(float(np.mean(values)))
    made = [
        Row(report.generator, report.dataset, range_, low, name, float(np.mean(values)), len(values))
        for (range_, low, name), values in found.items()
    ]
    for range_, figures in report.sets.items():
        shots = sum(range_ in (shot.range, "all") for shot in report.results)
        made += [
            Row(report.generator, report.dataset, range_, None, name, value, shots)
            for name, value in figures.items()
            if value is not None
        ]
    return made


def bin_of(angle: float) -> int:
    """Least absolute angle of the bin that contains an angle; 90 degrees belong to the last bin."""
    return int(min(abs(angle), 90 - 1e-6) // ANGLE_STEP) * ANGLE_STEP


def ranges_in(rows: Sequence[Row]) -> list[str]:
    """The ranges that occur, narrowest first."""
    order = [*(each.name for each in RANGES), OTHER, "all"]
    return sorted({row.range for row in rows}, key=lambda name: order.index(name) if name in order else len(order))


def range_title(name: str) -> str:
    """Display name of a range."""
    return next((each.title for each in RANGES if each.name == name), name)


def markdown(rows: Sequence[Row], published: Sequence[Published] = ()) -> str:
    """A table for each data set, with generators in columns; and one of figures published by others, marked as such."""
    parts = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        own = [row for row in rows if row.dataset == dataset]
        parts.append(_measured(dataset, own))
    if published:
        parts.append(_by_others(published))
    return "\n".join(parts)


def _measured(dataset: str, rows: Sequence[Row]) -> str:
    generators = list(dict.fromkeys(row.generator for row in rows))
    whole = {(row.range, row.metric, row.generator): row.value for row in rows if row.angle is None}
    lines = [f"**{dataset}**, measured", "", *_head("range", "figure", *generators)]
    for range_ in ranges_in(rows):
        for metric in _in_order({row.metric for row in rows if row.range == range_}):
            values = [whole.get((range_, metric, generator)) for generator in generators]
            if any(value is not None for value in values):
                lines.append(_line(range_title(range_), title(metric), *(number(metric, value) for value in values)))
    return "\n".join([*lines, ""])


def by_angle(rows: Sequence[Row], metric: str) -> str:
    """A table of one figure by bins of angles, over all ranges together; generators in columns."""
    generators = list(dict.fromkeys(row.generator for row in rows))
    lines = [f"{title(metric)}, by angle", "", *_head("angle", *generators)]
    for low in sorted({row.angle for row in rows if row.angle is not None and row.metric == metric}):
        cells = [number(metric, mean_at(rows, generator, metric, low)) for generator in generators]
        lines.append(_line(f"{low} to {low + ANGLE_STEP}°", *cells))
    return "\n".join([*lines, ""])


def mean_at(rows: Sequence[Row], generator: str, metric: str, low: int) -> float | None:
    """The mean of a figure over ranges in one bin of angles, each range weighted by its shots."""
    there = [row for row in rows if (row.generator, row.metric, row.angle) == (generator, metric, low)]
    if not there:
        return None
    return float(np.average([row.value for row in there], weights=[row.shots for row in there]))


def _by_others(published: Sequence[Published]) -> str:
    lines = ["**Published by others**, not measured here", ""]
    lines += _head("generator", "data set", "range", "figure", "value", "", "source")
    for one in published:
        value = f"{one.value:g}"
        name = title(one.metric).replace(f" ({FVD_PROTOCOL})", "")  # theirs is as their source says
        lines.append(_line(one.generator, one.dataset, range_title(one.range), name, value,
                           "published", one.source))  # fmt: skip
    return "\n".join([*lines, ""])


def as_csv(rows: Sequence[Row], published: Sequence[Published] = ()) -> str:
    """One line for every figure, measured by us or published by others."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["origin", "generator", "dataset", "range", "angle", "metric", "value", "shots", "source"])
    for row in rows:
        angle = "" if row.angle is None else row.angle
        writer.writerow(["measured", row.generator, row.dataset, row.range, angle, row.metric, repr(row.value),
                         row.shots, ""])  # fmt: skip
    for one in published:
        writer.writerow(["published", one.generator, one.dataset, one.range, "", one.metric, f"{one.value:g}", "",
                         one.source])  # fmt: skip
    return out.getvalue()


def number(metric: str, value: float | None) -> str:
    """A value with its significant digits."""
    if value is None:
        return ABSENT
    if metric == "invented":
        return f"{value:.0%}"
    if metric.startswith(("ssim", "mssim", "lpips", "mlpips", "kid", "trans_err", "cam_mc", "vbench")):
        return f"{value:.3f}"
    return f"{value:.0f}" if metric == "matches" else f"{value:.2f}"


def _in_order(metrics: set[str]) -> list[str]:
    return sorted(metrics, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def _head(*cells: str) -> list[str]:
    return [_line(*cells), _line(*("---" for _ in cells))]


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"
