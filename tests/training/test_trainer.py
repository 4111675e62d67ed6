import json
import os
import random
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra train: make test-wan")
if any(find_spec(name) is None for name in ("diffsynth", "accelerate", "peft")):
    pytest.skip("needs the extra train: make test-wan", allow_module_level=True)


import tiny_training
from safetensors.torch import load_file
from tiny_training import tiny

from ex4d.errors import InputError
from ex4d.generate.wan import video_model
from ex4d.generate.wan.adapter import read_adapter
from ex4d.generate.wan.preparation import Prepared
from ex4d.training import journal, loop, state
from ex4d.training.network import training_library
from ex4d.training.result import write_adapter
from ex4d.training.settings import TrainSettings

pytestmark = [pytest.mark.wan, pytest.mark.filterwarnings("ignore")]  # of the libraries

HERE = Path(__file__).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}


@pytest.fixture(scope="module")
def accelerator():
    return training_library().accelerate.Accelerator(cpu=True)


def train(out, accelerator, material=None, network=None, **settings):
    """Train for a few steps; return the average of the weights, and the losses."""
    wanted = TrainSettings(**{"steps": 6, "batch": 1, "rate": 1e-2, "warm_up": 2, "rank": tiny.RANK, **settings})
    network = tiny_training.network() if network is None else network
    average = loop.train(
        network,
        material or tiny_training.Few(same_noise=True),
        wanted,
        out,
        accelerator,
        lambda weights: write_adapter(out, weights),
        validate_every=wanted.validate_every,
        say=lambda sentence: None,
    )
    return average, [line["loss"] for line in journal.read(out)]


def test_the_loss_on_a_fixed_batch_falls_to_a_tenth(tmp_path, accelerator):
    material = tiny_training.Few(count=2, same_noise=True)
    _, losses = train(tmp_path, accelerator, material, steps=60, batch=2)
    assert losses[-1] < losses[0] / 10
    assert losses[0] > 1


def process(out, steps):
    return subprocess.Popen(
        [sys.executable, str(HERE / "train_tiny.py"), str(out), str(steps)], env=ENVIRONMENT, stdout=subprocess.DEVNULL
    )


@pytest.mark.timeout(900)  # each process takes a while to import what it needs
def test_a_training_killed_at_any_step_goes_on_with_the_same_losses_to_the_bit(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    broken.mkdir()
    steps = 30
    kill_at = random.randrange(5, 25)
    with process(whole, steps) as one, process(broken, steps) as victim:
        while len(journal.read(broken)) < kill_at:
            assert victim.poll() is None
            time.sleep(0.005)
        victim.send_signal(signal.SIGKILL)
        assert victim.wait(20) == -signal.SIGKILL
        assert one.wait(600) == 0
    assert state.read(broken / state.FILE).step < steps
    with process(broken, steps) as again:
        assert again.wait(600) == 0

    def course(out):
        return [{k: v for k, v in line.items() if k != "seconds"} for line in journal.read(out)]

    assert [line["step"] for line in course(whole)] == list(range(1, steps + 1))
    assert course(broken) == course(whole), f"killed at step {kill_at}"
    assert (broken / "ex4d.safetensors").read_bytes() == (whole / "ex4d.safetensors").read_bytes()
    assert [line["step"] for line in course(whole) if "validation" in line] == [10, 20, 30]


@pytest.mark.timeout(900)  # each process takes a while to import what it needs
def test_two_processes_train_as_one_does(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    with process(one, 6) as alone:
        assert alone.wait(600) == 0
    together = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(HERE / "train_tiny.py")]
    done = subprocess.run([sys.executable, *together, str(two), "6"], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = [[line["loss"] for line in journal.read(out)] for out in (one, two)]
    assert len(losses[0]) == 6
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    first, second = (load_file(out / "ex4d.safetensors") for out in (one, two))
    assert all(torch.allclose(first[name], second[name], atol=1e-5) for name in first)


def test_the_result_has_the_published_names_and_shapes_and_the_generator_loads_it(tmp_path, accelerator):
    train(tmp_path, accelerator)
    published = {name: tensor.shape for name, tensor in tiny.adapter_tensors().items()}
    whole = torch.load(tmp_path / "ex4d.ckpt", weights_only=True)
    assert {name: tensor.shape for name, tensor in whole.items()} == published
    assert {tensor.dtype for tensor in whole.values()} == {torch.float32}
    same = load_file(tmp_path / "ex4d.safetensors")
    assert all(torch.equal(whole[name], same[name]) for name in published)
    assert read_adapter(tmp_path / "ex4d.ckpt", tiny.SHAPE, tiny.HIDDEN).rank == tiny.RANK


def test_other_code_loads_the_result_as_the_published_file(tmp_path, accelerator):
    train(tmp_path, accelerator, steps=10)
    whole = torch.load(tmp_path / "ex4d.ckpt", weights_only=True)
    encoder = {name: tensor for name, tensor in whole.items() if name.startswith("latent_")}
    tiny.CameraEncoder(tiny.SHAPE.dim, tiny.HIDDEN).load_state_dict(encoder, strict=True)
    # The release injects an empty LoRA with peft and loads the file into it; DiffSynth merges it into the weights.
    injected = tiny_training.network().pipe.dit
    loaded = injected.load_state_dict({name: whole[name] for name in whole.keys() - encoder.keys()}, strict=False)
    assert loaded.unexpected_keys == []
    assert not [name for name in loaded.missing_keys if ".lora_" in name]
    merging = tiny.pipeline()
    merging.dit = tiny_training.dit()
    plain = merging.dit.blocks[1].ffn[2].weight.detach().clone()
    merging.load_lora(merging.dit, str(tmp_path / "ex4d.ckpt"), verbose=0)
    name = "blocks.1.ffn.2"
    expected = plain + whole[f"{name}.lora_B.default.weight"] @ whole[f"{name}.lora_A.default.weight"]
    assert torch.allclose(merging.dit.blocks[1].ffn[2].weight, expected, atol=1e-5)
    assert not torch.equal(expected, plain)


def test_at_full_size_as_much_is_trained_as_was_published():
    sys.path.append(str(HERE.parents[1] / "benchmarks"))
    import random_weights

    from ex4d.generate.wan import model_files
    from ex4d.training.network import Network

    with torch.device("meta"):
        dit = video_model.library().wan_video.WanModel(
            **{"dim": 5120, "in_dim": 36, "ffn_dim": 13824, "out_dim": 16, "text_dim": 4096, "freq_dim": 256},
            **{"eps": 1e-6, "patch_size": (1, 2, 2), "num_heads": 40, "num_layers": 40, "has_image_input": True},
        )
    network = Network(dit, device="meta")
    published = random_weights.shapes_of_wan()[model_files.EX4D]
    assert {name: tuple(weight.shape) for name, weight in network.trained().items()} == published
    assert network.share() == "Trained: 99.8 million of 16.5 billion weights, 0.60%."


def generated(adapter_file):
    """The generator's result with an adapter."""
    generator = torch.Generator().manual_seed(5)
    colour = torch.rand(5, 3, 32, 48, generator=generator) * 2 - 1
    mask = torch.where(torch.rand(5, 32, 48, generator=generator) < 0.3, -3.0, 1.0)
    shot = Prepared(colour, mask, np.zeros((5, 32, 48), np.uint8), frames=5)
    adapter = read_adapter(adapter_file, tiny.SHAPE, tiny.HIDDEN)
    models = video_model.assemble(tiny.pipeline(), adapter, "reference")
    return video_model.generate(models, shot, tiny.prompts(), 7, video_model.Settings(steps=3)).frames.astype(int)


def test_pictures_of_a_trained_adapter_differ_from_those_of_the_base_model(tmp_path, accelerator):
    fresh = tiny_training.network().trained()
    write_adapter(tmp_path, fresh)
    base = generated(tmp_path / "ex4d.ckpt")
    nothing = {name: torch.zeros_like(weight) for name, weight in fresh.items()}
    write_adapter(tmp_path, nothing)
    assert np.array_equal(base, generated(tmp_path / "ex4d.ckpt"))  # an untrained adapter changes nothing
    train(tmp_path, accelerator, steps=30, average=0.5)
    changed = np.abs(generated(tmp_path / "ex4d.ckpt") - base)
    assert changed.mean() > 3
    assert base.std() > 1


def test_training_predicts_what_the_generator_predicts(tmp_path):
    network = tiny_training.network()
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for weight in network.trained().values():
            weight.copy_(torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5)
    write_adapter(tmp_path, network.trained())
    pipe = tiny.pipeline()
    pipe.dit = tiny_training.dit()
    adapter = read_adapter(tmp_path / "ex4d.ckpt", tiny.SHAPE, tiny.HIDDEN)
    models = video_model.assemble(pipe, adapter, "reference")
    sample, time_ = tiny_training.encoded(3), torch.tensor([700.0])
    with torch.no_grad():
        camera = models.encoder(sample.colour, sample.mask)
        inputs = video_model._Inputs(sample.y, sample.feature, camera, torch.zeros(0))
        with video_model._predictor(models, inputs) as predict:
            theirs = predict(sample.video, time_, sample.prompt)
        ours = network.predict(
            dit=network.pipe.dit,
            latents=sample.video,
            timestep=time_,
            context=sample.prompt,
            clip_feature=sample.feature,
            y=sample.y,
            camera=(sample.colour, sample.mask),
        )
    assert (ours - theirs).norm() / theirs.norm() < 1e-5


def test_only_the_adapter_is_changed(tmp_path, accelerator):
    network = tiny_training.network()
    trained = {id(weight) for weight in network.trained().values()}
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    train(tmp_path, accelerator, network=network)
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter, before[name]) != (id(parameter) in trained), name


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (True, False):
        network = tiny_training.network(checkpointing=checkpointing)
        network(tiny_training.encoded(), 3).backward()
        gradients.append({name: weight.grad for name, weight in network.trained().items()})
    assert all(torch.allclose(gradients[0][name], gradients[1][name], atol=1e-7) for name in gradients[0])
    assert max(float(gradient.abs().max()) for gradient in gradients[0].values()) > 0


def test_the_rate_rises_in_the_warm_up_and_falls_as_a_cosine():
    settings = TrainSettings(steps=110, warm_up=10)
    rates = [loop.rate_at(step, settings) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[60] == pytest.approx(0.5)
    assert rates[-1] < 0.001
    assert rates[10:] == sorted(rates[10:], reverse=True)


class Watching(tiny_training.Few):
    """Keeps the weights at the start of each step."""

    def __init__(self, network):
        super().__init__()
        self.network, self.seen = network, []

    def training(self, number):
        self.seen.append({name: weight.detach().clone() for name, weight in self.network.trained().items()})
        return super().training(number)


def test_the_result_is_the_moving_average_of_the_weights(tmp_path, accelerator):
    network = tiny_training.network()
    watching = Watching(network)
    average, _ = train(tmp_path, accelerator, watching, network, steps=5, average=0.2)
    states = [*watching.seen, network.trained()]
    for name in average:
        expected = states[0][name]
        for step, after in enumerate(states[1:]):
            decay = min(0.2, (1 + step) / (10 + step))
            expected = decay * expected + (1 - decay) * after[name]
        assert torch.allclose(average[name], expected, atol=1e-6)
    assert any(not torch.allclose(average[name], states[-1][name], atol=1e-5) for name in average)


def test_long_gradients_are_shortened(tmp_path, accelerator):
    def moved(clip):
        network = tiny_training.network()
        start = torch.cat([weight.detach().flatten() for weight in network.trained().values()])
        out = tmp_path / str(clip)
        out.mkdir()
        train(out, accelerator, network=network, clip=clip, weight_decay=0.0)
        assert all(line["norm"] > 1e-3 for line in journal.read(out))  # before clipping
        return (torch.cat([weight.detach().flatten() for weight in network.trained().values()]) - start).abs().mean()

    # AdamW's steps have the same length whatever the gradient's, except for gradients near its epsilon.
    assert moved(1e-6) < 0.5 * moved(1.0)


def test_a_training_with_other_settings_is_not_gone_on_with(tmp_path, accelerator):
    train(tmp_path, accelerator, rate=1e-3)
    with pytest.raises(InputError, match=r"has a training with --rate 0\.001: go on with the same settings"):
        train(tmp_path, accelerator, rate=1e-2)


def test_a_damaged_checkpoint_is_named(tmp_path, accelerator):
    train(tmp_path, accelerator)
    file = tmp_path / state.FILE
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"checkpoint of the training .* cannot be read .*: remove it to begin again"):
        train(tmp_path, accelerator)


def test_a_loss_that_is_no_number_ends_the_training_before_it_spoils_a_checkpoint(tmp_path, accelerator):
    material = tiny_training.Few(same_noise=True)
    train(tmp_path, accelerator, material, save_every=1, steps=6)
    kept = (tmp_path / "ex4d.safetensors").read_bytes()
    (tmp_path / state.FILE).unlink()
    for sample in material.samples:
        sample.video[:] = float("nan")
    with pytest.raises(InputError, match="The loss of step 1 is nan"):
        train(tmp_path, accelerator, material, save_every=1, steps=6)
    assert (tmp_path / "ex4d.safetensors").read_bytes() == kept


def test_tensorboard_gets_the_same_figures(tmp_path, accelerator):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    _, losses = train(tmp_path, accelerator)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("loss")] == pytest.approx(losses)


def test_a_line_that_a_kill_cut_off_is_left_out(tmp_path):
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}]
    text = "\n".join(json.dumps(line) for line in lines) + '\n{"step": 3, "lo'
    (tmp_path / journal.FILE).write_text(text)
    assert journal.read(tmp_path) == lines


def test_weights_in_4_bits_train_too(tmp_path, accelerator):
    pytest.importorskip("bitsandbytes")
    network = tiny_training.Network(tiny_training.dit().bfloat16(), rank=4, hidden=tiny.HIDDEN, quant="nf4")
    kept = [p for p in network.pipe.dit.parameters() if p.dtype == torch.uint8]
    assert len(kept) == 2 * 12  # including the two for the image in each block
    _, losses = train(tmp_path, accelerator, network=network, steps=20, batch=3)
    assert losses[-1] < losses[0] * 0.8


def test_missing_bitsandbytes_is_said_in_a_sentence(monkeypatch):
    from diffsynth.core.quant.backends import bitsandbytes

    monkeypatch.setattr(bitsandbytes, "BITSANDBYTES_AVAILABLE", False)
    with pytest.raises(InputError, match="Weights in 4 bits need the Python package bitsandbytes: pip install"):
        tiny_training.network(quant="nf4")
