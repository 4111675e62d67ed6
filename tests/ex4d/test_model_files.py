"""The listing of the model's files, on files of the real names and headers that are empty otherwise."""

import json
import os
import struct
import subprocess
import sys
import zipfile
from math import prod

import pytest

from ex4d.generate import model_files
from ex4d.generate.model_files import PARTS, state

VIDEO_MODEL = PARTS[0]


def shapes():
    found = {"patch_embedding.weight": (5120, 36, 1, 2, 2), "head.head.weight": (64, 5120)}
    for n in range(40):
        found[f"blocks.{n}.self_attn.q.weight"] = found[f"blocks.{n}.cross_attn.k_img.weight"] = (5120, 5120)
        found[f"blocks.{n}.ffn.0.weight"] = (13824, 5120)
    return found


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
    assert (done.stdout.count("ready"), done.stdout.count("missing")) == (5, 1)
    assert "Wan-AI" not in done.stdout
    assert "hf download yihouxiang/EX-4D" in done.stdout


def test_a_converted_file_stands_in_for_the_original(tmp_path):
    vae = next(part for part in PARTS if part.name == "VAE")
    assert state(vae, tmp_path) == "missing"
    write_sparse((tmp_path / vae.files[0]).with_suffix(".safetensors"), {"a": (3,)})
    assert state(vae, tmp_path) == "ready"


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("blocks.39.ffn.0.weight", None, "lacks blocks.39.ffn.0.weight"),
        ("patch_embedding.weight", (5120, 16, 1, 2, 2), "of the shape (5120, 16, 1, 2, 2) instead of (5120, 36,"),
    ],
)
def test_another_video_model_is_recognised(tmp_path, name, shape, words):
    tensors = shapes()
    del tensors[name]
    write_video_model(tmp_path, tensors | ({name: shape} if shape else {}))
    assert words in state(VIDEO_MODEL, tmp_path)


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
