"""Tables and plots: what is in which row and column, for known figures."""

import csv
import io

import pytest

from ex4d.errors import InputError
from ex4d.metrics import plots, table
from ex4d.metrics.measure import Measured
from ex4d.metrics.published import published
from ex4d.metrics.report import Report


def measured(name, range_, *psnr_at):
    """A shot with a PSNR at each angle."""
    frames = tuple({"frame": t, "angle": angle, "psnr": value} for t, (angle, value) in enumerate(psnr_at))
    mean = sum(value for _, value in psnr_at) / len(psnr_at)
    return Measured(name, range_, frames, {"psnr": mean, "rot_err": None})


@pytest.fixture
def rows():
    ours = Report(
        "ours",
        "scenes",
        (
            measured("a", "small", (0, 40.0), (-20, 30.0), (29, 20.0)),
            measured("b", "small", (5, 20.0)),
            measured("c", "extreme", (20, 10.0), (90, 8.0)),
        ),
        {"all": {"fid": 12.5}, "small": {"fid": 9.0}},
    )
    theirs = Report("theirs", "scenes", (measured("a", "small", (0, 10.0)),))
    return table.rows_of([ours, theirs])


def test_generators_stand_in_columns_and_ranges_in_rows(rows):
    lines = table.markdown(rows).splitlines()
    assert lines[0] == "**scenes**, measured"
    assert lines[2] == "| range | figure | ours | theirs |"
    assert lines[4:] == [
        "| small (0 to 30°) | PSNR, dB ↑ | 25.00 | 10.00 |",  # mean of 30 and 20, because each shot counts once
        "| small (0 to 30°) | FID ↓ | 9.00 | – |",
        "| extreme (0 to 90°) | PSNR, dB ↑ | 9.00 | – |",
        "| all | FID ↓ | 12.50 | – |",
    ]


def test_angles_of_both_sides_are_one_bin_and_ninety_degrees_belong_to_the_last(rows):
    lines = table.by_angle(rows, "psnr").splitlines()
    assert lines[0] == "PSNR, dB ↑, by angle"
    assert lines[4:] == [
        "| 0 to 15° | 30.00 | 10.00 |",  # 40 and 20
        "| 15 to 30° | 17.50 | – |",  # shot a: (30 + 20) / 2; shot c: 10
        "| 75 to 90° | 8.00 | – |",
    ]


def test_every_figure_is_a_line_of_csv_and_what_others_published_is_marked(rows):
    read = list(csv.DictReader(io.StringIO(table.as_csv(rows, published()))))
    assert {row["origin"] for row in read} == {"measured", "published"}
    (ours,) = [
        r for r in read if (r["generator"], r["range"], r["angle"], r["metric"]) == ("ours", "small", "", "psnr")
    ]
    assert (float(ours["value"]), ours["shots"]) == (25.0, "2")
    theirs = [row for row in read if row["origin"] == "published"]
    assert len(theirs) == len(published()) > 40
    assert all(row["source"] for row in theirs)
    (fid,) = [r for r in theirs if (r["generator"], r["range"], r["metric"]) == ("EX-4D", "small", "fid")]
    assert fid["value"] == "44.19"


def test_the_variant_of_our_fvd_is_not_said_of_what_others_published():
    fvd = [line for line in table.markdown([], published()).splitlines() if "FVD" in line]
    assert len(fvd) == 4
    assert all("| FVD ↓ |" in line for line in fvd)
    assert table.title("fvd") == "FVD (I3D-400 torchscript, StyleGAN-V protocol) ↓"


def test_a_part_of_a_figure_is_named_with_it():
    assert table.title("psnr_visible") == "PSNR visible, dB ↑"
    assert table.title("ssim_invented") == "SSIM invented ↑"
    assert table.title("rot_err_of_truth") == "RotErr of the true view itself, ° ↓"


def test_a_plot_has_a_line_for_each_generator(rows, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra evaluate")
    (file,) = plots.plot(rows, tmp_path / "plots")
    assert file.name == "psnr.png"
    assert file.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="nothing to plot by angle: no shot was measured with its camera"):
        plots.plot([row for row in rows if row.angle is None], tmp_path / "none")


def test_two_files_of_one_generator_are_refused():
    one = Report("ours", "scenes", (measured("a", "small", (0, 1.0)),))
    with pytest.raises(InputError, match="two files of figures of ours on scenes: name the generators differently"):
        table.rows_of([one, one])
