"""Videos that are written while the next stage runs: encoding them takes seconds that nobody need wait for."""

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
"""Videos that are written at a time; each keeps several cores busy by itself."""

ASKED_EVERY_SECONDS = 0.1
"""How often it is asked whether to stop, while there is nothing to do but to wait for videos."""

WAITING = 2
"""Frames of a video that is written as it is made which may wait for their turn."""

MOST_FEEDS = 16
"""Videos that may be written as they are made; each has a thread of its own, as they wait for each other's frames."""

Item = TypeVar("Item")


class Feed(Generic[Item]):
    """A video that is written as it is made: its frames are added one after the other."""

    def __init__(self, given_up: Event) -> None:
        self._waiting: Queue[Item] = Queue(WAITING)
        self._given_up = given_up
        self.video: Future[None] | None = None

    def add(self, item: Item) -> None:
        """Add a frame, which must not be changed any more; waits where writing is behind.

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
        frames: Frames,
        fps: Fraction,
        *,
        lossless: bool = False,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Begin to write a movie, see `write_movie`; its frames must not be changed until the `with` ends."""
        self.begin(partial(write_movie, path, frames, fps, lossless=lossless, metadata=metadata))

    def begin(self, write: Callable[..., None]) -> None:
        """Begin to write a video of any kind by a function that takes a `progress`."""
        self._videos.append(self._threads.submit(write, progress=self._unless_given_up))

    def feed(self, write: Callable[..., None], count: int) -> Feed[Any]:
        """Begin to write a video whose frames are added later.

        Args:
            write: takes a `Stream` of all that is added, and a `progress`.
            count: how many frames there will be; the `with` does not end without an error before all have come.
        """
        fed: Feed[Any] = Feed(self._given_up)
        stream = Stream(fed.taken(count), count)
        fed.video = self._feeding.submit(write, stream, progress=self._unless_given_up)
        self._videos.append(fed.video)
        return fed

    def _unless_given_up(self, stage: str, step: int, steps: int, picture: NDArray[np.uint8] | None = None) -> None:
        if self._given_up.is_set():
            raise Cancelled("The video is not needed any more.")
