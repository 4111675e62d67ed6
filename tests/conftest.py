"""How a test run ends where Blender as a module cannot."""

import os
import sys

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
