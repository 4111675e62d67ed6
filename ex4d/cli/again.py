"""`ex4d again`: remake a take from its record."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from ex4d.cli import takes
from ex4d.cli.output import bars, refuse_overwriting, result_folder, results, say
from ex4d.pipeline.take import RESULT, SIDECAR, read_record
from ex4d.storage.names import with_name


def again(
    path: Annotated[
        Path, typer.Argument(metavar="TAKE", help="The take: its folder, its take.json, or the video next to it.")
    ],
    output_dir: Annotated[
        Path | None,
        typer.Option("--output_dir", help="Folder for the new take. Default: a new one next to TAKE."),
    ] = None,
    input_video: Annotated[
        Path | None,
        typer.Option("--input_video", help="New location of the clip, if it has moved; its content must be the same."),
    ] = None,
) -> None:
    """Remake a take from its record.

    With the same version on the same machine, the result is the same, byte for byte. The files that the take was made
    from must be where the record says, and their contents are checked.
    """
    from ex4d.pipeline.again import again as make_again
    from ex4d.pipeline.runtime import Runtime

    folder = takes.find(path)
    out = takes.next_to(folder) if output_dir is None else with_name(output_dir)
    refuse_overwriting([out], input_video, folder)
    with (
        tempfile.TemporaryDirectory(prefix="ex4d-") as links,
        bars() as progress,
        result_folder(out.parent),
        takes.written(out) as new,
    ):
        facts = make_again(folder, new, Path(links), Runtime(), progress, input_video)
    say(*facts["notes"], _compared(folder, out))
    results(out)


def _compared(one: Path, other: Path) -> str:
    """A sentence about whether two takes have the same result."""
    if not (one / RESULT).is_file():
        return f"There is nothing to compare with: {one} has no {RESULT} any more."
    if (one / RESULT).read_bytes() == (other / RESULT).read_bytes():
        return "The result is the same, byte for byte."
    then, now = (read_record(folder / SIDECAR).version for folder in (one, other))
    if then != now:
        return f"The result differs: the take was made with version {then}, and this is {now}."
    return "The result differs: the take was made on another machine, or with other models or packages."
