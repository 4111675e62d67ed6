"""Bundle adjustment and global mapping by pycolmap, in its own process that can be killed at any time."""

import contextlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.extras import Package
from ex4d.progress import Progress
from ex4d.source_camera.tracks import Tracks

PYCOLMAP = Package("pycolmap", "camera")

TIMEOUT_SECONDS = 600.0
"""A solve that takes longer is abandoned."""

ASKED_EVERY_SECONDS = 0.2
"""How often to check for cancellation."""

ITERATIONS = 60

SCRIPT = Path(__file__).with_name("solver_process.py")


@dataclass(frozen=True)
class Solved:
    """The result of the process.

    Attributes:
        camera_to_world: (T,4,4); NaN in frames that could not be solved.
        focal: (T,) pixels.
        distortion: of the lens, see `ex4d.source_camera.distortion`; 0 if it was not solved for.
    """

    camera_to_world: NDArray[np.float64]
    focal: NDArray[np.float64]
    distortion: float = 0.0


def adjusted(
    tracks: Tracks,
    camera_to_world: NDArray[np.float64],
    points: NDArray[np.float64],
    focal: NDArray[np.float64],
    size: tuple[int, int],
    *,
    refine: bool,
    zooms: bool,
    distorts: bool,
    loss: float,
    most: int,
    progress: Progress,
) -> Solved:
    """Cameras, points and lens that fit the sightings best: bundle adjustment with a Cauchy loss (Ceres).

    Args:
        tracks: sightings in pixels of `size`.
        camera_to_world: (T,4,4) initial poses.
        points: (M,3) initial points.
        focal: (T,) pixels.
        size: width and height.
        refine: whether to solve for the focal length too.
        zooms: whether each frame has its own focal length.
        distorts: whether to solve for lens distortion too; not together with `zooms`.
        loss: scale of the loss in pixels: sightings with larger residuals count less and less.
        most: maximum number of sightings to use.
        progress: called while it runs.

    Raises:
        InputError: it fails, or takes too long.
    """
    keep = fewer(tracks, most)
    made = _run(
        {
            "kind": np.array("adjust"),
            "track": tracks.track[keep],
            "frame": tracks.frame[keep],
            "xy": tracks.xy[keep],
            "poses": camera_to_world,
            "points": points,
            "focal": focal,
            "size": np.array(size),
            "refine": np.array(refine),
            "zooms": np.array(zooms),
            "distorts": np.array(distorts),
            "loss": np.array(loss),
            "iterations": np.array(ITERATIONS),
        },
        progress,
    )
    return Solved(made["poses"], made["focal"], float(made["distortion"]))


def mapped(
    pictures: Path,
    count: int,
    masks: Path | None,
    focal: float,
    size: tuple[int, int],
    *,
    refine: bool,
    features: int,
    overlap: int,
    progress: Progress,
) -> Solved:
    """Cameras of the pictures `000000.png` ... in a folder by SIFT and global mapping.

    Args:
        pictures: the folder.
        count: number of pictures.
        masks: folder with `000000.png.png` ..., black where no features are wanted; None wants them everywhere.
        focal: in pixels, the initial value.
        size: width and height.
        refine: whether to solve for the focal length too.
        features: maximum number of features per picture.
        overlap: number of following pictures that each one is matched with, besides those 2, 4, 8... further on.
        progress: called while it runs.

    Raises:
        InputError: it fails, or takes too long.
    """
    made = _run(
        {
            "kind": np.array("map"),
            "pictures": np.array(str(pictures)),
            "masks": np.array("" if masks is None else str(masks)),
            "count": np.array(count),
            "focal": np.array([focal]),
            "size": np.array(size),
            "refine": np.array(refine),
            "features": np.array(features),
            "overlap": np.array(overlap),
        },
        progress,
    )
    return Solved(made["poses"], np.full(count, made["focal"][0]))


def fewer(tracks: Tracks, most: int) -> NDArray[np.bool_]:
    """Which sightings (N,) to use: only tracks of at least 3, and every n-th of those if there are more than `most`."""
    lengths = tracks.lengths()
    keep = lengths[tracks.track] >= 3
    if keep.sum() > most:
        # Every n-th track of each length, so that all frames keep their share.
        order = np.argsort(-lengths, kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        every = int(np.ceil(keep.sum() / most))
        keep &= (rank % every == 0)[tracks.track]
    return keep


def _run(task: dict[str, NDArray], progress: Progress) -> dict[str, NDArray]:
    """Run a task in the process.

    Raises:
        InputError: it fails, or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="ex4d-") as folder:
        asked, answer = Path(folder, "task.npz"), Path(folder, "result.npz")
        np.savez(asked, **task)  # type: ignore[arg-type]
        with Path(folder, "log").open("w+b") as log:
            process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(asked), str(answer)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
            try:
                _wait(process, progress)
            finally:
                process.kill()
                process.wait()
                for pipe in (process.stdin, process.stdout):
                    if pipe is not None:
                        with contextlib.suppress(OSError):
                            pipe.close()
            if process.returncode or not answer.is_file():
                log.seek(0)
                lines = log.read().decode(errors="replace").strip().splitlines()
                raise InputError(f"pycolmap could not solve the camera: {lines[-1][:300] if lines else 'it crashed'}.")
        with np.load(answer, allow_pickle=False) as arrays:
            return dict(arrays)


def _wait(process: "subprocess.Popen[bytes]", progress: Progress) -> None:
    """Pass progress on until the process has ended; the caller kills the process if this raises."""
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(process, lines), daemon=True).start()
    begun, said = time.monotonic(), ("Solving the camera", 0, 1)
    while True:
        try:
            line = lines.get(timeout=ASKED_EVERY_SECONDS)
        except queue.Empty:
            line = b""
        if line is None:
            break
        parts = line.decode(errors="replace").strip().split("|")
        if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
            said = parts[0], int(parts[1]), int(parts[2])
        progress(*said)
        if time.monotonic() - begun > TIMEOUT_SECONDS:
            raise InputError(f"Solving the camera took more than {TIMEOUT_SECONDS / 60:.0f} minutes and was stopped.")
    with contextlib.suppress(subprocess.TimeoutExpired):  # it has reported everything; if it hangs now, it is killed
        process.wait(10)


def _listen(process: "subprocess.Popen[bytes]", lines: "queue.SimpleQueue[bytes | None]") -> None:
    assert process.stdout is not None
    with contextlib.suppress(ValueError, OSError):  # closed by the other thread
        for line in process.stdout:
            lines.put(line)
    lines.put(None)
