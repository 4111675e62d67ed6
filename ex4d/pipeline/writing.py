"""Videos that are written while the next stage runs: encoding them takes seconds that nobody need wait for."""

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from fractions import Fraction
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import Cancelled
from ex4d.media.movie import write_movie
from ex4d.progress import Progress

STAGE = "Writing files"

AT_ONCE = 2
"""Videos that are written at a time; each keeps several cores busy by itself."""

ASKED_EVERY_SECONDS = 0.1
"""How often it is asked whether to stop, while there is nothing to do but to wait for videos."""


class Writer:
    """Writes videos in threads of its own, all of them before its `with` ends.

        with Writer(progress) as writer:
            writer.write(colour, frames, fps)
            generate(writer.progress)  # raises at its next step what went wrong with a video
            writer.write(result, made, fps)

    Where the `with` is left by an error, videos that are not finished are given up.

    Args:
        progress: told of each step of the work, and last of videos that are still to be waited for; always by the
            caller's thread. Raises `Cancelled` to stop.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="writing")
        self._given_up = Event()
        self._videos: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._wait()
        finally:
            self._given_up.set()
            self._threads.shutdown(cancel_futures=True)

    def _wait(self) -> None:
        count = len(self._videos)
        while left := [video for video in self._videos if not video.done()]:
            self.progress(STAGE, count - len(left), count)
            wait(left, ASKED_EVERY_SECONDS, FIRST_COMPLETED)
        self.progress(STAGE, count, count)

    def progress(self, stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
        """Pass a step on, unless a video could not be written: that ends the work with its error.

        Raises:
            InputError: see `write_movie`.
            Cancelled: as the caller's progress does.
        """
        for video in self._videos:
            if video.done():
                video.result()
        self._progress(stage, step, steps, picture)

    def write(
        self,
        path: Path,
        frames: NDArray[np.uint8],
        fps: Fraction,
        *,
        lossless: bool = False,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Begin to write a video, see `write_movie`; its frames must not be changed until the `with` ends."""

        def unless_given_up(stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
            if self._given_up.is_set():
                raise Cancelled("The video is not needed any more.")

        self._videos.append(
            self._threads.submit(
                write_movie, path, frames, fps, lossless=lossless, metadata=metadata, progress=unless_given_up
            )
        )
