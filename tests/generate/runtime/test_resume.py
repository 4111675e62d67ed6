import os
import time
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
pytest.importorskip("safetensors", reason="needs the extra wan: make test-wan")

from ex4d.errors import InputError
from ex4d.generate.runtime.resume import DAYS, Checkpoint, checkpoint_for

pytestmark = pytest.mark.wan


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "unfinished"


@pytest.fixture
def place():
    return checkpoint_for("a job")


def bits(tensor):
    return tensor.dtype, tensor.shape, tensor.contiguous().flatten().view(torch.uint8).tolist()


def same(one, two):
    return {name: bits(tensor) for name, tensor in one.items()} == {name: bits(tensor) for name, tensor in two.items()}


def test_what_is_kept_comes_back_to_the_bit(place):
    kept = {
        "latents": torch.randn(1, 16, 2, 4, 6),
        "turned": torch.randn(4, 6).T,
        "half": torch.randn(7).bfloat16(),
        "frames": torch.arange(24, dtype=torch.uint8).view(2, 2, 2, 3),
        "step": torch.tensor(15),
        "strange": torch.tensor([float("nan"), float("inf"), -0.0]),
    }
    assert not kept["turned"].is_contiguous()
    place.keep(**kept)
    assert same(place.read(), kept)
    assert int(place.read()["step"]) == 15


def test_nothing_is_there_before_something_is_kept(place, folder):
    assert place.read() == {}
    assert not list(folder.iterdir())


def test_what_is_kept_later_takes_the_place_of_what_was_there(place, folder):
    place.keep(latents=torch.zeros(3), step=torch.tensor(5))
    place.keep(frames=torch.ones(2))
    assert same(place.read(), {"frames": torch.ones(2)})
    assert list(folder.iterdir()) == [place.path]


def test_a_forgotten_job_leaves_nothing_and_may_be_forgotten_again(place, folder):
    place.keep(step=torch.tensor(5))
    place.forget()
    place.forget()
    assert place.read() == {}
    assert not list(folder.iterdir())


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_no_help_and_is_removed(place, folder, part):
    place.keep(latents=torch.randn(500), step=torch.tensor(5))
    data = place.path.read_bytes()
    place.path.write_bytes(data[: int(part * len(data))])
    assert place.read() == {}
    assert not list(folder.iterdir())
    place.keep(step=torch.tensor(6))
    assert int(place.read()["step"]) == 6


@pytest.mark.parametrize("content", [b"no tensors", b"\xff" * 100, b"\0" * 1000])
def test_a_file_of_something_else_is_no_help_and_is_removed(place, folder, content):
    place.path.write_bytes(content)
    assert place.read() == {}
    assert not list(folder.iterdir())


def test_what_was_kept_stays_where_the_next_is_not_written_to_its_end(place, folder, monkeypatch):
    place.keep(step=torch.tensor(5))

    def broken(tensors, path):
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr("safetensors.torch.save_file", broken)
    with pytest.raises(KeyboardInterrupt):
        place.keep(step=torch.tensor(10))
    assert same(place.read(), {"step": torch.tensor(5)})
    assert list(folder.iterdir()) == [place.path]


def test_a_folder_that_is_gone_is_said_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match="its folder does not exist"):
        Checkpoint(tmp_path / "gone" / "job.safetensors").keep(step=torch.tensor(5))


@dataclass(frozen=True)
class Settings:
    steps: int = 25
    prompt: str = "a street"


def depends_on(**changes):
    """What a job's name depends on."""
    values = {
        "stage": "latents",
        "colour": torch.zeros(5, 3, 4, 6),
        "mask": torch.ones(5, 4, 6),
        "seed": 3,
        "settings": Settings(),
        "precision": "fast",
        "files": (("model.safetensors", 1000, 17), ("vae.safetensors", 20, 18)),
    }
    return (values | changes).values()


def test_the_same_job_finds_its_place_again(folder):
    one, two = checkpoint_for(*depends_on()), checkpoint_for(*depends_on())
    assert one == two
    assert one.path.parent == folder
    one.keep(step=torch.tensor(5))
    assert int(checkpoint_for(*depends_on()).read()["step"]) == 5


def changed(tensor):
    tensor = tensor.clone()
    tensor.view(-1)[-1] += 1e-6
    return tensor


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "frames"},
        {"colour": changed(torch.zeros(5, 3, 4, 6))},
        {"mask": changed(torch.ones(5, 4, 6))},
        {"seed": 4},
        {"settings": Settings(steps=24)},
        {"settings": Settings(prompt="another")},
        {"precision": "reference"},
        {"files": (("model.safetensors", 1000, 17), ("vae.safetensors", 20, 19))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_result_changes_the_place(change):
    assert checkpoint_for(*depends_on(**change)).path != checkpoint_for(*depends_on()).path


def test_a_tensor_and_an_array_are_known_by_what_is_in_them():
    numbers = torch.arange(12.0).view(3, 4)
    place = checkpoint_for(numbers)
    assert checkpoint_for(numbers.clone()) == checkpoint_for(numbers.numpy()) == place
    assert checkpoint_for(numbers.T.contiguous().T) == place
    assert checkpoint_for(numbers.bfloat16()) != place
    assert checkpoint_for(torch.zeros(1000)) != checkpoint_for(changed(torch.zeros(1000)))
    assert checkpoint_for(np.zeros(1000)) != checkpoint_for(np.eye(1, 1000, 500)[0])


def aged(path, days):
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def test_files_that_nobody_came_back_for_are_removed_after_a_week(folder):
    places = {days: checkpoint_for("job", days) for days in (0, DAYS - 0.01, DAYS + 0.01, 100)}
    for days, place in places.items():
        place.keep(step=torch.tensor(5))
        aged(place.path, days)
    checkpoint_for("another job")
    assert {days for days, place in places.items() if place.read()} == {0, DAYS - 0.01}
    assert len(list(folder.iterdir())) == 2


def test_what_a_killed_job_was_writing_is_removed_too_and_nothing_else(folder):
    half = checkpoint_for("job").path.with_name(".1234abcd.part.0123.safetensors")
    other = folder / "notes.txt"
    for path in (half, other):
        path.write_bytes(b"x")
        aged(path, 30)
    checkpoint_for("another job")
    assert list(folder.iterdir()) == [other]


def test_keeping_again_begins_a_new_week():
    place = checkpoint_for("job")
    place.keep(step=torch.tensor(5))
    aged(place.path, DAYS - 0.01)
    place.keep(step=torch.tensor(10))
    assert time.time() - place.path.stat().st_mtime < 60


def test_an_old_file_that_cannot_be_removed_stops_nobody(folder):
    stubborn = checkpoint_for("job").path.with_name("folder.safetensors")
    stubborn.mkdir()
    aged(stubborn, 30)
    assert checkpoint_for("another job").read() == {}
    assert stubborn.is_dir()
