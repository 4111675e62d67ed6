"""Every test starts from Blender's factory file with the add-on enabled, and leaves no timers or handlers behind."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import bpy
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

ADDON = "blender_addon"
NOBODYS_ADDRESS = "tcp://127.0.0.1:59737"


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for files of unsaved scenes, in place of the user's own."""
    folder = tmp_path / "user"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def addon(user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The add-on, enabled in the factory file."""
    import addon_utils

    monkeypatch.setenv("EX4D_DATA", str(user_folder))
    bpy.ops.wm.read_homefile(use_factory_startup=True)
    module = addon_utils.enable(ADDON, default_set=True)
    assert module is not None
    # Not the default address, where the developer's own server may be listening.
    bpy.context.preferences.addons[ADDON].preferences.address = NOBODYS_ADDRESS
    monkeypatch.setattr("blender_addon.scene.compat.user_folder", lambda package: user_folder)
    monkeypatch.setattr("blender_addon.scene.compat.former_user_folders", lambda package: [])
    yield module
    addon_utils.disable(ADDON, default_set=True)
    bpy.ops.wm.read_homefile(use_factory_startup=True)


@pytest.fixture
def scene() -> bpy.types.Scene:
    """The factory file's scene."""
    return bpy.context.scene
