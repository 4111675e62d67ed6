"""`ex4d demo`: takes the sample through everything but Blender: server process, client, take, contact sheet."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ex4d.cli.options import OutputDir
from ex4d.cli.output import bars, result_folder, results, say
from ex4d.errors import InputError, ServerError
from ex4d.progress import Progress

if TYPE_CHECKING:
    from ex4d.jobs.client import JobUpdate

SAMPLES = (Path(__file__).resolve().parents[2] / "sample", Path("sample"))
"""Where the sample of a source checkout may be: next to this package, or in the current folder."""

SHEET = "contact_sheet.png"


def demo(output_dir: OutputDir = Path("out/demo")) -> None:
    """Run the sample through a server process.

    Writes the files of a take, and a contact sheet.
    """
    from ex4d.pipeline.take import RESULT

    with result_folder(output_dir), bars() as progress:
        notes = run_sample(output_dir, progress)
    say(*notes)
    results(output_dir / RESULT, output_dir / SHEET)


def run_sample(out: Path, progress: Progress) -> tuple[str, ...]:
    """Generate a 60-degree orbit around the sample as a preview, through a server process started for it.

    Args:
        out: folder for the take and the contact sheet.
        progress: called after each step.

    Returns:
        Sentences for the user.

    Raises:
        InputError: the sample is not there.
        ServerError: the server does not start, or the job fails.
    """
    from ex4d.generate.registry import generators
    from ex4d.jobs.client import Client
    from ex4d.media.clip import read_clip
    from ex4d.media.movie import read_movie
    from ex4d.pipeline import take
    from ex4d.pipeline.named import NamedFiles
    from ex4d.pipeline.open import SourceFiles
    from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings
    from ex4d.render.contact_sheet import contact_sheet, heading, write_picture

    sample = next((folder for folder in SAMPLES if (folder / "clip.depth.npz").is_file()), None)
    if sample is None:
        raise InputError(
            "There is no sample here: run the demo in the top folder of a checkout of the source repository."
        )
    previews = [name for name, spec in generators().items() if spec.is_preview]
    if not previews:
        raise InputError("No preview generator is installed: reinstall ex4d.")
    named = NamedFiles(progress)
    job = named.generate(
        SourceFiles(sample / "clip.mp4"),
        None,
        SourceSettings(),
        PathSettings(cam="60"),
        RenderSettings(),
        GenerateSettings(generator=previews[-1]),
    )
    with tempfile.TemporaryDirectory(prefix="ex4d-demo-") as folder, _server(Path(folder) / "server") as address:
        client = Client(address, Path(folder) / "downloads")
        try:
            update = client.wait(client.submit(job, named.places), lambda u: _show(u, progress), timeout=600)
        finally:
            client.close()
        if update.state != "done":
            raise ServerError(f"The demo's job ended as {update.state}: {update.message}")
        for name, file in update.files.items():
            shutil.copyfile(file, out / name)
    clip = read_clip(sample / "clip.mp4", progress=progress)
    result, colour, mask = (read_movie(out / name).frames for name in (take.RESULT, take.COLOUR, take.MASK))
    angles = update.facts["angle"]
    columns = [(t, heading(t, angles[t])) for t in (0, 16, 32, 48)]
    write_picture(out / SHEET, contact_sheet(clip.frames, colour, mask[..., 0], result, columns, "Result (preview)"))
    return tuple(update.facts["notes"])


def _show(update: "JobUpdate", progress: Progress) -> None:
    if update.state == "running" and update.steps:
        progress(update.stage, update.step, update.steps)


@contextmanager
def _server(state: Path) -> Iterator[str]:
    """Run a server process on a free port; yields its address and ends it afterwards."""
    command = [sys.executable, "-m", "ex4d_server", "--address", "tcp://127.0.0.1:0", "--state", str(state)]
    log = state.with_suffix(".log")
    with log.open("w") as said:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if "listening on " not in line:
            raise ServerError(f"The server did not start: {log.read_text().strip()[-300:] or 'it said nothing.'}")
        yield line.rsplit(" ", 1)[1].strip()
    finally:
        server.terminate()
        server.wait(timeout=20)
