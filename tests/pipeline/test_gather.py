"""Files by content get their names back, whatever links the system allows."""

import os

import pytest

from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.open import gather
from ex4d.pipeline.requests import Fill, Reconstruct, Source


def refuse(*arguments):
    raise OSError("A required privilege is not held by the client")


@pytest.mark.parametrize("lacking", [(), ("symlink",), ("symlink", "link")])
def test_where_no_links_can_be_made_there_are_hard_ones_or_copies(tmp_path, monkeypatch, lacking):
    for name in ("clip.mp4", "depth.npz"):
        (tmp_path / name).write_text(name)
    clip, depth = blob_of(tmp_path / "clip.mp4"), blob_of(tmp_path / "depth.npz")
    for name in lacking:
        monkeypatch.setattr(os, name, refuse)
    folder = tmp_path / "in"
    folder.mkdir()
    gather(Reconstruct(Source((clip,), (depth,))), lambda blob: tmp_path / blob.name, folder)
    assert (folder / "clip.mp4").read_text() == "clip.mp4"
    assert (folder / "depth.npz").read_text() == "depth.npz"
    assert (folder / "clip.mp4").is_symlink() == (lacking == ())
    assert os.path.samefile(folder / "clip.mp4", tmp_path / "clip.mp4") == (len(lacking) < 2)


def test_a_folder_of_pictures_that_is_named_depth_stands_beside_the_depth(tmp_path):
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (tmp_path / name).write_text(name)
    blobs = [blob_of(tmp_path / name) for name in ("a.png", "b.png", "c.png", "d.png")]
    (tmp_path / "in").mkdir()
    job = Reconstruct(Source(tuple(blobs[:2]), tuple(blobs[2:]), folder="depth"))
    source = gather(job, lambda blob: tmp_path / blob.name, tmp_path / "in").source
    assert source.clip.name == "depth"
    assert sorted(path.name for path in source.clip.iterdir()) == ["a.png", "b.png"]
    assert sorted(path.name for path in source.depth.iterdir()) == ["c.png", "d.png"]


def test_a_colour_file_that_is_named_mask_stands_beside_the_mask(tmp_path):
    for name in ("mask", "a.png", "b.png"):
        (tmp_path / name).write_text(name)
    colour, *mask = (blob_of(tmp_path / name) for name in ("mask", "a.png", "b.png"))
    (tmp_path / "in").mkdir()
    files = gather(Fill((colour,), tuple(mask)), lambda blob: tmp_path / blob.name, tmp_path / "in")
    assert files.colour.read_text() == "mask"
    assert sorted(path.name for path in files.mask.iterdir()) == ["a.png", "b.png"]
