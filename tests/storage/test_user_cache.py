import os
import stat

import pytest

from ex4d.errors import InputError
from ex4d.storage import user_cache


def test_the_variable_names_the_folder_and_parts_of_it_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "new"))
    assert user_cache.folder("prompts") == tmp_path / "new" / "prompts"
    assert user_cache.folder("prompts").is_dir()


def test_without_it_the_users_own_cache_is_taken(tmp_path, monkeypatch):
    monkeypatch.delenv("EX4D_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in user_cache.folder("depth").parents
    assert user_cache.folder("depth").parts[-2:] == ("ex4d", "depth")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "x"))
    with pytest.raises(InputError, match="EX4D_CACHE"):
        user_cache.folder("depth")


def test_a_file_in_its_place_is_named(tmp_path, monkeypatch):
    (tmp_path / "x").write_text("")
    monkeypatch.setenv("EX4D_CACHE", str(tmp_path / "x"))
    with pytest.raises(InputError, match="cannot be made"):
        user_cache.folder("depth")
