"""Files on their way to and from the server: resumed, checked, refused."""

import hashlib
import os
import uuid
from random import Random

from raw import Raw
from server_process import until

from ex4d.jobs.messages import Error, Get, Holds, Missing, Put, Status, Submit
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Blob, Reconstruct, Source, job_hash

MB = 1 << 20


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
    last = second.wait(job_id, updates.append, timeout=20)
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
    last = client.wait(job_id, timeout=20)
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
    part = server.state / "incoming" / f"{hashlib.sha256(content).hexdigest()}.{len(content)}.part"
    part.write_bytes(b"\0" * MB)
    client = connect(server, same_disk=False)
    last = client.wait(client.submit(job, files), timeout=20)
    assert last.files["result.mp4"].read_bytes() == content
    assert not part.exists()


def test_a_file_that_changed_since_it_was_hashed_fails_the_job(server, connect, shot):
    server.start()
    job, files = shot("copy", b"one")
    next(path for path in files.values() if path.suffix == ".mp4").write_bytes(b"two")
    client = connect(server, same_disk=False)
    last = client.wait(client.submit(job, files), timeout=20)
    assert last.state == "failed"
    assert last.message == "copy.mp4 arrived damaged, or changed while it was sent: it was deleted."
    assert not (server.state / "incoming" / f"{job.source.clip[0].sha256}.{job.source.clip[0].size}.part").exists()


def test_a_file_that_vanished_fails_the_job(server, connect, shot):
    server.start()
    job, files = shot("copy", b"one")
    next(path for path in files.values() if path.suffix == ".mp4").unlink()
    client = connect(server)
    last = client.wait(client.submit(job, files), timeout=20)
    assert last.state == "failed"
    assert "copy.mp4" in last.message
    assert "No such file" in last.message


def test_a_full_disk_of_the_server_fails_the_upload_and_leaves_no_part(server, connect, shot):
    server.start(file_limit=2 * MB)
    job, files = shot("copy", os.urandom(4 * MB))
    client = connect(server, same_disk=False)
    last = client.wait(client.submit(job, files), timeout=20)
    assert last.state == "failed"
    assert "could not store copy.mp4" in last.message
    assert not (server.state / "incoming" / f"{job.source.clip[0].sha256}.{job.source.clip[0].size}.part").exists()
    job, files = shot("copy", b"small")
    assert client.wait(client.submit(job, files), timeout=20).state == "done"


def half_a_download(server, connect, shot, tmp_path, content):
    """Id of a job whose result a client has fetched the first megabytes of when it ends; the part that it left."""
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
    last = again.wait(job_id, timeout=20)
    assert last.files["result.mp4"].read_bytes() == content
    assert not part.exists()


def test_a_part_of_an_earlier_client_that_is_damaged_does_no_harm(server, connect, shot, tmp_path):
    content = os.urandom(24 * MB)
    job_id, part = half_a_download(server, connect, shot, tmp_path, content)
    part.write_bytes(b"\0" * (3 * MB))
    again = connect(server, same_disk=False)
    again.follow(job_id)
    assert again.wait(job_id, timeout=20).files["result.mp4"].read_bytes() == content


def test_clients_that_follow_one_job_into_one_folder_all_end_with_the_right_bytes(server, connect, shot, tmp_path):
    """One .blend in several Blenders: they begin at different times, and none writes into the part of another."""
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
    path = client.wait(job_id, timeout=20).files["result.mp4"]
    path.write_bytes(b"the CLIP")
    client.follow(job_id)
    assert client.wait(job_id, timeout=20).files["result.mp4"].read_bytes() == b"the clip"


def test_a_folder_that_cannot_be_written_fails_the_download(server, connect, shot, tmp_path):
    server.start()
    (tmp_path / "downloads").write_text("a file where the folder should be")
    job, files = shot("copy")
    client = connect(server)
    last = client.wait(client.submit(job, files), timeout=20)
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
    last = client.wait(client.submit(job, {**files, empty.sha256: depth}), timeout=30)
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
