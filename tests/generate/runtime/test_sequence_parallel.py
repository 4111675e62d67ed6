"""Tokens split across several devices, each in its own thread, against one device; here all of them are the CPU."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

from test_blocks import CPU, DIM, HEADS, IMAGE_TOKENS, difference, library_block

from ex4d.generate.runtime import blocks, offload, runner, sequence_parallel, several_gpus
from ex4d.generate.runtime.sequence_parallel import GivenUp, Group, Member, shares, split
from ex4d.generate.runtime.several_gpus import Gpu, GpuError, groups, together

pytestmark = [pytest.mark.wan, pytest.mark.filterwarnings("ignore")]  # from diffsynth's imports

BLOCKS = 3


def inputs(tokens, batch):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(batch, tokens, DIM, generator=generator)
    context = torch.randn(batch, 5 + IMAGE_TOKENS, DIM, generator=generator)
    t_mod = torch.randn(batch, 6, DIM, generator=generator)
    turns = torch.rand(tokens, 1, 12, generator=generator).double() * 6
    return x, context, t_mod, torch.polar(torch.ones(tokens, 1, 12).double(), turns)


def model(layout=None, in_8_bits=False):
    """A model with blocks like diffsynth's, some of which may be streamed."""
    weights = (blocks.gather(library_block(True), [], in_8_bits) for _ in range(BLOCKS))
    run, _ = runner.runner(CPU, DIM // HEADS, IMAGE_TOKENS)
    return SimpleNamespace(blocks=offload.OffloadedBlocks(weights, layout or offload.Plan(BLOCKS), CPU, run))


def forward(made, member, x, context, t_mod, freqs):
    """A pass over all blocks, as in diffsynth."""
    with split(made, member):
        for block in made.blocks:
            x = block(x, context, t_mod, freqs)
    return x


def at_once(members, work):
    """What `work(member)` returns or raises for each member of a group, all at the same time."""
    group = Group([CPU] * members)

    def safely(rank):
        try:
            return work(Member(group, rank))
        except Exception as error:
            group.give_up()
            return error

    with ThreadPoolExecutor(members) as threads:
        return list(threads.map(safely, range(members)))


@pytest.mark.parametrize(("count", "members"), [(13312, 4), (13, 4), (40, 3), (12, 5), (7, 7), (5, 1)])
def test_shares_follow_each_other_cover_all_and_differ_by_one_at_most(count, members):
    found = shares(count, members)
    assert [n for share in found for n in range(count)[share]] == list(range(count))
    lengths = [share.stop - share.start for share in found]
    assert max(lengths) - min(lengths) <= 1
    assert len(found) == members


@pytest.fixture(autouse=True)
def any_number(monkeypatch):
    """Lift the limit on GPUs per prediction."""
    monkeypatch.setattr(several_gpus, "MOST_PER_PREDICTION", 100)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(("members", "tokens"), [(2, 24), (2, 25), (3, 23), (4, 24), (4, 30)])
def test_blocks_split_over_members_compute_what_they_compute_on_one(members, tokens, batch):
    given = inputs(tokens, batch)
    whole = forward(model(), None, *given)
    models = [model() for _ in range(members)]
    for one in at_once(members, lambda member: forward(models[member.rank], member, *given)):
        assert one.shape == whole.shape
        assert difference(one, whole) < 1e-6


@pytest.mark.parametrize("streamed", [(0,), (1,), (0, 1, 2)])
def test_blocks_that_come_from_main_memory_can_be_split_too(streamed):
    given = inputs(24, 1)
    whole = forward(model(), None, *given)
    models = [model(offload.Plan(BLOCKS, streamed)) for _ in range(3)]
    for _ in range(2):
        for one in at_once(3, lambda member: forward(models[member.rank], member, *given)):
            assert difference(one, whole) < 1e-6


def test_weights_in_8_bits_can_be_split_too():
    given = inputs(24, 1)
    whole = forward(model(in_8_bits=True), None, *given)
    models = [model(in_8_bits=True) for _ in range(2)]
    assert max(difference(one, whole) for one in at_once(2, lambda m: forward(models[m.rank], m, *given))) < 1e-6


def test_each_member_attends_with_some_heads_to_all_tokens_and_does_the_rest_for_its_own_tokens(monkeypatch):
    seen, real = [], sequence_parallel.functional.scaled_dot_product_attention

    def attend(q, k, v):
        seen.append((q.shape[1], q.shape[2], k.shape[2]))
        return real(q, k, v)

    monkeypatch.setattr(sequence_parallel.functional, "scaled_dot_product_attention", attend)
    models = [model() for _ in range(3)]
    at_once(3, lambda member: forward(models[member.rank], member, *inputs(25, 1)))
    own = [shape for shape in seen if shape[2] == shape[1]]
    assert sorted(own) == sorted([(1, 25, 25), (1, 25, 25), (2, 25, 25)] * BLOCKS)
    across = {shape for shape in seen if shape not in own}
    assert across == {(HEADS, tokens, more) for tokens in (8, 9) for more in (5, IMAGE_TOKENS)}


def test_the_model_is_whole_again_afterwards():
    made, given = model(), inputs(24, 1)
    before = made.blocks
    (error, _) = at_once(2, lambda member: forward(made if member.rank == 0 else None, member, *given))
    assert isinstance(error, GivenUp)
    assert made.blocks is before


def test_parts_that_are_given_in_one_exchange_are_not_those_of_the_next():
    """With many consecutive exchanges in which members take turns being fast and slow."""

    def work(member):
        got = []
        for n in range(200):
            if n % 4 == member.rank:
                threading.Event().wait(0.0005)
            parts = [torch.tensor([n, member.rank, other]) for other in range(4)]
            got.append(torch.stack(member.group.swap(member.rank, parts)))
        return torch.stack(got)

    for rank, got in enumerate(at_once(4, work)):
        expected = torch.tensor([[[n, other, rank] for other in range(4)] for n in range(200)])
        assert torch.equal(got, expected)


def test_a_member_that_gives_up_lets_the_others_fail_and_keeps_nobody_waiting():
    def work(member):
        for n in range(5):
            if member.rank == 1 and n == 3:
                raise MemoryError("of one")
            member.group.swap(member.rank, [torch.zeros(1)] * 3)

    first, second, third = at_once(3, work)
    assert isinstance(second, MemoryError)
    assert [type(error) for error in (first, third)] == [GivenUp] * 2


# --- who predicts what ---


@pytest.mark.parametrize(
    ("gpus", "prompts", "heads", "expected"),
    [
        (2, 2, 40, [[0], [1]]),
        (2, 1, 40, [[0, 1]]),
        (3, 2, 40, [[0], [1]]),
        (3, 1, 40, [[0, 1, 2]]),
        (5, 2, 40, [[0, 1], [2, 3]]),
        (8, 2, 40, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (8, 1, 3, [[0, 1, 2]]),
        (8, 2, 3, [[0, 1, 2], [3, 4, 5]]),
    ],
)
def test_prompts_get_the_same_number_of_gpus_and_no_more_than_there_are_heads(gpus, prompts, heads, expected):
    assert [list(group) for group in groups(gpus, prompts, heads)] == expected


def test_a_prediction_has_no_more_gpus_than_are_known_to_help(monkeypatch):
    monkeypatch.setattr(several_gpus, "MOST_PER_PREDICTION", 2)
    assert [list(group) for group in groups(8, 2, 40)] == [[0, 1], [2, 3]]
    assert [list(group) for group in groups(8, 1, 40)] == [[0, 1]]


def gpu(number, fails=None):
    """A GPU that, together with the others of its group, adds its number to the latents, or fails."""

    def guess(latents, time, prompt, member):
        if fails is not None:
            raise fails
        own = latents + 10 * prompt + number
        return own if member is None else sum(member.group.swap(member.rank, [own] * len(member.group.devices)))

    return Gpu(CPU, guess)


def test_predictions_come_from_the_first_of_each_group():
    latents = torch.tensor([100.0])
    with together([gpu(number) for number in range(4)], 40) as predict:
        assert predict(latents, torch.tensor(1.0), (0, 1)) == {0: 200 + 0 + 1, 1: 200 + 20 + 2 + 3}
        assert predict(latents, torch.tensor(1.0), (0,)) == {0: 400 + 0 + 1 + 2 + 3}


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("prompts", [(0,), (0, 1)])
def test_it_is_told_which_gpu_failed(number, prompts):
    gpus = [gpu(n, torch.OutOfMemoryError("CUDA out of memory.\nMore.") if n == number else None) for n in range(4)]
    with together(gpus, 40) as predict, pytest.raises(GpuError, match=r"^CUDA out of memory\.$") as caught:
        predict(torch.tensor([1.0]), torch.tensor(1.0), prompts)
    assert caught.value.number == number


@pytest.mark.parametrize(("number", "error"), [(0, torch.OutOfMemoryError("full")), (2, ValueError("a mistake"))])
def test_errors_of_the_first_gpu_and_mistakes_of_any_are_raised_as_they_are(number, error):
    gpus = [gpu(n, error if n == number else None) for n in range(4)]
    with together(gpus, 40) as predict, pytest.raises(type(error), match=str(error)):
        predict(torch.tensor([1.0]), torch.tensor(1.0), (0, 1))


# --- the compiler ---


def test_no_thread_calls_what_is_compiled_while_another_compiles(monkeypatch):
    """torch may or may not refuse such calls, depending on what the compiler is doing."""
    compiling, wrong = [], []

    def backend(graph, _):
        compiling.append(1)
        threading.Event().wait(0.05)
        compiling.pop()

        def kernel(*given):
            wrong.extend(compiling)
            return graph.forward(*given)

        return kernel

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=backend))
    monkeypatch.setattr(runner, "find_spec", lambda name: object())
    monkeypatch.setattr(runner.shutil, "which", lambda name: name)
    monkeypatch.setattr(runner, "native_8bit", lambda device: False)
    weights = blocks.gather(library_block(True), [], False)
    runs = [runner.runner(torch.device("cuda"), DIM // HEADS, IMAGE_TOKENS)[0] for _ in range(3)]

    def work(number):
        for tokens in (8, 9, 10):
            for _ in range(20):
                runs[number](weights, *inputs(tokens, 1))
                threading.Event().wait(0.001 * number)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(work, range(3)))
    assert not wrong


def test_each_device_has_kernels_of_its_own_so_that_any_number_of_them_stays_below_the_compilers_limit(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    monkeypatch.setattr(runner, "find_spec", lambda name: object())
    monkeypatch.setattr(runner.shutil, "which", lambda name: name)
    monkeypatch.setattr(runner, "native_8bit", lambda device: False)
    weights = blocks.gather(library_block(True), [], False)
    # torch recompiles for another device, as for another number of the picture's tokens.
    runs = [runner.runner(torch.device("cuda"), DIM // HEADS, 1 + n)[0] for n in range(12)]
    x, context, t_mod, freqs = inputs(8, 1)
    for n, run in enumerate(runs):
        turns = freqs.real.float(), freqs.imag.float()
        plain = blocks.run(weights, x, context, t_mod, *turns, DIM // HEADS, 1 + n, False)
        assert difference(run(weights, x, context, t_mod, freqs), plain) < 1e-5
