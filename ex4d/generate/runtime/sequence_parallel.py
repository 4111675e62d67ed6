"""One prediction on several GPUs: its tokens are split across them, and attention across its heads (Ulysses).

Except for self-attention, a block processes each token independently of the others, so each GPU has a run of tokens of
its own. For self-attention they exchange tokens for heads: each GPU gets all tokens of some heads, computes attention,
and returns the results. That is two exchanges per block (DeepSpeed Ulysses, arXiv 2309.14509). Neither tokens nor heads
have to be divisible by the number of GPUs: shares then differ by one, and nothing is padded.

Each GPU runs in its own thread of one process, which needs no second copy of what conditions the steps, and no
agreement when one fails. On GPUs, an exchange is a copy from one to the other.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


def shares(count: int, members: int) -> tuple[slice, ...]:
    """Split `count` tokens or heads among the members, as consecutive runs whose lengths differ by at most 1."""
    ends = [count * n // members for n in range(members + 1)]
    return tuple(slice(a, b) for a, b in pairwise(ends))


class GivenUp(Exception):
    """Another member of the group has given up."""


class Group:
    """The GPUs of one prediction, and what their threads exchange.

    Args:
        devices: of the members, by rank.
    """

    def __init__(self, devices: Sequence[torch.device]) -> None:
        self.devices = tuple(devices)
        self._mail = [[SimpleQueue[_Sent | None]() for _ in devices] for _ in devices]  # by sender and receiver
        self._given: list[Sequence[Tensor]] = [()] * len(devices)
        self._links: dict[tuple[int, int], torch.cuda.Stream] = {}

    def swap(self, rank: int, parts: Sequence[Tensor]) -> list[Tensor]:
        """Send each member its part, in rank order, and receive theirs, on this member's device.

        Called by all members, each in its own thread and inside `linked`. What is sent is kept until the next exchange:
        a member that takes part in that has finished copying, on the GPU too, because what it sends then is computed
        later.

        Raises:
            GivenUp: another member has given up.
        """
        own, members = self.devices[rank], len(self.devices)
        ready = torch.cuda.current_stream(own).record_event() if own.type == "cuda" else None
        # Each starts with the next member, so that all links are in use.
        others = [(rank + ahead) % members for ahead in range(1, members)]
        for other in others:
            self._mail[rank][other].put(_Sent(parts[other], ready))
        got = list(parts)  # including its own
        for other in others:
            sent = self._mail[other][rank].get()
            if sent is None:
                raise GivenUp
            if sent.ready is not None:
                torch.cuda.current_stream(sent.part.device).wait_event(sent.ready)
            got[other] = sent.part.to(own, non_blocking=True)
        self._given[rank] = parts
        return got

    def give_up(self) -> None:
        """Make the others' exchanges fail."""
        for queue in (queue for queues in self._mail for queue in queues):
            queue.put(None)

    @contextmanager
    def linked(self, rank: int) -> Iterator[None]:
        """Context in which a member's thread copies from other GPUs in streams of its own.

        A copy between GPUs is queued on the current streams of both, as seen by the thread that requests it. On the
        other GPU's default stream it would wait for everything that GPU's own thread has started in the meantime, such
        as attention.
        """
        with ExitStack() as stack:
            for other, device in enumerate(self.devices):
                if device.type == "cuda" and other != rank:
                    if (other, rank) not in self._links:
                        self._links[other, rank] = torch.cuda.Stream(device)
                    stack.enter_context(torch.cuda.stream(self._links[other, rank]))
            if self.devices[rank].type == "cuda":
                stack.enter_context(torch.cuda.device(self.devices[rank]))
            yield


class _Sent(NamedTuple):
    """A tensor on the sender's GPU, and an event for when it is computed."""

    part: Tensor
    ready: Any


@dataclass(frozen=True)
class Member:
    """One GPU of a group.

    Attributes:
        group: the group.
        rank: its index in the group.
    """

    group: Group
    rank: int

    def own(self, tokens: Tensor, dim: int) -> Tensor:
        """This member's share of all tokens, along dimension `dim`; a contiguous copy."""
        mine = shares(tokens.shape[dim], len(self.group.devices))[self.rank]
        return tokens.narrow(dim, mine.start, mine.stop - mine.start).clone(memory_format=torch.contiguous_format)

    def whole(self, tokens: Tensor) -> Tensor:
        """Gather all tokens (B,S,dim) from the members' shares; ends a pass."""
        members = len(self.group.devices)
        found = torch.cat(self.group.swap(self.rank, [tokens] * members), dim=1)
        self.group.swap(self.rank, [tokens[:1, :1, :1]] * members)  # a barrier: afterwards all others have copied
        return found

    def attention(self, qkv: Tensor) -> Tensor:
        """Self-attention of this member's tokens to all tokens.

        Args:
            qkv: (heads,3,B,s,head), queries, keys and values of its s tokens. Heads come first so that each member's
                part is contiguous.

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
    """Context in which the model's blocks process a member's share of the tokens, and everything else all tokens.

    Args:
        model: whose `blocks` are iterated over and called with tokens (B,S,dim), context, time, and each token's rotary
            position (S,...); blocks of a split model also get the member.
        member: None leaves the model as it is.
    """
    if member is None:
        yield
        return
    blocks = model.blocks
    model.blocks = _SplitBlocks(blocks, member)
    try:
        with member.group.linked(member.rank):
            yield
    finally:
        model.blocks = blocks


class _SplitBlocks:
    """Blocks that process a member's share of the tokens."""

    def __init__(self, blocks: Any, member: Member) -> None:
        self._blocks, self._member = blocks, member
        self._places = torch.empty(0)  # of the member's tokens; the same for all blocks of a pass

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[Callable[..., Tensor]]:
        """Yield the blocks of one pass, from the first to the last; passes must not overlap."""
        for number, block in enumerate(self._blocks):
            yield partial(self._call, number, block)

    def _call(self, number: int, block: Any, x: Tensor, context: Tensor, t_mod: Tensor, places: Tensor) -> Tensor:
        member = self._member
        if number == 0:
            x, self._places = member.own(x, 1), member.own(places, 0)
        x = block(x, context, t_mod, self._places, member)
        return member.whole(x) if number == len(self) - 1 else x
