"""One prediction on several GPUs: its tokens are split over them, and attention over its heads (Ulysses).

All that a block does to a token, but for self-attention, needs no other token, so each GPU has a run of tokens of its
own. For self-attention they exchange tokens for heads: each GPU gets all tokens of some heads, attends, and gives the
results back. That is two exchanges a block (DeepSpeed Ulysses, arXiv 2309.14509). Neither tokens nor heads need divide
by the number of GPUs: shares differ by one then, and nothing is padded.

Each GPU is run by a thread of its own, in one process: that needs no second copy of what conditions the steps, and
nothing to agree on when one fails. On GPUs an exchange is a copy from one to the other.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from threading import Barrier
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def shares(count: int, members: int) -> tuple[slice, ...]:
    """What each of the members has of `count` tokens or heads: a run of them, as long as the others' or longer by 1."""
    ends = [count * n // members for n in range(members + 1)]
    return tuple(slice(a, b) for a, b in pairwise(ends))


class Group:
    """The GPUs of one prediction, and where their threads meet.

    Args:
        devices: of the members, by rank.
    """

    def __init__(self, devices: Sequence[torch.device]) -> None:
        self.devices = tuple(devices)
        self._met = Barrier(len(devices))
        # Two, in turn: whoever is first in the next exchange must not take away what others have not yet copied.
        self._boards: tuple[list[Sequence[Tensor]], ...] = ([()] * len(devices), [()] * len(devices))
        self._exchanges = [0] * len(devices)

    def swap(self, rank: int, parts: Sequence[Tensor]) -> list[Tensor]:
        """Give each member its part, in the order of ranks, and get what each has for this one, on its device.

        Called by all members, each in its own thread. Copies between GPUs are put into both GPUs' current streams,
        which must be the same in all threads, as torch's default streams are: that keeps a part's memory until all have
        copied it.

        Raises:
            BrokenBarrierError: another member has given up.
        """
        board, own = self._boards[self._exchanges[rank] % 2], self.devices[rank]
        self._exchanges[rank] += 1
        board[rank] = parts
        self._met.wait()
        got: list[Any] = [None] * len(self.devices)
        for ahead in range(len(self.devices)):  # each begins with the next one, so that all links are in use
            other = (rank + ahead) % len(self.devices)
            got[other] = board[other][rank].to(own, non_blocking=True)
        return got

    def give_up(self) -> None:
        """Let the others' exchanges fail, now and later."""
        self._met.abort()


@dataclass(frozen=True)
class Member:
    """One GPU of a group.

    Attributes:
        group: see there.
        rank: its place in it.
    """

    group: Group
    rank: int

    def own(self, tokens: Tensor, dim: int) -> Tensor:
        """This member's share of all tokens, which are counted by a dimension; a copy, in one piece."""
        mine = shares(tokens.shape[dim], len(self.group.devices))[self.rank]
        return tokens.narrow(dim, mine.start, mine.stop - mine.start).clone(memory_format=torch.contiguous_format)

    def whole(self, tokens: Tensor) -> Tensor:
        """All tokens (B,S,dim) of this member's share of them."""
        return torch.cat(self.group.swap(self.rank, [tokens] * len(self.group.devices)), dim=1)

    def attention(self, qkv: Tensor) -> Tensor:
        """Self-attention of this member's tokens to all.

        Args:
            qkv: (heads,3,B,s,head), queries, keys and values of its s tokens. Heads come first so that each member's
                part is in one piece.

        Returns:
            (B,s,heads*head).
        """
        members = len(self.group.devices)
        mine = self.group.swap(self.rank, [qkv[heads] for heads in shares(len(qkv), members)])
        q, k, v = (torch.cat([part[:, n] for part in mine], dim=2).transpose(0, 1) for n in range(3))
        attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        tokens = attended.split([part.shape[3] for part in mine], dim=1)
        return torch.cat(self.group.swap(self.rank, [part.contiguous() for part in tokens]), dim=2)


@contextmanager
def split(model: Any, member: Member | None) -> Iterator[None]:
    """Within, the model's blocks work on a member's share of the tokens; what comes before and after, on all.

    Args:
        model: whose `blocks` are iterated over and called with tokens (B,S,dim), context, time, and each token's place
            (S,...); blocks of a split model also get the member.
        member: None leaves the model as it is.
    """
    if member is None:
        yield
        return
    blocks = model.blocks
    model.blocks = _SplitBlocks(blocks, member)
    try:
        yield
    finally:
        model.blocks = blocks


class _SplitBlocks:
    """Blocks that work on a member's share of the tokens."""

    def __init__(self, blocks: Any, member: Member) -> None:
        self._blocks, self._member = blocks, member

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[Callable[..., Tensor]]:
        """The blocks; one pass after the other, each from the first to the last."""
        for number, block in enumerate(self._blocks):
            yield partial(self._call, number, block)

    def _call(self, number: int, block: Any, x: Tensor, context: Tensor, t_mod: Tensor, places: Tensor) -> Tensor:
        member = self._member
        if number == 0:
            x = member.own(x, 1)
        x = block(x, context, t_mod, member.own(places, 0), member)
        return member.whole(x) if number == len(self) - 1 else x
