"""The listing of the model's files, on files of the real names and headers that are empty otherwise."""

import json
import os
import struct
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from math import prod

import pytest

from ex4d.errors import InputError
from ex4d.generate import model_files
from ex4d.generate.model_files import PARTS, state

VIDEO_MODEL = PARTS[0]


def shapes():
    """All tensors of Wan2.1-I2V-14B."""
    d, f = 5120, 13824
    found = {"patch_embedding.weight": (d, 36, 1, 2, 2), "patch_embedding.bias": (d,)}
    found |= {"head.modulation": (1, 2, d), **linear("head.head", 64, d)}
    for name, inputs, outputs in (
        ("text_embedding.0", 4096, d),
        ("text_embedding.2", d, d),
        ("time_embedding.0", 256, d),
        ("time_embedding.2", d, d),
        ("time_projection.1", d, 6 * d),
        ("img_emb.proj.1", 1280, 1280),
        ("img_emb.proj.3", 1280, d),
    ):
        found |= linear(name, outputs, inputs)
    for name, size in (("img_emb.proj.0", 1280), ("img_emb.proj.4", d)):
        found |= {f"{name}.weight": (size,), f"{name}.bias": (size,)}
    for n in range(40):
        block = f"blocks.{n}"
        found |= {f"{block}.modulation": (1, 6, d), f"{block}.norm3.weight": (d,), f"{block}.norm3.bias": (d,)}
        found |= linear(f"{block}.ffn.0", f, d) | linear(f"{block}.ffn.2", d, f)
        for kind, layers in (("self_attn", "q k v o"), ("cross_attn", "q k v o k_img v_img")):
            for layer in layers.split():
                found |= linear(f"{block}.{kind}.{layer}", d, d)
            found |= {f"{block}.{kind}.norm_{layer}.weight": (d,) for layer in "qk"}
        found[f"{block}.cross_attn.norm_k_img.weight"] = (d,)
    return found


def linear(name, outputs, inputs):
    return {f"{name}.weight": (outputs, inputs), f"{name}.bias": (outputs,)}


def write_sparse(path, tensors):
    """A safetensors file with a true header and holes instead of numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries, end = {}, 0
    for name, shape in tensors.items():
        entries[name] = {"dtype": "U8", "shape": shape, "data_offsets": [end, end := end + prod(shape)]}
    text = json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + end)


def write_video_model(root, tensors):
    names = sorted(tensors)
    for n, file in enumerate(VIDEO_MODEL.files):
        write_sparse(root / file, {name: tensors[name] for name in names[n::7]})


def listing(root):
    environment = os.environ | {"COLUMNS": "200", "EX4D_MODELS": str(root)}
    command = [sys.executable, "-m", "ex4d.cli", "models"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=True)


def test_an_empty_folder_lacks_everything_and_says_how_to_fetch_it(tmp_path):
    done = listing(tmp_path)
    assert done.stdout.count("missing") == len(PARTS)
    assert "EX-4D/ex4d.ckpt" in done.stdout
    assert f'hf download Wan-AI/Wan2.1-I2V-14B-480P --local-dir "{tmp_path}/Wan2.1-I2V-14B-480P"' in done.stdout
    assert f'hf download yihouxiang/EX-4D --local-dir "{tmp_path}/EX-4D"' in done.stdout
    assert done.stdout.count("hf download") == 2
    assert "about 83 GB" in done.stderr


def test_what_is_there_is_not_fetched_again(tmp_path):
    write_video_model(tmp_path, shapes())
    for part in PARTS[1:5]:
        path = tmp_path / part.files[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".json":
            path.write_text("{}")
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("data.pkl", b"")
    done = listing(tmp_path)
    # Without torch nobody can look into files of torch's; with it these empty ones are seen through.
    ready = 2 if find_spec("torch") else 5
    assert (done.stdout.count("ready"), done.stdout.count("missing")) == (ready, 1)
    assert "hf download yihouxiang/EX-4D" in done.stdout


def test_the_names_of_the_video_model_have_the_published_hash():
    assert model_files.key_hash(shapes()) == VIDEO_MODEL.keys


def test_a_converted_file_stands_in_for_the_original_and_its_names_are_checked(tmp_path):
    vae = next(part for part in PARTS if part.name == "VAE")
    assert state(vae, tmp_path) == "missing"
    converted = (tmp_path / vae.files[0]).with_suffix(".safetensors")
    write_sparse(converted, {"a": (3,)})
    assert model_files.located(vae.files[0], tmp_path) == converted
    assert "is another model: its 1 tensors do not have the names" in state(vae, tmp_path)


@pytest.mark.parametrize(
    ("name", "shape"), [("blocks.39.ffn.0.weight", None), ("patch_embedding.weight", (5120, 16, 1, 2, 2))]
)
def test_another_video_model_is_recognised(tmp_path, name, shape):
    tensors = shapes()
    del tensors[name]
    write_video_model(tmp_path, tensors | ({name: shape} if shape else {}))
    assert "is another model" in state(VIDEO_MODEL, tmp_path)
    assert "fetch all 7 files anew" in state(VIDEO_MODEL, tmp_path)


def test_a_broken_download_is_named(tmp_path):
    write_video_model(tmp_path, shapes())
    last = tmp_path / VIDEO_MODEL.files[6]
    os.truncate(last, last.stat().st_size - 1)
    assert str(last) in state(VIDEO_MODEL, tmp_path)
    assert "cut off" in state(VIDEO_MODEL, tmp_path)
    last.unlink()
    assert state(VIDEO_MODEL, tmp_path) == "1 of 7 files missing"


def test_the_folder_is_the_variables_or_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path))
    assert model_files.folder() == tmp_path
    monkeypatch.delenv("EX4D_MODELS")
    assert model_files.folder().name == "models"
    assert "ex4d" in str(model_files.folder())


def test_files_are_found_or_named(tmp_path):
    with pytest.raises(InputError, match=r"missing \(video model, .*EX-4D adapter\): `ex4d models`"):
        model_files.files(tmp_path)
    for part in PARTS:
        for file in part.files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).touch()
    found = model_files.files(tmp_path)
    assert len(found.dit) == 7
    assert found.tokenizer == tmp_path / "Wan2.1-I2V-14B-480P/google/umt5-xxl"
    assert (found.distilled, found.notes) == (None, ())
    before = found.identity()
    (tmp_path / PARTS[5].files[0]).write_text("another")
    assert model_files.files(tmp_path).identity() != before
    (tmp_path / model_files.RANDOM).touch()
    assert "random weights" in model_files.files(tmp_path).notes[0]
    (tmp_path / model_files.DISTILLED).mkdir()
    for name in ("a", "b"):
        (tmp_path / model_files.DISTILLED / f"{name}.safetensors").touch()
        if name == "a":
            assert model_files.files(tmp_path).distilled.name == "a.safetensors"
    with pytest.raises(InputError, match="holds 2 [.]safetensors files"):
        model_files.files(tmp_path)
