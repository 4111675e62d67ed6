import gc
import weakref
from itertools import pairwise
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")

from ex4d.errors import Cancelled, InputError
from ex4d.generate.runtime.blocks import BlockWeights, Linear, quantized
from ex4d.generate.runtime.offload import SLOTS, Packed, Plan, Stack, plan
from ex4d.generate.wan.adapter import ModelShape
from ex4d.generate.wan.generator import BYTES_A_TOKEN, BYTES_BESIDE

pytestmark = pytest.mark.wan

CPU = torch.device("cpu")
REAL = ModelShape()
PARAMETERS = 10 * (REAL.dim + 1) * REAL.dim + 2 * REAL.dim * REAL.ffn_dim + REAL.dim + REAL.ffn_dim + 13 * REAL.dim
"""Of one block: ten square layers and the two of the feed-forward part, with biases, and 13 rows of norms and
modulation."""

BLOCK = {"final": 2 * PARAMETERS, "draft": PARAMETERS}
"""Bytes of a block, as `video_model.assemble` counts them."""

REST = {
    name: 13 * (height // 16) * (width // 16) * BYTES_A_TOKEN + BYTES_BESIDE
    for name, (width, height) in {"512x512": (512, 512), "832x480": (832, 480)}.items()
}
"""Bytes that 49 frames take beside the weights."""

OTHER_WEIGHTS = 2_200_000_000
"""About so many bytes have the VAE, the image encoder, and what of the video model lies outside of its blocks."""

EXPECTED = {
    ("final", "512x512"): {80: 40, 48: 40, 24: 19, 16: 9, 12: 4, 8: None},
    ("final", "832x480"): {80: 40, 48: 40, 24: 17, 16: 7, 12: 2, 8: None},
    ("draft", "512x512"): {80: 40, 48: 40, 24: 40, 16: 21, 12: 11, 8: 1},
    ("draft", "832x480"): {80: 40, 48: 40, 24: 37, 16: 17, 12: 7, 8: None},
}
"""How many blocks stay on a GPU of so many GB; None where it is too small."""


def resident(layout):
    return layout.blocks - len(layout.streamed)


@pytest.mark.parametrize(("quality", "size"), EXPECTED)
def test_real_gpus_keep_as_many_blocks_as_fit(quality, size):
    for gigabytes, kept in EXPECTED[quality, size].items():
        free = gigabytes * 10**9 - OTHER_WEIGHTS
        if kept is None:
            with pytest.raises(InputError, match="take a lower quality or a smaller model size"):
                plan(free, BLOCK[quality], REAL.layers, REST[size])
        else:
            assert resident(plan(free, BLOCK[quality], REAL.layers, REST[size])) == kept, gigabytes


@pytest.mark.parametrize("size", REST)
@pytest.mark.parametrize("quality", BLOCK)
def test_no_plan_takes_more_than_there_is_nor_leaves_room_for_one_more_block(quality, size):
    block, rest = BLOCK[quality], REST[size]
    planned = []
    for free in range(rest + SLOTS * block, 40 * 10**9, 97_531_111):
        layout = plan(free, block, REAL.layers, rest)
        slots = SLOTS if layout.streamed else 0
        assert (resident(layout) + slots) * block + rest <= free
        assert not layout.streamed or (resident(layout) + slots + 1) * block + rest > free
        planned.append(resident(layout))
    assert planned == sorted(planned)
    assert (planned[0], planned[-1]) == (0, REAL.layers)


def test_whole_blocks_count_to_the_last_byte():
    assert plan(free=40 * 7 + 3, block=7, blocks=40, rest=3) == Plan(40)
    assert resident(plan(free=40 * 7 + 2, block=7, blocks=40, rest=3)) == 37
    assert resident(plan(free=2 * 7 + 3, block=7, blocks=40, rest=3)) == 0


def test_a_gpu_that_is_too_small_is_told_what_is_there_and_what_is_needed():
    with pytest.raises(InputError) as error:
        plan(free=4_600_000_000, block=800_000_000, blocks=40, rest=3_000_000_001)
    assert str(error.value) == (
        "The GPU has 4.6 GB to use, but 4.6 GB are needed at least: take a lower quality or a smaller model size, or"
        " close other programs that use the GPU."
    )
    with pytest.raises(InputError, match=r"has 1\.0 GB to use, but 4\.6 GB are needed"):
        plan(free=1_000_000_000, block=800_000_000, blocks=40, rest=3_000_000_000)


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


def block(dim=12, ffn_dim=20, dtype=torch.bfloat16, device=CPU, seed=0, in_8_bits=False):
    """Weights with random bits in them, made like `blocks.gather` does."""
    generator = torch.Generator().manual_seed(seed)

    def tensor(*shape, dtype=dtype):
        made = torch.empty(*shape, dtype=dtype, device=device)
        return made if made.is_meta else made.copy_(torch.randn(*shape, generator=generator))

    def linear(outputs, inputs):
        layer = Linear(tensor(outputs, inputs), tensor(outputs))
        return quantized(layer) if in_8_bits else layer

    def part(name):
        if name == "modulation":
            return tensor(1, 6, dim, dtype=torch.float32)
        if name in ("norm_weight", "norm_bias"):
            return tensor(dim, dtype=torch.float32)
        if "norm" in name:
            return tensor(dim)
        return linear(*{"up": (ffn_dim, dim), "down": (dim, ffn_dim)}.get(name, (dim, dim)))

    return BlockWeights(*map(part, BlockWeights._fields))


def parts(weights):
    """All tensors by name; no place is left out, so that what is missing is seen as None."""
    named = {}
    for name, part in weights._asdict().items():
        inner = part._asdict() if isinstance(part, Linear) else {"": part}
        named |= {f"{name}.{kind}": tensor for kind, tensor in inner.items()}
    return named


def bits(tensor):
    return None if tensor is None else (tensor.dtype, tensor.shape, tensor.contiguous().view(torch.uint8).tolist())


def same(one, two):
    return {name: bits(t) for name, t in parts(one).items()} == {name: bits(t) for name, t in parts(two).items()}


@pytest.mark.parametrize("in_8_bits", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_packed_block_gives_back_the_very_same_bits(dtype, in_8_bits):
    weights = block(dtype=dtype, in_8_bits=in_8_bits)
    assert weights.q.weight.dtype == (torch.float8_e4m3fn if in_8_bits else dtype)
    assert same(Packed(weights, CPU, for_gpu=False).weights(), weights)
    assert not same(weights, block(dtype=dtype, in_8_bits=in_8_bits, seed=1))


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
    packed = Packed(block(in_8_bits=True), CPU, for_gpu=False)
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


@pytest.mark.parametrize(("quality", "in_8_bits"), [("final", False), ("draft", True)])
def test_a_real_block_packed_has_the_size_that_plans_are_made_with(quality, in_8_bits):
    real = block(REAL.dim, REAL.ffn_dim, device=torch.device("meta"), in_8_bits=in_8_bits)
    size = Packed(real, torch.device("meta"), for_gpu=False).bytes.numel()
    assert 0 <= size - BLOCK[quality] < 0.002 * BLOCK[quality]


def stack(count, streamed):
    """A stack of blocks that only add up, the weights that they were made of, and those that they were called with."""
    made = [block(seed=n) for n in range(count)]
    calls = []

    def run(weights, x, context, t_mod, cos, sin, head, native):
        calls.append({name: bits(t) for name, t in parts(weights).items()})
        return 3 * x + weights.q.weight.float().sum() + cos.sum() - sin.sum() + context + t_mod + head + native

    wanted = [{name: bits(t) for name, t in parts(weights).items()} for weights in made]
    return Stack(iter(made), Plan(count, streamed), CPU, run, 4, True), wanted, calls


def through(blocks, stop=None):
    x, freqs = torch.ones(1), torch.tensor([0.5 + 2j, 1 - 1j], dtype=torch.complex128)
    for number, one in enumerate(blocks):
        if number == stop:
            break
        x = one(x, torch.full((1,), 0.25), torch.full((1,), 0.125), freqs)
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

    blocks = Stack((block(seed=n) for n in range(5)), Plan(5, (0, 1, 3, 4)), CPU, run, 4, False)
    with pytest.raises(torch.OutOfMemoryError):
        through(blocks)
    seen.clear()
    through(blocks)
    assert seen == [float(block(seed=n).modulation[0, 0, 0]) for n in range(5)]


def test_turns_and_settings_reach_the_block():
    told = []

    def run(weights, x, *rest):
        told.append(rest)
        return x

    through(Stack(iter([block()]), Plan(1), CPU, run, 4, True))
    context, t_mod, cos, sin, head, native = told[0]
    assert (float(context), float(t_mod), head, native) == (0.25, 0.125, 4, True)
    assert (cos.dtype, sin.dtype) == (torch.float32, torch.float32)
    assert (cos.tolist(), sin.tolist()) == ([0.5, 1.0], [2.0, -1.0])


def test_streamed_blocks_share_two_places():
    seen = set()

    def run(weights, x, *_):
        seen.add(weights.modulation.data_ptr())
        return x

    blocks = Stack((block(seed=n) for n in range(7)), Plan(7, tuple(range(7))), CPU, run, 4, False)
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

    made = Stack(weights(), Plan(6, (1, 3, 5)), CPU, lambda weights, x, *_: x, 4, False)
    assert len(made) == len(counts) == 6
    assert max(counts) <= 2
    assert not alive


def test_streamed_blocks_take_two_places_besides_what_is_free(monkeypatch):
    from ex4d.generate.wan import video_model

    blocks = Stack((block(seed=n) for n in range(4)), Plan(4, (0, 2)), CPU, None, 4, False)
    assert blocks.slot_bytes == Packed(block(), CPU, for_gpu=False).bytes.numel()
    assert Stack((block(seed=n) for n in range(4)), Plan(4), CPU, None, 4, False).slot_bytes == 0
    pipe = SimpleNamespace(device="cuda", dit=SimpleNamespace(blocks=blocks))
    models = video_model.Models(pipe, None, "reference", torch.float32, blocks.layout)
    monkeypatch.setattr(video_model, "_free", lambda device: 1000 + SLOTS * blocks.slot_bytes)
    assert models.enough_beside(1000)
    assert not models.enough_beside(1001)


def test_locked_memory_is_unlocked_when_it_is_released_and_when_loading_is_broken_off(monkeypatch):
    from ex4d.generate.runtime import offload

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
        Stack(broken_off(), Plan(3, (0, 1, 2)), CPU, None, 4, False)
    gc.collect()
    assert locked == []
    whole = Stack((block(seed=n) for n in range(3)), Plan(3, (0, 1, 2)), CPU, None, 4, False)
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
