"""File locks between processes."""

import errno
import sys

import pytest

from ex4d.errors import InputError
from ex4d.storage import locks
from ex4d.storage.locks import locked


def test_a_lock_keeps_the_next_one_out_until_it_is_released(tmp_path):
    file = tmp_path / ".lock"
    with (
        locked(file, "I am at work."),
        pytest.raises(InputError, match=r"^Somebody is at work\.$"),
        locked(file, "Somebody is at work."),
    ):
        pass
    with locked(file, "Somebody is at work."):
        assert file.read_bytes() == b""


@pytest.mark.skipif(sys.platform == "win32", reason="flock is POSIX")
def test_a_disk_that_knows_no_locks_is_not_taken_for_somebody_at_work(tmp_path, monkeypatch):
    def refuse(*about):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with (
        pytest.raises(InputError, match="cannot be locked: No locks available; use another disk"),
        locked(tmp_path / ".lock", "Somebody is at work."),
    ):
        pass
