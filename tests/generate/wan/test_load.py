from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

import tiny

from ex4d.errors import InputError
from ex4d.generate.diffsynth.library import embed_prompts
from ex4d.generate.wan import video_model
from ex4d.generate.wan.preparation import Prepared

pytestmark = pytest.mark.wan


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Files of tiny models that diffsynth recognises, like the real ones, by the hash of their names."""
    video_model.library()
    from diffsynth.models import model_loader

    made, known = tiny.files(tmp_path_factory.mktemp("models"))
    model_loader.MODEL_CONFIGS.extend(known)
    yield made
    for config in known:
        model_loader.MODEL_CONFIGS.remove(config)


@pytest.mark.filterwarnings("ignore")  # from the libraries that read tokenizers
def test_files_become_a_video(files, capsys):
    models = video_model.load(files, device="cpu", hidden=tiny.HIDDEN)
    assert models.dtype == torch.bfloat16
    assert models.pipe.dit.head.head.weight.dtype == torch.float32
    settings = video_model.Settings(steps=2, prompt="wide view", negative_prompt="static")
    prompts = embed_prompts(files, ("wide view", "static"), "cpu")
    assert prompts.positive.shape == (1, 512, tiny.TEXT)
    words = [int(p[0].abs().sum(-1).count_nonzero()) for p in (prompts.positive, prompts.negative)]
    assert words == [2, 1]  # everything after the prompt is zero
    colour, sure = torch.rand(5, 3, 32, 32) * 2 - 1, np.full((5, 32, 32), 255, np.uint8)
    shot = Prepared(colour, torch.ones(5, 32, 32), sure, 5)
    assert video_model.generate(models, shot, prompts, 0, settings).frames.shape == (5, 32, 32, 3)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("which", ["vae", "dit", "adapter"])
def test_a_missing_file_is_named(files, tmp_path, which):
    gone = tmp_path / "gone.safetensors"
    with pytest.raises(InputError, match=r"There is no .*gone\.safetensors"):
        video_model.load(
            replace(files, **{which: (gone,) if which == "dit" else gone}), device="cpu", hidden=tiny.HIDDEN
        )


def test_a_file_that_was_cut_off_is_named(files, tmp_path):
    for path in (files.dit[1], files.vae):
        cut = tmp_path / path.name
        cut.write_bytes(path.read_bytes()[:-100])
        changed = {"dit": (files.dit[0], cut)} if path == files.dit[1] else {"vae": cut}
        with pytest.raises(InputError, match=rf"{path.name} cannot be read .*truncated"):
            video_model.load(replace(files, **changed), device="cpu", hidden=tiny.HIDDEN)


def test_a_tokenizer_that_was_cut_off_is_named(files, tmp_path):
    for path in files.tokenizer.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"The tokenizer file .*json cannot be read"):
        embed_prompts(replace(files, tokenizer=tmp_path), ("wide", "static"), "cpu")


def test_another_model_is_refused(files):
    with pytest.raises(InputError, match=r"does not know the model in .*dit-1\.safetensors"):
        video_model.load(replace(files, dit=files.dit[:1]), device="cpu", hidden=tiny.HIDDEN)
    with pytest.raises(InputError, match="is a vae that diffsynth knows"):
        video_model.load(replace(files, vae=files.image_encoder), device="cpu", hidden=tiny.HIDDEN)
    with pytest.raises(InputError, match=r"In the adapter .* has the shape"):
        video_model.load(files, device="cpu", hidden=tiny.HIDDEN + 1)
