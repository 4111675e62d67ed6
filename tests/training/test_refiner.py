"""Training the edge refiner: it learns, resumes where it stopped, and its result is small."""

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from ex4d.cli.app import build_app
from ex4d.depth import refinement
from ex4d.errors import InputError
from ex4d.networks.edge_refiner import EdgeRefiner
from ex4d.training.refiner import loop
from ex4d.training.refiner.depth_errors import made_wrong
from ex4d.training.refiner.pictures import pictures
from ex4d.training.refiner.random_numbers import RandomNumbers
from ex4d.training.settings import RefinerPlan

pytestmark = pytest.mark.wan
PLAN = RefinerPlan(seed=3, steps=12, batch=2, size=64)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trained(folder, plan, seconds=1e9):
    folder.mkdir(exist_ok=True)
    said = []
    return loop.train(folder, plan, seconds, "cpu", said.append), said


def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path):
    done, _ = trained(tmp_path / "whole", PLAN)
    assert done
    done, _ = trained(tmp_path / "parts", PLAN, seconds=0.01)
    assert not done, "it stopped in between"
    while not done:
        done, _ = trained(tmp_path / "parts", PLAN, seconds=0.01)
    whole, parts = (load_file(tmp_path / name / loop.WEIGHTS) for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    with torch.random.fork_rng([]):
        torch.manual_seed(PLAN.seed)
        fresh = EdgeRefiner().state_dict()
    assert all(not torch.equal(whole[name], fresh[name]) for name in whole if name.endswith("weight"))


def test_a_training_leaves_torchs_own_random_numbers_alone(tmp_path):
    before = torch.random.get_rng_state()
    trained(tmp_path, RefinerPlan(seed=3, steps=1, batch=1, size=32))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_shipped_network_is_better_than_one_that_has_learned_nothing_on_pictures_it_never_saw():
    numbers = RandomNumbers(777, "cpu")
    network = EdgeRefiner().eval()
    network.load_state_dict({name: value.float() for name, value in load_file(refinement.WEIGHTS).items()})
    with torch.no_grad():
        picture, true = pictures(numbers, 3, 128)
        made, true = made_wrong(numbers, true)
        taken, _, unit = loop.refined(network, picture, made)
        near = loop._near_edges(true)
        before, after = (float((((d - true) / unit).abs() * near).sum() / near.sum()) for d in (made, taken))
    assert after < 0.85 * before


def test_another_plan_in_the_same_folder_is_refused(tmp_path):
    trained(tmp_path, PLAN)
    with pytest.raises(InputError, match="has a training with --seed 3 --steps 12 "):
        trained(tmp_path, RefinerPlan(seed=4, steps=12, batch=2, size=64))


def test_weights_to_begin_with_are_taken(tmp_path):
    shutil.copy(refinement.WEIGHTS, tmp_path / "old.safetensors")
    said = []
    plan = RefinerPlan(seed=3, steps=1, batch=2, size=64, rate=0.0)
    loop.train(tmp_path, plan, 1e9, "cpu", said.append, begin=loop.read_weights(tmp_path / "old.safetensors"))
    old, new = load_file(tmp_path / "old.safetensors"), load_file(tmp_path / loop.WEIGHTS)
    assert all(torch.allclose(old[name].float(), new[name].float(), atol=1e-3) for name in old)


def test_the_shipped_network_is_small():
    assert refinement.WEIGHTS.stat().st_size < 3_000_000
    assert sum(weight.numel() for weight in EdgeRefiner().parameters()) == 1_409_380


def test_what_trains_and_what_applies_the_network_agree():
    random = np.random.default_rng(1)
    disparity = random.uniform(0.1, 1, (48, 64)).astype(np.float32)
    picture = random.integers(0, 256, (48, 64, 3), np.uint8)
    inputs, unit, _ = refinement._prepared(disparity, picture)
    theirs, their_unit = loop.prepared(
        torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(disparity)[None, None]
    )
    np.testing.assert_allclose(inputs, theirs.numpy(), atol=1e-5)
    np.testing.assert_allclose(unit, their_unit[0, 0].numpy(), rtol=1e-5)


def test_true_disparity_has_a_step_where_the_picture_has_one():
    numbers = RandomNumbers(5, "cpu")
    picture, true = pictures(numbers, 4, 96)
    assert picture.shape == (4, 3, 96, 96)
    assert true.min() > 0
    steps = (true[..., 1:] / true[..., :-1]).log().abs() > 0.1
    changes = (picture[..., 1:] - picture[..., :-1]).abs().mean(1, keepdim=True)
    assert changes[steps].mean() > 1.8 * changes[~steps].mean()
    levels = picture * 255
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    made, wanted = made_wrong(RandomNumbers(6, "cpu"), true)
    assert made.shape == wanted.shape == true.shape
    assert not torch.equal(made, wanted)


def test_a_damaged_state_and_weights_of_something_else_are_refused_in_words(tmp_path):
    (tmp_path / "state.safetensors").write_bytes(b"abc")
    with pytest.raises(InputError, match=r"state\.safetensors cannot be read.*remove it to begin again"):
        trained(tmp_path, PLAN)
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(2)}, other)
    shutil.copy(other, tmp_path / "state.safetensors")
    with pytest.raises(InputError, match="is no state of a training or is damaged: remove it to begin again"):
        trained(tmp_path, PLAN)
    for begin, said in ((other, "holds no weights of this network"), (tmp_path / "no", "There is no file of weights")):
        with pytest.raises(InputError, match=said):
            loop.read_weights(begin)


def test_a_refused_command_leaves_no_folder(tmp_path):
    other, out = tmp_path / "other.safetensors", tmp_path / "out"
    save_file({"a": torch.zeros(2)}, other)
    for begin, said in ((other, "holds no weights of this network"), (tmp_path / "no", "There is no file of weights")):
        asked = ["train", "refiner", str(out), "--device", "cpu", "--begin", str(begin)]
        result = CliRunner().invoke(build_app(), asked)
        assert result.exit_code != 0
        assert isinstance(result.exception, InputError), result.output
        assert said in str(result.exception)
        assert not out.exists()
