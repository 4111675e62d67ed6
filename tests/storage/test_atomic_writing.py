"""Files that are whole or not there: what is said where they cannot be written."""

from pathlib import Path

import pytest

from ex4d.errors import InputError
from ex4d.storage.atomic import replacing


def test_a_full_disk_is_told_in_words_whoever_wrote(tmp_path):
    said = r"x\.safetensors cannot be written because the disk is full"
    with pytest.raises(InputError, match=said), replacing(tmp_path / "x.safetensors"):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    with pytest.raises(RuntimeError, match="something else"), replacing(tmp_path / "x.safetensors"):
        raise RuntimeError("something else")


def test_a_place_without_a_name_of_its_own_cannot_be_written():
    for place in (".", ".."):
        with pytest.raises(InputError, match="because a folder of that name exists"), replacing(Path(place)):
            pass
