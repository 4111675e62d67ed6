"""The sample through everything but Blender: a backend process, its client, a take, a contact sheet."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ex4d.depth.files import read_depth
from ex4d.errors import InputError, ServerError
from ex4d.geometry import camera_path, presets
from ex4d.geometry.mesh import DWMesh
from ex4d.jobs.client import Client, JobUpdate
from ex4d.media.clip import read_clip
from ex4d.media.contact_sheet import contact_sheet, write_picture
from ex4d.media.movie import read_movie
from ex4d.pipeline import requests, take
from ex4d.pipeline.hashing import blob_of
from ex4d.progress import Progress

SAMPLES = (Path(__file__).resolve().parent.parent / "sample", Path("sample"))
"""Where the sample of a source checkout may be: beside this package, or in the working directory."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo left behind, and what it has to say."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def run_sample(out: Path, progress: Progress) -> DemoResult:
    """Generate an orbit of 60 degrees around the sample through a backend process of its own.

    Raises:
        InputError: the sample is not there.
        ServerError: the backend does not start, or the job fails.
    """
    sample = next((folder for folder in SAMPLES if (folder / "clip.depth.npz").is_file()), None)
    if sample is None:
        raise InputError(
            "There is no sample here: run the demo in the top folder of a checkout of the source repository."
        )
    clip_file, depth_file = sample / "clip.mp4", sample / "clip.depth.npz"
    clip = read_clip(clip_file, progress=progress)
    depth = read_depth(depth_file, clip, progress=progress)
    height, width = clip.frames.shape[1:3]
    radius = presets.pivot_distance(DWMesh.from_depth(depth).depth[0])
    path = presets.preset("60", radius, depth.intrinsics, width, height, len(clip.frames))
    with tempfile.TemporaryDirectory(prefix="ex4d-demo-") as folder:
        path_file = Path(folder) / take.CAMERA
        camera_path.save(path_file, path)
        clip_blob, depth_blob, path_blob = (blob_of(file) for file in (clip_file, depth_file, path_file))
        job = requests.Generate(requests.Source((clip_blob,), (depth_blob,)), path_blob, generator="preview")
        files = {
            clip_blob.sha256: clip_file,
            depth_blob.sha256: depth_file,
            path_blob.sha256: path_file,
        }
        with _server(Path(folder) / "server") as address:
            client = Client(address, Path(folder) / "downloads")
            try:
                update = client.wait(client.submit(job, files), lambda u: _show(u, progress), timeout=600)
            finally:
                client.close()
        if update.state != "done":
            raise ServerError(f"The demo's job ended as {update.state}: {update.message}")
        for name, file in update.files.items():
            shutil.copyfile(file, out / name)
    result, colour, mask = (read_movie(out / name).frames for name in (take.RESULT, take.COLOUR, take.MASK))
    angles = update.facts["angle"]
    columns = [(t, f"frame {t}, {angles[t]:.0f} deg") for t in (0, 16, 32, 48)]
    label = "Result (preview)" if update.facts["is_preview"] else "Result"
    sheet = contact_sheet(clip.frames, colour, mask[..., 0], result, columns, label)
    write_picture(out / "contact_sheet.png", sheet)
    return DemoResult((out / take.RESULT, out / "contact_sheet.png"), tuple(update.facts["notes"]))


def _show(update: JobUpdate, progress: Progress) -> None:
    if update.state == "running" and update.steps:
        progress(update.stage, update.step, update.steps)


@contextmanager
def _server(state: Path) -> Iterator[str]:
    """A backend process on a free port; yields its address and ends it afterwards."""
    command = [sys.executable, "-m", "ex4d_server", "--address", "tcp://127.0.0.1:0", "--state", str(state)]
    log = state.with_suffix(".log")
    with log.open("w") as said:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if "listening on " not in line:
            raise ServerError(f"The backend did not start: {log.read_text().strip()[-300:] or 'it said nothing.'}")
        yield line.rsplit(" ", 1)[1].strip()
    finally:
        server.terminate()
        server.wait(timeout=20)
