"""Blocks with few channels against diffsynth's own, with and without attention to a picture."""

from functools import partial
from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

from ex4d.generate.runtime import blocks, runner
from ex4d.torchvision_for_cpu import import_torchvision

pytestmark = [pytest.mark.wan, pytest.mark.filterwarnings("ignore")]  # from diffsynth's imports

DIM, FFN, HEADS = 96, 256, 4
CPU = torch.device("cpu")
IMAGE_TOKENS = 257
"""As in diffsynth; a block without attention to a picture has none."""


def library_block(with_image):
    import_torchvision()
    from diffsynth.models.wan_video_dit import DiTBlock

    torch.manual_seed(0)
    return DiTBlock(with_image, DIM, HEADS, FFN).requires_grad_(False)


def inputs(with_image, batch=2):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(batch, 24, DIM, generator=generator)
    context = torch.randn(batch, 5 + IMAGE_TOKENS * with_image, DIM, generator=generator)
    t_mod = torch.randn(batch, 6, DIM, generator=generator)
    freqs = torch.polar(torch.ones(24, 1, 12).double(), torch.rand(24, 1, 12, generator=generator).double() * 6)
    return x, context, t_mod, freqs


def difference(one, two):
    return float((one - two).norm() / two.norm())


@pytest.mark.parametrize("with_image", [True, False])
def test_a_block_is_that_of_the_library(with_image):
    block, given = library_block(with_image), inputs(with_image)
    run, slow = runner.runner(CPU, DIM // HEADS, IMAGE_TOKENS * with_image)
    assert slow == ""
    theirs = block(*given)
    assert difference(run(blocks.gather(block, [], False), *given), theirs) < 1e-6
    assert 1e-4 < difference(run(blocks.gather(block, [], True), *given), theirs) < 0.05


def test_a_block_without_a_picture_has_no_layers_for_one():
    weights = blocks.gather(library_block(False), [], False)
    assert (weights.image_k, weights.image_v, weights.image_norm_k) == (None, None, None)
    lora = {"cross_attn.k_img": (torch.zeros(1, DIM), torch.zeros(DIM, 1))}
    with pytest.raises(ValueError, match=r"no linear layer cross_attn\.k_img"):
        blocks.gather(library_block(False), [lora], False)
    assert blocks.gather(library_block(True), [lora], False).image_k is not None


def test_the_picture_counts_where_there_is_one():
    block, (x, context, t_mod, freqs) = library_block(True), inputs(True)
    run, _ = runner.runner(CPU, DIM // HEADS, IMAGE_TOKENS)
    weights = blocks.gather(block, [], False)
    other = context.clone()
    other[:, :IMAGE_TOKENS] += 1
    assert difference(run(weights, x, other, t_mod, freqs), run(weights, x, context, t_mod, freqs)) > 1e-3


@pytest.mark.parametrize("with_image", [True, False])
def test_it_can_be_compiled_as_one_graph(with_image):
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    x, context, t_mod, freqs = inputs(with_image)
    weights = blocks.gather(library_block(with_image), [], False)
    given = (weights, x, context, t_mod, freqs.real.float(), freqs.imag.float())
    sizes = (DIM // HEADS, IMAGE_TOKENS * with_image, False)
    compiled = torch.compile(blocks.run, fullgraph=True, dynamic=False, backend=backend)
    assert torch.equal(compiled(*given, *sizes), blocks.run(*given, *sizes))
    assert len(graphs) == 1


@pytest.mark.filterwarnings("ignore")  # of the compiler
def test_a_model_goes_on_after_more_sizes_than_the_compiler_keeps_kernels_of(monkeypatch):
    """As on a GPU that serves shots of many lengths, but with a backend that takes no time."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(runner, "find_spec", lambda name: object())
    monkeypatch.setattr(runner.shutil, "which", lambda name: name)
    monkeypatch.setattr(runner, "native_8bit", lambda device: False)
    weights = blocks.gather(library_block(False), [], False)
    generator = torch.Generator().manual_seed(3)
    for _ in range(2):  # the second as if another model had been loaded
        run, why_slow = runner.runner(torch.device("cuda"), DIM // HEADS, 0)
        assert why_slow == ""
        for count in range(8, 8 + 2 * runner.MOST_SIZES + 1):
            x, context = (torch.randn(1, n, DIM, generator=generator) for n in (count, 5))
            t_mod = torch.randn(1, 6, DIM, generator=generator)
            turn = torch.polar(torch.ones(count, 1, 12), torch.rand(count, 1, 12, generator=generator))
            plain = blocks.run(weights, x, context, t_mod, turn.real, turn.imag, DIM // HEADS, 0, False)
            assert difference(run(weights, x, context, t_mod, turn), plain) < 1e-5
