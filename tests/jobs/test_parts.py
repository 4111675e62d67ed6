"""Files on their way here, without a server: what stands under a name is what was hashed."""

import hashlib
import os

import pytest

from ex4d.errors import ServerError
from ex4d.jobs.transfer import Download, Exchange, Results
from ex4d.pipeline.requests import Blob

CHUNK = 1000
CONTENT = bytes(os.urandom(3500))
BLOB = Blob(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), "result.mp4")


def fetch(download: Download, content: bytes = CONTENT, chunks: int = 100) -> bool:
    """Answer what it asks for, a number of chunks; True when it is done."""
    for _ in range(chunks):
        while download.look():
            pass
        if download.done:
            return True
        offset = download.ask(CHUNK)
        download.add(offset, content[offset : offset + CHUNK])
    return download.done


def test_two_downloads_of_one_file_into_one_folder_do_not_share_a_part(tmp_path):
    one, other = Download(BLOB, tmp_path), Download(BLOB, tmp_path)
    assert not fetch(one, chunks=2)
    assert not fetch(other, chunks=1), "it goes on from a copy of what the first has"
    assert fetch(one)
    assert fetch(other)
    assert [path.name for path in tmp_path.iterdir()] == ["result.mp4"]
    assert (tmp_path / "result.mp4").read_bytes() == CONTENT


def test_a_part_that_another_program_replaces_is_noticed(tmp_path):
    download = Download(BLOB, tmp_path)
    fetch(download, chunks=2)
    (part,) = tmp_path.glob("*.part")
    part.unlink()
    part.write_bytes(b"\0" * len(CONTENT))
    assert fetch(download)
    assert (tmp_path / "result.mp4").read_bytes() == CONTENT


def test_a_part_that_another_program_makes_longer_is_noticed(tmp_path):
    download = Download(BLOB, tmp_path)
    fetch(download, chunks=2)
    (part,) = tmp_path.glob("*.part")
    with part.open("ab") as file:
        file.truncate(10_000)
    assert fetch(download)
    assert (tmp_path / "result.mp4").read_bytes() == CONTENT


def test_a_right_file_that_stands_there_is_taken_as_it_is(tmp_path):
    (tmp_path / "result.mp4").write_bytes(CONTENT)
    before = (tmp_path / "result.mp4").stat()
    download = Download(BLOB, tmp_path)
    while download.look():
        pass
    assert download.done
    after = (tmp_path / "result.mp4").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_that_another_program_holds_open_is_taken_if_it_is_right_by_now(tmp_path, monkeypatch):
    """As on Windows, where an open file cannot be replaced."""
    download = Download(BLOB, tmp_path)
    fetch(download, chunks=2)
    (tmp_path / "result.mp4").write_bytes(CONTENT)

    def refuse(*_):
        raise PermissionError(13, "Access is denied")

    monkeypatch.setattr(os, "replace", refuse)
    assert fetch(download)
    (tmp_path / "result.mp4").write_bytes(b"of another job")
    with pytest.raises(PermissionError):
        fetch(Download(BLOB, tmp_path))


def test_damaged_content_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ServerError, match="arrived damaged"):
        fetch(Download(BLOB, tmp_path), content=CONTENT[:-1] + b"!")
    assert list(tmp_path.iterdir()) == []


def test_a_chunk_that_is_shorter_than_asked_for_is_made_good(tmp_path):
    download = Download(BLOB, tmp_path)
    while download.look():
        pass
    first, second = download.ask(CHUNK), download.ask(CHUNK)
    download.add(first, CONTENT[: CHUNK // 2])
    download.add(second, CONTENT[CHUNK : 2 * CHUNK])
    assert download.next == CHUNK // 2
    assert fetch(download)
    assert (tmp_path / "result.mp4").read_bytes() == CONTENT


def test_a_name_of_255_bytes_has_room_for_its_part(tmp_path):
    blob = Blob(BLOB.sha256, BLOB.size, "n" * 251 + ".mp4")
    assert fetch(Download(blob, tmp_path))
    assert (tmp_path / blob.name).read_bytes() == CONTENT


def test_a_result_that_names_two_files_alike_is_refused(tmp_path):
    with pytest.raises(ServerError, match="the same name"):
        Results((BLOB, BLOB), tmp_path)


def test_only_a_private_folder_of_this_user_with_the_servers_word_in_it_is_an_exchange(tmp_path):
    folder = tmp_path / "exchange"
    folder.mkdir(mode=0o700)
    (folder / "instance").write_text("abc")
    assert Exchange.of(str(folder), "abc") is not None
    assert Exchange.of(str(folder), "abd") is None
    assert Exchange.of("", "") is None
    assert Exchange.of("exchange", "abc") is None
    assert Exchange.of("\0", "abc") is None
    (tmp_path / "link").symlink_to(folder)
    assert Exchange.of(str(tmp_path / "link"), "abc") is None
    folder.chmod(0o770)
    assert Exchange.of(str(folder), "abc") is None, "others could have made it"
    folder.chmod(0o700)
    if os.getuid() == 0:
        os.chown(folder, 12345, 12345)
        assert Exchange.of(str(folder), "abc") is None
