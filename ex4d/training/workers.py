"""Work spread over processes, each of which does one item at a time. A process that dies loses only its item."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from ex4d.errors import EX4DError, InputError


@dataclass
class _Worker:
    process: BaseProcess
    link: Any  # a `Connection`; Windows uses another class
    item: int | None = None


def in_processes(work: Callable[[Any], Any], items: Sequence[Any], processes: int) -> Iterator[tuple[int, Any]]:
    """The number of each item and the result of `work`, in the order of completion; None if the process died.

    Args:
        work: a function at the top level of a module.
        items: arguments for it; each process has at most one at a time.
        processes: number of processes; they end together with the calling process.

    Raises:
        InputError: `work` raised one of our errors, or the system refused something; items in progress are abandoned.
    """
    todo = list(range(len(items)))[::-1]
    workers: list[_Worker] = []
    try:
        while todo or any(worker.item is not None for worker in workers):
            while len(workers) < processes and len(todo) > sum(worker.item is None for worker in workers):
                workers.append(_started(work))
            for worker in workers:
                if worker.item is None and todo:
                    worker.item = todo.pop()
                    worker.link.send(items[worker.item])
            busy: dict[Any, _Worker] = {worker.link: worker for worker in workers if worker.item is not None}
            for link in wait(list(busy)):
                worker = busy[link]
                number, worker.item = worker.item, None
                assert number is not None
                try:
                    result, failed = worker.link.recv()
                except (EOFError, OSError):
                    workers.remove(worker)
                    worker.process.join()
                    yield number, None
                    continue
                if failed:
                    raise InputError(failed)
                yield number, result
    finally:
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.join()
            worker.link.close()


def _started(work: Callable[[Any], Any]) -> _Worker:
    # Not forked, because threads of OpenCV, numba and CUDA would not survive it.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(work: Callable[[Any], Any], link: Any) -> None:
    """The loop of a process: one item after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C also reaches the parent, which ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            item = link.recv()
        except EOFError:
            return
        try:
            link.send((work(item), ""))
        except EX4DError as error:
            link.send((None, str(error)))
        except OSError as error:
            link.send((None, f"{error.filename or 'A file'} could not be used ({error.strerror or error})."))


def _end_with_parent() -> None:
    """End when the parent process has ended, for whatever reason."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
