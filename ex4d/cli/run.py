"""`ex4d run`: run one job from a job file, for render farms."""

import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ex4d.cli import takes
from ex4d.cli.output import refuse_overwriting, result_folder, results, say
from ex4d.errors import Cancelled, EX4DError
from ex4d.progress import DECODING, FILLING, LOADING, READING_CLIP, RENDERING, SAMPLING, WRITING_VIDEO
from ex4d.storage.names import with_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL_SHARES = {LOADING: 10.0, SAMPLING: 60.0, DECODING: 3.0}
SHARES = {READING_CLIP: 1.0, RENDERING: 2.0, WRITING_VIDEO: 1.0}
PREVIEW_SHARES = {FILLING: 2.0}
"""Stages that a job is expected to have, and their weights; any other stage counts 1 once it begins. Farms expect a
single percentage."""

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a job that was ended by its farm."""


def run_job(
    path: Annotated[Path, typer.Argument(metavar="JOB", help="Job file from `ex4d generate --job_file`.")],
    output_dir: Annotated[
        Path, typer.Option("--output_dir", help="Folder for the take; an older take there is replaced.")
    ],
) -> None:
    """Make the take of a job file, for example on a render farm.

    Prints progress to standard output as Open Job Description messages (openjd_progress, openjd_status, openjd_fail).
    Exit code 0 means that the take is complete. The input files must be where the job file says, and their contents
    are checked.
    """
    from ex4d.pipeline import take
    from ex4d.pipeline.generate import plan
    from ex4d.pipeline.job_file import located, read_job
    from ex4d.pipeline.open import gather
    from ex4d.pipeline.run import run
    from ex4d.pipeline.runtime import Runtime

    signal.signal(signal.SIGTERM, _leave)
    out = with_name(output_dir)
    try:
        found = read_job(path)
        places = located(found, path)
        refuse_overwriting([out], None, path, *places.values())
        with (
            tempfile.TemporaryDirectory(prefix="ex4d-") as links,
            result_folder(out.parent),
            takes.written(out) as temporary,
        ):
            files = gather(found.job, lambda blob: places[blob.sha256], Path(links), in_place=True)
            more = PREVIEW_SHARES if plan(found.job.generation).spec.is_preview else MODEL_SHARES
            facts = run(found.job, files, temporary, Runtime(), Report({**SHARES, **more}))
            record = take.read_record(temporary / take.SIDECAR)
            take.write_record(temporary / take.SIDECAR, take.with_inputs(record, out, places))
    except Cancelled as error:
        print(f"openjd_fail: {error}", flush=True)
        raise typer.Exit(TERMINATED) from error
    except EX4DError as error:
        print(f"openjd_fail: {error}", flush=True)
        raise
    print("openjd_progress: 100.0", flush=True)
    say(*facts["notes"])
    results(out)


def _leave(*_: Any) -> None:
    """Exit cleanly, so that nothing incomplete is left."""
    raise Cancelled("The job was terminated, and nothing was kept.")


class Report:
    """Reports progress as lines of Open Job Description on standard output.

    Args:
        expected: stages that the job is expected to have, and their weights.
    """

    def __init__(self, expected: Mapping[str, float]) -> None:
        self._expected = expected
        self._done: dict[str, float] = {}
        self._told = 0.0

    def __call__(self, stage: str, step: int, steps: int, picture: "NDArray[np.uint8] | None" = None) -> None:
        """Report the progress of the whole job; it never goes back, although its stages are not known in advance."""
        self._done[stage] = step / steps if steps else 0.0
        share = {**dict.fromkeys(self._done, 1.0), **self._expected}
        part = sum(share[name] * done for name, done in self._done.items()) / sum(share.values())
        if 100 * part - self._told >= 0.1:
            self._told = 100 * part
            print(f"openjd_progress: {self._told:.1f}", flush=True)
        print(f"openjd_status: {stage} {step}/{steps}", flush=True)
