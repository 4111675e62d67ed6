"""Whole shots through the model: tiny models, but found and loaded from files like the real ones."""

import hashlib
import os
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

import tiny

from ex4d.errors import Cancelled, InputError
from ex4d.generate.base import Request, metadata
from ex4d.generate.diffsynth import library, needs, pictures
from ex4d.generate.diffsynth.generator import window_part
from ex4d.generate.diffsynth.quality import NEGATIVE_PROMPT
from ex4d.generate.runtime import windows
from ex4d.generate.wan import model_files, preparation, spec, video_model
from ex4d.generate.wan.quality import QUALITIES
from ex4d.generate.wan.settings import PROMPT, WanSettings
from ex4d.generate.wan.spec import SPEC
from ex4d.progress import silent
from ex4d.render.conditioning import Conditioning
from ex4d.render.coverage import Coverage
from ex4d.storage import user_cache
from ex4d.weights import store, tensors

pytestmark = [pytest.mark.wan, pytest.mark.filterwarnings("ignore")]  # from the libraries that read tokenizers


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder of models with the real layout, which diffsynth recognises by the hashes of their names."""
    video_model.library()
    from diffsynth.models import model_loader

    root = tmp_path_factory.mktemp("models")
    known = tiny.tree(root)
    model_loader.MODEL_CONFIGS.extend(known)
    yield root
    for config in known:
        model_loader.MODEL_CONFIGS.remove(config)


@pytest.fixture(autouse=True)
def machine(tree, tmp_path, monkeypatch):
    """A machine with these models, no GPU, and small windows; everything is reset afterwards."""
    monkeypatch.setenv("EX4D_MODELS", str(tree))
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(video_model, "load", partial(video_model.load, hidden=tiny.HIDDEN))
    monkeypatch.setattr(preparation, "LENGTH", 9)
    monkeypatch.setattr(windows, "plan", partial(windows.plan, overlap=3))
    monkeypatch.setitem(preparation.AREAS, "512x512", 32 * 32)


@pytest.fixture
def model():
    """The generator, which keeps its models for the duration of a test."""
    made = SPEC.make("cpu")
    yield made
    made.unload()


def generate(model, source, seed=0, quality="final", progress=silent, *, size="512x512", as_released=False, **more):
    settings = WanSettings(quality=quality, model_size=size, **more)
    return model.generate(Request(source, None, settings, seed, as_released=as_released), progress)


def shot(frames):
    generator = np.random.default_rng(2)
    colour = generator.integers(0, 256, (frames, 30, 46, 3), dtype=np.uint8)
    mask = np.where(generator.random((frames, 30, 46)) < 0.3, 0, 255).astype(np.uint8)
    mask[0] = 255
    seen = Coverage(np.ones(frames), np.zeros(frames), np.zeros(frames, int))
    return Conditioning(colour * (mask[..., None] > 0), mask, seen)


def stopping(at, seen=None):
    """Progress that stops the job when step `at` of sampling is done, and reports the steps to `seen`."""

    def progress(stage, step, steps, picture=None):
        if stage == "Sampling":
            if seen is not None:
                seen.append(step)
            if step == at:
                raise Cancelled("stop")

    return progress


def test_a_shot_of_any_length_comes_back_in_its_own_size(model):
    told = []
    result = generate(model, shot(20), 3, "draft", lambda *step: told.append(step))
    assert result.frames.shape == (20, 30, 46, 3)
    assert result.frames.std() > 1
    facts = result.settings
    assert {
        "quality": "draft",
        "windows": 3,
        "steps": 4,
        "predictions": 12,
        "blocks_on_gpu": 2,
    }.items() <= facts.items()
    assert metadata(SPEC, result)["title"] == "EX-4D Model"
    steps = [step[:3] for step in told if step[0] == "Sampling"]
    assert steps[-1] == ("Sampling", 12, 12)
    assert [step for _, step, _ in steps] == sorted(step for _, step, _ in steps)
    assert any("draft quality" in note for note in result.notes)
    assert not list((user_cache.folder("unfinished")).iterdir())


def test_later_windows_begin_with_a_finished_frame_and_see_the_condition(model, monkeypatch):
    seen, real = [], video_model.generate

    def watch(models, prepared, prompts, seed, *rest):
        made = real(models, prepared, prompts, seed, *rest)
        seen.append((prepared, seed, made.frames))
        return made

    monkeypatch.setattr(video_model, "generate", watch)
    source = shot(15)
    result = generate(model, source, 5, "draft").frames
    (one, seed_one, _), (two, seed_two, frames) = seen
    assert (seed_one, seed_two) == (5, 6)
    assert (one.sure[0] == 255).all()
    assert (two.sure[0] == 255).all()
    assert (two.sure[1] == 0).any()
    sent = ((two.colour[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    begun = pictures.resized(window_part(source, range(6, 15), result).colour[0], sent.shape[1::-1], 3)
    assert np.abs(sent.astype(int) - begun).mean() < 1
    assert np.array_equal(result[9:], pictures.all_resized(frames[3:], 46, 30))


def test_the_prompt_is_read_once_in_a_lifetime(model, monkeypatch):
    generate(model, shot(5), 0, "draft")
    monkeypatch.setattr(library, "embed_prompts", None)
    model.unload()
    generate(model, shot(5), 1, "draft")


def test_the_prompt_of_the_release_is_the_default_and_kept_under_the_name_that_it_always_had(model, tree):
    told = generate(model, shot(5), 0, "draft").settings
    assert told["prompt"] == WanSettings().prompt == PROMPT
    assert PROMPT.startswith("4K ultra HD, surround motion, realistic tone")
    texts = PROMPT, NEGATIVE_PROMPT
    name = hashlib.sha256(repr((texts, model_files.files(tree).identity_of_text())).encode()).hexdigest()[:32]
    (kept,) = user_cache.folder("prompts").iterdir()
    assert kept.name == f"{name}.safetensors"
    embedded = library.embed_prompts(model_files.files(tree), texts, "cpu")
    assert torch.equal(tensors.read_tensors(kept, "prompt")["positive"], embedded.positive)


def test_a_prompt_of_the_users_changes_the_video_and_is_read_once_in_a_lifetime(model, monkeypatch):
    reads, real = [], library.embed_prompts
    monkeypatch.setattr(library, "embed_prompts", lambda *args: reads.append(args[1]) or real(*args))
    default = generate(model, shot(5), 0, "draft")
    static = generate(model, shot(5), 0, "draft", prompt="static view")
    assert not np.array_equal(static.frames, default.frames)
    assert static.settings["prompt"] == "static view"
    model.unload()
    again = generate(model, shot(5), 0, "draft", prompt="static view")
    assert again.frames.tobytes() == static.frames.tobytes()
    assert generate(model, shot(5), 0, "draft").frames.tobytes() == default.frames.tobytes()
    assert reads == [(PROMPT, NEGATIVE_PROMPT), ("static view", NEGATIVE_PROMPT)]
    assert len(list(user_cache.folder("prompts").iterdir())) == 2


def test_an_empty_prompt_asks_for_nothing_and_is_not_the_default(model, tree):
    empty = generate(model, shot(5), 0, "draft", prompt="")
    assert empty.settings["prompt"] == ""
    assert not np.array_equal(empty.frames, generate(model, shot(5), 0, "draft").frames)
    embedded = library.embed_prompts(model_files.files(tree), ("", "static"), "cpu")
    assert not embedded.positive.any()  # this tokenizer does not end texts; the real model's leaves one token
    assert embedded.negative.any()


@pytest.mark.parametrize("change", ["another encoder", "another tokenizer", "a damaged file"])
def test_the_prompt_is_read_anew_by_another_encoder_or_where_what_was_kept_is_damaged(model, change, tree, monkeypatch):
    generate(model, shot(5), 0, "draft")
    reads, real = [], library.embed_prompts
    monkeypatch.setattr(library, "embed_prompts", lambda *args: reads.append(1) or real(*args))
    files = model_files.files(tree)
    if change == "a damaged file":
        for kept in user_cache.folder("prompts").iterdir():
            kept.write_bytes(kept.read_bytes()[:-5])
    else:
        changed = files.text_encoder if change == "another encoder" else files.tokenizer / "tokenizer.json"
        os.utime(changed, ns=(0, changed.stat().st_mtime_ns + 10**9))
    generate(model, shot(5), 1, "draft")
    assert reads == [1]
    generate(model, shot(5), 2, "draft")
    assert reads == [1]


@pytest.mark.parametrize("change", ["adapter", "precision", "prompts"])
def test_an_interrupted_shot_begins_anew_when_what_makes_it_has_changed(model, change, tree, monkeypatch):
    """All but the last step of the first window are saved; only exactly the same job may resume from there."""
    seen = []
    stop = stopping(6, seen)
    with pytest.raises(Cancelled):
        generate(model, shot(5), 3, "final", stop, steps=7)
    assert seen == [0, 1, 2, 3, 4, 5, 6]
    seen.clear()
    quality = "final"
    if change == "adapter":
        adapter = model_files.files(tree).adapter
        os.utime(adapter, ns=(0, adapter.stat().st_mtime_ns + 10**9))
    elif change == "precision":
        faster = replace(QUALITIES["final"], fp8=True)
        monkeypatch.setitem(QUALITIES, "final", faster)
    else:
        real = model._prompts
        monkeypatch.setattr(model, "_prompts", lambda *args: replace(real(*args), positive=real(*args).negative))
    with pytest.raises(Cancelled):
        generate(model, shot(5), 3, quality, stop, steps=7)
    assert seen[0] == 0
    seen.clear()
    with pytest.raises(Cancelled):
        generate(model, shot(5), 3, quality, stop, steps=7)
    assert seen == [5, 6]


def test_a_shot_whose_predictions_are_used_again_begins_anew_and_gives_the_same_bytes(model, monkeypatch):
    monkeypatch.setitem(QUALITIES, "balanced", replace(QUALITIES["balanced"], reuse=10.0))
    whole = generate(model, shot(5), 3, "balanced")
    stop = stopping(12)
    with pytest.raises(Cancelled):
        generate(model, shot(5), 3, "balanced", stop)
    again = generate(model, shot(5), 3, "balanced")
    assert again.settings["predictions"] == whole.settings["predictions"] < 25 + 9
    assert again.frames.tobytes() == whole.frames.tobytes()


def test_predictions_of_an_interrupted_shot_are_counted_from_its_beginning(model):
    stop = stopping(6)
    with pytest.raises(Cancelled):
        generate(model, shot(5), 3, "final", stop, steps=7)
    assert generate(model, shot(5), 3, "final", steps=7).settings["predictions"] == 14


def test_a_shot_that_stopped_after_its_last_window_tells_all_that_made_it(model, monkeypatch):
    whole = generate(model, shot(15), 3, "draft")
    windows_of_it = whole.settings["windows"]
    joined, real = [], windows.join

    def broken(*args):
        joined.append(1)
        if len(joined) == windows_of_it:
            raise MemoryError
        real(*args)

    monkeypatch.setattr(windows, "join", broken)
    with pytest.raises(MemoryError):
        generate(model, shot(15), 3, "draft")
    again = generate(model, shot(15), 3, "draft")
    assert (again.settings, again.notes) == (whole.settings, whole.notes)
    assert again.frames.tobytes() == whole.frames.tobytes()


def test_what_was_changed_against_final_is_told_from_the_numbers(model):
    final = QUALITIES["final"]
    assert QUALITIES["final"].says(final) == ""
    assert replace(QUALITIES["final"], steps=10).says(final) == "Made at final quality: 10 steps instead of 25."
    assert "guidance on the first 18 of 50 steps" in replace(QUALITIES["balanced"], steps=50).says(final)
    draft = QUALITIES["draft"]
    assert draft.says(final) == "Made at draft quality: 4 steps instead of 25, no guidance, 8-bit products."
    assert any("8 steps instead of 25" in note for note in generate(model, shot(5), 0, "draft", steps=8).notes)


def test_what_could_not_be_converted_is_told_with_the_result(model, tree, monkeypatch):
    real = tensors.as_safetensors

    def full(path, what):
        if what == "vae":
            raise InputError("the disk is full.")
        return real(path, what)

    monkeypatch.setattr(tensors, "as_safetensors", full)
    result = generate(model, shot(5), 0, "draft")
    assert any("is used as it is, which loads more slowly: the disk is full" in note for note in result.notes)


def test_models_stay_warm_until_they_are_unloaded_or_another_quality_needs_others(model, monkeypatch):
    loads, real = [], video_model.load
    monkeypatch.setattr(video_model, "load", lambda *args, **more: loads.append(args[1]) or real(*args, **more))
    generate(model, shot(5), 0, "draft")
    generate(model, shot(5), 1, "draft")
    assert loads == ["fast"]
    generate(model, shot(5), 1, "final", steps=1)
    assert loads == ["fast", "reference"]
    model.unload()
    generate(model, shot(5), 1, "final", steps=1)
    assert loads == ["fast", "reference", "reference"]


def test_the_same_seed_gives_the_same_bytes(model):
    one, two, other = (generate(model, shot(5), seed, "final", steps=2).frames.tobytes() for seed in (1, 1, 2))
    assert one == two
    assert one != other


def test_an_interrupted_shot_goes_on_in_the_window_where_it_was(model):
    whole = generate(model, shot(15), 3, "draft").frames
    seen = []
    stop = stopping(6, seen)
    with pytest.raises(Cancelled):
        generate(model, shot(15), 3, "draft", stop)
    kept = list(user_cache.folder("unfinished").iterdir())
    assert len(kept) == 1  # the frames of the first window
    seen.clear()
    with pytest.raises(Cancelled):
        generate(model, shot(15), 3, "draft", stop)
    assert seen == [4, 4, 5, 6]
    assert np.array_equal(generate(model, shot(15), 3, "draft").frames, whole)


def test_as_released_squeezes_and_makes_at_most_49_frames(model, monkeypatch):
    monkeypatch.setattr(preparation, "RELEASE_SIZE", (32, 32))
    real = preparation.as_released
    monkeypatch.setattr(preparation, "as_released", partial(real, frames=9, size=(32, 32)))
    result = generate(model, shot(11), 0, "draft", as_released=True)
    assert result.frames.shape == (9, 32, 32, 3)
    assert any("Only 9 of 11 frames" in note for note in result.notes)


def test_a_distilled_lora_changes_drafts_and_says_so(model, tree):
    plain = generate(model, shot(5), 0, "draft")
    place = tree / model_files.DISTILLED / "fast.safetensors"
    place.parent.mkdir()
    from safetensors.torch import save_file

    lora = {
        f"diffusion_model.blocks.0.self_attn.q.lora_{part}.weight": torch.randn(shape) / 3
        for part, shape in (("down", (4, 96)), ("up", (96, 4)))
    }
    try:
        save_file({**lora, "diffusion_model.blocks.0.self_attn.q.diff_b": torch.zeros(96)}, place)
        changed = generate(model, shot(5), 0, "draft")
        assert not np.array_equal(plain.frames, changed.frames)
        notes = " ".join(changed.notes)
        assert "fast.safetensors changes 1 layers; 1 of its tensors are not part of a LoRA and were left out" in notes
        assert not any("fast" in note for note in generate(model, shot(5), 0, "final", steps=1).notes)
        save_file({name.replace("blocks.0", "blocks.7"): part for name, part in lora.items()}, place)
        with pytest.raises(InputError, match=r"does not fit Wan2\.1-I2V-14B \(layer blocks\.7\.self_attn\.q\)"):
            generate(model, shot(5), 0, "draft")
    finally:
        place.unlink()
        place.parent.rmdir()


def test_files_are_converted_once_and_random_weights_say_so(model, tree):
    mark = tree / store.RANDOM
    mark.touch()
    try:
        result = generate(model, shot(5), 0, "draft")
    finally:
        mark.unlink()
    assert any("random weights" in note for note in result.notes)
    there = model_files.files(tree)
    assert there.vae.suffix == ".pth"
    converted = there.vae.with_suffix(".safetensors")
    before = converted.stat().st_mtime_ns
    model.unload()
    generate(model, shot(5), 0, "draft")
    assert converted.stat().st_mtime_ns == before
    assert not there.text_encoder.with_suffix(".safetensors").exists()


def test_out_of_memory_names_the_setting_and_the_next_job_works(model, monkeypatch):
    real = video_model.generate

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(video_model, "generate", full)
    said = r"^The GPU ran out of memory\. With these settings [0-9.]+ GB are needed at least: "
    with pytest.raises(InputError, match=said + r"take balanced or draft quality \([0-9.]+ GB\), or close other"):
        generate(model, shot(5), 0, "final")
    with pytest.raises(InputError, match=said + "close other programs"):
        generate(model, shot(5), 0, "draft")
    with pytest.raises(InputError, match=said + r"take the model size 512x512 \([0-9.]+ GB\), or close"):
        generate(model, shot(5), 0, "draft", size="832x480")
    assert model._loaded is None
    monkeypatch.setattr(video_model, "generate", real)
    generate(model, shot(5), 0, "draft")


def test_what_is_missing_is_said_in_one_sentence(model, tmp_path, monkeypatch):
    assert spec.missing(True, "cpu") == ""
    if not torch.cuda.is_available():
        assert "needs an NVIDIA GPU" in SPEC.missing(True)
        monkeypatch.setattr(needs, "gpus", lambda: (8 * 10**9,))
        assert SPEC.missing(False) == ""
        assert "a build of torch that can use the GPU" in SPEC.missing(True)
        with pytest.raises(InputError, match="a build of torch that can use the GPU"):
            generate(SPEC.make("cuda:1"), shot(5))
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path))
    lacking = "missing (video model, text encoder, tokenizer, image encoder, VAE, EX-4D adapter)"
    assert lacking in SPEC.missing(True)
    with pytest.raises(InputError, match="ex4d models"):
        generate(model, shot(5))


def test_two_generators_hold_their_own_models_and_give_the_same_bytes(model):
    other = SPEC.make("cpu")
    one, two = (generate(each, shot(5), 1, "draft").frames for each in (model, other))
    assert one.tobytes() == two.tobytes()
    model.unload()
    assert model._loaded is None
    assert other._loaded is not None
    other.unload()


def test_a_generator_that_has_loaded_nothing_can_be_unloaded():
    SPEC.make("cuda:1").unload()
    SPEC.make("cpu").unload()


@pytest.mark.gpu
def test_the_last_gpu_is_used_where_it_is_named_and_no_other(tree):
    number = torch.cuda.device_count() - 1
    before = [torch.cuda.memory_allocated(n) for n in range(number)]
    made = SPEC.make(f"cuda:{number}")
    assert generate(made, shot(5), 0, "draft").frames.std() > 1
    assert torch.cuda.max_memory_allocated(number) > 0
    assert [torch.cuda.memory_allocated(n) for n in range(number)] == before
    assert [torch.cuda.max_memory_allocated(n) for n in range(number)] == before
    made.unload()
