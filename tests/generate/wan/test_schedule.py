"""The sampling schedule of each quality level."""

from contextlib import nullcontext
from importlib.util import find_spec
from itertools import pairwise
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

from ex4d.generate.runtime import sampling
from ex4d.generate.wan import video_model
from ex4d.generate.wan.quality import QUALITIES

pytestmark = pytest.mark.wan


def ignore(*_):
    """Ignore all calls."""


def sigmas_of(steps, shift):
    """Noise levels from 1 to 0: even steps s, with the ratio of noise to picture multiplied by `shift`."""
    noise_to_picture = [shift * (steps - n) / n for n in range(1, steps)]
    return (1.0, *(ratio / (1 + ratio) for ratio in noise_to_picture), 0.0)


@pytest.mark.parametrize(("steps", "shift"), [(25, 5.0), (4, 5.0), (1, 5.0), (12, 1.0), (50, 3.0)])
def test_the_generators_schedule_is_that_of_flow_matching(monkeypatch, steps, shift):
    given = schedule_of_the_generator(monkeypatch, steps=steps, shift=shift)
    assert given.sigmas == pytest.approx(sigmas_of(steps, shift), abs=1e-5)
    assert given.times.tolist() == pytest.approx([1000 * sigma for sigma in sigmas_of(steps, shift)[:-1]], abs=1e-2)
    assert all(one > two for one, two in pairwise(given.sigmas))
    assert (given.sigmas[0], given.sigmas[-1]) == (1, 0)


@pytest.mark.parametrize(("quality", "guided"), [("final", 25), ("balanced", 9), ("draft", 0)])
def test_each_quality_guides_so_many_steps(monkeypatch, quality, guided):
    level = QUALITIES[quality]
    given = schedule_of_the_generator(
        monkeypatch, steps=level.steps, guidance=level.guidance, guided=level.guided, reuse=level.reuse
    )
    assert (given.guided, given.guidance, given.reuse) == (guided, level.guidance, level.reuse)
    if 0 < guided < level.steps:
        assert f"guidance on the first {guided} of {level.steps} steps" in level.says(QUALITIES["final"])


def schedule_of_the_generator(monkeypatch, **settings):
    """The schedule that `video_model` passes to `sample`; nothing is computed."""
    library, seen = video_model.library(), []
    pipe = library.wan_video.WanVideoPipeline(device="cpu", torch_dtype=torch.float32)
    models = SimpleNamespace(pipe=SimpleNamespace(scheduler=pipe.scheduler, dit=None), device=torch.device("cpu"))
    models.dtype, models.others = torch.float32, ()
    inputs = SimpleNamespace(y=torch.zeros(1, 20, 1, 2, 2), colours=None)
    context = torch.zeros(1, 1, 1)
    monkeypatch.setattr(video_model, "_predictor", lambda *_: nullcontext())
    monkeypatch.setattr(sampling, "sample", lambda guess, latents, schedule, *_: (seen.append(schedule), 0))
    video_model._sample(
        models, inputs, video_model.Prompts(context, context), 0, video_model.Settings(**settings), ignore
    )
    return seen[0]
