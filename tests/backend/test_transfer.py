"""Files in transit to and from the server: resumed, checked, refused."""

import hashlib
import os
import shutil
import uuid
from random import Random

import pytest
from raw import Raw
from server_process import PATIENCE, part_of, until

from ex4d.jobs.messages import Error, Get, GetFile, Holds, Missing, Put, PutFile, Status, Submit
from ex4d.jobs.transfer import Exchange
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, Reconstruct, Source, job_hash

MB = 1 << 20
EMPTY = hashlib.sha256(b"").hexdigest()


def test_an_upload_goes_on_where_it_broke_off(server, connect, shot):
    server.start()
    content = os.urandom(8 * MB)
    job, files = shot("copy", content)
    first = connect(server, same_disk=False)
    job_id = first.submit(job, files)
    until(lambda update: update.stage == "upload" and update.step > 2 * MB, first)
    server.kill()
    server.start()
    second = connect(server, same_disk=False)
    updates = []
    second.submit(job, files, job_id=job_id)
    last = second.wait(job_id, updates.append, timeout=PATIENCE)
    begin = next(update for update in updates if update.stage == "upload")
    assert begin.step >= 2 * MB
    assert last.files["result.mp4"].read_bytes() == content


def test_a_client_resumes_an_upload_by_itself_when_the_server_is_back(server, connect, shot):
    server.start()
    content = os.urandom(8 * MB)
    job, files = shot("copy", content)
    client = connect(server, same_disk=False)
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "upload" and update.step >= MB, client)
    server.kill()
    until(lambda update: "does not answer" in update.message, client)
    server.start()
    last = client.wait(job_id, timeout=PATIENCE)
    assert last.message == ""
    assert last.files["result.mp4"].read_bytes() == content


def test_two_clients_that_send_the_same_file_do_not_harm_each_other(server, connect, shot):
    server.start()
    content = os.urandom(6 * MB)
    job, files = shot("copy", content)
    clients = [connect(server, same_disk=False), connect(server, same_disk=False)]
    ids = [client.submit(job, files) for client in clients]
    ended = []
    while len(ended) < 2:
        for client in clients:
            ended += [update for update in client.poll() if update.ended]
    assert [update.state for update in ended] == ["done", "done"], ended
    assert {update.job_id for update in ended} == set(ids)
    assert all(update.files["result.mp4"].read_bytes() == content for update in ended)


def test_a_damaged_part_on_the_server_is_thrown_away_and_sent_again(server, connect, shot):
    server.start()
    content = os.urandom(2 * MB)
    job, files = shot("copy", content)
    part = part_of(server, job.source.clip[0])
    part.write_bytes(b"\0" * MB)
    client = connect(server, same_disk=False)
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.files["result.mp4"].read_bytes() == content
    assert not part.exists()


def test_a_file_that_changed_since_it_was_hashed_fails_the_job(server, connect, shot):
    server.start()
    job, files = shot("copy", b"one")
    next(path for path in files.values() if path.suffix == ".mp4").write_bytes(b"two")
    client = connect(server, same_disk=False)
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "failed"
    assert last.message == "copy.mp4 arrived damaged, or changed while it was sent: it was deleted."
    assert not part_of(server, job.source.clip[0]).exists()


def test_a_file_that_vanished_fails_the_job(server, connect, shot):
    server.start()
    job, files = shot("copy", b"one")
    next(path for path in files.values() if path.suffix == ".mp4").unlink()
    client = connect(server)
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "failed"
    assert "copy.mp4" in last.message
    assert "No such file" in last.message


def test_a_full_disk_of_the_server_fails_the_upload_and_leaves_no_part(server, connect, shot):
    server.start(file_limit=2 * MB)
    job, files = shot("copy", os.urandom(4 * MB))
    client = connect(server, same_disk=False)
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "failed"
    assert "could not store copy.mp4" in last.message
    assert not part_of(server, job.source.clip[0]).exists()
    job, files = shot("copy", b"small")
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"


def half_a_download(server, connect, shot, tmp_path, content):
    """Id of a job, and the part left by a client that ended after downloading the first megabytes of its result."""
    server.start()
    job, files = shot("copy", content)
    client = connect(server, same_disk=False)
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "download" and update.step > 5 * MB, client)
    client.close()
    (part,) = (tmp_path / "downloads" / job_id).glob("*.part")
    return job_id, part


def test_a_download_goes_on_where_an_earlier_client_broke_it_off(server, connect, shot, tmp_path):
    content = os.urandom(24 * MB)
    job_id, part = half_a_download(server, connect, shot, tmp_path, content)
    again = connect(server, same_disk=False)
    again.follow(job_id)
    until(lambda: again.poll(0) is None or again._connection.asked)
    assert again._connection.asked[0][1].held >= 5 * MB, "the first chunk asked for is behind what was there"
    last = again.wait(job_id, timeout=PATIENCE)
    assert last.files["result.mp4"].read_bytes() == content
    assert not part.exists()


def test_a_part_of_an_earlier_client_that_is_damaged_does_no_harm(server, connect, shot, tmp_path):
    content = os.urandom(24 * MB)
    job_id, part = half_a_download(server, connect, shot, tmp_path, content)
    part.write_bytes(b"\0" * (3 * MB))
    again = connect(server, same_disk=False)
    again.follow(job_id)
    assert again.wait(job_id, timeout=PATIENCE).files["result.mp4"].read_bytes() == content


def test_clients_that_follow_one_job_into_one_folder_all_end_with_the_right_bytes(server, connect, shot, tmp_path):
    """One .blend in several Blenders: they start at different times, and none writes to another's part."""
    server.start()
    content = os.urandom(24 * MB)
    job, files = shot("copy", content)
    clients = [connect(server, same_disk=False) for _ in range(4)]
    job_id = clients[0].submit(job, files)
    until(lambda update: update.stage == "download" and update.step > 2 * MB, clients[0])
    random = Random(7)
    for client in clients[1:]:
        client.follow(job_id)
    ended = {}
    while len(ended) < len(clients):
        client = random.choice(clients)
        for update in client.poll(random.choice([0, 0.001, 0.01])):
            if update.ended:
                ended[client] = update
                assert update.state == "done", update.message
                assert update.files["result.mp4"].read_bytes() == content
    folder = tmp_path / "downloads" / job_id
    assert sorted(path.name for path in folder.iterdir()) == ["empty.txt", "result.mp4"]
    assert (folder / "result.mp4").read_bytes() == content


def test_a_result_that_was_changed_here_is_fetched_again(server, connect, shot):
    server.start()
    job, files = shot("copy", b"the clip")
    client = connect(server, same_disk=False)
    job_id = client.submit(job, files)
    path = client.wait(job_id, timeout=PATIENCE).files["result.mp4"]
    path.write_bytes(b"the CLIP")
    client.follow(job_id)
    assert client.wait(job_id, timeout=PATIENCE).files["result.mp4"].read_bytes() == b"the clip"


def test_a_folder_that_cannot_be_written_fails_the_download(server, connect, shot, tmp_path):
    server.start()
    (tmp_path / "downloads").write_text("a file where the folder should be")
    job, files = shot("copy")
    client = connect(server)
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "failed"
    assert "could not be read or written" in last.message


def test_a_picture_sequence_of_a_thousand_files_travels(server, connect, tmp_path):
    server.start()
    files = {}
    for i in range(1000):
        path = tmp_path / ("copy.png" if i == 0 else f"frame_{i:05}.png")
        path.write_bytes(b"%d" % i)
        files[blob_of(path).sha256] = path
    depth = tmp_path / "depth.npz"
    depth.write_bytes(b"")
    empty = blob_of(depth)
    clip = tuple(blob_of(path) for path in files.values())
    client = connect(server)
    job = Reconstruct(Source(clip, (empty,)))
    last = client.wait(client.submit(job, {**files, empty.sha256: depth}), timeout=PATIENCE)
    assert last.state == "done", last.message


def test_only_files_that_a_job_asked_for_are_taken(server):
    server.start()
    raw = Raw(server.address)
    sha256 = hashlib.sha256(b"x").hexdigest()
    assert raw.ask_bulk(Put(sha256, 1, 0), b"x").code == "not_wanted"
    assert raw.ask_bulk(Get(sha256, 0)).code == "no_file"
    raw.close()


def test_a_chunk_past_the_announced_size_is_refused(server):
    server.start()
    raw = Raw(server.address)
    content = b"0123456789"
    sha256 = hashlib.sha256(content).hexdigest()
    blob = Blob(sha256, 10, "copy.mp4")
    job = Reconstruct(Source((blob,), (blob,)))
    submit = Submit(str(uuid.uuid4()), job_hash(job), job)
    assert raw.ask(submit) == Missing(submit.job_id, (Holds(sha256, 0),))
    assert raw.ask_bulk(Put(sha256, 10, 0), content + b"more").code == "too_large"
    assert raw.ask_bulk(Put(sha256, 10, 5), content[5:]) == Holds(sha256, 0), "a gap is not filled"
    assert raw.ask_bulk(Put(sha256, 10, 0), content[:5]) == Holds(sha256, 5)
    corrupt = raw.ask_bulk(Put(sha256, 10, 5), b"*****")
    assert isinstance(corrupt, Error)
    assert corrupt.code == "corrupt"
    assert raw.ask_bulk(Put(sha256, 10, 0), content) == Holds(sha256, 10)
    assert isinstance(raw.ask(submit), Status)
    raw.close()


def test_a_size_that_the_disk_cannot_hold_is_refused_before_anything_is_sent(server):
    server.start()
    raw = Raw(server.address)
    blobs = tuple(Blob(f"{i:064x}", 64 * 1024**3, "copy.mp4") for i in range(900))
    job = Reconstruct(Source(blobs, blobs[:1]))
    answer = raw.ask(Submit(str(uuid.uuid4()), job_hash(job), job))
    assert answer.code == "disk_full"
    assert "free some space" in answer.message
    raw.close()


# -- the same disk


def test_on_the_same_disk_the_server_copies_files_itself(server, connect, shot, tmp_path):
    server.start()
    content = os.urandom(9 * MB)
    job, files = shot("copy", content)
    client = connect(server)
    until(lambda: client.poll() or client.status == "ready")
    chunks = []
    ask = client._ask
    client._ask = lambda tracked, transfer, *parts: (chunks.append(parts[0]), ask(tracked, transfer, *parts))
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.files["result.mp4"].read_bytes() == content
    kinds = {type(part).__name__ for part in chunks if getattr(part, "size", MB) > 1000 and part.sha256 != EMPTY}
    assert kinds == {"PutFile", "GetFile"}
    assert [path.name for path in (server.state / "exchange").iterdir()] == ["instance"]
    clip = next(path for path in files.values() if path.suffix == ".mp4")
    stored = server.state / "blobs" / job.source.clip[0].sha256
    assert len({path.stat().st_ino for path in (clip, stored, last.files["result.mp4"])}) == 3, "never a link"


def test_a_client_that_does_not_see_the_servers_disk_sends_chunks(server, connect, shot):
    server.start()
    content = os.urandom(3 * MB)
    (server.state / "exchange" / "instance").write_text("of another server")
    job, files = shot("copy", content)
    client = connect(server)
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert client._exchange is None
    assert last.files["result.mp4"].read_bytes() == content


def test_where_the_exchange_is_taken_away_chunks_go_on(server, connect, shot):
    server.start()
    content = os.urandom(3 * MB)
    job, files = shot("copy", content)
    client = connect(server)
    until(lambda: client.poll() or client.status == "ready")
    shutil.rmtree(server.state / "exchange")
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert client._exchange is None
    assert last.state == "done", last.message
    assert last.files["result.mp4"].read_bytes() == content


def test_a_server_that_cannot_make_an_exchange_starts_and_offers_none(server, connect, shot):
    server.state.mkdir(mode=0o700, parents=True)
    (server.state / "exchange").write_text("in the way")
    server.start()
    job, files = shot("copy", os.urandom(MB))
    client = connect(server)
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
    assert client.server.exchange == ""


def test_where_the_server_cannot_read_or_write_the_file_chunks_go_on(server, connect, shot):
    """For example, a client in a sandbox sees the folder, but its own paths mean nothing outside."""
    server.start()
    content = os.urandom(3 * MB)
    job, files = shot("copy", content)
    client = connect(server)
    until(lambda: client.poll() or client.status == "ready")
    ticket = client._exchange.ticket
    client._exchange.ticket = lambda path: ticket(path.parent / "nowhere" / path.name)
    job_id = client.submit(job, files)
    until(lambda update: update.state == "downloading", client)
    assert client._exchange is None, "the first refusal ends it for this connection"
    last = client.wait(job_id, timeout=PATIENCE)
    assert last.files["result.mp4"].read_bytes() == content
    until(lambda: client.poll() or client.status == "ready")
    again = connect(server)
    until(lambda: again.poll() or again.status == "ready")
    other = again._exchange.ticket
    again._exchange.ticket = lambda path: other(path.parent / "nowhere" / path.name)
    last.files["result.mp4"].unlink()
    again.follow(job_id)
    assert again.wait(job_id, timeout=PATIENCE).files["result.mp4"].read_bytes() == content


def test_the_exchange_is_for_this_user_alone_and_tickets_are_good_once(server, connect, tmp_path):
    server.start()
    assert (server.state / "exchange").stat().st_mode & 0o777 == 0o700
    raw = Raw(server.address)
    content = os.urandom(MB)
    sha256 = hashlib.sha256(content).hexdigest()
    blob = Blob(sha256, MB, "copy.mp4")
    (tmp_path / "copy.mp4").write_bytes(content)
    job = Reconstruct(Source((blob,), (blob,)))
    raw.ask(Submit(str(uuid.uuid4()), job_hash(job), job))
    assert raw.ask_bulk(PutFile(sha256, MB, "0" * 32)).code == "not_seen"
    ticket = Exchange.of(raw.welcome.exchange, raw.welcome.instance).ticket(tmp_path / "copy.mp4")
    assert raw.ask_bulk(PutFile(sha256, MB, ticket)) == Holds(sha256, MB)
    (tmp_path / "out").touch()
    assert raw.ask_bulk(GetFile(sha256, ticket)).code == "not_seen"
    for text in ("", "[]", "{}", '{"path": 3}', "\xff"):
        (server.state / "exchange" / ("1" * 32)).write_bytes(text.encode("latin-1"))
        assert raw.ask_bulk(GetFile(sha256, "1" * 32)).code == "not_seen"
    raw.close()


@pytest.mark.parametrize("when", ["upload", "download"])
def test_a_connection_that_breaks_while_the_server_copies_loses_nothing(server, connect, shot, tmp_path, when):
    server.start()
    content = os.urandom(48 * MB)
    job, files = shot("copy", content)
    client = connect(server)
    job_id = client.submit(job, files)

    def is_copying():
        client.poll(0)
        asked = client._connection.asked
        return asked and asked[-1][1].ticketed and bool(client._jobs[job_id].results) == (when == "download")

    until(is_copying)
    client._reconnect()
    last = client.wait(job_id, timeout=PATIENCE)
    assert last.state == "done", last.message
    assert last.files["result.mp4"].read_bytes() == content
    assert list((tmp_path / "downloads" / job_id).glob("*.part")) == []


# -- what is stored is what was sent


def test_a_stored_input_that_was_altered_fails_the_job_and_the_clip_can_be_submitted_again(server, connect, shot):
    server.start()
    content = os.urandom(2 * MB)
    job, files = shot("copy", content)
    stored = server.state / "blobs" / job.source.clip[0].sha256
    client = connect(server)
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
    slow, slow_files = shot("slow", b"x")
    running = client.submit(slow, slow_files)
    until(lambda update: update.stage == "wait", client)
    waiting = client.submit(job, files)  # when it is accepted, the store still has the right clip
    until(lambda update: update.job_id == waiting and update.state == "queued", client)
    stored.chmod(0o600)
    with stored.open("r+b") as file:
        file.write(b"!")
    client.cancel(running)
    last = client.wait(waiting, timeout=PATIENCE)
    assert last.state == "failed"
    assert "copy.mp4 was damaged or removed: open the clip again" in last.message
    again = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert again.state == "done", again.message
    assert again.files["result.mp4"].read_bytes() == content


def test_a_stored_input_that_was_cut_short_is_sent_again(server, connect, shot):
    server.start()
    content = os.urandom(2 * MB)
    job, files = shot("copy", content)
    stored = server.state / "blobs" / job.source.clip[0].sha256
    client = connect(server)
    assert client.wait(client.submit(job, files), timeout=PATIENCE).state == "done"
    stored.chmod(0o600)
    stored.write_bytes(content[:1000])
    last = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert last.state == "done", last.message
    assert last.files["result.mp4"].read_bytes() == content


def test_a_wrong_size_announced_by_one_client_does_not_fail_the_upload_of_another(server, connect, shot):
    server.start()
    content = os.urandom(24 * MB)
    job, files = shot("copy", content)
    client = connect(server, same_disk=False)
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "upload" and update.step > MB, client)
    raw = Raw(server.address)
    for size in (1, MB, 24 * MB - 1, 24 * MB + 1):
        blob = Blob(job.source.clip[0].sha256, size, "theirs.mp4")
        wrong = Reconstruct(Source((blob,), (blob,)))
        raw.ask(Submit(str(uuid.uuid4()), job_hash(wrong), wrong))
        raw.ask_bulk(Put(blob.sha256, size, 0), b"\0")
    raw.close()
    last = client.wait(job_id, timeout=PATIENCE)
    assert last.state == "done", last.message
    assert last.files["result.mp4"].read_bytes() == content
