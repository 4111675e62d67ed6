"""VACE on several GPUs: control blocks split their tokens like the others. Copies on the CPU stand in for GPUs."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")

import tiny_vace as tiny
from test_vace_generator import generate, machine, tree  # noqa: F401 - fixtures
from test_vace_generator import shot as source
from test_vace_video_model import SHORT, shot

from ex4d.generate.runtime import sequence_parallel, several_gpus
from ex4d.generate.vace import video_model
from ex4d.generate.vace.spec import SPEC
from ex4d.progress import silent

pytestmark = [pytest.mark.wan, pytest.mark.filterwarnings("ignore")]  # from the libraries that read tokenizers


@pytest.fixture(autouse=True)
def any_number(monkeypatch):
    """Lift the limit on GPUs per prediction."""
    monkeypatch.setattr(several_gpus, "MOST_PER_PREDICTION", 100)


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize(("count", "guidance"), [(2, 1.0), (3, 1.0), (4, 5.0)])
def test_any_number_computes_what_one_computes(count, guidance, reference):
    prepared, settings, prompts = shot(reference), replace(SHORT, guidance=guidance), tiny.prompts()
    first, *others = (video_model.assemble(tiny.pipeline(), "reference") for _ in range(count))

    @torch.no_grad()
    def latents(models):
        given = video_model._encode(models, prepared, silent)
        return video_model._sample(models, prepared, *given, prompts, 3, settings, silent)

    one, asked = latents(first)
    several, asked_too = latents(replace(first, others=tuple(others)))
    assert float((several - one).norm() / one.norm()) < 1e-5
    assert asked == asked_too


@pytest.mark.parametrize("count", [2, 4])
def test_a_shot_is_made_by_all_of_them(count, monkeypatch):
    members, real = set(), sequence_parallel.Member.attention

    def attention(member, qkv):
        members.add(len(member.group.devices))
        return real(member, qkv)

    monkeypatch.setattr(sequence_parallel.Member, "attention", attention)
    one, several = SPEC.make("cpu"), SPEC.make(",".join(["cpu"] * count))
    expected, made = generate(one, source(20), 3), generate(several, source(20), 3)
    one.unload()
    several.unload()
    # In bfloat16, sums in another order are rounded differently.
    assert np.abs(made.frames.astype(int) - expected.frames).mean() < 1
    assert (expected.settings | {"gpus": count}) == made.settings
    assert members == {2, count}, "the last of three steps is not guided"
