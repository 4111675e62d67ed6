"""Offloading: blocks of a model that do not fit on the GPU stay in main memory, and are copied while others compute.

Where a block is kept never changes a result, only how long it takes. Weights are any named tuple of tensors, None, and
such tuples; a block's computation is a function of them.
"""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from ex4d.errors import InputError

W = TypeVar("W", bound=tuple)
"""Weights of a block: a named tuple, see above."""

LESS_MEMORY = "choose settings that need less memory"
"""What to do about a GPU that is too small, unless a model has better advice."""

SLOTS = 2
"""Slots on the GPU for blocks from main memory: one computes while the next arrives."""

_ALIGNED = 256
"""Tensors begin at multiples of this many bytes, for which kernels are fastest."""


@dataclass(frozen=True)
class Plan:
    """Which blocks stay on the GPU.

    Attributes:
        blocks: number of blocks.
        streamed: numbers of those that are kept in main memory, evenly spread so that copies hide behind products.
    """

    blocks: int
    streamed: tuple[int, ...] = ()

    @property
    def says(self) -> str:
        """A sentence for the user; empty if all stay."""
        if not self.streamed:
            return ""
        kept = self.blocks - len(self.streamed)
        return f"{kept} of {self.blocks} blocks of the model fit on the GPU; the others are copied to it at every step."


def plan(free: int, block: int, blocks: int, rest: int, advice: str = LESS_MEMORY) -> Plan:
    """Keep as many blocks on the GPU as fit.

    Args:
        free: bytes that may be used.
        block: bytes of one block.
        blocks: number of blocks.
        rest: peak bytes of everything else.
        advice: how to make this model take less memory, as part of a sentence.

    Raises:
        InputError: not even two blocks fit at a time.
    """
    if blocks * block + rest <= free:
        return Plan(blocks)
    kept = int((free - rest) // block) - SLOTS
    if kept < 0:
        raise InputError(
            f"The GPU has {free / 1e9:.1f} GB to use, but {(rest + SLOTS * block) / 1e9:.1f} GB are needed at least:"
            f" {advice}, or close other programs that use the GPU."
        )
    count = blocks - min(kept, blocks - SLOTS)
    return Plan(blocks, tuple(int((n + 0.5) * blocks / count) for n in range(count)))


def free_bytes(device: torch.device) -> int:
    """Bytes that this process may still take on a GPU, within its own limit and including what it holds unused."""
    free, total = torch.cuda.mem_get_info(device)
    held = torch.cuda.memory_reserved(device)
    used = torch.cuda.memory_allocated(device)
    number = torch.cuda.current_device() if device.index is None else device.index
    limit = int(total * torch.cuda.get_per_process_memory_fraction(number))
    return min(free + held, limit) - used


def largest_free() -> int:
    """Bytes that this process could have on the roomiest GPU if it released everything it holds; 0 without a GPU."""
    if not torch.cuda.is_available():
        return 0
    devices = [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    return max(free_bytes(device) + torch.cuda.memory_allocated(device) for device in devices)


class Packed(Generic[W]):
    """A block's weights in one run of bytes, so that one copy moves them and GPU memory is not fragmented.

    Args:
        weights: of the block.
        device: for the bytes; those in main memory are pinned if a GPU is to read them.
        for_gpu: whether a GPU is to read them.
    """

    def __init__(self, weights: W, device: torch.device, for_gpu: bool) -> None:
        tensors = _tensors(weights)
        sizes = [-(-tensor.nbytes // _ALIGNED) * _ALIGNED for tensor in tensors]
        self.bytes = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        if for_gpu and device.type == "cpu":
            _pin(self.bytes)
            # Tied to this object, so that whatever ends its life, including an interrupted load, unpins the memory.
            weakref.finalize(self, _unpin, self.bytes.data_ptr()).atexit = False
        self._layout = [(tensor.dtype, tensor.shape, size) for tensor, size in zip(tensors, sizes, strict=True)]
        self._form = _rebuilt(weights, iter([torch.empty(0)] * len(tensors)))  # without the weights, which are released
        for place, tensor in zip(self._views(self.bytes), tensors, strict=True):
            place.copy_(tensor)

    def weights(self, memory: Tensor | None = None) -> W:
        """The weights as views of `bytes`, or of a copy of it."""
        return _rebuilt(self._form, self._views(self.bytes if memory is None else memory))

    def _views(self, memory: Tensor) -> Iterator[Tensor]:
        start = 0
        for dtype, shape, size in self._layout:
            yield memory[start : start + shape.numel() * dtype.itemsize].view(dtype).view(shape)
            start += size


def _pin(memory: Tensor) -> None:
    """Pin memory, so that the GPU can read it while something else runs.

    Not `pin_memory()`, which rounds up to powers of two.
    """
    code = torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)
    if int(code) != 0:
        raise InputError(
            f"{memory.nbytes / 1e9:.1f} GB of main memory could not be locked for the GPU (CUDA error {int(code)}):"
            f" close other programs, or {LESS_MEMORY}."
        )


def _unpin(address: int) -> None:
    torch.cuda.cudart().cudaHostUnregister(address)


def _tensors(weights: tuple) -> list[Tensor]:
    """All tensors in weights, with those of inner tuples in their places."""
    found: list[Tensor] = []
    for part in weights:
        if isinstance(part, Tensor):
            found.append(part)
        elif part is not None:
            found += _tensors(part)
    return found


def _rebuilt(like: W, tensors: Iterator[Tensor]) -> W:
    """Weights of the same structure with other tensors, in the order of `_tensors`."""

    def part(old: Any) -> Any:
        if old is None:
            return None
        return next(tensors) if isinstance(old, Tensor) else _rebuilt(old, tensors)

    return type(like)(*[part(old) for old in like])


class OffloadedBlocks(Generic[W]):
    """Blocks that a model can iterate over and call like its own; their weights are kept as planned.

    Args:
        weights: of each block, passed one after another; streamed ones are released once they are packed.
        layout: where they are kept.
        device: the device that computes.
        run: the block's computation, a function of its weights and of the model's call arguments.
    """

    def __init__(
        self,
        weights: Iterator[W],
        layout: Plan,
        device: torch.device,
        run: Callable[..., Tensor],
    ) -> None:
        self.layout, self._device, self._run = layout, device, run
        self._resident: dict[int, W] = {}
        self._packed: dict[int, Packed[W]] = {}
        for number, block in enumerate(weights):
            streamed = number in layout.streamed
            packed = Packed(block, torch.device("cpu") if streamed else device, device.type == "cuda")
            if streamed:
                self._packed[number] = packed
            else:
                self._resident[number] = packed.weights()
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._slots: list[_Slot] = []
        self._next = self._filled = 0  # streamed blocks used and requested so far

    @property
    def slot_bytes(self) -> int:
        """Bytes of one of the `SLOTS` that streamed blocks take on the device; 0 if none is streamed."""
        return max((packed.bytes.numel() for packed in self._packed.values()), default=0)

    def __len__(self) -> int:
        return self.layout.blocks

    def __iter__(self) -> Iterator[Callable[..., Tensor]]:
        """Yield the blocks of one pass, from the first to the last; passes must not overlap."""
        if self._packed and not self._slots:
            size = self.slot_bytes
            self._slots = [_Slot(torch.empty(size, dtype=torch.uint8, device=self._device)) for _ in range(SLOTS)]
            if self._copies:  # whatever used this memory before may still be running
                self._copies.wait_stream(torch.cuda.current_stream(self._device))
        self._next = self._filled = 0
        for _ in self._slots:
            self._fetch()
        for number in range(len(self)):
            yield partial(self._call, number)

    def _call(self, number: int, *inputs: Any) -> Tensor:
        with torch.autocast(self._device.type, enabled=False):
            if number in self._resident:
                return self._run(self._resident[number], *inputs)
            slot = self._slots[self._next % SLOTS]
            if self._copies:
                torch.cuda.current_stream(self._device).wait_event(slot.arrived)
            result = self._run(self._packed[number].weights(slot.memory), *inputs)
        if self._copies:
            slot.used = torch.cuda.current_stream(self._device).record_event()
        self._next += 1
        self._fetch()
        return result

    def _fetch(self) -> None:
        """Start copying the next streamed block into the slot that has been used."""
        if self._filled >= len(self._packed):
            return
        slot, source = self._slots[self._filled % SLOTS], self._packed[self.layout.streamed[self._filled]].bytes
        self._filled += 1
        if self._copies is None:
            slot.memory[: source.numel()].copy_(source)
            return
        with torch.cuda.stream(self._copies):
            if slot.used is not None:
                self._copies.wait_event(slot.used)
            slot.memory[: source.numel()].copy_(source, non_blocking=True)
            slot.arrived = self._copies.record_event()

    def make_room(self) -> None:
        """Release what is needed only while the blocks run, in one piece.

        When memory is short, convolutions use another algorithm and give other bytes, so whatever runs between the
        passes must find the same amount of free memory each time.
        """
        if self._copies:
            torch.cuda.current_stream(self._device).wait_stream(self._copies)
        self._slots = []
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def release(self) -> None:
        """Release pinned main memory."""
        if self._copies:
            torch.cuda.synchronize(self._device)
        self._packed, self._resident, self._slots = {}, {}, []


@dataclass
class _Slot:
    """A slot for one block on the GPU, with events for when its weights arrived and when they were last used."""

    memory: Tensor
    arrived: Any = None
    used: Any = None
