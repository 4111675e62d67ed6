"""The thread that moves files: turns, order, credit, and a loop that keeps running."""

import hashlib
import os
import time
import uuid

from raw import Raw
from server_process import part_of

from ex4d.jobs.codec import decode, encode
from ex4d.jobs.limits import CHUNK_BYTES, CREDIT
from ex4d.jobs.messages import SERVER_BULK, Error, Get, Holds, Missing, Ping, Pong, Put, Status, Submit
from ex4d.pipeline.requests import Blob, Reconstruct, Source, job_hash

MB = 1 << 20


def announce(raw: Raw, content: bytes) -> tuple[Submit, Blob]:
    blob = Blob(hashlib.sha256(content).hexdigest(), len(content), "copy.mp4")
    job = Reconstruct(Source((blob,), (blob,)))
    submit = Submit(str(uuid.uuid4()), job_hash(job), job)
    assert isinstance(raw.ask(submit), Missing)
    return submit, blob


def chunks(raw: Raw, blob: Blob, content: bytes) -> list:
    for offset in range(0, len(content), CHUNK_BYTES):
        put = Put(blob.sha256, blob.size, offset)
        raw.bulk.send_multipart([encode(put), content[offset : offset + CHUNK_BYTES]])
    return [decode(raw.bulk.recv(), SERVER_BULK) for _ in range(0, len(content), CHUNK_BYTES)]


def test_pings_are_answered_at_once_while_a_long_part_is_hashed_again(server):
    server.start()
    content = os.urandom(MB) * 400
    raw = Raw(server.address)
    _, blob = announce(raw, content)
    part = part_of(server, blob)
    part.write_bytes(content[:-1])
    raw.bulk.send_multipart([encode(Put(blob.sha256, blob.size, blob.size - 1)), content[-1:]])
    slowest = 0.0
    while not raw.bulk.poll(0):
        began = time.monotonic()
        assert raw.ask(Ping()) == Pong()
        slowest = max(slowest, time.monotonic() - began)
        time.sleep(0.005)
    assert decode(raw.bulk.recv(), SERVER_BULK) == Holds(blob.sha256, blob.size)
    assert slowest < 0.1
    raw.close()


def test_another_clients_file_goes_on_while_a_long_part_is_hashed_again(server):
    server.start()
    content = os.urandom(MB) * 400
    raw, other = Raw(server.address), Raw(server.address)
    _, blob = announce(raw, content)
    part_of(server, blob).write_bytes(content[:-1])
    raw.bulk.send_multipart([encode(Put(blob.sha256, blob.size, blob.size - 1)), content[-1:]])
    small = os.urandom(3 * CHUNK_BYTES)
    _, theirs = announce(other, small)
    assert chunks(other, theirs, small)[-1] == Holds(theirs.sha256, theirs.size)
    assert not raw.bulk.poll(0), "the long one is not done yet"
    assert decode(raw.bulk.recv(), SERVER_BULK) == Holds(blob.sha256, blob.size)
    for peer in (raw, other):
        peer.close()


def test_answers_come_in_the_order_of_the_requests(server):
    server.start()
    raw = Raw(server.address)
    content = os.urandom(4 * CHUNK_BYTES)
    submit, blob = announce(raw, content)
    unknown = "0" * 64
    requests = [
        (Get(unknown, 0), "no_file"),
        (Put(blob.sha256, blob.size, 0), CHUNK_BYTES),
        (Get(blob.sha256, 0), "no_file"),
        (Put(unknown, 5, 0), "not_wanted"),
        (Put(blob.sha256, blob.size, CHUNK_BYTES), 2 * CHUNK_BYTES),
    ]
    for request, _ in requests:
        offset = getattr(request, "offset", 0)
        data = [content[offset : offset + CHUNK_BYTES]] if isinstance(request, Put) and request.size > 5 else []
        data = data or ([b"x"] if isinstance(request, Put) else [])
        raw.bulk.send_multipart([encode(request), *data])
    answers = [decode(raw.bulk.recv(), SERVER_BULK) for _ in requests]
    said = [answer.code if isinstance(answer, Error) else answer.offset for answer in answers]
    assert said == [expected for _, expected in requests]
    assert chunks(raw, blob, content)[-1] == Holds(blob.sha256, blob.size)
    assert isinstance(raw.ask(submit), Status)
    raw.close()


def test_more_than_the_credit_is_refused_and_the_next_client_is_served(server):
    server.start()
    raw, other = Raw(server.address), Raw(server.address)
    content = os.urandom(MB) * 300
    _, blob = announce(raw, content)
    part_of(server, blob).write_bytes(content[:-1])
    for _ in range(4 * CREDIT):  # all wait until the long part has been hashed
        raw.bulk.send_multipart([encode(Put(blob.sha256, blob.size, blob.size - 1)), content[-1:]])
    answers = [decode(raw.bulk.recv(), SERVER_BULK) for _ in range(4 * CREDIT)]
    refused = [answer for answer in answers if isinstance(answer, Error)]
    assert {answer.code for answer in refused} == {"credit"}
    assert 2 * CREDIT < len(refused) <= 3 * CREDIT
    small = os.urandom(CHUNK_BYTES)
    _, theirs = announce(other, small)
    assert chunks(other, theirs, small)[-1] == Holds(theirs.sha256, theirs.size)
    for peer in (raw, other):
        peer.close()


def test_a_folder_that_is_taken_away_is_told_and_the_thread_lives_on(server):
    server.start()
    raw = Raw(server.address)
    content = os.urandom(CHUNK_BYTES)
    _, blob = announce(raw, content)
    (server.state / "incoming").rename(server.state / "elsewhere")
    (server.state / "incoming").write_text("so that the server cannot make the folder again")
    answer = raw.ask_bulk(Put(blob.sha256, blob.size, 0), content)
    assert answer.code == "disk_full"
    assert "Not a directory" in answer.message
    (server.state / "incoming").unlink()
    (server.state / "elsewhere").rename(server.state / "incoming")
    assert raw.ask_bulk(Put(blob.sha256, blob.size, 0), content) == Holds(blob.sha256, blob.size)
    raw.close()
