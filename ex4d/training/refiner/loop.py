"""Training the edge refiner: a loss, the steps, and a state to resume from."""

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from ex4d.depth.refinement import AROUND, REACH, RESIDUAL
from ex4d.errors import InputError
from ex4d.networks.edge_refiner import EdgeRefiner
from ex4d.progress import TRAINING, Progress, silent
from ex4d.storage.atomic import replacing
from ex4d.training.refiner.depth_errors import made_wrong
from ex4d.training.refiner.pictures import pictures, sampled
from ex4d.training.refiner.random_numbers import RandomNumbers
from ex4d.training.settings import RefinerPlan
from ex4d.weights.headers import header

_DRAWN, _USES = 4, 3
"""Number of batches drawn at a time, and how often each is used: flipped, channels swapped, with new depth errors."""

_WARM_UP, _CLIP = 300, 1.0
_BAD = 0.15
"""Error, relative to the difference of the surrounding disparities, above which the doubt should be set."""

WEIGHTS = "edge_refiner.safetensors"
"""Name of the result in the training's folder."""

STATE = "state.safetensors"
"""Name of what a later call continues from."""

_HELD = 10_000_000
"""Seed of the held-out pictures, separate from that of the training."""


@dataclass(frozen=True)
class Figures:
    """Mean errors near edges on held-out pictures, relative to the difference of the surrounding disparities.

    Attributes:
        before, after: error of the depth, and of the refined depth.
        bad_before, bad_after: part of the pixels whose error is above 0.15.
    """

    before: float
    after: float
    bad_before: float
    bad_after: float


def train(
    folder: Path,
    plan: RefinerPlan,
    seconds: float,
    device: str,
    say: Callable[[str], None],
    progress: Progress = silent,
    begin: Mapping[str, Tensor] | None = None,
) -> bool:
    """Train for some time, from where an earlier call stopped; return True once all steps are done.

    Args:
        folder: holds the state, and the result: the mean of the latest weights, in 16 bits.
        plan: as in the earlier calls.
        seconds: time after which the state is written and this returns.
        device: "cuda" or "cpu"; on a GPU, a step is captured as a CUDA graph.
        say: called with the figures now and then.
        progress: called after every hundred steps.
        begin: initial weights from `read_weights`, used if the folder has no state.

    Raises:
        InputError: the state in the folder is damaged or of another plan.
    """
    if device == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    learning = _Learning(plan, device)
    step = learning.load(folder / STATE)
    if begin is not None and not step:
        learning.begin(begin)
    held = [_batch(RandomNumbers(_HELD + number, device), plan) for number in range(6)]
    began, stated = time.monotonic(), time.monotonic()
    for batch in _batches(plan, step, device):
        if step == plan.steps:
            break
        learning.step(batch, step)
        step += 1
        if step % 100 == 0:
            progress(TRAINING, step, plan.steps)
        if time.monotonic() - stated > 60 or step == plan.steps:
            stated = time.monotonic()
            say(f"Step {step} of {plan.steps}: {_told(learning.figures(held))}")
            learning.save(folder / STATE, step)
        if time.monotonic() - began > seconds:
            break
    learning.save(folder / STATE, step)
    with replacing(folder / WEIGHTS) as place:
        save_file({name: value.half().contiguous() for name, value in learning.mean.state_dict().items()}, place)
    say(f"Step {step} of {plan.steps}: {_told(learning.figures(held))}")
    return step == plan.steps


def read_weights(file: Path) -> dict[str, Tensor]:
    """The weights that an earlier training left, in float32.

    Raises:
        InputError: they are missing, damaged, or of another network.
    """
    header(file, "file of weights", f"give {WEIGHTS} of a training.")
    try:
        weights = {name: value.float() for name, value in load_file(file).items()}
        with torch.random.fork_rng([]):
            EdgeRefiner().load_state_dict(weights)
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{file} holds no weights of this network: give {WEIGHTS} of a training.") from error
    return weights


def prepared(picture: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor]:
    """The network's input (B,5,H,W), and the difference of the disparities around each pixel (B,1,H,W)."""
    side = 2 * AROUND + 1
    high = functional.max_pool2d(disparity, side, 1, AROUND)
    low = -functional.max_pool2d(-disparity, side, 1, AROUND)
    unit = high - low + 0.01 * high
    channels = [picture - 0.5, (disparity - low) / unit - 0.5, torch.log((high - low) / high + 0.003) / 3 + 1]
    return torch.cat(channels, 1), unit


def refined(network: EdgeRefiner, picture: Tensor, disparity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Disparity (B,1,H,W) sampled at the network's offsets, its doubt as logits, and the differences from `prepared`.

    Here it is interpolated between pixels, so that there is a gradient; in use, the nearest pixel is taken.
    """
    inputs, unit = prepared(picture, disparity)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=inputs.is_cuda, cache_enabled=False):
        out = network(inputs.contiguous(memory_format=torch.channels_last) if inputs.is_cuda else inputs)
    out = out.float()
    taken = sampled(disparity, REACH * torch.tanh(out[:, :2])) + RESIDUAL * torch.tanh(out[:, 2:3]) * unit
    return taken, out[:, 3:], unit


@dataclass(frozen=True)
class _Batch:
    picture: Tensor
    true: Tensor
    made: Tensor

    def all(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.picture, self.true, self.made


def _batch(numbers: RandomNumbers, plan: RefinerPlan) -> _Batch:
    with torch.no_grad():
        picture, true = pictures(numbers, plan.batch, plan.size)
        made, wanted = made_wrong(numbers, true)
        return _Batch(picture, wanted, made)


def _batches(plan: RefinerPlan, done: int, device: str) -> Iterator[_Batch]:
    """The batches from step `done` on, whatever an earlier call has done."""
    together = _DRAWN * _USES
    for turn in range(done // together, plan.steps // together + 2):
        seed = plan.seed * 1_000_003 + turn
        numbers, host = RandomNumbers(seed, device), random.Random(seed)
        with torch.no_grad():
            drawn, true = pictures(numbers, _DRAWN * plan.batch, plan.size)
        uses = [number for _ in range(_USES) for number in host.sample(range(_DRAWN), _DRAWN)]
        for place, number in enumerate(uses):
            flips, sides = [axis for axis in (2, 3) if host.random() < 0.5], host.random() < 0.5
            order = host.sample(range(3), 3)
            if turn * together + place < done:
                continue
            some = slice(number * plan.batch, (number + 1) * plan.batch)
            pair = [values[some].flip(flips) for values in (drawn[:, order], true)]
            picture, wanted = [values.transpose(2, 3).contiguous() if sides else values for values in pair]
            with torch.no_grad():
                made, wanted = made_wrong(RandomNumbers(seed * together + place, device), wanted)
            yield _Batch(picture, wanted, made)


def _near_edges(true: Tensor) -> Tensor:
    high, low = functional.max_pool2d(true, 15, 1, 7), -functional.max_pool2d(-true, 15, 1, 7)
    return ((high - low) / high > 0.02).float()


def _loss(network: EdgeRefiner, batch: _Batch) -> Tensor:
    near = _near_edges(batch.true)
    taken, doubt, unit = refined(network, batch.picture, batch.made)
    error = ((taken - batch.true) / unit).abs()
    weight = near + 0.02
    # The second part counts all errors nearly alike, because an edge has to be right or left, not half of each.
    distance = ((error + 0.5 * error / (error + 0.05)) * weight).sum() / weight.sum()
    bad = (error.detach() > _BAD).float()
    doubts = functional.binary_cross_entropy_with_logits(doubt, bad, reduction="none")
    return distance + 0.1 * (doubts * weight).sum() / weight.sum()


def _told(figures: Figures) -> str:
    return (
        f"error near edges {figures.before:.4f} -> {figures.after:.4f}, off by more than {_BAD:.0%} in"
        f" {figures.bad_before:.1%} -> {figures.bad_after:.1%} of the pixels there."
    )


class _Learning:
    """The network, the running mean of its weights, the optimiser, and on a GPU the graph of a step."""

    def __init__(self, plan: RefinerPlan, device: str) -> None:
        self._plan, self._device = plan, device
        with torch.random.fork_rng([]):  # drawn on the CPU, so that the initial weights are the same on every device
            torch.manual_seed(plan.seed)
            self.network = EdgeRefiner().to(device)
            self.mean = EdgeRefiner().to(device).requires_grad_(False)
        self.mean.load_state_dict(self.network.state_dict())
        on_gpu = device == "cuda"
        self._rate = torch.zeros((), device=device)
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=self._rate, weight_decay=1e-3, capturable=on_gpu, fused=on_gpu or None
        )
        for weight in self.network.parameters():
            self._optimiser.state[weight] = {
                "step": torch.zeros((), device=device),
                "exp_avg": torch.zeros_like(weight),
                "exp_avg_sq": torch.zeros_like(weight),
            }
        self._graph: torch.cuda.CUDAGraph | None = None
        self._given: _Batch | None = None

    def step(self, batch: _Batch, number: int) -> None:
        """Train one step on a batch."""
        warm = min(1.0, (number + 1) / _WARM_UP)
        self._rate.fill_(self._plan.rate * warm * (0.5 + 0.5 * math.cos(math.pi * number / self._plan.steps)) + 1e-6)
        if self._device == "cuda":
            self._replay(batch)
        else:
            self._learn(batch)
        kept = min(0.9995, (1 + number) / (10 + number))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.mean.parameters()), list(self.network.parameters()), 1 - kept)

    def figures(self, held: list[_Batch]) -> Figures:
        """Figures of the mean weights on held-out batches."""
        sums = torch.zeros(4, device=self._device)
        with torch.no_grad():
            for batch in held:
                near = _near_edges(batch.true)
                taken, _, unit = refined(self.mean, batch.picture, batch.made)
                errors = [((made - batch.true) / unit).abs() for made in (batch.made, taken)]
                parts = [*errors, *((error > _BAD).float() for error in errors)]
                sums += torch.stack([(part * near).sum() / near.sum() for part in parts]) / len(held)
        before, after, bad_before, bad_after = sums.tolist()
        return Figures(before, after, bad_before, bad_after)

    def _learn(self, batch: _Batch) -> None:
        self._optimiser.zero_grad(set_to_none=False)
        _loss(self.network, batch).backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        for weight in self.network.parameters():
            if weight.grad is not None:
                weight.grad.nan_to_num_(0, 0, 0)
        self._optimiser.step()

    def _replay(self, batch: _Batch) -> None:
        if self._graph is None or self._given is None:
            self._graph, self._given = self._captured(batch)
        for given, new in zip(self._given.all(), batch.all(), strict=True):
            given.copy_(new)
        self._graph.replay()

    def _captured(self, batch: _Batch) -> tuple["torch.cuda.CUDAGraph", _Batch]:
        """The graph of a step, and its input batch; everything that the warm-up steps change is restored."""
        before = [value.clone() for value in self._values().values()]
        rate = self._rate.clone()
        given = _Batch(*(value.clone() for value in batch.all()))
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self._learn(given)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._learn(given)
        with torch.no_grad():
            self._rate.copy_(rate)
            for value, old in zip(self._values().values(), before, strict=True):
                value.copy_(old)
        return graph, given

    def _values(self) -> dict[str, Tensor]:
        """Everything that a step changes, except the mean."""
        values = {f"network.{name}": weight.data for name, weight in self.network.named_parameters()}
        for name, weight in self.network.named_parameters():
            values |= {f"{key}.{name}": value for key, value in self._optimiser.state[weight].items()}
        return values

    def _saved(self) -> dict[str, Tensor]:
        return self._values() | {f"mean.{name}": weight.data for name, weight in self.mean.named_parameters()}

    def save(self, file: Path, step: int) -> None:
        """Write the whole state; all or nothing."""
        about = {"plan": json.dumps(asdict(self._plan)), "step": str(step)}
        with replacing(file) as place:
            save_file({name: value.contiguous() for name, value in self._saved().items()}, place, about)

    def begin(self, weights: Mapping[str, Tensor]) -> None:
        """Start from the weights of an earlier training."""
        self.network.load_state_dict(weights)
        self.mean.load_state_dict(weights)

    def load(self, file: Path) -> int:
        """Resume from a file if it exists; return the number of the next step.

        Raises:
            InputError: the file is damaged, or of another plan.
        """
        if not file.is_file():
            return 0
        header(file, "state of the training", "remove it to begin again.")
        try:
            with safe_open(file, "pt", device=self._device) as stored:
                about = stored.metadata() or {}
                plan, step = json.loads(about["plan"]), int(about["step"])
                if plan != asdict(self._plan):
                    was = " ".join(f"--{name} {value}" for name, value in plan.items())
                    raise InputError(
                        f"{file.parent} has a training with {was}: give the same options, or another folder."
                    )
                with torch.no_grad():
                    for name, value in self._saved().items():
                        value.copy_(stored.get_tensor(name))
        except (SafetensorError, KeyError, AttributeError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{file} is no state of a training or is damaged: remove it to begin again.") from error
        return step
