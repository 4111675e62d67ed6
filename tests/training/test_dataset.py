"""A dataset returns exactly what was put into it, and refuses what is damaged or not its own."""

import json
import zipfile
from fractions import Fraction

import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.storage.npz import write_arrays
from ex4d.training import dataset
from ex4d.training.dataset import About, ClipFacts, Dataset, DatasetSettings, Given, write_clip, write_json
from ex4d.training.sample import Samples
from ex4d.training.simulated import Simulated

NAME = "0123456789abcdef-000098"
SETTINGS = DatasetSettings(frames=5, size=66, masks=2)  # 66 * 66 pixels are not a whole number of bytes


def content():
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (5, 66, 66, 3)).astype(np.uint8)
    masks = random.uniform(size=(2, 5, 66, 66)) > 0.3
    masks[:, 0] = True
    colour = random.integers(0, 256, frames.shape).astype(np.uint8)
    colour[~masks[1]] = 0
    return frames, masks, colour


@pytest.fixture
def folder(tmp_path):
    frames, masks, colour = content()
    made = [Simulated("tracking", "", masks[0], None), Simulated("rendering", "orbit 30", masks[1], colour)]
    (tmp_path / "clips").mkdir()
    facts = ClipFacts("a.mp4", 98, "A cat, “ç”.", "plane")
    write_clip(tmp_path / "clips" / NAME, frames, Fraction(24000, 1001), facts, made)
    write_json(tmp_path / "dataset.json", About(1, SETTINGS, True, (NAME,), (Given("a.mp4", (NAME,)),)))
    return tmp_path


def test_samples_come_back_bit_for_bit(folder):
    frames, masks, colour = content()
    samples: Samples = Dataset.open(folder)
    assert samples.clips == (NAME,)
    assert samples.masks == 2
    for number in (0, 1):
        sample = samples.load(NAME, number)
        assert sample.clip == NAME
        assert sample.caption == "A cat, “ç”."
        assert np.array_equal(sample.frames, frames)
        assert np.array_equal(sample.mask, masks[number])
        assert sample.mask.dtype == bool
        assert np.array_equal(sample.colour, colour if number else frames * masks[0][..., None])


def test_clips_and_masks_of_another_name_are_refused(folder):
    samples = Dataset.open(folder)
    for name in ("../clips/" + NAME, "fedcba9876543210-000000", "", "/etc"):
        with pytest.raises(InputError, match="has no clip"):
            samples.load(name, 0)
    for mask in (-1, 2):
        with pytest.raises(InputError, match="masks 0 to 1"):
            samples.load(NAME, mask)


def test_a_description_cannot_lead_out_of_the_folder(folder):
    about = json.loads((folder / "dataset.json").read_text())
    for name in ("../../secret", "/etc/passwd", "0123456789abcdef-000098/..", "clip"):
        (folder / "dataset.json").write_text(json.dumps({**about, "clips": [name]}))
        with pytest.raises(InputError, match="must be the name of a clip"):
            Dataset.open(folder)


def test_damage_is_told_by_the_file_that_has_it(folder):
    clip = folder / "clips" / NAME
    whole = (clip / "masks.npz").read_bytes()
    samples = Dataset.open(folder)
    (clip / "masks.npz").write_bytes(whole[:-300])
    with pytest.raises(InputError, match=r"masks\.npz"):
        samples.load(NAME, 0)
    write_arrays(clip / "masks.npz", {"mask_00": np.zeros((5, 10), np.uint8)})
    with pytest.raises(InputError, match="holds no mask 0 of 5 frames of 66x66"):
        samples.load(NAME, 0)
    with zipfile.ZipFile(clip / "masks.npz", "w") as archive:  # it claims to contain Python objects
        header = (
            b"\x93NUMPY\x01\x00\x46\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(69) + b"\n"
        )
        archive.writestr("mask_00.npy", header + b"cos\nsystem\n")
    with pytest.raises(InputError, match="Python objects"):
        samples.load(NAME, 0)
    (clip / "masks.npz").write_bytes(whole)
    (clip / "frames.mkv").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"frames\.mkv"):
        samples.load(NAME, 0)
    (clip / "frames.mkv").unlink()
    with pytest.raises(InputError, match=r"frames\.mkv"):
        samples.load(NAME, 0)
    (clip / "clip.json").write_text("{")
    with pytest.raises(InputError, match=r"clip\.json is damaged"):
        samples.load(NAME, 0)


def test_frames_of_another_size_are_refused_before_they_are_read(folder, monkeypatch):
    settings = DatasetSettings(frames=5, size=1024, masks=2)
    write_json(folder / "dataset.json", About(1, settings, True, (NAME,)))
    with pytest.raises(InputError, match="5 frames of 66x66 instead of 5 of 1024x1024"):
        Dataset.open(folder).load(NAME, 0)


def test_what_is_no_dataset_or_is_not_finished_says_what_to_do(folder, tmp_path_factory):
    with pytest.raises(InputError, match="`ex4d train masks`"):
        Dataset.open(tmp_path_factory.mktemp("empty"))
    write_json(folder / "dataset.json", About(1, SETTINGS))
    with pytest.raises(InputError, match=r"not finished.*goes on"):
        Dataset.open(folder)
    write_json(folder / "dataset.json", About(2, SETTINGS, True))
    with pytest.raises(InputError, match=f"version 2, and this EX-4D reads {dataset.VERSION}"):
        Dataset.open(folder)
