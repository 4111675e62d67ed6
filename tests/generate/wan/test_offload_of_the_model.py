"""Offloading at the real model's sizes: what stays on real GPUs."""

from importlib.util import find_spec
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

from ex4d.errors import InputError
from ex4d.generate.diffsynth import needs, video_model
from ex4d.generate.runtime import offload
from ex4d.generate.runtime.blocks import BlockWeights, Linear, quantized
from ex4d.generate.runtime.offload import SLOTS, OffloadedBlocks, Packed, Plan
from ex4d.generate.wan.adapter import ModelShape
from ex4d.generate.wan.settings import WanSettings
from ex4d.generate.wan.spec import OTHER_WEIGHTS, SPEC, rest_bytes

pytestmark = pytest.mark.wan

CPU = torch.device("cpu")
REAL = ModelShape()
PARAMETERS = 10 * (REAL.dim + 1) * REAL.dim + 2 * REAL.dim * REAL.ffn_dim + REAL.dim + REAL.ffn_dim + 13 * REAL.dim
"""Number of parameters in a block: ten square layers and two in the feed-forward part, with biases, and 13 rows of
norms and modulation."""

BLOCK = {"final": 2 * PARAMETERS, "draft": PARAMETERS}
"""Bytes of a block, as `video_model.assemble` counts them."""

REST = {
    name: rest_bytes(13 * (height // 16) * (width // 16))
    for name, (width, height) in {"512x512": (512, 512), "832x480": (832, 480)}.items()
}
"""Bytes that 49 frames take besides the weights."""

EXPECTED = {
    ("final", "512x512"): {80: 40, 48: 40, 24: 19, 16: 9, 12: 4, 8: None},
    ("final", "832x480"): {80: 40, 48: 40, 24: 17, 16: 7, 12: 2, 8: None},
    ("draft", "512x512"): {80: 40, 48: 40, 24: 40, 16: 21, 12: 11, 8: 1},
    ("draft", "832x480"): {80: 40, 48: 40, 24: 37, 16: 17, 12: 7, 8: None},
}
"""Number of blocks that stay on a GPU with this many GB; None if it is too small."""


def plan(free, block, blocks, rest):
    return offload.plan(free, block, blocks, rest, video_model.ADVICE)


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


@pytest.mark.parametrize(("quality", "size"), EXPECTED)
def test_what_the_model_says_it_needs_is_what_plans_are_made_with(quality, size):
    assert needs.SLOTS == SLOTS
    assert needs.block_bytes(REAL.dim, REAL.ffn_dim, True, quality == "draft") == BLOCK[quality]
    memory = SPEC.memory(WanSettings(quality=quality, model_size=size))
    least, best = (int(gigabytes * 1e9) - OTHER_WEIGHTS for gigabytes in (memory.least, memory.best))
    rounding = 10**8
    assert resident(plan(least + rounding, BLOCK[quality], REAL.layers, REST[size])) == 0
    with pytest.raises(InputError):
        plan(least - rounding, BLOCK[quality], REAL.layers, REST[size])
    assert resident(plan(best + rounding, BLOCK[quality], REAL.layers, REST[size])) == REAL.layers
    assert resident(plan(best - rounding, BLOCK[quality], REAL.layers, REST[size])) < REAL.layers


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


def block(dim=12, ffn_dim=20, dtype=torch.bfloat16, device=CPU, seed=0, in_8_bits=False):
    """Weights with random bits in them, made as by `blocks.gather`."""
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


@pytest.mark.parametrize(("quality", "in_8_bits"), [("final", False), ("draft", True)])
def test_a_real_block_packed_has_the_size_that_plans_are_made_with(quality, in_8_bits):
    real = block(REAL.dim, REAL.ffn_dim, device=torch.device("meta"), in_8_bits=in_8_bits)
    size = Packed(real, torch.device("meta"), for_gpu=False).bytes.numel()
    assert 0 <= size - BLOCK[quality] < 0.002 * BLOCK[quality]


def test_streamed_blocks_take_two_places_besides_what_is_free(monkeypatch):
    blocks = OffloadedBlocks((block(seed=n) for n in range(4)), Plan(4, (0, 2)), CPU, None)
    assert blocks.slot_bytes == Packed(block(), CPU, for_gpu=False).bytes.numel()
    assert OffloadedBlocks((block(seed=n) for n in range(4)), Plan(4), CPU, None).slot_bytes == 0
    pipe = SimpleNamespace(device="cuda", dit=SimpleNamespace(blocks=blocks))
    models = video_model.Models(pipe=pipe, precision="reference", dtype=torch.float32, layout=blocks.layout, heads=4)
    monkeypatch.setattr(offload, "free_bytes", lambda device: 1000 + SLOTS * blocks.slot_bytes)
    assert models.enough_beside(1000)
    assert not models.enough_beside(1001)
