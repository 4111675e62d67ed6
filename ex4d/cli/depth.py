"""`ex4d depth`: the depth of a clip, and a report on it."""

from pathlib import Path
from typing import Annotated

import typer

from ex4d.cli.options import DepthFile, InputVideo, OutputDir, estimator_names, source_files, with_settings
from ex4d.cli.output import bars, refuse_overwriting, result_folder, results, say
from ex4d.pipeline.settings import SourceSettings
from ex4d.storage.names import DEPTH_VIEWS, clip_name


@with_settings(choices={"estimator": estimator_names()}, source=SourceSettings)
def depth(
    *,
    input_video: InputVideo = None,
    output_dir: OutputDir = Path("out"),
    depth: DepthFile = None,
    source: SourceSettings,
    again: Annotated[bool, typer.Option("--again", help="Estimate the depth again, even if it is cached.")] = False,
) -> None:
    """Read or estimate the depth of a clip, and report on it.

    Writes a depth file, a video of clip, depth and normals side by side, and the report as JSON.
    """
    from ex4d.depth.report import report
    from ex4d.depth.views import write_side_by_side
    from ex4d.pipeline.open import open_shot

    files = source_files(input_video, depth, None)
    written = [
        output_dir / f"{clip_name(files.clip)}{end}" for end in (".depth.npz", f"{DEPTH_VIEWS}.mp4", "_depth.json")
    ]
    refuse_overwriting(written, input_video, depth)
    with bars() as progress, result_folder(output_dir):
        shot = open_shot(files, source, look_beside=True, again=again, progress=progress)
        measured = report(shot.clip, shot.depth, progress)
        shot.estimate.save(written[0])
        write_side_by_side(written[1], shot.clip, shot.depth, progress)
        measured.save(written[2])
    said = measured.text()
    unit = () if shot.estimate.scale_note in said else (shot.estimate.scale_note,)
    say(
        *shot.clip.notes, *shot.choice_notes, said, *unit, f"Licence of the depth: {shot.estimate.licence.rstrip('.')}."
    )
    results(*written)
