"""Runs blocks as fast as a device can: compiled if there is a compiler, in 8 bits if the GPU supports it.

torch's compiler is global to the process: while it compiles in one thread, compiled functions cannot be called in
another. This module takes care of that when several GPUs run in threads of their own.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Condition
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from ex4d.generate.runtime import blocks
from ex4d.generate.runtime.blocks import BlockWeights
from ex4d.generate.runtime.sequence_parallel import Member

NATIVE_8BIT = (8, 9)
"""Compute capability from which NVIDIA GPUs multiply in 8 bits."""

MOST_SIZES = 6
"""Number of token counts for which kernels are kept on each device; torch's compiler keeps eight per function."""


class _Compiler:
    """A lock on compiled functions: any number of threads may call them at once, or one may compile.

    Attributes:
        resets: how often all kernels were discarded.
    """

    def __init__(self) -> None:
        self.resets = 0
        self._changed = Condition()
        self._calls, self._compiling = 0, False

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Context in which compiled functions may be called."""
        with self._changed:
            self._changed.wait_for(lambda: not self._compiling)
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Context in which no other thread calls compiled functions."""
        with self._changed:
            self._changed.wait_for(lambda: not self._compiling)
            self._compiling = True
            self._changed.wait_for(lambda: not self._calls)
        try:
            yield
        finally:
            with self._changed:
                self._compiling = False
                self._changed.notify_all()

    def reset(self) -> None:
        """Discard all kernels; only while compiling."""
        torch.compiler.reset()
        self.resets += 1


_compiler = _Compiler()  # one for the process, like torch's


def runner(device: torch.device, head: int, image_tokens: int) -> tuple[Callable[..., Tensor], str]:
    """The fastest version of `blocks.run` for this device, called as diffsynth calls a block.

    If it is compiled, everything between the products is fused; the first call for each size takes half a minute.
    Kernels of earlier runners, and those of all sizes before the seventh, are discarded and come back from torch's disk
    cache.

    Args:
        device: the device that computes.
        head, image_tokens: see `blocks.run`.

    Returns:
        A function of (weights, x, context, t_mod, freqs), where freqs is the complex rotation (S,1,head/2) of each
        token, and optionally of a member of a group, in which case x and freqs are its share of the tokens; and a
        sentence if it could be faster.
    """
    native, why_slow = native_8bit(device), ""
    run: Callable[..., Any] = blocks.run
    project: Callable[..., Any] = blocks.project
    finish: Callable[..., Any] = blocks.finish
    if device.type == "cuda":
        if find_spec("triton") is not None and any(shutil.which(name) for name in ("cc", "gcc", "clang")):
            with _compiler.compiling():
                _compiler.reset()
            run, project, finish = (_compiled(part) for part in (blocks.run, blocks.project, blocks.finish))
        else:
            why_slow = "Sampling is slower than it could be: install triton and a C compiler on the GPU machine."

    def call(
        weights: BlockWeights, x: Tensor, context: Tensor, t_mod: Tensor, freqs: Tensor, member: Member | None = None
    ) -> Tensor:
        cos, sin = freqs.real.float(), freqs.imag.float()
        if member is None:
            return run(weights, x, context, t_mod, cos, sin, head, image_tokens, native)
        attended = member.attention(project(weights, x, t_mod, cos, sin, head, native))
        return finish(weights, x, attended, context, t_mod, head, image_tokens, native)

    return call, why_slow


def _compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Compile a function of (weights, x, ...) for each size of x."""
    assert isinstance(function, FunctionType)
    # With its own code object, because torch counts kernels per code object, and there may be many GPUs.
    own = FunctionType(function.__code__.replace(), function.__globals__, function.__name__)
    kernel = torch.compile(own, fullgraph=True, dynamic=False)
    sizes: set[tuple[object, ...]] = set()
    resets = _compiler.resets

    def call(weights: BlockWeights, x: Tensor, *more: Any) -> Tensor:
        nonlocal resets
        size = (x.shape, x.stride(), x.dtype)
        with _compiler.calling():
            if resets == _compiler.resets and size in sizes:
                return kernel(weights, x, *more)
        with _compiler.compiling():
            if len(sizes) == MOST_SIZES:
                _compiler.reset()
            if resets != _compiler.resets:
                resets = _compiler.resets
                sizes.clear()
            made = kernel(weights, x, *more)
            sizes.add(size)
            return made

    return call


def native_8bit(device: torch.device) -> bool:
    """Whether a device multiplies in 8 bits."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= NATIVE_8BIT
