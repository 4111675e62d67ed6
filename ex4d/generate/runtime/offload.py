"""Where the weights of the video model's blocks lie: on the GPU, or in main memory and copied while others compute.

Where they lie never changes a result, only how long it takes.
"""

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ex4d.errors import InputError
from ex4d.generate.runtime.blocks import BlockWeights, Linear

SLOTS = 2
"""Places on the GPU for blocks that come from main memory: one is computed with while the next arrives."""

_ALIGNED = 256
"""Tensors begin at multiples of this many bytes, which kernels are fastest with."""


@dataclass(frozen=True)
class Plan:
    """Which blocks stay on the GPU.

    Attributes:
        blocks: how many there are.
        streamed: numbers of those that are kept in main memory, evenly spread, so that copies hide behind products.
    """

    blocks: int
    streamed: tuple[int, ...] = ()

    @property
    def says(self) -> str:
        """A sentence for the user; empty where all stay."""
        if not self.streamed:
            return ""
        kept = self.blocks - len(self.streamed)
        return f"{kept} of {self.blocks} blocks of the model fit on the GPU; the others are copied to it at every step."


def plan(free: int, block: int, blocks: int, rest: int) -> Plan:
    """Keep as many blocks on the GPU as fit.

    Args:
        free: bytes that may be used.
        block: bytes of one block.
        blocks: how many there are.
        rest: bytes that everything else takes at its worst moment.

    Raises:
        InputError: not even two blocks fit at a time.
    """
    if blocks * block + rest <= free:
        return Plan(blocks)
    kept = int((free - rest) // block) - SLOTS
    if kept < 0:
        raise InputError(
            f"The GPU has {free / 1e9:.1f} GB to use, but {(rest + SLOTS * block) / 1e9:.1f} GB are needed at least:"
            " take a lower quality or a smaller model size, or close other programs that use the GPU."
        )
    count = blocks - min(kept, blocks - SLOTS)
    return Plan(blocks, tuple(int((n + 0.5) * blocks / count) for n in range(count)))


class Packed:
    """A block's weights in one run of bytes, so that one copy moves them and the GPU's memory stays in one piece.

    Args:
        weights: of the block.
        device: where the bytes are to lie; those in main memory are locked there if a GPU is to read them.
        for_gpu: whether it is.
    """

    def __init__(self, weights: BlockWeights, device: torch.device, for_gpu: bool) -> None:
        tensors = _tensors(weights)
        sizes = [-(-tensor.nbytes // _ALIGNED) * _ALIGNED for tensor in tensors]
        self.bytes = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        if for_gpu and device.type == "cpu":
            _pin(self.bytes)
            # Bound to this object: whatever ends its life, a load that was broken off too, unlocks the memory.
            weakref.finalize(self, _unpin, self.bytes.data_ptr()).atexit = False
        self._layout = [(tensor.dtype, tensor.shape, size) for tensor, size in zip(tensors, sizes, strict=True)]
        self._form = _rebuilt(weights, [torch.empty(0)] * len(tensors))  # without the weights, which are let go
        for place, tensor in zip(self._views(self.bytes), tensors, strict=True):
            place.copy_(tensor)

    def weights(self, memory: Tensor | None = None) -> BlockWeights:
        """The weights as views of `bytes`, or of a copy of it."""
        return _rebuilt(self._form, list(self._views(self.bytes if memory is None else memory)))

    def _views(self, memory: Tensor) -> Iterator[Tensor]:
        start = 0
        for dtype, shape, size in self._layout:
            yield memory[start : start + shape.numel() * dtype.itemsize].view(dtype).view(shape)
            start += size


def _pin(memory: Tensor) -> None:
    """Lock memory in place, so that the GPU can read it while something else runs.

    Not `pin_memory()`, which rounds up to powers of two.
    """
    code = torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.nbytes, 0)
    if int(code) != 0:
        raise InputError(
            f"{memory.nbytes / 1e9:.1f} GB of main memory could not be locked for the GPU (CUDA error {int(code)}):"
            " close other programs, or take a lower quality, which needs half the memory."
        )


def _unpin(address: int) -> None:
    torch.cuda.cudart().cudaHostUnregister(address)


def _tensors(weights: BlockWeights) -> list[Tensor]:
    parts = chain.from_iterable(part if isinstance(part, Linear) else (part,) for part in weights)
    return [tensor for tensor in parts if tensor is not None]


def _rebuilt(like: BlockWeights, tensors: list[Tensor]) -> BlockWeights:
    left = iter(tensors)
    return BlockWeights(
        *(
            Linear(*(None if t is None else next(left) for t in part)) if isinstance(part, Linear) else next(left)
            for part in like
        )
    )


class Stack:
    """The blocks in order, to be iterated over and called like diffsynth's; their weights lie as planned.

    Args:
        weights: of each block, brought one after the other; what is streamed is let go once it is packed.
        layout: where they are to lie.
        device: that computes.
        run: `blocks.run`, compiled or not.
        head: channels of one attention head.
        native: whether 8-bit products are made in 8 bits.
    """

    def __init__(
        self,
        weights: Iterator[BlockWeights],
        layout: Plan,
        device: torch.device,
        run: Callable[..., Tensor],
        head: int,
        native: bool,
    ) -> None:
        self.layout, self._device, self._run, self._head, self._native = layout, device, run, head, native
        self._resident: dict[int, BlockWeights] = {}
        self._packed: dict[int, Packed] = {}
        for number, block in enumerate(weights):
            streamed = number in layout.streamed
            packed = Packed(block, torch.device("cpu") if streamed else device, device.type == "cuda")
            if streamed:
                self._packed[number] = packed
            else:
                self._resident[number] = packed.weights()
        self._copies = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._slots: list[_Slot] = []
        self._next = self._filled = 0  # streamed blocks used and asked for so far

    @property
    def slot_bytes(self) -> int:
        """Bytes of one of the `SLOTS` places that streamed blocks take on the device; 0 where none is streamed."""
        return max((packed.bytes.numel() for packed in self._packed.values()), default=0)

    def __len__(self) -> int:
        return self.layout.blocks

    def __iter__(self) -> Iterator[Callable[..., Tensor]]:
        """The blocks; one pass after the other, each from the first to the last."""
        if self._packed and not self._slots:
            size = self.slot_bytes
            self._slots = [_Slot(torch.empty(size, dtype=torch.uint8, device=self._device)) for _ in range(SLOTS)]
            if self._copies:  # what had this memory before may still be at work
                self._copies.wait_stream(torch.cuda.current_stream(self._device))
        self._next = self._filled = 0
        for _ in self._slots:
            self._fetch()
        for number in range(len(self)):
            yield partial(self._call, number)

    def _call(self, number: int, x: Tensor, context: Tensor, t_mod: Tensor, freqs: Tensor) -> Tensor:
        cos, sin = freqs.real.float(), freqs.imag.float()
        with torch.autocast(self._device.type, enabled=False):
            if number in self._resident:
                return self._run(self._resident[number], x, context, t_mod, cos, sin, self._head, self._native)
            slot = self._slots[self._next % SLOTS]
            if self._copies:
                torch.cuda.current_stream(self._device).wait_event(slot.arrived)
            x = self._run(
                self._packed[number].weights(slot.memory), x, context, t_mod, cos, sin, self._head, self._native
            )
        if self._copies:
            slot.used = torch.cuda.current_stream(self._device).record_event()
        self._next += 1
        self._fetch()
        return x

    def _fetch(self) -> None:
        """Start copying the next streamed block into the slot that has been used up."""
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
        """Give back what is only needed while the blocks run, in one piece.

        Convolutions take another algorithm where memory is short, and so give other bytes: what runs between the
        passes must find the same room each time.
        """
        if self._copies:
            torch.cuda.current_stream(self._device).wait_stream(self._copies)
        self._slots = []
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def release(self) -> None:
        """Give back main memory that is locked."""
        if self._copies:
            torch.cuda.synchronize(self._device)
        self._packed, self._resident, self._slots = {}, {}, []


@dataclass
class _Slot:
    """A place for one block on the GPU, when its weights arrived and when they were used last."""

    memory: Tensor
    arrived: Any = None
    used: Any = None
