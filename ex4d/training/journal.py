"""The log of a training: a line for each step in `losses.jsonl`, the same for TensorBoard, and sentences."""

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ex4d.extras import Package
from ex4d.storage.atomic import replacing

FILE = "losses.jsonl"
LINE_EVERY = 10
"""Steps between two sentences."""


@dataclass(frozen=True)
class Step:
    """Figures of one step.

    Attributes:
        step: its number, counted from 1.
        loss: mean over its samples.
        rate: the learning rate.
        norm: of the gradient before clipping.
        seconds: per sample, on all GPUs together.
        gigabytes: peak of torch's memory on the GPU so far; 0 on the CPU.
        validation: mean loss on the held-back clips; None if not measured in this step.
    """

    step: int
    loss: float
    rate: float
    norm: float
    seconds: float
    gigabytes: float = 0.0
    validation: float | None = None


class Journal:
    """Records the steps of a training.

    Args:
        out: folder of the training.
        done: number of steps done before; records of later steps come from a killed process and are replaced.
        steps: of the whole training.
        say: called with a sentence every few steps.
    """

    def __init__(self, out: Path, done: int, steps: int, say: Callable[[str], None]) -> None:
        self._path, self._steps, self._say = out / FILE, steps, say
        self._began, self._done = time.monotonic(), done
        _cut(self._path, done)
        self._board = _tensorboard(out / "tensorboard", done, say)

    def note(self, step: Step) -> None:
        """Record a step."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({k: v for k, v in asdict(step).items() if v is not None}) + "\n")
        if self._board:
            for name, value in asdict(step).items():
                if name != "step" and value is not None:
                    self._board.add_scalar(name, value, step.step)
        if step.step % LINE_EVERY == 0 or step.validation is not None or step.step in (1, self._steps):
            self._say(self._sentence(step))

    def close(self) -> None:
        """Write everything that is still buffered."""
        if self._board:
            self._board.close()

    def _sentence(self, step: Step) -> str:
        each = (time.monotonic() - self._began) / max(step.step - self._done, 1)
        left = timedelta(seconds=round(each * (self._steps - step.step)))
        validation = "" if step.validation is None else f", held-back clips {step.validation:.4f}"
        memory = f", {step.gigabytes:.1f} GB" if step.gigabytes else ""
        return (
            f"Step {step.step} of {self._steps}: loss {step.loss:.4f}{validation}, rate {step.rate:.2e}, gradient"
            f" {step.norm:.2f}, {step.seconds:.2f} s a sample{memory}, {left} left."
        )


def read(out: Path) -> list[dict[str, Any]]:
    """The lines of a training, by step; without a last line that was cut off when the process was killed."""
    path, found = out / FILE, []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def _cut(path: Path, done: int) -> None:
    """Keep only the lines of the first `done` steps."""
    lines = [line for line in read(path.parent) if line["step"] <= done]
    with replacing(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _tensorboard(folder: Path, done: int, say: Callable[[str], None]) -> Any:
    package = Package("tensorboard", "train")
    if not package.is_there:
        say(f"Nothing is written for TensorBoard, which is not installed ({package.install}); {FILE} has it all.")
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of packages that it imports
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter(str(folder), purge_step=done + 1)
