"""The benchmarks' random weights: published names and shapes, and values that a model can compute with."""

import sys
from importlib.util import find_spec
from math import prod
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

import tiny

from ex4d.generate.diffsynth import video_model as common
from ex4d.generate.diffsynth.files import converted
from ex4d.generate.diffsynth.library import embed_prompts
from ex4d.generate.wan import model_files, video_model
from ex4d.generate.wan.adapter import Adapter
from ex4d.generate.wan.preparation import Prepared
from ex4d.progress import silent
from ex4d.weights import store

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import random_weights

pytestmark = pytest.mark.wan


@pytest.fixture(scope="module")
def shapes():
    return random_weights.shapes()


@pytest.mark.parametrize("part", [part for part in model_files.PARTS if part.keys], ids=lambda part: part.name)
def test_the_model_classes_have_the_names_and_shapes_of_the_published_files(shapes, part):
    assert store.key_hash(shapes[part]) == part.keys


def test_the_hash_is_the_one_that_diffsynth_knows_the_file_by():
    video_model.library()
    from diffsynth.configs import MODEL_CONFIGS

    known = {config["model_hash"]: config["model_name"] for config in MODEL_CONFIGS}
    assert [known[part.keys] for part in model_files.PARTS if part.keys] == [
        "wan_video_dit",
        "wan_video_text_encoder",
        "wan_video_image_encoder",
        "wan_video_vae",
    ]


def test_our_hash_is_diffsynths_for_one_file_and_for_several(tmp_path):
    video_model.library()
    from diffsynth.core.loader.file import hash_model_file
    from safetensors.torch import save_file

    one, other = {"b.weight": torch.zeros(2, 3), "a": torch.zeros(())}, {"a1": torch.zeros(4)}
    paths = [tmp_path / "x.pth", tmp_path / "x.safetensors", tmp_path / "y.safetensors"]
    torch.save(one, paths[0])
    save_file(one, paths[1])
    save_file(other, paths[2])
    expected = store.key_hash({name: tuple(tensor.shape) for name, tensor in one.items()})
    assert hash_model_file(str(paths[0])) == hash_model_file(str(paths[1])) == expected
    both = store.key_hash({name: tuple(tensor.shape) for name, tensor in (one | other).items()})
    assert hash_model_file([str(paths[1]), str(paths[2])]) == both


def test_the_random_adapter_has_the_size_of_the_released_one(shapes):
    sizes = shapes[model_files.EX4D]
    parts = {"latent": 0, "blocks": 0}
    for name, size in sizes.items():
        parts[name[:6]] += prod(size)
    assert {name: round(count / 1e6, 2) for name, count in parts.items()} == {"latent": 23.11, "blocks": 76.68}
    assert len(sizes) == 2 * 400 + 8


def test_what_goes_through_random_weights_stays_of_order_one():
    """Few channels, but filled like the full size."""
    pipe = tiny.pipeline()
    for seed, model in enumerate((pipe.dit, pipe.vae, pipe.image_encoder)):
        sizes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        model.load_state_dict(dict(random_weights.weights(sizes, torch.float32, seed)))
    sizes = {name: tuple(tensor.shape) for name, tensor in tiny.adapter_tensors().items()}
    tensors = dict(random_weights.weights(sizes, torch.float32, 4))
    encoder = {name: tensor for name, tensor in tensors.items() if name.startswith("latent_")}
    lora = {name: tensor for name, tensor in tensors.items() if name not in encoder}
    assert all(tensor.any() for name, tensor in tensors.items() if not name.endswith("bias"))
    adapter = Adapter(encoder, lora, tiny.RANK, tuple(tiny.SHAPE.lora_modules()))
    models = video_model.assemble(pipe, adapter, "reference")
    generator = torch.Generator().manual_seed(3)
    colour = torch.rand(5, 3, 32, 32, generator=generator) * 2 - 1
    shot = Prepared(colour, torch.ones(5, 32, 32), np.full((5, 32, 32), 255, np.uint8), 5)
    inputs = video_model._encode(models, shot, silent)
    latents, _ = video_model._sample(models, inputs, tiny.prompts(), 0, video_model.Settings(steps=4), silent)
    sizes = {"y": inputs.y, "image": inputs.clip_feature, "camera": inputs.camera, "latents": latents}
    spread = {name: float(tensor.std()) for name, tensor in sizes.items()}
    print(spread)
    assert all(0.05 < value < 20 for value in spread.values())
    frames = common.decode(pipe, latents)
    assert 2 < frames.std() < 120


CONVERTERS = {
    "wan_video_vae": "wan_video_vae.WanVideoVAEStateDictConverter",
    "wan_video_image_encoder": "wan_video_image_encoder.WanImageEncoderStateDictConverter",
}
NAMES = dict(zip(model_files.PARTS, ("dit", "text_encoder", "", "image_encoder", "vae"), strict=False))


@pytest.mark.filterwarnings("ignore")  # from the libraries that read tokenizers
def test_the_files_are_found_converted_and_loaded_as_the_real_ones(tmp_path, monkeypatch):
    """With few channels, but with names, prefixes and diffsynth's converters as for the published files."""
    video_model.library()
    from diffsynth.models import model_loader

    sizes, known = {model_files.EX4D: {n: tuple(t.shape) for n, t in tiny.adapter_tensors().items()}}, []
    for part in (part for part in model_files.PARTS if part.keys):
        name = f"wan_video_{NAMES[part]}"
        make = tiny.MODELS[name]
        sizes[part] = {n.removeprefix("model."): tuple(t.shape) for n, t in make().state_dict().items()}
        config = {"model_hash": store.key_hash(sizes[part]), "model_name": name}
        config["model_class"] = f"tiny.{make.__name__}"
        if name in CONVERTERS:
            config["state_dict_converter"] = f"diffsynth.utils.state_dict_converters.{CONVERTERS[name]}"
        known.append(config)
    monkeypatch.setattr(random_weights, "shapes", lambda model: sizes)
    monkeypatch.setattr(store, "key_hash", lambda _: ANY)
    monkeypatch.setattr(model_loader, "MODEL_CONFIGS", [*known, *model_loader.MODEL_CONFIGS])
    random_weights.main(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(model_loader, "MODEL_CONFIGS", [*known, *model_loader.MODEL_CONFIGS])

    there = model_files.files(tmp_path)
    assert any("random weights" in note for note in there.notes)
    light = converted(there)
    assert [path.suffix for path in (light.vae, light.image_encoder, light.adapter)] == [".safetensors"] * 3
    for files in (there, light):
        models = video_model.load(files, device="cpu", hidden=tiny.HIDDEN)
        assert models.layout.blocks == tiny.SHAPE.layers
    prompts = embed_prompts(there, ("wide view", "static"), "cpu")
    assert prompts.positive.isfinite().all()
    assert prompts.positive.std() > 0.01
    for path in (there.vae, there.image_encoder, there.adapter):
        path.unlink()
    alone = model_files.files(tmp_path)
    assert (alone.vae, alone.image_encoder, alone.adapter) == (light.vae, light.image_encoder, light.adapter)
