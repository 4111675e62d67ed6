"""Whole shots through VACE: tiny models, but found and loaded from files like the real ones."""

import json
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

import tiny_vace as tiny

from ex4d.errors import Cancelled, InputError
from ex4d.generate.base import Request
from ex4d.generate.diffsynth import library, needs
from ex4d.generate.diffsynth.quality import AREAS
from ex4d.generate.runtime import windows
from ex4d.generate.vace import model_files, spec, video_model
from ex4d.generate.vace.settings import VaceSettings
from ex4d.generate.vace.spec import SPEC, SPEC_14B
from ex4d.progress import silent
from ex4d.render.conditioning import Conditioning
from ex4d.render.coverage import Coverage
from ex4d.storage import user_cache

pytestmark = [pytest.mark.wan, pytest.mark.filterwarnings("ignore")]  # from the libraries that read tokenizers

SAMPLE = Path(__file__).resolve().parents[3] / "sample"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder of models with the real layout, which diffsynth recognises by the hashes of their names."""
    library.library()
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
    real = windows.plan
    monkeypatch.setattr(windows, "plan", lambda count, length, stride: real(count, 9, stride, 3))
    monkeypatch.setattr(windows, "OVERLAP", 3)
    monkeypatch.setitem(AREAS, "512x512", 32 * 32)


@pytest.fixture
def model():
    """The generator, which keeps its models for the duration of a test."""
    made = SPEC.make("cpu")
    yield made
    made.unload()


def generate(model, source, seed=0, progress=silent, **settings):
    wanted = VaceSettings(**{"quality": "draft", "model_size": "512x512", "steps": 3} | settings)
    return model.generate(Request(source, None, wanted, seed), progress)


def shot(frames):
    generator = np.random.default_rng(2)
    colour = generator.integers(0, 256, (frames, 30, 46, 3), dtype=np.uint8)
    mask = np.where(generator.random((frames, 30, 46)) < 0.3, 0, 255).astype(np.uint8)
    mask[0] = 255
    seen = Coverage(np.ones(frames), np.zeros(frames), np.zeros(frames, int))
    return Conditioning(colour * (mask[..., None] > 0), mask, seen)


def stopping(at, seen):
    """Progress that stops the job when step `at` of sampling is done, and reports the steps to `seen`."""

    def progress(stage, step, steps, picture=None):
        if stage == "Sampling":
            seen.append(step)
            if step == at:
                raise Cancelled("stop")

    return progress


def test_a_shot_of_any_length_comes_back_in_its_own_size(model):
    told = []
    result = generate(model, shot(20), 3, lambda *step: told.append(step))
    assert result.frames.shape == (20, 30, 46, 3)
    assert result.frames.std() > 1
    facts = result.settings
    assert {"quality": "draft", "windows": 3, "steps": 3, "scale": 1.0, "blocks_on_gpu": 6}.items() <= facts.items()
    assert facts["predictions"] == 3 * (3 + 2)  # per window: three steps, two of them guided
    assert [step[:3] for step in told if step[0] == "Sampling"][-1] == ("Sampling", 9, 9)
    assert any("not trained on this kind of hole" in note for note in result.notes)
    assert any("3 steps instead of 50" in note for note in result.notes)
    assert not list(user_cache.folder("unfinished").iterdir())


def test_later_windows_begin_with_all_frames_that_are_finished(model, monkeypatch):
    seen, real = [], video_model.generate

    def watch(models, prepared, prompts, seed, *rest):
        seen.append((prepared, seed))
        return real(models, prepared, prompts, seed, *rest)

    monkeypatch.setattr(video_model, "generate", watch)
    generate(model, shot(15), 5)
    (one, seed_one), (two, seed_two) = seen
    assert (seed_one, seed_two) == (5, 6)
    assert [bool(mask.any()) for mask in one.mask] == [False] + [True] * 8
    assert [bool(mask.any()) for mask in two.mask] == [False] * 3 + [True] * 6


def test_the_same_seed_gives_the_same_bytes_warm_and_anew(model):
    one, two, other = (generate(model, shot(5), seed).frames.tobytes() for seed in (1, 1, 2))
    assert one == two != other
    model.unload()
    assert generate(model, shot(5), 1).frames.tobytes() == one


def test_every_setting_changes_the_video_and_is_told(model):
    base = generate(model, shot(5))
    for settings in ({"scale": 0.3}, {"guidance": 1.0}, {"reference": True}, {"prompt": "wide"}, {"steps": 2}):
        changed = generate(model, shot(5), **settings)
        assert not np.array_equal(changed.frames, base.frames), settings
        told = changed.settings | {"reference": any("reference" in note for note in changed.notes)}
        assert settings.items() <= told.items()


def test_a_prompt_is_read_once_in_a_lifetime_and_empty_is_allowed(model, monkeypatch):
    reads, real = [], library.embed_prompts
    monkeypatch.setattr(library, "embed_prompts", lambda *args: reads.append(args[1][0]) or real(*args))
    first = generate(model, shot(5))
    generate(model, shot(5), prompt="wide view")
    model.unload()
    assert generate(model, shot(5)).frames.tobytes() == first.frames.tobytes()
    assert reads == ["", "wide view"]


def test_an_interrupted_shot_goes_on_in_the_window_where_it_was(model):
    whole = generate(model, shot(15), 3, steps=7).frames
    seen = []
    for _ in range(2):
        with pytest.raises(Cancelled):
            generate(model, shot(15), 3, stopping(13, seen), steps=7)
    # The first window ends with 7; afterwards it is found, and so are five steps of the second.
    assert seen == [*range(8), *range(7, 14), 7, 12, 13]
    assert np.array_equal(generate(model, shot(15), 3, steps=7).frames, whole)


def test_out_of_memory_names_the_setting_and_the_next_job_works(model, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as patch:
        patch.setattr(video_model, "generate", full)
        said = r"^The GPU ran out of memory\. With these settings [0-9.]+ GB are needed at least: "
        for settings, advice in (
            ({"model_size": "832x480"}, r"take the model size 512x512 \([0-9.]+ GB\), or close other programs"),
            ({}, "close other programs"),
        ):
            with pytest.raises(InputError, match=said + advice):
                generate(model, shot(5), **settings)
    assert model._loaded is None
    generate(model, shot(5))


def test_what_is_missing_is_said_in_one_sentence(model, tmp_path, monkeypatch):
    assert spec.missing(model_files.SMALL, True, "cpu") == ""
    assert SPEC_14B.missing(False) == (
        "Files of the VACE 14B are missing (video model): `ex4d models` says how to get them."
    )
    monkeypatch.setattr(needs, "gpus", lambda: (10**9,))
    assert SPEC.missing(False).startswith("VACE 1.3B needs ")
    assert SPEC.missing(False).endswith(" GB of GPU memory or more, and the GPU has 1.0 GB.")
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path))
    assert "(video model, text encoder, tokenizer, VAE)" in SPEC.missing(True)
    with pytest.raises(InputError, match="ex4d models"):
        generate(model, shot(5))


def test_a_take_is_made_from_the_command_line(tree, tmp_path, monkeypatch):
    """Clip, depth, mesh, path, conditioning, the model, a take; only the GPU is missing."""
    from typer.testing import CliRunner

    from ex4d.cli.app import build_app
    from ex4d.pipeline import runtime

    real = needs.missing
    monkeypatch.setattr(needs, "missing", lambda title, parts, least, deep, device: real(title, parts, 0, deep, "cpu"))
    monkeypatch.setattr(runtime, "Runtime", partial(runtime.Runtime, "cpu"))
    out = tmp_path / "shot.mp4"
    words = f"generate --input_video {SAMPLE / 'clip.mp4'} --num_frames 9 --cam 30 --generator vace --seed 4"
    words += f" --quality draft --num_inference_steps 2 --model_size 512x512 --reference --output_video {out}"
    done = CliRunner().invoke(build_app(), [*words.split(), "--prompt", "wide view"])
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "shot.take" / "take.json").read_text())
    assert (record["generator"], record["seed"], record["is_preview"]) == ("vace", 4, False)
    assert record["settings"]["prompt"] == "wide view"
    assert not any("along the path" in note for note in record["notes"])  # the source's own first frame is known
    assert out.stat().st_size > 1000
