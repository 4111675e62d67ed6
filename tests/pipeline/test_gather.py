"""Files by content get their names back, whatever links the system lets us make."""

import os

import pytest

from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.open import gather
from ex4d.pipeline.requests import Reconstruct, Source


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
