"""The listing of the model's files, with files that have the real names and headers but are otherwise empty."""

import json
import os
import struct
import zipfile
from importlib.util import find_spec
from math import prod

import command_line
import pytest

from ex4d.depth.registry import estimators
from ex4d.errors import InputError
from ex4d.generate.wan import model_files
from ex4d.generate.wan.model_files import PARTS
from ex4d.generate.wan.spec import SPEC
from ex4d.weights import store
from ex4d.weights.store import state

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
    """Write a safetensors file with a real header and a hole instead of numbers."""
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


def ex4d(root, *arguments):
    return command_line.ex4d(*arguments, environment={"EX4D_MODELS": str(root)})


def listing(root):
    """The listing of the EX-4D model, without other generators; `depth` is the part about depth models."""
    done = ex4d(root, "models")
    assert done.returncode == 0, done.stderr
    done.stdout, _, done.depth = done.stdout.partition("Models for depth")
    done.stdout = done.stdout.partition("VACE 14B: files in")[0]
    return done


def row(done, name):
    """The state of a part in a listing."""
    return next(line.split("│")[2].strip() for line in done.stdout.splitlines() if line.startswith(f"│ {name}"))


def write_others(root):
    """Write everything except the video model and the adapter, intact as far as can be seen without torch."""
    for part in PARTS[1:5]:
        for file in part.files:
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".json":
                path.write_text("{}")
            else:
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr("data.pkl", b"")


def test_an_empty_folder_lacks_everything_and_says_how_to_fetch_it(tmp_path):
    done = listing(tmp_path)
    assert done.stdout.count("missing") == len(PARTS)
    assert "EX-4D/ex4d.ckpt" in done.stdout
    base, adapter = [line for line in done.stdout.splitlines() if line.startswith("hf ")]
    assert base.startswith("hf download Wan-AI/Wan2.1-I2V-14B-480P diffusion_pytorch_model-00001-of-00007.safetensors ")
    pinned = f"--revision {VIDEO_MODEL.revision}"
    assert base.endswith(f' Wan2.1_VAE.pth {pinned} --local-dir "{tmp_path}/Wan2.1-I2V-14B-480P"')
    assert len(base.split()) == 3 + 7 + 5 + 2 + 2
    assert adapter == f'hf download yihouxiang/EX-4D ex4d.ckpt --local-dir "{tmp_path}/EX-4D"'
    assert "83 GB at most" in done.stderr
    assert row(done, "LoRA for drafts (optional)") == "none"


def test_what_is_there_is_not_fetched_again(tmp_path):
    write_video_model(tmp_path, shapes())
    write_others(tmp_path)
    done = listing(tmp_path)
    # Without torch, the content of torch's files cannot be checked, and a note says so; with it, these empty ones are
    # found out.
    ready = 2 if find_spec("torch") else 5
    assert (done.stdout.count("ready"), done.stdout.count("unusable")) == (ready, 5 - ready)
    assert ("that needs torch" in done.stderr) == (ready == 5)
    assert row(done, "EX-4D adapter") == "missing"
    assert "hf download yihouxiang/EX-4D ex4d.ckpt" in done.stdout
    assert "of-00007" not in done.stdout.partition("hf download")[2]


def test_a_lora_for_drafts_is_listed_and_random_weights_are_owned_up_to(tmp_path):
    (tmp_path / model_files.DISTILLED).mkdir()
    (tmp_path / model_files.DISTILLED / "fast.safetensors").touch()
    (tmp_path / store.RANDOM).touch()
    done = listing(tmp_path)
    assert row(done, "LoRA for drafts (optional)") == "fast.safetensors"
    assert "results mean nothing" in done.stderr
    (tmp_path / model_files.DISTILLED / "slow.safetensors").touch()
    done = listing(tmp_path)
    assert "holds 2 .safetensors files: leave only the one" in done.stderr


def test_doctor_says_what_the_model_lacks(tmp_path):
    done = ex4d(tmp_path, "doctor")
    assert row(done, "Generator: EX-4D Model") == "missing"
    lacks = "Files of the EX-4D Model are missing" if find_spec("diffsynth") else "needs the Python package"
    assert lacks in done.stdout


def test_depth_models_are_listed_with_their_licences_and_the_commands_that_fetch_them(tmp_path):
    said = listing(tmp_path).depth
    helper = estimators()["moge"].parts
    for part in [part for spec in estimators().values() for part in spec.parts]:
        line = next(line for line in said.splitlines() if line.startswith(f"│ {part.name} "))
        assert [cell.strip() for cell in line.split("│")[2:5]] == ["missing", f"{part.gigabytes:g}", part.licence]
        one_is_enough = part in helper[1:]
        assert (f"--revision {part.revision}" in said) != one_is_enough
    (tmp_path / helper[0].files[0]).parent.mkdir()
    write_sparse(tmp_path / "moge-2-vitl/model.safetensors", {"x": (2,)})
    done = ex4d(tmp_path, "models")
    assert "unusable" in done.stdout
    assert (
        "is another model: its 1 tensors do not have the names and shapes of those in Ruicheng/moge-2-vitl"
        in done.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["depthcrafter"], "is not free for every use (research only): accept its licence to download it"),
        (["depthcrafter", "--accept_licence"], "place https://huggingface.co/tencent/DepthCrafter/resolve/"),
        (["video-depth-anything"], "place https://huggingface.co/depth-anything/Video-Depth-Anything-Small/resolve/"),
        (["moge"], "place https://huggingface.co/Ruicheng/moge-2-vitl/resolve/"),
        (["wan"], f"place https://huggingface.co/Wan-AI/Wan2.1-I2V-14B-480P/resolve/{VIDEO_MODEL.revision}/"),
    ],
)
def test_what_cannot_be_fetched_is_one_sentence_that_says_what_to_place_where(arguments, said, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = ex4d(tmp_path, "models", "--fetch", *arguments)
    assert done.returncode == 2
    assert said in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_what_is_not_pinned_says_so_before_it_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    write_video_model(tmp_path, shapes())
    write_others(tmp_path)
    done = ex4d(tmp_path, "models", "--fetch", "wan")
    assert done.returncode == 2
    if find_spec("huggingface_hub") is None:
        pytest.skip("needs the extra depth: make test-wan")
    assert "The EX-4D adapter is not pinned: what yihouxiang/EX-4D has today was asked for" in done.stderr
    assert "place https://huggingface.co/yihouxiang/EX-4D/resolve/main/ex4d.ckpt as " in done.stderr


def test_a_generator_lists_the_licence_and_the_size_of_all_its_files():
    assert SPEC.gigabytes == 83.1
    assert all(part.revision for part in PARTS[:5])
    assert [len(part.sha256) in (0, len(part.files)) for part in PARTS] == [True] * 6


def test_conversion_says_what_it_lacks(tmp_path):
    done = ex4d(tmp_path, "models", "--convert")
    assert done.returncode == 2
    assert "are missing (video model, " in done.stderr
    write_video_model(tmp_path, shapes())
    write_others(tmp_path)
    (tmp_path / PARTS[5].files[0]).parent.mkdir()
    with zipfile.ZipFile(tmp_path / PARTS[5].files[0], "w") as archive:
        archive.writestr("data.pkl", b"")
    done = ex4d(tmp_path, "models", "--convert")
    assert done.returncode == (0 if find_spec("torch") else 2)
    assert ("is used as it is" if find_spec("torch") else "needs the Python package torch") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tokenizer_that_was_cut_off_is_named(tmp_path):
    tokenizer = model_files.TOKENIZER
    for file in tokenizer.files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}")
    assert state(tokenizer, tmp_path) == "ready"
    (tmp_path / tokenizer.files[0]).write_text('{"a": ')
    assert "tokenizer.json cannot be read" in state(tokenizer, tmp_path)
    (tmp_path / tokenizer.files[0]).write_text("[]")
    assert "it is not a table" in state(tokenizer, tmp_path)
    os.truncate(tmp_path / tokenizer.files[0], 65 << 20)
    assert "bytes" in state(tokenizer, tmp_path)


def test_the_names_of_the_video_model_have_the_published_hash():
    assert store.key_hash(shapes()) == VIDEO_MODEL.keys


def test_a_converted_file_stands_in_for_the_original_and_its_names_are_checked(tmp_path):
    vae = next(part for part in PARTS if part.name == "VAE")
    assert state(vae, tmp_path) == "missing"
    converted = (tmp_path / vae.files[0]).with_suffix(".safetensors")
    write_sparse(converted, {"a": (3,)})
    assert store.located(vae.files[0], tmp_path) == converted
    assert "is another model: its 1 tensors do not have the names" in state(vae, tmp_path)


@pytest.mark.parametrize(
    ("name", "shape"), [("blocks.39.ffn.0.weight", None), ("patch_embedding.weight", (5120, 16, 1, 2, 2))]
)
def test_another_video_model_is_recognised(tmp_path, name, shape):
    tensors = shapes()
    del tensors[name]
    write_video_model(tmp_path, tensors | ({name: shape} if shape else {}))
    assert "is another model" in state(VIDEO_MODEL, tmp_path)
    assert "download all 7 files again" in state(VIDEO_MODEL, tmp_path)


def test_a_broken_download_is_named(tmp_path):
    write_video_model(tmp_path, shapes())
    last = tmp_path / VIDEO_MODEL.files[6]
    os.truncate(last, last.stat().st_size - 1)
    assert str(last) in state(VIDEO_MODEL, tmp_path)
    assert "truncated" in state(VIDEO_MODEL, tmp_path)
    last.unlink()
    assert state(VIDEO_MODEL, tmp_path) == "1 of 7 files missing"


def test_the_folder_is_the_variables_or_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path))
    assert store.folder() == tmp_path
    monkeypatch.delenv("EX4D_MODELS")
    monkeypatch.delenv("EX4D_CACHE")
    assert store.folder().name == "models"
    assert "ex4d" in str(store.folder())


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
    (tmp_path / store.RANDOM).touch()
    assert "random weights" in model_files.files(tmp_path).notes[0]
    (tmp_path / model_files.DISTILLED).mkdir()
    for name in ("a", "b"):
        (tmp_path / model_files.DISTILLED / f"{name}.safetensors").touch()
        if name == "a":
            assert model_files.files(tmp_path).distilled.name == "a.safetensors"
    with pytest.raises(InputError, match=r"holds 2 \.safetensors files"):
        model_files.files(tmp_path)
