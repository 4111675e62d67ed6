"""Where data of the user is kept that cannot be made again."""

import sys
from pathlib import Path

import pytest

from ex4d.storage import user_data


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    for name in (user_data.VARIABLE, "LOCALAPPDATA", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("platform", "place"),
    [
        ("linux", ".local/share/ex4d"),
        ("darwin", "Library/Application Support/ex4d"),
        ("win32", "AppData/Local/ex4d"),
    ],
)
def test_each_system_has_its_own_place(home, monkeypatch, platform, place):
    monkeypatch.setattr(sys, "platform", platform)
    assert user_data.folder() == home / place
    assert not (home / place).exists(), "asking makes nothing"


def test_another_place_can_be_named(home, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert user_data.folder() == Path("/data/ex4d")
    monkeypatch.setenv(user_data.VARIABLE, "~/elsewhere")
    assert user_data.folder() == Path("~/elsewhere").expanduser()
