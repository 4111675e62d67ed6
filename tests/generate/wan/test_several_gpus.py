"""One video on several GPUs: the two predictions of a guided step at once, and the tokens of each prediction split.

Here copies on the CPU stand in for GPUs, each in its own thread; `benchmarks/several_gpus.py` uses real ones.
"""

import threading
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")

import tiny
from test_video_model import adapter
from test_video_model import shot as prepared_shot  # noqa: F401 - a fixture
from test_wan_generator import generate, machine, shot, tree  # noqa: F401 - fixtures

from ex4d.errors import InputError
from ex4d.generate.diffsynth import video_model as common
from ex4d.generate.runtime import sequence_parallel, several_gpus
from ex4d.generate.wan import video_model
from ex4d.generate.wan.quality import QUALITIES
from ex4d.generate.wan.spec import SPEC
from ex4d.progress import silent

pytestmark = [pytest.mark.wan, pytest.mark.filterwarnings("ignore")]  # from the libraries that read tokenizers

FEW = {"steps": 2}


@pytest.fixture(autouse=True)
def any_number(monkeypatch):
    """Lift the limit on GPUs per prediction."""
    monkeypatch.setattr(several_gpus, "MOST_PER_PREDICTION", 100)


@pytest.fixture
def on():
    """on(n): the generator with n devices."""
    made = []

    def make(count):
        made.append(SPEC.make(",".join(["cpu"] * count)))
        return made[-1]

    yield make
    for each in made:
        each.unload()


def furthest(one, two):
    """Largest difference of any value of any pixel, of 255."""
    return int(np.abs(one.frames.astype(int) - two.frames).max())


def watched(monkeypatch, act=lambda count: None):
    """Record (prompt, rank in its group or None, thread, model, time) of each prediction as it begins.

    `act` is called with the number of predictions begun.
    """
    made, real = [], common._guess_there

    def there(models, predict, prompts):
        work = real(models, predict, prompts)

        def watch(latents, time, prompt, member):
            thread = threading.current_thread()
            made.append((prompt, member and member.rank, thread.name, id(models.pipe.dit), float(time)))
            act(made)
            return work(latents, time, prompt, member)

        return watch

    monkeypatch.setattr(common, "_guess_there", there)
    return made


def test_two_give_the_same_bytes_as_one_where_each_step_is_guided_and_say_that_they_were_two(on):
    one, two = generate(on(1), shot(20), 3), generate(on(2), shot(20), 3)
    assert one.frames.tobytes() == two.frames.tobytes()
    assert (one.settings | {"gpus": 2}) == two.settings
    assert one.notes == two.notes


@pytest.mark.parametrize(("count", "guidance"), [(2, 1.0), (3, 1.0), (4, 1.0), (4, 5.0)])
def test_in_float32_any_number_computes_what_one_computes(prepared_shot, count, guidance):  # noqa: F811
    first, *others = (video_model.assemble(tiny.pipeline(), adapter(), "reference") for _ in range(count))
    settings = video_model.Settings(steps=3, guidance=guidance)

    @torch.no_grad()
    def latents(models):
        inputs = video_model._encode(models, prepared_shot, silent)
        return video_model._sample(models, inputs, tiny.prompts(), 7, settings, silent)[0]

    one, several = latents(first), latents(replace(first, others=tuple(others)))
    assert float((several - one).norm() / one.norm()) < 1e-5


@pytest.mark.parametrize(
    ("count", "quality"), [(2, "draft"), (3, "draft"), (4, "draft"), (4, "final"), (3, "balanced")]
)
def test_any_number_makes_the_video_that_one_makes(on, count, quality, monkeypatch):
    monkeypatch.setitem(QUALITIES, "balanced", QUALITIES["balanced"].__class__("balanced", 4, 5.0, 0.5, 0.0, True))
    source, more = shot(20), {} if quality == "draft" else {"hold": True}
    one = generate(on(1), source, 3, quality, **more)
    several = generate(on(count), source, 3, quality, **more)
    assert furthest(one, several) <= 1
    assert (one.settings | {"gpus": count}) == several.settings
    assert one.settings["windows"] == 3
    assert one.notes == several.notes


def test_each_prediction_of_a_guided_step_has_half_of_the_gpus_and_a_single_one_has_all(on, monkeypatch):
    monkeypatch.setitem(QUALITIES, "balanced", QUALITIES["balanced"].__class__("balanced", 2, 5.0, 0.5, 0.0, True))
    made = watched(monkeypatch)
    generate(on(4), shot(5), quality="balanced")
    first, second = (
        sorted(each[:3] for each in made if each[4] == time) for time in sorted({m[4] for m in made})[::-1]
    )
    main = threading.main_thread().name
    assert first == [(0, 0, main), (0, 1, "gpu-1_0"), (1, 0, "gpu-2_0"), (1, 1, "gpu-3_0")]
    assert second == [(0, 0, main), (0, 1, "gpu-1_0"), (0, 2, "gpu-2_0"), (0, 3, "gpu-3_0")]
    assert len({model for *_, model, _ in made}) == 4


def test_two_have_a_prediction_each_where_a_step_is_guided(on, monkeypatch):
    made = watched(monkeypatch)
    generate(on(2), shot(5), **FEW)
    assert {each[:3] for each in made} == {(0, None, threading.main_thread().name), (1, None, "gpu-1_0")}


def test_one_of_an_odd_number_has_nothing_to_do_where_all_steps_are_guided_and_that_is_said(on, monkeypatch):
    three = on(3)
    made = generate(three, shot(5), **FEW)
    assert any(note.startswith("2 of 3 GPUs made this video, as many as its steps can use") for note in made.notes)
    assert made.settings["gpus"] == 2
    assert list(three._helpers) == [1], "the third holds nothing"


def test_no_more_than_two_make_one_prediction_and_those_without_work_are_not_loaded(on, monkeypatch):
    monkeypatch.undo()  # both `any_number`'s and the machine's
    balanced = video_model.Settings(steps=25, guided=0.36)
    final, draft = video_model.Settings(), video_model.Settings(steps=4, guidance=1.0)
    found = {n: [on(1)._useful_gpus(each, n) for each in (final, balanced, draft)] for n in (2, 3, 4, 5, 8)}
    assert found == {2: [2, 2, 2], 3: [2, 2, 2], 4: [4, 4, 2], 5: [4, 4, 2], 8: [4, 4, 2]}


def test_where_another_gpu_has_no_room_the_rest_make_the_video_and_say_so(on, monkeypatch):
    three, real, asked = on(3), video_model.load, []

    def load(*arguments, **options):
        asked.append(arguments)
        if len(asked) == 2:
            raise InputError("The GPU is too small.")
        return real(*arguments, **options)

    monkeypatch.setattr(video_model, "load", load)
    made = generate(three, shot(5), 1, "draft")
    assert "GPU 2 of 3 could not take part (The GPU is too small.): this take was made without it." in made.notes
    assert made.settings["gpus"] == 2
    assert furthest(made, generate(on(1), shot(5), 1, "draft")) <= 1
    assert generate(three, shot(5), 1, "draft").settings["gpus"] == 3, "the next job asks it again"


@pytest.mark.parametrize("count", [2, 4])
def test_where_another_gpu_fails_midway_the_rest_go_on_from_the_last_kept_step(on, monkeypatch, count):
    expected = generate(on(1), shot(20), 3, steps=12)
    several = on(count)

    def fail(made):
        if threading.current_thread().name == "gpu-1_0" and sum(each[2] == "gpu-1_0" for each in made) == 8:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate much.")

    made, told = watched(monkeypatch, fail), []
    got = generate(several, shot(20), 3, steps=12, progress=lambda stage, step, *_: told.append((stage, step)))
    assert furthest(got, expected) <= (0 if count == 2 else 1)
    assert f"GPU 2 of {count} could not take part (CUDA out of memory.): this take was made without it." in got.notes
    sampling = [step for stage, step in told if stage == "Sampling"]
    assert sampling[:10] == [0, 1, 2, 3, 4, 5, 6, 7, 5, 6], "the eighth step failed, and the fifth was kept"
    assert 1 not in several._helpers
    assert got.settings.get("gpus") == (None if count == 2 else 3), "it is not asked again, in later windows either"
    assert generate(several, shot(5), 3, steps=2).settings["gpus"] == count, "the next job asks it again"
    assert made


def test_the_first_gpus_own_error_is_raised_as_it_is(on, monkeypatch):
    def fail(made):
        if threading.current_thread() is threading.main_thread():
            raise ZeroDivisionError("of the first")

    watched(monkeypatch, fail)
    with pytest.raises(ZeroDivisionError, match="of the first"):
        generate(on(4), shot(5), **FEW)


def test_a_gpu_that_fails_within_a_block_keeps_nobody_waiting(on, monkeypatch):
    expected = generate(on(1), shot(5), 3, "draft")
    real, failed = sequence_parallel.Member.attention, []

    def attention(member, qkv):
        if threading.current_thread().name == "gpu-2_0" and not failed:
            failed.append(member.rank)
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return real(member, qkv)

    monkeypatch.setattr(sequence_parallel.Member, "attention", attention)
    got = generate(on(4), shot(5), 3, "draft")
    assert failed == [2]
    assert furthest(got, expected) <= 1
    assert got.settings["gpus"] == 3
    note = (
        "GPU 3 of 4 could not take part (CUDA error: an illegal memory access was encountered): this take was made"
        " without it."
    )
    assert note in got.notes


def test_a_gpu_that_cannot_even_begin_is_left_out(on, monkeypatch):
    real, asked = video_model.camera_latent, []

    def camera_latent(dit, latent):
        asked.append(dit)
        if len(asked) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return real(dit, latent)

    monkeypatch.setattr(video_model, "camera_latent", camera_latent)
    got = generate(on(3), shot(5), 3, "draft")
    assert furthest(got, generate(on(1), shot(5), 3, "draft")) <= 1
    assert "GPU 2 of 3 could not take part (CUDA out of memory.): this take was made without it." in got.notes
    assert got.settings["gpus"] == 2
