"""One video on two GPUs: each makes one of the two predictions of a guided step. Here two copies on the CPU stand for
them; `benchmarks/two_gpus.py` does it on true ones."""

import threading

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")

from test_wan_generator import generate, machine, shot, tree  # noqa: F401 - fixtures

from ex4d.errors import InputError
from ex4d.generate.diffsynth import video_model as common
from ex4d.generate.wan import video_model
from ex4d.generate.wan.spec import SPEC

pytestmark = [pytest.mark.wan, pytest.mark.filterwarnings("ignore")]  # of the libraries that read tokenizers


@pytest.fixture
def pair():
    """The generator with two devices."""
    made = SPEC.make("cpu,cpu")
    yield made
    made.unload()


@pytest.fixture
def alone():
    """The generator with one."""
    made = SPEC.make("cpu")
    yield made
    made.unload()


def test_two_give_the_same_bytes_as_one_and_say_that_they_were_two(alone, pair):
    one, two = generate(alone, shot(20), 3), generate(pair, shot(20), 3)
    assert one.frames.tobytes() == two.frames.tobytes()
    assert (one.settings | {"gpus": 2}) == two.settings
    assert one.notes == two.notes


def test_predictions_of_a_guided_step_are_made_by_two_models_in_two_threads(pair, monkeypatch):
    made, real = set(), common._guess

    def watched(models, predict, prompts):
        guess = real(models, predict, prompts)

        def watch(latents, time, prompt):
            made.add((prompt, id(models.pipe.dit), threading.current_thread() is threading.main_thread()))
            return guess(latents, time, prompt)

        return watch

    monkeypatch.setattr(common, "_guess", watched)
    generate(pair, shot(5))
    assert {(prompt, is_main) for prompt, _, is_main in made} == {(0, True), (1, False)}
    assert len({model for _, model, _ in made}) == 2


def test_without_guidance_the_second_gpu_holds_nothing(pair):
    made = generate(pair, shot(5), quality="draft")
    assert "gpus" not in made.settings
    assert pair._beside is None


def test_where_the_second_gpu_has_no_room_the_first_makes_the_video_alone_and_says_so(alone, pair, monkeypatch):
    real, asked = video_model.load, []

    def load(*arguments, **options):
        asked.append(arguments)
        if len(asked) == 2:
            raise InputError("The GPU is too small.")
        return real(*arguments, **options)

    monkeypatch.setattr(video_model, "load", load)
    made = generate(pair, shot(5), 1)
    assert "The second GPU could not help (The GPU is too small.), so the first one made the video alone." in made.notes
    assert "gpus" not in made.settings
    assert made.frames.tobytes() == generate(alone, shot(5), 1).frames.tobytes()
    assert generate(pair, shot(5), 1).settings["gpus"] == 2, "the next job asks it again"


def test_where_the_second_gpu_fails_midway_the_first_goes_on_from_the_last_kept_step(alone, pair, monkeypatch):
    expected = generate(alone, shot(20), 3, steps=12)
    real, made = common._guess_beside, []

    def failing(models, beside, predict, prompts, thread):
        begin = real(models, beside, predict, prompts, thread)

        def fail():
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate much.")

        def begin_or_fail(latents, time, prompt):
            made.append(prompt)
            return fail if len(made) == 8 else begin(latents, time, prompt)

        return begin_or_fail

    monkeypatch.setattr(common, "_guess_beside", failing)
    told = []
    got = generate(pair, shot(20), 3, steps=12, progress=lambda stage, step, *_: told.append((stage, step)))
    assert got.frames.tobytes() == expected.frames.tobytes()
    assert "The second GPU could not help (CUDA out of memory.), so the first one made the video alone." in got.notes
    sampling = [step for stage, step in told if stage == "Sampling"]
    assert sampling[:10] == [0, 1, 2, 3, 4, 5, 6, 7, 5, 6], "the eighth step failed, and the fifth was kept"
    assert len(made) == 8, "it is not asked again, in later windows either"
    assert pair._beside is None
    assert generate(pair, shot(5), 3, steps=2).settings["gpus"] == 2, "the next job asks it again"
