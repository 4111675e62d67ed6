"""Work spread over processes, each of which does one item at a time. One that dies costs its item, not the others."""

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
    link: Any  # a `Connection`; Windows has another class for it
    item: int | None = None


def in_processes(work: Callable[[Any], Any], items: Sequence[Any], processes: int) -> Iterator[tuple[int, Any]]:
    """The number of each item and what `work` made of it, as they are done; None where the process died.

    Args:
        work: a function of a module.
        items: what it takes; no more than one a process is under way.
        processes: how many; they end with the process that called.

    Raises:
        InputError: `work` raised an error of ours, or the system refused something; what is under way is given up.
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
    # Not forked: threads of OpenCV, numba and CUDA would not come along.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(work, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _serve(work: Callable[[Any], Any], link: Any) -> None:
    """What a process does: one item after the other."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
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
    """End when the process that started this one has, however that happened."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
