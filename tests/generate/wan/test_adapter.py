import json
import os
import resource
import shutil
import struct
import zipfile
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
pytest.importorskip("safetensors", reason="needs the extra wan: make test-wan")

import tiny
from safetensors.torch import save_file

from ex4d.errors import InputError
from ex4d.generate.wan.adapter import ModelShape, read_adapter
from ex4d.weights import headers
from ex4d.weights.tensors import as_safetensors, read_tensors

pytestmark = pytest.mark.wan


def read(path):
    return read_adapter(path, tiny.SHAPE, tiny.HIDDEN)


@pytest.fixture
def tensors():
    return tiny.adapter_tensors()


@pytest.fixture
def ckpt(tmp_path, tensors):
    torch.save(tensors, tmp_path / "ex4d.ckpt")
    return tmp_path / "ex4d.ckpt"


def test_the_adapter_of_the_14b_model_has_400_layers():
    modules = ModelShape().lora_modules()
    assert len(modules) == 400
    assert modules["blocks.39.ffn.0"] == (13824, 5120)
    assert round(16 * sum(sum(shape) for shape in modules.values()) / 1e6, 2) == 76.68


def test_both_parts_are_read_by_their_names(ckpt, tensors):
    adapter = read(ckpt)
    assert (adapter.rank, len(adapter.modules)) == (tiny.RANK, 20)
    assert adapter.encoder.keys() | adapter.lora.keys() == tensors.keys()
    assert all(name.startswith("latent_") for name in adapter.encoder)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in {**adapter.encoder, **adapter.lora}.items())


def test_a_wrapped_state_dict_is_unwrapped(tmp_path, tensors):
    torch.save({"state_dict": tensors}, tmp_path / "ex4d.ckpt")
    assert read(tmp_path / "ex4d.ckpt").rank == tiny.RANK


def test_conversion_to_safetensors_happens_once(ckpt, tensors):
    converted = as_safetensors(ckpt, "adapter")
    assert converted.name == "ex4d.safetensors"
    before = converted.stat().st_mtime_ns
    assert as_safetensors(ckpt, "adapter") == converted
    assert as_safetensors(converted, "adapter") == converted
    assert converted.stat().st_mtime_ns == before
    again = read(converted)
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in {**again.encoder, **again.lora}.items())
    assert headers.header(converted, "adapter") == {name: tuple(t.shape) for name, t in tensors.items()}
    os.utime(ckpt, ns=(before + 10**9, before + 10**9))
    as_safetensors(ckpt, "adapter")
    assert converted.stat().st_mtime_ns != before


def test_tensors_that_share_memory_are_converted_too(tmp_path):
    one = torch.arange(6.0)
    torch.save({"a": one, "b": one.view(2, 3).T}, tmp_path / "x.pth")
    again = read_tensors(as_safetensors(tmp_path / "x.pth", "model"), "model")
    assert torch.equal(again["a"], one)
    assert torch.equal(again["b"], one.view(2, 3).T)


def test_conversion_asks_for_room_first(ckpt, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"ex4d[.]safetensors cannot be written because the disk has 0[.]0 GB free"):
        as_safetensors(ckpt, "adapter")
    assert [path.name for path in ckpt.parent.iterdir()] == ["ex4d.ckpt"]


def test_a_disk_that_is_full_after_all_is_one_sentence_and_leaves_nothing(ckpt):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(InputError, match="would be larger than this disk or account allows"):
            as_safetensors(ckpt, "adapter")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in ckpt.parent.iterdir()] == ["ex4d.ckpt"]


def spoil(tensors, case):
    q = "blocks.1.self_attn.q.lora_A.default.weight"
    if case == "no encoder":
        del tensors["latent_encoder.2.bias"]
    elif case == "more encoder":
        tensors["latent_encoder.6.bias"] = torch.zeros(1)
    elif case == "encoder shape":
        tensors["latent_encoder.2.bias"] = torch.zeros(3)
    elif case == "half a layer":
        del tensors[q]
    elif case == "fewer blocks":
        for name in [name for name in tensors if name.startswith("blocks.1.")]:
            del tensors[name]
    elif case == "more blocks":
        tensors["blocks.2.self_attn.q.lora_A.default.weight"] = tensors[q]
    elif case == "lora shape":
        tensors[q] = tensors[q][:, 1:].clone()
    elif case == "rank":
        tensors[q] = tensors[q][1:].clone()
    elif case == "other file":
        tensors["head.head.weight"] = torch.zeros(3)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("no encoder", "lacks 1 of 8 tensors of the camera encoder (the first: latent_encoder.2.bias)"),
        ("more encoder", "latent_encoder.6.bias"),
        ("encoder shape", "latent_encoder.2.bias has the shape (3,) instead of (32,)"),
        ("half a layer", "lacks 1 of 20 LoRA layers (the first: blocks.1.self_attn.q)"),
        ("fewer blocks", "lacks 10 of 20 LoRA layers"),
        ("more blocks", "do not belong to this model (the first: blocks.2.self_attn.q)"),
        ("lora shape", "blocks.1.self_attn.q.lora_A has the shape (4, 95) instead of (4, 96)"),
        ("rank", "blocks.1.self_attn.q.lora_A has the shape (3, 96) instead of (4, 96)"),
        ("other file", "'head.head.weight'"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_in_one_sentence(tmp_path, tensors, case, words):
    spoil(tensors, case)
    torch.save(tensors, tmp_path / "ex4d.ckpt")
    with pytest.raises(InputError) as error:
        read(tmp_path / "ex4d.ckpt")
    assert words in str(error.value)
    assert str(tmp_path / "ex4d.ckpt") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["ckpt", "safetensors"])
def test_a_file_that_was_cut_off_says_so(ckpt, kind, part):
    path = ckpt if kind == "ckpt" else as_safetensors(ckpt, "adapter")
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match=r"cannot be read .*: it was truncated"):
        read(path)


def write_header(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{",
        b'"\xff"',
        b"[" * 100_000,
        {"a": {}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}},
        {"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "b": 7},
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, header):
    write_header(tmp_path / "x.safetensors", header, bytes(4))
    with pytest.raises(InputError, match="cannot be read"):
        read_tensors(tmp_path / "x.safetensors", "adapter")


@pytest.mark.parametrize("length", [0, 1 << 20, 1 << 40, (1 << 64) - 1])
def test_a_huge_header_is_refused_before_it_is_read(tmp_path, length):
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(InputError, match=f"claims {length} bytes"):
        headers.header(tmp_path / "x.safetensors", "adapter")


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


def test_only_tensors_come_out_of_a_pickle(tmp_path):
    path, mark = tmp_path / "ex4d.ckpt", tmp_path / "code was run"
    for content in ({"a": Evil(mark)}, {"a": 7}, {}, [torch.zeros(1)], {3: torch.zeros(1)}):
        torch.save(content, path)
        with pytest.raises(InputError, match="cannot be read"):
            read(path)
        assert not mark.exists()
    path.write_bytes(b"no zip at all")
    with pytest.raises(InputError, match="cannot be read"):
        read(path)


def test_a_tensor_that_repeats_one_number_without_end_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**12)}, tmp_path / "x.pth")
    with pytest.raises(InputError, match="announces more than it holds"):
        as_safetensors(tmp_path / "x.pth", "model")


def test_a_packed_archive_is_refused(tmp_path, ckpt):
    with zipfile.ZipFile(ckpt) as old, zipfile.ZipFile(tmp_path / "b.ckpt", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(InputError, match="compressed"):
        read(tmp_path / "b.ckpt")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="There is no adapter"):
        read(tmp_path / "ex4d.ckpt")
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path)


def test_an_empty_safetensors_file_lacks_everything(tmp_path):
    save_file({}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="lacks 8 of 8"):
        read(tmp_path / "x.safetensors")
