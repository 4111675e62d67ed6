"""One prediction on several GPUs: its tokens are split over them, and attention over its heads (Ulysses).

All that a block does to a token, but for self-attention, needs no other token, so each GPU has a run of tokens of its
own. For self-attention they exchange tokens for heads: each GPU gets all tokens of some heads, attends, and gives the
results back. That is two exchanges a block (DeepSpeed Ulysses, arXiv 2309.14509). Neither tokens nor heads need divide
by the number of GPUs: shares differ by one then, and nothing is padded.

Each GPU is run by a thread of its own, in one process: that needs no second copy of what conditions the steps, and
nothing to agree on when one fails. On GPUs an exchange is a copy from one to the other.
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
    """What each of the members has of `count` tokens or heads: a run of them, as long as the others' or longer by 1."""
    ends = [count * n // members for n in range(members + 1)]
    return tuple(slice(a, b) for a, b in pairwise(ends))


class GivenUp(Exception):
    """Another member of the group has given up."""


class Group:
    """The GPUs of one prediction, and what their threads hand to each other.

    Args:
        devices: of the members, by rank.
    """

    def __init__(self, devices: Sequence[torch.device]) -> None:
        self.devices = tuple(devices)
        self._mail = [[SimpleQueue[_Sent | None]() for _ in devices] for _ in devices]  # by sender and receiver
        self._given: list[Sequence[Tensor]] = [()] * len(devices)
        self._links: dict[tuple[int, int], torch.cuda.Stream] = {}

    def swap(self, rank: int, parts: Sequence[Tensor]) -> list[Tensor]:
        """Give each member its part, in the order of ranks, and get what each has for this one, on its device.

        Called by all members, each in its own thread and within `linked`. What is given is kept until the next
        exchange: whoever takes part in that has copied it, on the GPU too, as what it gives then is computed later.

        Raises:
            GivenUp: another member has given up.
        """
        own, members = self.devices[rank], len(self.devices)
        ready = torch.cuda.current_stream(own).record_event() if own.type == "cuda" else None
        # Each begins with the next one, so that all links are in use.
        others = [(rank + ahead) % members for ahead in range(1, members)]
        for other in others:
            self._mail[rank][other].put(_Sent(parts[other], ready))
        got = list(parts)  # its own among them
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
        """Let the others' exchanges fail."""
        for queue in (queue for queues in self._mail for queue in queues):
            queue.put(None)

    @contextmanager
    def linked(self, rank: int) -> Iterator[None]:
        """Within, a member's thread copies from other GPUs in streams of its own.

        A copy between GPUs is put into the current streams of both, as the thread that asks for it sees them. In the
        other GPU's usual stream it would wait for all that its own thread has begun meanwhile, such as attention.
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
    """A tensor on the sender's GPU, and when it is computed."""

    part: Tensor
    ready: Any


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
        """All tokens (B,S,dim) of this member's share of them; ends a pass."""
        members = len(self.group.devices)
        found = torch.cat(self.group.swap(self.rank, [tokens] * members), dim=1)
        self.group.swap(self.rank, [tokens[:1, :1, :1]] * members)  # of nothing: now all others have copied theirs
        return found

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
        with member.group.linked(member.rank):
            yield
    finally:
        model.blocks = blocks


class _SplitBlocks:
    """Blocks that work on a member's share of the tokens."""

    def __init__(self, blocks: Any, member: Member) -> None:
        self._blocks, self._member = blocks, member
        self._places = torch.empty(0)  # of the member's tokens; the same for all blocks of a pass

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[Callable[..., Tensor]]:
        """The blocks; one pass after the other, each from the first to the last."""
        for number, block in enumerate(self._blocks):
            yield partial(self._call, number, block)

    def _call(self, number: int, block: Any, x: Tensor, context: Tensor, t_mod: Tensor, places: Tensor) -> Tensor:
        member = self._member
        if number == 0:
            x, self._places = member.own(x, 1), member.own(places, 0)
        x = block(x, context, t_mod, self._places, member)
        return member.whole(x) if number == len(self) - 1 else x
