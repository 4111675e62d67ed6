"""Fixtures of all tests, and how a run ends where Blender as a module cannot."""

import os
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

FIRST_THAT_ENDS = (4, 5, 0)
"""Before this version the module crashes when Python ends after any property with an `update` or `poll` callback was
registered, ours or anybody's: it frees the callback when Python is gone. Blender itself does not."""

_status = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_status] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """End at once with the result of the tests, after everything was told."""
    bpy = sys.modules.get("bpy")
    if bpy is not None and bpy.app.version < FIRST_THAT_ENDS and _status in config.stash:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[_status])


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """What earlier runs have found or made is not used: a test passes or fails by the code alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EX4D_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_registry_of_the_user(tmp_path_factory):
    """Servers write where they are into a folder of the tests."""
    folder = str(tmp_path_factory.mktemp("config"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CONFIG_HOME", "LOCALAPPDATA"):
            patch.setenv(name, folder)
        yield


HEIGHT, WIDTH, FRAMES = 48, 64, 9


@pytest.fixture
def moving_box():
    """A clip and its depth: a bright box that moves to the right in front of a slanted, textured wall."""
    from ex4d.geometry import intrinsics
    from ex4d.geometry.depth_video import DepthVideo
    from ex4d.media.clip import Clip

    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    frames = np.empty((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    depth = np.empty((FRAMES, HEIGHT, WIDTH), np.float32)
    for t in range(FRAMES):
        frames[t] = np.stack([rows * 4, cols * 3, (rows + cols) * 2], axis=-1)
        depth[t] = 8 + cols * 0.02
        box = (slice(14, 34), slice(16 + 2 * t, 32 + 2 * t))
        frames[t][box] = (250, 220, 40)
        depth[t][box] = 4
    fit = intrinsics.fit_frame(WIDTH, HEIGHT)
    k = intrinsics.per_frame(intrinsics.from_focal(60, WIDTH, HEIGHT), FRAMES)
    return Clip(frames, Fraction(24), "box", 0, fit), DepthVideo(depth, k, "synthetic")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference outputs of the release and real clips, which stand beside the checkout where they are at hand."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("the folder of reference files is not beside the checkout")
    return folder


@pytest.fixture
def far():
    """Another machine at the other end of a cable; see `another_host.AnotherHost`."""
    sys.path.insert(0, str(Path(__file__).parent))
    from another_host import another_host, why_not

    if why := why_not():
        pytest.skip(why)
    with another_host() as there:
        yield there
