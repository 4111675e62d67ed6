"""What is known about VACE without torch: settings, files, memory."""

import pytest

from ex4d.cli.models import fetch_commands
from ex4d.errors import InputError
from ex4d.generate import registry
from ex4d.generate.diffsynth import files as common
from ex4d.generate.vace import model_files
from ex4d.generate.vace.model_files import LARGE, SMALL
from ex4d.generate.vace.quality import QUALITIES
from ex4d.generate.vace.settings import VaceSettings
from ex4d.generate.vace.spec import SPEC, SPEC_14B
from ex4d.schema import build, describe
from ex4d.weights import store


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
    assert [part.name for part in model.shared] == ["text encoder", "tokenizer", "VAE"]
    assert {part.folder for part in model.parts} == {model.video_model.folder}


def test_the_memory_that_it_needs_follows_from_its_settings():
    def memory(spec, **settings):
        return spec.memory(VaceSettings(**settings))

    assert memory(SPEC).least < 6, "832x480 with 81 frames at final quality runs in 6 GB"
    assert memory(SPEC, model_size="512x512", quality="draft").least < 4
    assert memory(SPEC, model_size="512x512").least < memory(SPEC).least
    assert memory(SPEC, quality="draft").best < memory(SPEC).best
    assert memory(SPEC_14B, window="49").least < memory(SPEC_14B).least < 16
    assert memory(SPEC_14B).best > 40


def put(root, folder, *parts):
    """Put files of parts into the folder of a repository; their content does not matter here."""
    for part in parts:
        for file in part.files:
            place = root / folder / part.inside(file)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"x")


def test_text_encoder_tokenizer_and_vae_are_taken_from_the_own_folder_and_else_from_another_models(tmp_path):
    own, other = "Wan2.1-VACE-1.3B", "Wan2.1-I2V-14B-480P"
    put(tmp_path, own, SMALL.video_model)
    assert common.lacking("VACE", SMALL.parts, tmp_path).startswith(
        "Files of the VACE are missing (text encoder, tokenizer, VAE)"
    )
    put(tmp_path, other, *SMALL.shared)
    found = model_files.files(SMALL, tmp_path)
    assert found.vae == tmp_path / other / "Wan2.1_VAE.pth"
    assert found.text_encoder == tmp_path / other / "models_t5_umt5-xxl-enc-bf16.pth"
    assert found.tokenizer == tmp_path / other / "google" / "umt5-xxl"
    put(tmp_path, own, SMALL.shared.vae, SMALL.shared.tokenizer)
    found = model_files.files(SMALL, tmp_path)
    assert (found.vae, found.tokenizer) == (
        tmp_path / own / "Wan2.1_VAE.pth",
        tmp_path / own / "google" / "umt5-xxl",
    )
    assert found.text_encoder == tmp_path / other / "models_t5_umt5-xxl-enc-bf16.pth"


def test_half_of_a_tokenizer_does_not_hide_a_whole_one_elsewhere(tmp_path):
    tokenizer = SMALL.shared.tokenizer
    put(tmp_path, "Wan2.1-VACE-14B", tokenizer)
    half = tmp_path / tokenizer.files[0]
    half.parent.mkdir(parents=True)
    half.write_bytes(b"x")
    assert [place.parents[2].name for place in store.places(tokenizer, tmp_path)] == ["Wan2.1-VACE-14B"] * 2


def test_what_another_model_has_is_not_fetched_again_and_else_comes_into_the_own_folder(tmp_path):
    wanted = store.listing("vace", SMALL.parts, tmp_path).wanted
    assert {part.hub for part in wanted} == {"Wan-AI/Wan2.1-VACE-1.3B"}
    (command,) = fetch_commands(wanted, tmp_path)
    assert command.endswith(f'--local-dir "{tmp_path / "Wan2.1-VACE-1.3B"}"')
    assert "google/umt5-xxl/tokenizer.json" in command
    vocabulary = tmp_path / "Wan2.1-I2V-14B-480P" / "google" / "umt5-xxl"
    vocabulary.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (vocabulary / name).write_text("{}")
    assert SMALL.shared.tokenizer not in store.listing("vace", SMALL.parts, tmp_path).wanted
    if store.Package("huggingface_hub").is_there:
        assert store.fetch(SMALL.shared.tokenizer, tmp_path)[0] == vocabulary / "tokenizer.json"
