"""Names and shapes of the published files, as given by diffsynth's model classes, and what follows from them."""

import sys
from importlib.util import find_spec
from math import prod
from pathlib import Path
from unittest.mock import ANY

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

import tiny_vace as tiny

from ex4d.generate.diffsynth import library, needs
from ex4d.generate.vace import model_files, video_model
from ex4d.generate.vace.model_files import LARGE, SMALL
from ex4d.weights import store
from ex4d.weights.tensors import read_tensors

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
import random_weights

pytestmark = pytest.mark.wan


@pytest.mark.parametrize("model", [SMALL, LARGE], ids=lambda model: model.name)
def test_the_model_classes_have_the_names_and_shapes_by_which_diffsynth_knows_the_files(model):
    library.library()
    from diffsynth.configs import MODEL_CONFIGS

    found = random_weights.shapes(model.name)
    assert {part: store.key_hash(sizes) for part, sizes in found.items()} == {
        part: part.keys for part in model.parts if part.keys
    }
    known = [config["model_name"] for config in MODEL_CONFIGS if config["model_hash"] == model.video_model.keys]
    assert known == ["wan_video_dit", "wan_video_vace"]


@pytest.mark.parametrize("model", [SMALL, LARGE], ids=lambda model: model.name)
def test_blocks_and_other_weights_have_the_sizes_that_plans_are_made_with(model):
    found = random_weights.shapes(model.name)
    block = [prod(size) for name, size in found[model.video_model].items() if name.startswith("blocks.1.")]
    assert 2 * sum(block) == needs.block_bytes(model.dim, model.ffn_dim, False, False)
    assert sum(block) == needs.block_bytes(model.dim, model.ffn_dim, False, True)
    numbers = {name.partition("locks.")[2].partition(".")[0] for name in found[model.video_model] if "vace" in name}
    assert len(numbers - {""}) == model.blocks[1]
    everything = sum(prod(size) for part in (model.video_model, model.shared.vae) for size in found[part].values())
    others = 2 * (everything - sum(model.blocks) * sum(block))
    assert 0.8 * model.others < others < model.others


@pytest.mark.filterwarnings("ignore")  # from the libraries that read tokenizers
def test_random_files_are_written_found_and_loaded_as_the_real_ones(tmp_path, monkeypatch):
    """With few channels, but with the names in the published files and diffsynth's converters."""
    library.library()
    from diffsynth.models import model_loader

    known = tiny.tree(tmp_path / "tiny")
    sizes = {
        part: {name: tuple(t.shape) for name, t in read_tensors(tmp_path / "tiny" / part.files[0], part.name).items()}
        for part in (SMALL.video_model, SMALL.shared.vae, SMALL.shared.text_encoder)
    }
    with monkeypatch.context() as patch:
        patch.setattr(random_weights, "shapes", lambda model: sizes)
        patch.setattr(store, "key_hash", lambda _: ANY)
        random_weights.main(tmp_path / "made", "vace")
    monkeypatch.setattr(model_loader, "MODEL_CONFIGS", [*known, *model_loader.MODEL_CONFIGS])
    there = model_files.files(SMALL, tmp_path / "made")
    assert any("random weights" in note for note in there.notes)
    models = video_model.load(there, device="cpu")
    assert models.layout.blocks == tiny.LAYERS + len(tiny.CONTROLLED)
    assert models.pipe.vace is None
    assert library.embed_prompts(there, ("", "static"), "cpu").negative.isfinite().all()
