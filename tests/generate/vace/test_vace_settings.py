"""What there is to know about VACE without torch: settings, files, memory."""

import pytest

from ex4d.errors import InputError
from ex4d.generate import registry
from ex4d.generate.diffsynth import parts
from ex4d.generate.vace.model_files import LARGE, SMALL
from ex4d.generate.vace.quality import QUALITIES
from ex4d.generate.vace.settings import VaceSettings
from ex4d.generate.vace.spec import SPEC, SPEC_14B
from ex4d.schema import build, describe


def test_they_keep_their_order_and_the_names_of_their_options():
    told = {setting.name: setting for setting in describe(SPEC.settings)}
    assert list(told) == [
        *("quality", "model_size", "window", "steps", "guidance", "scale", "reference", "prompt", "negative_prompt")
    ]
    assert told["steps"].flag == "--num_inference_steps"
    assert [choice.value for choice in told["quality"].choices] == list(QUALITIES) == ["final", "balanced", "draft"]
    assert [choice.value for choice in told["window"].choices] == ["49", "81"]
    assert told["prompt"].default == ""


def test_values_that_make_no_sense_are_refused():
    for wrong in ({"window": "50"}, {"scale": -1.0}, {"guidance": 0.5}, {"quality": "best"}, {"steps": 0}):
        with pytest.raises(InputError):
            build(VaceSettings, wrong)
    assert build(VaceSettings, {"prompt": ""}).prompt == ""


def test_it_comes_before_previews_and_the_large_one_first():
    known = registry.generators()
    assert (known["vace"], known["vace-14b"]) == (SPEC, SPEC_14B)
    names = [name for name in known if name in ("vace", "vace-14b", "preview")]
    assert names == ["vace-14b", "vace", "preview"]


@pytest.mark.parametrize(("model", "gigabytes"), [(SMALL, 19.0), (LARGE, 75.2)])
def test_all_files_are_pinned(model, gigabytes):
    assert all(part.revision for part in model.parts)
    assert all(len(part.sha256) == len(part.files) for part in model.parts)
    assert round(sum(part.gigabytes for part in model.parts), 1) == gigabytes
    assert {parts.TEXT_ENCODER, parts.TOKENIZER, parts.VAE} < set(model.parts)


def test_the_memory_that_it_needs_follows_from_its_settings():
    def memory(spec, **settings):
        return spec.memory(VaceSettings(**settings))

    assert memory(SPEC).least < 6, "832x480 with 81 frames at final quality runs in 6 GB"
    assert memory(SPEC, model_size="512x512", quality="draft").least < 4
    assert memory(SPEC, model_size="512x512").least < memory(SPEC).least
    assert memory(SPEC, quality="draft").best < memory(SPEC).best
    assert memory(SPEC_14B, window="49").least < memory(SPEC_14B).least < 16
    assert memory(SPEC_14B).best > 40
