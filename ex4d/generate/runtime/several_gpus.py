"""Predictions on several GPUs at once, each in its own thread: first one prompt per GPU, then tokens are split.

The two predictions of a guided step are independent, so half of the GPUs computes each of them. The GPUs of one
prediction split its tokens (`sequence_parallel`).
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ex4d.generate.runtime.sequence_parallel import GivenUp, Group, Member

MOST_PER_PREDICTION = 2
"""GPUs per prediction. The code takes any number, but more than two have not been shown to be faster:
docs/performance.md."""


class GpuError(Exception):
    """A GPU other than the first failed; the others are unaffected.

    Attributes:
        number: its index among the GPUs; the first is 0.
    """

    def __init__(self, number: int, error: BaseException) -> None:
        super().__init__(str(error).split("\n")[0])
        self.number = number


@dataclass(frozen=True)
class Gpu:
    """A GPU with the model on it.

    Attributes:
        device: for torch.
        guess: the prediction for (latents, time, prompt), all of it or as a member of a group; in its own thread.
    """

    device: torch.device
    guess: Callable[[Tensor, Tensor, int, Member | None], Tensor]


Together = Callable[[Tensor, Tensor, tuple[int, ...]], dict[int, Tensor]]
"""Predictions by prompt for (latents, time, prompts), on the first GPU."""


def groups(gpus: int, prompts: int, heads: int | None = None) -> tuple[range, ...]:
    """Which GPUs predict for each prompt: equally many for each, within `MOST_PER_PREDICTION` and the number of heads.

    Args:
        gpus: number of GPUs, at least as many as prompts.
        prompts: number of predictions requested.
        heads: of self-attention; None if there are more than GPUs.
    """
    each = min(gpus // prompts, heads or gpus, MOST_PER_PREDICTION)
    return tuple(range(n * each, (n + 1) * each) for n in range(prompts))


@contextmanager
def together(gpus: Sequence[Gpu], heads: int) -> Iterator[Together]:
    """Context in which several GPUs make predictions; the first GPU runs in the caller's thread.

    The predictions raise GpuError if a GPU other than the first fails; errors of the first propagate unchanged.

    Args:
        gpus: two or more.
        heads: of the model's self-attention.
    """
    with ExitStack() as stack:
        threads = [stack.enter_context(ThreadPoolExecutor(1, f"gpu-{n}")) for n in range(1, len(gpus))]
        yield partial(_predictions, gpus, threads, heads, {})


def _predictions(
    gpus: Sequence[Gpu],
    threads: Sequence[Executor],
    heads: int,
    formed: dict[range, Group],
    latents: Tensor,
    time: Tensor,
    prompts: tuple[int, ...],
) -> dict[int, Tensor]:
    """See `together`; `formed` are the groups formed so far, by their members."""
    works: dict[int, Callable[[], Tensor | None]] = {}
    dealt = dict(zip(prompts, groups(len(gpus), len(prompts), heads), strict=True))
    for prompt, numbers in dealt.items():
        if numbers not in formed:
            formed[numbers] = Group([gpus[number].device for number in numbers])
        group = formed[numbers] if len(numbers) > 1 else None
        for rank, number in enumerate(numbers):
            try:  # before any GPU is busy, because copying latents from the first would wait for it
                given = latents.to(gpus[number].device)
            except RuntimeError as error:
                raise GpuError(number, error) from error
            member = Member(group, rank) if group else None
            works[number] = partial(_work, gpus[number], given, time, prompt, member, gpus[0].device)
    futures: dict[int, Future[Tensor | None]] = {n: threads[n - 1].submit(works[n]) for n in works if n}
    own: Future[Tensor | None] = Future()
    try:
        own.set_result(works[0]())
    except BaseException as error:
        own.set_exception(error)
    futures = {0: own, **futures}
    wait(futures.values())  # no thread may still use what is about to be released
    for number, future in futures.items():
        failure = future.exception()
        if failure is None or isinstance(failure, GivenUp):  # the second is another member's fault
            continue
        if number and isinstance(failure, RuntimeError):  # from CUDA, for example out of memory
            raise GpuError(number, failure) from failure
        raise failure
    made = {prompt: futures[numbers[0]].result() for prompt, numbers in dealt.items()}
    return {prompt: prediction for prompt, prediction in made.items() if prediction is not None}


def _work(
    gpu: Gpu, latents: Tensor, time: Tensor, prompt: int, member: Member | None, result: torch.device
) -> Tensor | None:
    """A prediction, on the device where it is wanted; None for all members of a group but the first."""
    try:
        made = gpu.guess(latents, time, prompt, member)
        return made.to(result) if member is None or member.rank == 0 else None
    except BaseException:
        if member is not None:
            member.group.give_up()
        raise
