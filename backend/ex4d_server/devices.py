"""What this machine has for workers: its NVIDIA GPUs, by their UUIDs, or its processor."""

import logging
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field

from ex4d.errors import InputError

log = logging.getLogger("ex4d.server")

ASK_SECONDS = 20.0
VISIBLE = "CUDA_VISIBLE_DEVICES"
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Device:
    """What one worker runs on.

    Attributes:
        title: for people, such as "GPU 1, NVIDIA H100 80GB HBM3".
        environment: variables that its worker gets, so that it sees nothing else.
    """

    title: str
    environment: Mapping[str, str] = field(default_factory=dict)


PROCESSOR = Device("CPU")


def devices(workers: int | None) -> tuple[Device, ...]:
    """What the workers run on, one each.

    Args:
        workers: how many; None takes one for each GPU, or one where there is none.

    Raises:
        InputError: more than there are GPUs. Two on one would take each other's memory.
    """
    gpus = _gpus()
    if not gpus:
        return _on_the_processor(workers or 1)
    if workers is not None and workers > len(gpus):
        count = "1 GPU" if len(gpus) == 1 else f"{len(gpus)} GPUs"
        raise InputError(
            f"{workers} workers are too many for {count}, as each takes one for itself: choose {len(gpus)} or fewer."
        )
    return gpus[:workers]


def _on_the_processor(workers: int) -> tuple[Device, ...]:
    """Several workers share the cores, where nobody has said how many threads they may have."""
    if workers == 1:
        return (PROCESSOR,)
    share = str(max(1, (os.cpu_count() or 1) // workers))
    threads = {name: share for name in THREADS if name not in os.environ}
    return tuple(Device(f"CPU, worker {number}", threads) for number in range(1, workers + 1))


def _gpus() -> tuple[Device, ...]:
    """The GPUs that this process may use, as the driver lists them, or in the order that CUDA_VISIBLE_DEVICES names."""
    listed = _listed()
    if (visible := os.environ.get(VISIBLE)) is not None:
        listed = _chosen(listed, visible)
    return tuple(
        Device(f"GPU {number}, {name}", {VISIBLE: uuid, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
        for number, uuid, name in listed
    )


def _chosen(listed: list[tuple[str, str, str]], visible: str) -> list[tuple[str, str, str]]:
    """Those that a list of numbers or beginnings of UUIDs names, up to its first mistake, as CUDA reads it."""
    chosen: list[tuple[str, str, str]] = []
    for wanted in (word.strip() for word in visible.split(",")):
        found = [gpu for gpu in listed if gpu[0] == wanted or (wanted and gpu[1].startswith(wanted))]
        if not found and wanted.startswith("MIG-"):  # a part of a GPU, which the driver lists elsewhere
            found = [(str(len(chosen)), wanted, "part of a GPU")]
        if len(found) != 1:
            break
        chosen += found
    return chosen


def _listed() -> list[tuple[str, str, str]]:
    """Number, UUID and name of each GPU, from the driver's own tool; none where there is no driver."""
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
        log.warning("the GPUs cannot be listed (%s): one worker takes what it finds", error)
        return []
    rows = [[part.strip() for part in line.split(",", 2)] for line in done.stdout.splitlines()]
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3 and row[1].startswith("GPU-")]
