"""Whole trainings: tiny models, but in files like the real ones, found and loaded in the same way."""

import subprocess
import sys
from fractions import Fraction
from functools import partial
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train: make test-wan")
if any(find_spec(name) is None for name in ("diffsynth", "accelerate", "peft")):
    pytest.skip("needs the extra train: make test-wan", allow_module_level=True)

import tiny_training
from safetensors.torch import save_file
from tiny_training import tiny
from typer.testing import CliRunner

from ex4d.cli.app import build_app
from ex4d.errors import InputError
from ex4d.generate.base import Request
from ex4d.generate.wan import preparation, video_model
from ex4d.generate.wan.settings import PROMPT, WanSettings
from ex4d.generate.wan.spec import SPEC
from ex4d.progress import silent
from ex4d.render.conditioning import Conditioning
from ex4d.render.coverage import Coverage
from ex4d.training import journal, latents, runs
from ex4d.training.dataset import About, ClipFacts, DatasetSettings, Given, write_clip, write_json
from ex4d.training.reserved import LOCK, reserved
from ex4d.training.sample import Sample
from ex4d.training.settings import DistilSettings, TrainSettings
from ex4d.training.simulated import Simulated

pytestmark = [pytest.mark.wan, pytest.mark.filterwarnings("ignore")]  # of the libraries


class Clips:
    """Samples in memory: moving blocks with holes."""

    clips = ("a-0", "b-0", "c-0")
    masks = 2

    def __init__(self, count=5, height=32, width=48, captions=("wide view", "", "static")):
        self.size, self.captions, self.loaded = (count, height, width), captions, []

    def load(self, clip, mask):
        self.loaded.append((clip, mask))
        number, (count, height, width) = self.clips.index(clip), self.size
        random = np.random.default_rng(number)
        picture = random.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        frames = np.stack([np.roll(picture, 3 * t, axis=1) for t in range(count)])
        known = np.random.default_rng([number, mask]).random((count, height, width)) > 0.3
        known[0] = True
        colour = np.where(known[..., None], frames, 0)
        return Sample(clip, self.captions[number], frames, colour.astype(np.uint8), known)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder of models laid out like the real one, which diffsynth recognises by the hashes of their names."""
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
    """A machine that has these models and no GPU."""
    monkeypatch.setenv("EX4D_MODELS", str(tree))
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(runs, "HIDDEN", tiny.HIDDEN)
    monkeypatch.setattr(video_model, "load", partial(video_model.load, hidden=tiny.HIDDEN))
    monkeypatch.setitem(runs.AREAS, "512x512", 32 * 48)


def settings(kind=TrainSettings, **changes):
    return kind(**{"steps": 4, "batch": 1, "rank": tiny.RANK, "warm_up": 1, "rate": 1e-2, **changes})


def train(out, samples, **options):
    out.mkdir(exist_ok=True)
    said = []
    wanted = settings(held_back=1, validate_every=2, **options.pop("settings", {}))
    files = runs.train_adapter(samples, out, wanted, say=said.append, **options)
    return files, said


def take(tree, adapter):
    """The generator's result for a shot, with `adapter` installed."""
    place = tree / "EX-4D" / "ex4d.ckpt"
    kept = place.read_bytes()
    place.with_suffix(".safetensors").unlink(missing_ok=True)
    place.write_bytes(adapter.read_bytes())
    sample = Clips().load("a-0", 0)
    mask = np.where(sample.mask, 255, 0).astype(np.uint8)
    seen = Conditioning(sample.colour, mask, Coverage(np.ones(5), np.zeros(5), np.zeros(5, int)))
    model = SPEC.make("cpu")
    try:
        return model.generate(Request(seen, None, WanSettings(steps=2), 0), silent).frames.astype(int)
    finally:
        model.unload()
        place.write_bytes(kept)
        place.with_suffix(".safetensors").unlink(missing_ok=True)


def test_an_adapter_comes_out_with_which_the_generator_makes_other_pictures(tree, tmp_path):
    samples = Clips()
    (ckpt, _), said = train(tmp_path / "out", samples)
    assert said[0] == "2 clips to train on, 1 held back, 2 masks each."
    assert any(sentence.startswith("Trained: ") for sentence in said)
    lines = journal.read(tmp_path / "out")
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["step"] for line in lines if "validation" in line] == [2, 4]
    published = tree / "EX-4D" / "ex4d.ckpt"
    assert np.abs(take(tree, ckpt) - take(tree, published)).mean() > 1
    # Started from another adapter, it begins there.
    train(tmp_path / "more", samples, start=ckpt, settings={"rate": 1e-9, "steps": 1})
    first, second = (torch.load(out / "ex4d.ckpt") for out in (tmp_path / "out", tmp_path / "more"))
    assert all(torch.allclose(first[name], second[name], atol=1e-6) for name in first)


def test_each_clip_is_encoded_once_and_nothing_again_when_the_training_goes_on(tmp_path, monkeypatch):
    samples, encoded = Clips(), []
    real = latents.encode
    monkeypatch.setattr(latents, "encode", lambda pipe, video: encoded.append(1) or real(pipe, video))
    train(tmp_path / "out", samples, settings={"save_every": 2})
    assert len(encoded) == 3 * 2 + 6 * 2  # the clip and its first frame; colour and mask of each mask
    assert sorted(samples.loaded) == [(clip, mask) for clip in samples.clips for mask in range(2)]
    before = journal.read(tmp_path / "out")
    files, _ = train(tmp_path / "out", samples, settings={"save_every": 2})
    assert len(encoded) == 18
    assert len(samples.loaded) == 6
    assert journal.read(tmp_path / "out") == before
    assert all(file.is_file() for file in files)


def test_samples_are_encoded_as_the_generator_encodes(tmp_path):
    pipe = tiny.pipeline()
    sample = Clips().load("a-0", 1)
    ours = {**latents.encoded_clip(pipe, sample, 32 * 48), **latents.encoded_mask(pipe, sample, 32 * 48)}
    network = tiny_training.network()
    models = video_model.Models(
        pipe=tiny.pipeline(), precision="reference", dtype=torch.float32, layout=None, heads=4, encoder=network.encoder
    )
    models.pipe.dit.blocks.make_room = lambda: None
    mask = torch.from_numpy(sample.mask).float() * 4 - 3
    colour = torch.from_numpy(sample.colour).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    shot = preparation.Prepared(colour, mask, np.zeros((5, 32, 48), np.uint8), frames=5)
    with torch.no_grad():
        theirs = video_model._encode(models, shot, silent)
        torch.nn.init.normal_(network.encoder.latent_patch_embedding.weight)
        again = video_model._encode(models, shot, silent)
    filled = tiny_training.Encoded(**ours, prompt=torch.zeros(1))
    assert torch.equal(filled.y, theirs.y)
    assert torch.equal(filled.feature, theirs.clip_feature)
    assert torch.allclose(network.encoder(filled.colour, filled.mask), again.camera, atol=1e-5)
    assert again.camera.abs().mean() > 0.1
    frames = torch.from_numpy(sample.frames).permute(3, 0, 1, 2).float() / 255 * 2 - 1
    assert torch.equal(filled.video, pipe.vae.encode([frames], device="cpu"))


def test_a_caption_is_embedded_and_a_clip_without_one_takes_the_releases_prompt(tmp_path):
    train(tmp_path / "out", Clips())
    kept = latents.Latents(tmp_path / "out" / runs.LATENTS, Clips(), 32 * 48)
    assert kept.captions(Clips.clips) == {"a-0": "wide view", "b-0": PROMPT, "c-0": "static"}
    assert kept.read("a-0", 0).prompt.shape == (1, 512, tiny.TEXT)
    assert not torch.equal(kept.read("a-0", 0).prompt, kept.read("c-0", 0).prompt)


def test_what_the_model_cannot_take_is_said(tmp_path):
    with pytest.raises(InputError, match="The clip a-0 has 6 frames, and the model takes 4k"):
        train(tmp_path / "out", Clips(count=6))


def test_other_clips_or_masks_are_not_mixed_with_what_is_encoded(tmp_path):
    train(tmp_path / "out", Clips())
    other = Clips()
    other.masks = 3
    with pytest.raises(InputError, match="has a training with other clips, masks or another --model_size"):
        train(tmp_path / "out", other)


def dataset(folder, frames=5):
    """A dataset on disk with the same clips."""
    names = tuple(f"{number:016x}-000000" for number in range(3))
    (folder / "clips").mkdir(parents=True)
    for name, clip in zip(names, Clips.clips, strict=True):
        samples = Clips(frames, height=64, width=64)
        made = [Simulated("tracking", "", samples.load(clip, mask).mask, None) for mask in range(2)]
        facts = ClipFacts("a.mp4", 0, "wide view", "plane")
        write_clip(folder / "clips" / name, samples.load(clip, 0).frames, Fraction(30), facts, made)
    about = About(1, DatasetSettings(frames=frames, size=64, masks=2), True, names, (Given("a.mp4", names),))
    write_json(folder / "dataset.json", about)


@pytest.mark.parametrize("command", ["run", "distil"])
def test_a_second_training_in_a_folder_is_refused_and_touches_nothing(tmp_path, monkeypatch, command):
    out, made = tmp_path / "out", []
    monkeypatch.setattr(runs, "Network", lambda *_, **__: made.append(1))
    start = runs.train_adapter if command == "run" else runs.distil_adapter
    wanted = settings(held_back=1) if command == "run" else settings(DistilSettings)
    with reserved(out), pytest.raises(InputError, match=r"Another training is working in .*out: wait until it has"):
        start(Clips(), out, wanted, say=lambda _: None)
    assert [path.name for path in out.iterdir()] == [LOCK]
    assert not made


SCRIPT = """
import sys
from pathlib import Path
from ex4d.training.reserved import reserved

with reserved(Path(sys.argv[1])):
    print("reserved", flush=True)
    sys.stdin.read()
"""


def test_a_killed_training_leaves_its_folder_free(tmp_path):
    out = tmp_path / "out"
    first = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with first:
        assert first.stdout.readline() == "reserved\n"
        with pytest.raises(InputError, match="Another training is working"):
            train(out, Clips())
        first.kill()
    files, _ = train(out, Clips())
    assert all(file.is_file() for file in files)


def test_the_other_processes_of_a_training_do_not_keep_each_other_out(tmp_path):
    waited = []
    other = SimpleNamespace(is_main_process=False, wait_for_everyone=lambda: waited.append(1))
    with reserved(tmp_path), runs._alone(tmp_path, other):
        assert waited


def test_the_commands_train_and_distil(tree, tmp_path):
    dataset(tmp_path / "set")
    few = ["--steps", "3", "--batch", "1", "--rank", str(tiny.RANK), "--warm_up", "1"]
    out = tmp_path / "out"
    run = CliRunner().invoke(build_app(), ["train", "run", str(tmp_path / "set"), str(out), "--held_back", "1", *few])
    assert run.exit_code == 0, run.output
    assert run.stdout.split() == [str(out / "ex4d.ckpt"), str(out / "ex4d.safetensors")]
    assert "2 clips to train on, 1 held back, 2 masks each." in run.stderr
    assert "Trained: " in run.stderr
    draft = ["train", "distil", str(tmp_path / "set"), str(tmp_path / "draft"), "--adapter", str(out / "ex4d.ckpt")]
    run = CliRunner().invoke(build_app(), [*draft, *few])
    assert run.exit_code == 0, run.output
    assert run.stdout.split() == [str(tmp_path / "draft" / "draft_lora.safetensors")]


@pytest.mark.parametrize("command", ["run", "distil"])
def test_a_dataset_of_another_length_is_refused_before_a_folder_is_made(tmp_path, command):
    dataset(tmp_path / "set", frames=6)
    out = tmp_path / "out"
    result = CliRunner().invoke(build_app(), ["train", command, str(tmp_path / "set"), str(out)])
    assert isinstance(result.exception, InputError), result.output
    assert str(result.exception).startswith("The dataset has clips of 6 frames, and the model takes 4k+1")
    assert not out.exists()


@pytest.mark.parametrize(("variable", "name"), [("DEEPSPEED", "DeepSpeed"), ("FSDP", "FSDP")])
def test_a_launch_that_would_shard_is_refused_even_where_accelerate_ignores_it(tmp_path, monkeypatch, variable, name):
    monkeypatch.setenv(f"ACCELERATE_USE_{variable}", "true")
    with pytest.raises(InputError, match=f"Training with {name} is not supported: configure accelerate for several"):
        train(tmp_path / "out", Clips())
    assert not list((tmp_path / "out").iterdir())


def test_a_gpu_that_is_too_small_is_said(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(runs, "train", full)
    with pytest.raises(InputError, match="24 GB with --quant nf4"):
        train(tmp_path / "out", Clips())


def test_missing_model_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="Files of the EX-4D Model are missing") as error:
        train(tmp_path / "out", Clips())
    assert "adapter" not in str(error.value)  # it is the result


def test_an_adapter_of_another_rank_is_refused_before_anything_is_encoded(tree, tmp_path):
    samples, installed = Clips(), tree / "EX-4D" / "ex4d.ckpt"
    with pytest.raises(InputError, match="has rank 4, not 8: give --rank 4"):
        train(tmp_path / "out", samples, start=installed, settings={"rank": 8})
    with pytest.raises(InputError, match="has rank 4, not 8: give --rank 4"):
        runs.distil_adapter(samples, tmp_path / "out", settings(DistilSettings, rank=8), adapter=installed)
    assert samples.loaded == []


def test_a_file_that_is_no_adapter_of_this_model_is_refused_before_anything_is_encoded(tree, tmp_path):
    samples, damaged, other = Clips(), tmp_path / "damaged.ckpt", tmp_path / "other.safetensors"
    damaged.write_bytes((tree / "EX-4D" / "ex4d.ckpt").read_bytes()[:5000])
    save_file({"latent_strange": torch.zeros(1)}, other)
    for file, why in ((damaged, "damaged.ckpt"), (other, "other.safetensors lacks"), (tmp_path / "no", "no")):
        with pytest.raises(InputError, match=why):
            train(tmp_path / "out", samples, start=file)
        with pytest.raises(InputError, match=why):
            runs.distil_adapter(samples, tmp_path / "out", settings(DistilSettings), adapter=file)
    assert samples.loaded == []


def test_a_video_model_with_other_names_is_refused_in_a_sentence(tmp_path):
    other = tmp_path / "diffusion_pytorch_model.safetensors"
    save_file({"condition_embedder.weight": torch.zeros(1)}, other)
    with pytest.raises(InputError, match=r"diffusion_pytorch_model\.safetensors lacks its layers"):
        runs._shape((other,))


def test_the_installed_adapter_is_distilled_to_a_lora_for_drafts(tree, tmp_path):
    (tmp_path / "out").mkdir()
    wanted = settings(DistilSettings, steps=6, every=2)
    said = []
    (lora,) = runs.distil_adapter(Clips(), tmp_path / "out", wanted, say=said.append)
    layers, _ = video_model.read_distilled(lora, tiny_training.dit())
    assert len(layers) == 20
    assert any(float(b.abs().max()) > 0 for _, b in layers.values())
    assert "half of them the student's" in " ".join(said)
