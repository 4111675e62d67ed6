"""Devices of this machine that workers can run on: its NVIDIA GPUs, by UUID, or its CPU."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from ex4d.errors import InputError

log = logging.getLogger("ex4d.server")

ASK_SECONDS = 20.0
VISIBLE, ORDER, BY_BUS = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "PCI_BUS_ID"
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Device:
    """What one worker runs on.

    Attributes:
        title: name to display, such as "GPU 1, NVIDIA H100 80GB HBM3".
        environment: variables for its worker, so that the worker sees no other device.
        names: torch device names, see `ex4d.pipeline.runtime.Runtime`.
    """

    title: str
    environment: Mapping[str, str] = field(default_factory=dict)
    names: str = "auto"


PROCESSOR = Device("Apple GPU or CPU" if sys.platform == "darwin" else "CPU")
UNKNOWN = Device("GPU or CPU, as torch finds them")
"""Used if the driver cannot list the GPUs."""


class Gpu(NamedTuple):
    """A GPU as the driver lists it."""

    number: str
    uuid: str
    name: str


def devices(workers: int | None) -> tuple[Device, ...]:
    """The devices for the workers, one each.

    Args:
        workers: how many; None for one per GPU, or a single one without a GPU. If there are more GPUs than workers,
            they are divided evenly, and the first workers get one more each if some are left over. The GPUs of one
            worker share the work on a video.

    Raises:
        InputError: more workers than GPUs, or several although the driver cannot list the GPUs. Two workers on one GPU
            would compete for its memory.
    """
    gpus = _gpus()
    if gpus is None and (workers or 1) > 1:
        raise InputError(
            "nvidia-smi does not list the GPUs of this machine, and workers must not share one: use --workers 1, or"
            " repair the driver."
        )
    if gpus is None:
        return (UNKNOWN,)
    if not gpus:
        return _on_the_processor(workers or 1)
    if workers is not None and workers > len(gpus):
        raise InputError(
            f"Each worker needs its own GPU, and there {'is' if len(gpus) == 1 else 'are'} only {len(gpus)}: use"
            f" --workers {len(gpus)}."
        )
    each, over = divmod(len(gpus), workers or len(gpus))
    ends = [number * each + min(number, over) for number in range((workers or len(gpus)) + 1)]
    return tuple(_device(gpus[first:end]) for first, end in pairwise(ends))


def _device(gpus: list[Gpu]) -> Device:
    numbers = " and ".join(filter(None, (", ".join(gpu.number for gpu in gpus[:-1]), gpus[-1].number)))
    return Device(
        f"GPU{'s' if len(gpus) > 1 else ''} {numbers}, {' and '.join(sorted({gpu.name for gpu in gpus}))}",
        {VISIBLE: ",".join(gpu.uuid for gpu in gpus), ORDER: BY_BUS},
        ",".join(f"cuda:{number}" for number in range(len(gpus))) if len(gpus) > 1 else "auto",
    )


def _on_the_processor(workers: int) -> tuple[Device, ...]:
    """CPU devices for workers that share the cores, unless the environment already limits their threads."""
    if workers == 1:
        return (PROCESSOR,)
    share = str(max(1, (os.cpu_count() or 1) // workers))
    threads = {name: share for name in THREADS if name not in os.environ}
    return tuple(Device(f"CPU, worker {number}", threads) for number in range(1, workers + 1))


def _gpus() -> list[Gpu] | None:
    """The GPUs that this process may use, in the driver's order or in that of CUDA_VISIBLE_DEVICES; None if there is
    a driver that cannot list them."""
    listed = _listed()
    visible = os.environ.get(VISIBLE)
    if listed is None or visible is None:
        return listed
    if len({gpu.name for gpu in listed}) > 1 and os.environ.get(ORDER) != BY_BUS:
        log.warning("numbers in %s are taken as those of nvidia-smi, not in CUDA's own order", VISIBLE)
    return _chosen(listed, visible)


def _chosen(listed: list[Gpu], visible: str) -> list[Gpu]:
    """The GPUs that a list of numbers or UUID prefixes names, up to its first mistake, as CUDA reads it."""
    chosen: list[Gpu] = []
    for wanted in (word.strip() for word in visible.split(",")):
        found = [gpu for gpu in listed if gpu.number == wanted or (wanted and gpu.uuid.startswith(wanted))]
        if not found and wanted.startswith("MIG-"):  # a MIG partition, which the driver lists elsewhere
            found = [Gpu(str(len(chosen)), wanted, "part of a GPU")]
        if len(found) != 1:
            break
        chosen += [gpu for gpu in found if gpu not in chosen]
    return chosen


def _listed() -> list[Gpu] | None:
    """All GPUs according to nvidia-smi; an empty list without a driver, None if the tool fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        done = subprocess.run(
            [tool, "--query-gpu=index,uuid,name", "--format=csv,noheader"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=ASK_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("the GPUs cannot be listed (%s): one worker takes what torch finds", error)
        return None
    rows = [[part.strip() for part in line.split(",", 2)] for line in done.stdout.splitlines()]
    return [Gpu(*row) for row in rows if len(row) == 3 and row[1].startswith("GPU-")]
