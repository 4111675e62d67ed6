"""The store on its own: what it accepts, what it detects, what it removes."""

import hashlib
import inspect
import os
import shutil
import threading
import time
from collections import namedtuple
from functools import partial

import pytest
from ex4d_server import blobs
from ex4d_server.blobs import BlobStore, StoreLimits
from ex4d_server.content import BlobError, check, checked, run
from ex4d_server.journal import JournalError, used_by_unfinished_jobs

from ex4d.jobs.limits import CHUNK_BYTES
from ex4d.pipeline.requests import Blob

DAY = 86400.0
MB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pinned():
    """Hashes of files that unfinished jobs use; tests add to it."""
    return set()


@pytest.fixture
def store(tmp_path, clock, pinned):
    made = BlobStore(tmp_path / "blobs", tmp_path / "incoming", in_use=lambda: pinned, clock=clock)
    yield made
    made.close()


def blob_of(content: bytes, name: str = "clip.mp4") -> Blob:
    return Blob(hashlib.sha256(content).hexdigest(), len(content), name)


def send(store: BlobStore, blob: Blob, content: bytes, start: int = 0) -> int:
    held = start
    for offset in range(start, max(len(content), 1), CHUNK_BYTES):
        held = run(store.put(blob.sha256, blob.size, offset, content[offset : offset + CHUNK_BYTES]))
    return held


def add(store: BlobStore, content: bytes) -> Blob:
    blob = blob_of(content)
    store.missing([blob])
    assert send(store, blob, content) == len(content)
    assert store.missing([blob]) == {}
    return blob


def scribble(path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


# -- sizes


def test_a_wrong_size_announced_by_another_client_does_not_touch_an_upload(store):
    content = os.urandom(3 * CHUNK_BYTES)
    blob = blob_of(content)
    assert store.missing([blob]) == {blob.sha256: 0}
    run(store.put(blob.sha256, blob.size, 0, content[:CHUNK_BYTES]))
    for size in (1, CHUNK_BYTES, blob.size - 1, blob.size + 1):
        assert store.missing([Blob(blob.sha256, size, "theirs.mp4")]) == {blob.sha256: 0}
    with pytest.raises(BlobError, match="arrived damaged"):
        run(store.put(blob.sha256, CHUNK_BYTES, 0, content[:CHUNK_BYTES]))
    assert send(store, blob, content, CHUNK_BYTES) == blob.size
    with pytest.raises(BlobError, match="announced with a size") as caught:
        store.missing([Blob(blob.sha256, 1, "theirs.mp4")])
    assert caught.value.code == "bad_size"
    with pytest.raises(BlobError, match="announced with a size"):
        run(store.put(blob.sha256, blob.size + 1, 0, content[:10]))
    assert run(store.read(blob.sha256, 0)) == content[:CHUNK_BYTES]


# -- content is checked on use


@pytest.mark.parametrize("size", [1000, 3 * MB])
def test_a_stored_input_that_was_altered_is_noticed_dropped_and_can_be_sent_again(store, size):
    content = os.urandom(size)
    blob = add(store, content)
    scribble(store.path(blob.sha256), content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BlobError, match="damaged or removed"):
        checked(store.path(blob.sha256), blob)
    assert store.missing([blob]) == {blob.sha256: 0}
    assert send(store, blob, content) == size
    assert checked(store.path(blob.sha256), blob).read_bytes() == content


@pytest.mark.parametrize("size", [1000, 3 * MB])
def test_a_stored_input_that_was_cut_short_can_be_submitted_again_at_once(store, size):
    content = os.urandom(size)
    blob = add(store, content)
    scribble(store.path(blob.sha256), content[: size // 2])
    assert store.missing([blob]) == {blob.sha256: 0}
    assert send(store, blob, content) == size
    assert store.path(blob.sha256).read_bytes() == content


def test_a_stored_input_that_was_altered_is_noticed_when_the_clip_is_submitted_again(store):
    content = os.urandom(3 * MB)
    blob = add(store, content)
    scribble(store.path(blob.sha256), b"\0" * len(content))
    assert store.missing([blob]) == {blob.sha256: blob.size - 1}
    with pytest.raises(BlobError, match="arrived damaged"):
        run(store.put(blob.sha256, blob.size, blob.size - 1, content[-1:]))
    assert send(store, blob, content) == blob.size


def test_a_stored_file_that_was_only_touched_is_kept_and_costs_one_byte(store):
    content = os.urandom(3 * MB)
    blob = add(store, content)
    os.utime(store.path(blob.sha256))
    assert store.missing([blob]) == {blob.sha256: blob.size - 1}
    assert run(store.put(blob.sha256, blob.size, blob.size - 1, content[-1:])) == blob.size
    assert store.missing([blob]) == {}


def test_a_result_that_was_only_touched_is_given_and_one_that_was_altered_is_not(store, tmp_path):
    content = os.urandom(3 * MB)
    blob = blob_of(content)
    (tmp_path / "out.mp4").write_bytes(content)
    store.adopt(tmp_path / "out.mp4", blob)
    os.utime(store.path(blob.sha256))
    assert run(store.read(blob.sha256, 0)) == content[:CHUNK_BYTES]
    assert run(check(store.path(blob.sha256), blob.sha256))
    scribble(store.path(blob.sha256), b"\0" * len(content))
    with pytest.raises(BlobError, match="run the job again"):
        run(store.read(blob.sha256, CHUNK_BYTES))
    assert not store.path(blob.sha256).exists()


def test_a_small_file_that_was_altered_behind_its_time_is_noticed_too(store):
    blob = add(store, b"the clip")
    path = store.path(blob.sha256)
    before = path.stat()
    scribble(path, b"the CLIP")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BlobError, match="damaged or removed"):
        checked(path, blob)


def test_checks_survive_a_restart_without_an_index(store, tmp_path, clock):
    content = os.urandom(3 * MB)
    blob = add(store, content)
    again = BlobStore(tmp_path / "blobs", tmp_path / "incoming", owns=lambda owner, sha256: True, clock=clock)
    assert again.missing([blob]) == {}
    steps = check(again.path(blob.sha256), blob.sha256)
    with pytest.raises(StopIteration):  # immediately: nothing is hashed
        next(steps)


# -- in steps


def test_a_part_that_is_opened_again_is_hashed_a_slice_at_a_time(store, tmp_path, clock):
    content = os.urandom(40 * MB)
    blob = blob_of(content)
    store.missing([blob])
    send(store, blob, content[: 39 * MB])
    store.close()
    again = BlobStore(tmp_path / "blobs", tmp_path / "incoming", owns=lambda owner, sha256: True, clock=clock)
    assert again.missing([blob]) == {blob.sha256: 39 * MB}
    steps, yields = again.put(blob.sha256, blob.size, 39 * MB, content[39 * MB : 39 * MB + CHUNK_BYTES]), 0
    other = again.put(blob.sha256, blob.size, 39 * MB, content[39 * MB : 39 * MB + CHUNK_BYTES])
    next(steps)
    next(other)  # another client with the same file waits for it
    while inspect.getgeneratorstate(steps) == inspect.GEN_SUSPENDED:
        next(steps, None)
        yields += 1
    assert yields >= 8
    assert run(other) == 39 * MB + CHUNK_BYTES
    assert send(again, blob, content, 39 * MB + CHUNK_BYTES) == blob.size
    again.close()


# -- room


Disk = namedtuple("Disk", "total used free")


def with_free(monkeypatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**12, 10**12 - free, free))


def test_the_disk_check_counts_what_was_promised_to_all_uploads(store, monkeypatch, clock):
    with_free(monkeypatch, blobs.SPARE_BYTES + 1000)
    first, second = Blob("1" * 64, 600, "a.mp4"), Blob("2" * 64, 600, "b.mp4")
    store.missing([first])
    store.missing([first])  # announcing it again reserves no more space
    with pytest.raises(BlobError, match="free some space") as caught:
        store.missing([second])
    assert caught.value.code == "disk_full"
    run(store.put(first.sha256, 600, 0, b"\0" * 500))
    with_free(monkeypatch, blobs.SPARE_BYTES + 700)  # 500 bytes of the first are on disk now, 100 still to come
    store.missing([second])
    assert store.usage().promised == 700
    clock.now += blobs.PROMISE_SECONDS + 1  # nothing arrives: the space is free for others
    store.missing([Blob("3" * 64, 700, "c.mp4")])


def test_the_least_recently_used_goes_first_and_nothing_that_a_job_or_anyone_uses(store, clock, pinned, monkeypatch):
    stored = []
    for i in range(5):
        stored.append(add(store, bytes([i]) * 1000))
        clock.now += 3600
    run(store.read(stored[0].sha256, 0))  # used just now
    pinned.add(stored[1].sha256)
    freed = run(store.remove(StoreLimits(bytes=3500, days=30)))
    assert freed == 2000
    assert [store.path(blob.sha256).exists() for blob in stored] == [True, True, False, False, True]
    assert run(store.remove(StoreLimits(bytes=0, days=30))) == 1000
    assert [store.path(blob.sha256).exists() for blob in stored] == [True, True, False, False, False]


def test_what_was_not_used_for_the_days_goes_whatever_room_there_is(store, clock, pinned):
    old, pinned_one = add(store, b"old"), add(store, b"pinned")
    pinned.add(pinned_one.sha256)
    clock.now += 20 * DAY
    newer = add(store, b"newer")
    clock.now += 11 * DAY
    run(store.work())
    kept = [store.path(blob.sha256).exists() for blob in (old, pinned_one, newer)]
    assert kept == [False, True, True]


def test_room_is_made_for_an_upload_that_needs_it(store, clock, monkeypatch):
    old, recent = add(store, b"o" * 1000), None
    clock.now += 3600
    recent = add(store, b"r" * 1000)
    with_free(monkeypatch, blobs.SPARE_BYTES + 500)
    blob = Blob("1" * 64, 1400, "a.mp4")
    assert store.missing([blob]) == {blob.sha256: 0}
    run(store.work())
    assert not store.path(old.sha256).exists()
    assert store.path(recent.sha256).exists()
    with pytest.raises(BlobError, match="free some space"):
        store.missing([Blob("2" * 64, 1400, "b.mp4")])


def test_a_file_that_is_stored_once_more_is_there_all_the_time(store, tmp_path):
    content = os.urandom(300 * 1024)
    blob = add(store, content)
    reading = threading.Event()

    def store_again() -> None:
        for number in range(500):
            result = tmp_path / f"result_{number}.mp4"
            result.write_bytes(content)
            store.adopt(result, blob)
        reading.set()

    other = threading.Thread(target=store_again)
    other.start()
    while not reading.is_set():
        assert run(store.read(blob.sha256, 0)) == content  # would raise BlobError if the file were missing for a moment
        assert checked(store.path(blob.sha256), blob) == store.path(blob.sha256)
    other.join()


def test_where_a_file_in_use_cannot_be_replaced_the_same_that_is_there_stays_and_an_altered_one_goes(
    store, tmp_path, monkeypatch, clock
):
    content, replace = os.urandom(300 * 1024), os.replace
    blob = add(store, content)

    def as_on_windows(source, target):
        if os.path.exists(target) and not os.stat(target).st_mode & 0o200:
            raise PermissionError(13, "Access is denied", target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", as_on_windows)
    for altered in (False, True):
        if altered:
            scribble(store.path(blob.sha256), b"x" * len(content))
            store.path(blob.sha256).chmod(0o444)
        there = store.path(blob.sha256).stat().st_ino
        result = tmp_path / "result.mp4"
        result.write_bytes(content)
        clock.now += 3600
        store.adopt(result, blob)
        assert not result.exists()
        assert store.path(blob.sha256).stat().st_atime == pytest.approx(clock.now, abs=1)
        assert store.path(blob.sha256).read_bytes() == content
        assert (store.path(blob.sha256).stat().st_ino == there) is not altered


def test_when_files_were_used_survives_a_restart(store, tmp_path, clock):
    first, second = add(store, b"1" * 1000), None
    clock.now += 3600
    second = add(store, b"2" * 1000)
    clock.now += 3600
    store.missing([first])
    again = BlobStore(tmp_path / "blobs", tmp_path / "incoming", in_use=set, clock=clock)
    clock.now += 3600
    run(again.remove(StoreLimits(bytes=1000)))
    assert again.path(first.sha256).exists()
    assert not again.path(second.sha256).exists()


def test_parts_that_nobody_goes_on_with_expire(store, clock, tmp_path):
    content = os.urandom(2 * CHUNK_BYTES)
    blob = blob_of(content)
    store.missing([blob])
    run(store.put(blob.sha256, blob.size, 0, content[:CHUNK_BYTES]))
    abandoned = tmp_path / "incoming" / f"{'1' * 64}.5.part"
    abandoned.write_bytes(b"half")
    clock.now += 2 * DAY
    run(store.work())
    assert not abandoned.exists()
    assert store.usage().parts == 1, "the open one stays"
    assert store.missing([blob]) == {blob.sha256: CHUNK_BYTES}
    assert send(store, blob, content, CHUNK_BYTES) == blob.size


def test_nothing_is_removed_while_the_journal_cannot_be_read(tmp_path, clock):
    (tmp_path / "journal.sqlite").write_bytes(b"not a database, but long enough to be taken for one" * 100)
    in_use = partial(used_by_unfinished_jobs, tmp_path / "journal.sqlite")
    store = BlobStore(tmp_path / "blobs", tmp_path / "incoming", in_use=in_use, clock=clock)
    blob = add(store, b"old")
    clock.now += 100 * DAY
    with pytest.raises(JournalError):
        run(store.remove(StoreLimits(bytes=0, days=0)))
    assert store.path(blob.sha256).exists()


# -- the same disk


def test_a_file_is_copied_by_its_path_and_what_is_stored_is_what_was_hashed(store, tmp_path):
    content = os.urandom(9 * MB + 5)
    blob, path = blob_of(content), tmp_path / "clip.mp4"
    path.write_bytes(content)
    store.missing([blob])
    assert run(store.put_file(blob.sha256, blob.size, path)) == blob.size
    path.write_bytes(b"something else")
    assert run(store.read(blob.sha256, 0)) == content[:CHUNK_BYTES]
    assert store.path(blob.sha256).stat().st_nlink == 1
    (tmp_path / "result.mp4").touch()
    assert run(store.get_file(blob.sha256, tmp_path / "result.mp4")) == blob.size
    assert (tmp_path / "result.mp4").read_bytes() == content
    (tmp_path / "result.mp4").write_bytes(b"edited by the user")
    assert run(store.read(blob.sha256, 0)) == content[:CHUNK_BYTES]


def test_a_file_that_changes_while_it_is_copied_is_not_stored(store, tmp_path):
    content = os.urandom(9 * MB)
    blob, path = blob_of(content), tmp_path / "clip.mp4"
    path.write_bytes(content)
    store.missing([blob])
    steps = store.put_file(blob.sha256, blob.size, path)
    next(steps)
    path.write_bytes(b"\0" * len(content))
    with pytest.raises(BlobError, match="changed while it was sent"):
        run(steps)
    assert store.missing([blob]) == {blob.sha256: 0}


def test_only_regular_files_that_are_wanted_are_copied(store, tmp_path):
    blob = blob_of(b"content")
    with pytest.raises(BlobError) as caught:
        run(store.put_file(blob.sha256, blob.size, tmp_path / "clip.mp4"))
    assert caught.value.code == "not_wanted"
    store.missing([blob])
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for path in (tmp_path / "pipe", tmp_path / "link", tmp_path, tmp_path / "none"):
        with pytest.raises(BlobError) as caught:
            run(store.put_file(blob.sha256, blob.size, path))
        assert caught.value.code == "not_seen"
    stored = add(store, b"stored")
    (tmp_path / "full").write_bytes(b"mine")
    for path in (tmp_path / "full", tmp_path / "link", tmp_path / "none"):
        with pytest.raises(BlobError) as caught:
            run(store.get_file(stored.sha256, path))
        assert caught.value.code == "not_seen"
    assert (tmp_path / "full").read_bytes() == b"mine"
    assert not (tmp_path / "none").exists()


def test_where_the_kernel_cannot_copy_files_are_read_and_written(store, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0, raising=False)
    content = os.urandom(5 * MB + 3)
    blob, path = blob_of(content), tmp_path / "clip.mp4"
    path.write_bytes(content)
    store.missing([blob])
    assert run(store.put_file(blob.sha256, blob.size, path)) == blob.size
    assert store.path(blob.sha256).read_bytes() == content
