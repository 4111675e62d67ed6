import gc
import weakref
from itertools import pairwise
from typing import NamedTuple

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")

from ex4d.errors import Cancelled, InputError
from ex4d.generate.runtime import offload
from ex4d.generate.runtime.offload import SLOTS, OffloadedBlocks, Packed, Plan, plan

pytestmark = pytest.mark.wan

CPU = torch.device("cpu")


def resident(layout):
    return layout.blocks - len(layout.streamed)


def test_whole_blocks_count_to_the_last_byte():
    assert plan(free=40 * 7 + 3, block=7, blocks=40, rest=3) == Plan(40)
    assert resident(plan(free=40 * 7 + 2, block=7, blocks=40, rest=3)) == 37
    assert resident(plan(free=2 * 7 + 3, block=7, blocks=40, rest=3)) == 0


def test_a_gpu_that_is_too_small_is_told_what_is_there_and_what_is_needed():
    with pytest.raises(InputError) as error:
        plan(free=4_600_000_000, block=800_000_000, blocks=40, rest=3_000_000_001)
    assert str(error.value) == (
        "The GPU has 4.6 GB to use, but 4.6 GB are needed at least: choose settings that need less memory, or close"
        " other programs that use the GPU."
    )
    with pytest.raises(InputError, match=r"has 1\.0 GB to use, but 4\.6 GB are needed"):
        plan(free=1_000_000_000, block=800_000_000, blocks=40, rest=3_000_000_000)
    with pytest.raises(InputError, match=r"at least: take less of everything, or close other programs"):
        plan(free=1, block=1, blocks=40, rest=3, advice="take less of everything")


@pytest.mark.parametrize("blocks", [3, 8, 40])
def test_streamed_blocks_are_spread_evenly_over_the_pass(blocks):
    for kept in range(blocks - SLOTS):
        streamed = plan(free=kept + SLOTS, block=1, blocks=blocks, rest=0).streamed
        assert len(streamed) == blocks - kept
        assert 0 <= streamed[0] <= streamed[-1] < blocks
        gaps = [two - one for one, two in pairwise((*streamed, streamed[0] + blocks))]
        assert min(gaps) >= 1
        assert max(gaps) - min(gaps) <= 1


def test_a_plan_says_something_only_where_blocks_are_streamed():
    assert Plan(40).says == ""
    assert Plan(40, (3, 9, 20)).says == (
        "37 of 40 blocks of the model fit on the GPU; the others are copied to it at every step."
    )


class Layer(NamedTuple):
    weight: torch.Tensor
    bias: torch.Tensor
    scale: torch.Tensor | None = None


class Weights(NamedTuple):
    """Possible weights of a block: layers, single tensors of other dtypes, and parts that some models lack."""

    modulation: torch.Tensor
    q: Layer
    norm: torch.Tensor
    image_k: Layer | None
    up: Layer


def block(dtype=torch.bfloat16, seed=0, scaled=False):
    """Weights with random bits in them."""
    generator = torch.Generator().manual_seed(seed)

    def tensor(*shape, dtype=dtype):
        return torch.randn(*shape, generator=generator).to(dtype)

    def layer(outputs, inputs):
        weight = tensor(outputs, inputs, dtype=torch.float8_e4m3fn if scaled else dtype)
        return Layer(weight, tensor(outputs), tensor(outputs, 1, dtype=torch.float32) if scaled else None)

    return Weights(tensor(1, 6, 12, dtype=torch.float32), layer(12, 12), tensor(12), None, layer(20, 12))


def parts(weights):
    """All tensors by name; missing ones are listed as None."""
    named = {}
    for name, part in weights._asdict().items():
        inner = part._asdict() if isinstance(part, tuple) else {"": part}
        named |= {f"{name}.{kind}": tensor for kind, tensor in inner.items()}
    return named


def bits(tensor):
    return None if tensor is None else (tensor.dtype, tensor.shape, tensor.contiguous().view(torch.uint8).tolist())


def same(one, two):
    return {name: bits(t) for name, t in parts(one).items()} == {name: bits(t) for name, t in parts(two).items()}


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_packed_block_gives_back_the_very_same_bits(dtype, scaled):
    weights = block(dtype, scaled=scaled)
    again = Packed(weights, CPU, for_gpu=False).weights()
    assert same(again, weights)
    assert (type(again), type(again.up), again.image_k) == (Weights, Layer, None)
    assert not same(weights, block(dtype, seed=1, scaled=scaled))


def test_a_packed_block_keeps_what_is_no_number():
    weights = block()
    weights.q.bias.copy_(torch.tensor([float("nan"), float("inf"), -0.0] * 4))
    assert same(Packed(weights, CPU, for_gpu=False).weights(), weights)


def test_weights_that_do_not_lie_in_one_piece_are_packed_too():
    weights = block()
    turned = weights._replace(up=weights.up._replace(weight=torch.randn(12, 20).T.bfloat16()))
    assert not turned.up.weight.is_contiguous()
    assert same(Packed(turned, CPU, for_gpu=False).weights(), turned)


def test_weights_are_views_of_one_run_of_bytes_that_begin_where_kernels_like_them():
    packed = Packed(block(scaled=True), CPU, for_gpu=False)
    larger = torch.zeros(packed.bytes.numel() + 1000, dtype=torch.uint8)
    larger[: packed.bytes.numel()] = packed.bytes
    for memory, weights in ((packed.bytes, packed.weights()), (larger, packed.weights(larger))):
        starts = [t.data_ptr() - memory.data_ptr() for t in parts(weights).values() if t is not None]
        assert all(start % 256 == 0 and 0 <= start < packed.bytes.numel() for start in starts)
        assert starts == sorted(set(starts))
        assert same(weights, packed.weights())
    larger.zero_()
    assert not any(t.float().any() for t in parts(packed.weights(larger)).values() if t is not None)


def test_packing_lets_the_weights_go():
    weights = block()
    left = [weakref.ref(tensor) for tensor in parts(weights).values() if tensor is not None]
    packed = Packed(weights, CPU, for_gpu=False)
    del weights
    assert [ref() for ref in left] == [None] * len(left)
    assert packed.weights().q.weight.any()


def stack(count, streamed):
    """A stack of blocks that only sum, the weights they were made from, and the weights they were called with."""
    made = [block(seed=n) for n in range(count)]
    calls = []

    def run(weights, x, context, time):
        calls.append({name: bits(t) for name, t in parts(weights).items()})
        return 3 * x + weights.q.weight.float().sum() + context - time

    wanted = [{name: bits(t) for name, t in parts(weights).items()} for weights in made]
    return OffloadedBlocks(iter(made), Plan(count, streamed), CPU, run), wanted, calls


def through(blocks, stop=None):
    x = torch.ones(1)
    for number, one in enumerate(blocks):
        if number == stop:
            break
        x = one(x, torch.full((1,), 0.25), torch.full((1,), 0.125))
    return x


@pytest.mark.parametrize("streamed", [(), (3,), (1, 4), (0, 1, 2), (0, 2, 4, 6), tuple(range(7))])
def test_each_block_computes_with_its_own_weights_in_every_pass(streamed):
    blocks, wanted, calls = stack(7, streamed)
    assert len(blocks) == 7
    for _ in range(3):
        calls.clear()
        through(blocks)
        assert calls == wanted


def test_where_blocks_lie_and_how_often_they_ran_does_not_change_a_bit():
    results = {float(through(stack(7, streamed)[0])) for streamed in ((), (5,), (0, 2, 4, 6), tuple(range(7)))}
    assert len(results) == 1


@pytest.mark.parametrize("stop", range(7))
def test_a_pass_that_was_broken_off_does_not_disturb_the_next(stop):
    blocks, wanted, calls = stack(7, (0, 1, 3, 4, 6))
    through(blocks, stop)
    assert calls == wanted[:stop]
    calls.clear()
    through(blocks)
    assert calls == wanted


def test_a_pass_that_ended_in_an_error_does_not_disturb_the_next():
    seen, failing = [], [True]

    def run(weights, x, *_):
        seen.append(float(weights.modulation[0, 0, 0]))
        if len(seen) == 3 and failing:
            failing.clear()
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return x

    blocks = OffloadedBlocks((block(seed=n) for n in range(5)), Plan(5, (0, 1, 3, 4)), CPU, run)
    with pytest.raises(torch.OutOfMemoryError):
        through(blocks)
    seen.clear()
    through(blocks)
    assert seen == [float(block(seed=n).modulation[0, 0, 0]) for n in range(5)]


def test_whatever_a_model_calls_its_blocks_with_reaches_them():
    told = []

    def run(weights, *inputs):
        told.append(inputs)
        return inputs[0]

    (one,) = OffloadedBlocks(iter([block()]), Plan(1), CPU, run)
    assert one("tokens", "context", 3) == "tokens"
    assert told == [("tokens", "context", 3)]


def test_streamed_blocks_share_two_places():
    seen = set()

    def run(weights, x, *_):
        seen.add(weights.modulation.data_ptr())
        return x

    blocks = OffloadedBlocks((block(seed=n) for n in range(7)), Plan(7, tuple(range(7))), CPU, run)
    for _ in range(2):
        through(blocks)
    assert len(seen) == SLOTS


def test_weights_are_let_go_one_by_one_while_a_stack_is_made():
    alive, counts = weakref.WeakSet(), []

    def weights():
        for n in range(6):
            made = block(seed=n)
            watched = torch.nn.Parameter(made.up.weight, requires_grad=False)
            alive.add(watched)
            counts.append(len(alive))
            yield made._replace(up=made.up._replace(weight=watched))
            del made, watched

    made = OffloadedBlocks(weights(), Plan(6, (1, 3, 5)), CPU, lambda weights, x, *_: x)
    assert len(made) == len(counts) == 6
    assert max(counts) <= 2
    assert not alive


def test_locked_memory_is_unlocked_when_it_is_released_and_when_loading_is_broken_off(monkeypatch):
    locked = []
    monkeypatch.setattr(offload, "_pin", lambda memory: locked.append(memory.data_ptr()))
    monkeypatch.setattr(offload, "_unpin", locked.remove)

    real = offload.Packed
    monkeypatch.setattr(offload, "Packed", lambda weights, device, _: real(weights, device, True))

    def broken_off():
        yield block(seed=0)
        yield block(seed=1)
        assert len(locked) == 2
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        OffloadedBlocks(broken_off(), Plan(3, (0, 1, 2)), CPU, None)
    gc.collect()
    assert locked == []
    whole = OffloadedBlocks((block(seed=n) for n in range(3)), Plan(3, (0, 1, 2)), CPU, None)
    assert len(locked) == 3
    whole.release()
    assert locked == []


def test_released_memory_is_let_go():
    blocks, _, _ = stack(4, (1, 3))
    through(blocks)
    held = [weakref.ref(t) for t in (*(p.bytes for p in blocks._packed.values()), *(s.memory for s in blocks._slots))]
    assert len(held) == 4
    blocks.release()
    assert [ref() for ref in held] == [None] * 4
