"""Videos that are written while the next stage runs, so that nothing waits for their encoding."""

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from fractions import Fraction
from functools import partial
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import Cancelled
from ex4d.media.frames import Frames, Stream
from ex4d.media.movie import write_movie
from ex4d.progress import Progress

STAGE = "Writing files"

AT_ONCE = 2
"""Videos that are written at the same time; each of them keeps several cores busy."""

ASKED_EVERY_SECONDS = 0.1
"""How often to check for cancellation while only waiting for videos."""

WAITING = 2
"""Maximum number of frames that wait in the queue of a video that is fed frame by frame."""

MOST_FEEDS = 16
"""Maximum number of videos fed frame by frame; each has its own thread, because they wait for each other's frames."""

Item = TypeVar("Item")


class Feed(Generic[Item]):
    """A video whose frames are added one by one as they are made."""

    def __init__(self, given_up: Event) -> None:
        self._waiting: Queue[Item] = Queue(WAITING)
        self._given_up = given_up
        self.video: Future[None] | None = None

    def add(self, item: Item) -> None:
        """Add a frame, which must not be changed afterwards; waits if writing lags behind.

        Raises:
            InputError: the video could not be written, see `write_movie`.
        """
        while True:
            if self.video is not None and self.video.done():
                self.video.result()
            try:
                return self._waiting.put(item, timeout=ASKED_EVERY_SECONDS)
            except Full:
                continue

    def taken(self, count: int) -> Iterator[Item]:
        """The `count` frames, for the thread that writes them."""
        for _ in range(count):
            yield self._next()

    def _next(self) -> Item:
        while True:
            try:
                return self._waiting.get(timeout=ASKED_EVERY_SECONDS)
            except Empty:
                if self._given_up.is_set():
                    raise Cancelled("The video is not needed any more.") from None


class Writer:
    """Writes videos in its own threads and finishes all of them before its `with` block ends.

        with Writer(progress) as writer:
            writer.write(colour, frames, fps)
            generate(writer.progress)  # raises any error of a video at its next step
            writer.write(result, made, fps)

    If the `with` block is left by an error, unfinished videos are abandoned.

    Args:
        progress: called after each step of the work, then while the remaining videos are written; always from the
            caller's thread. Raises `Cancelled` to stop.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="writing")
        self._feeding = ThreadPoolExecutor(MOST_FEEDS, thread_name_prefix="feeding")
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
            for threads in (self._threads, self._feeding):
                threads.shutdown(cancel_futures=True)

    def _wait(self) -> None:
        count = len(self._videos)
        while left := [video for video in self._videos if not video.done()]:
            self.progress(STAGE, count - len(left), count)
            wait(left, ASKED_EVERY_SECONDS, FIRST_COMPLETED)
        self.progress(STAGE, count, count)

    def progress(self, stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
        """Pass a step on, or raise the error of a video that could not be written.

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
        frames: Frames,
        fps: Fraction,
        *,
        lossless: bool = False,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Start writing a movie, see `write_movie`; its frames must not be changed until the `with` block ends."""
        self.begin(partial(write_movie, path, frames, fps, lossless=lossless, metadata=metadata))

    def begin(self, write: Callable[..., None]) -> None:
        """Start writing a video of any kind with a function that takes a `progress`."""
        self._videos.append(self._threads.submit(write, progress=self._unless_given_up))

    def feed(self, write: Callable[..., None], count: int) -> Feed[Any]:
        """Start writing a video whose frames are added later.

        Args:
            write: takes a `Stream` of everything that is added, and a `progress`.
            count: number of frames to come; without an error, the `with` block does not end before all have been added.
        """
        fed: Feed[Any] = Feed(self._given_up)
        stream = Stream(fed.taken(count), count)
        fed.video = self._feeding.submit(write, stream, progress=self._unless_given_up)
        self._videos.append(fed.video)
        return fed

    def _unless_given_up(self, stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
        if self._given_up.is_set():
            raise Cancelled("The video is not needed any more.")
