"""Whatever arrives, the server survives, and its answer names the field."""

import os
import uuid

import msgpack
import pytest
from raw import Raw
from server_process import ServerProcess, until

from ex4d import __version__
from ex4d.errors import ServerError
from ex4d.jobs.client import Client
from ex4d.jobs.messages import PROTOCOL_VERSION, Cancel, Follow, Ping, Pong

JOB_ID = str(uuid.uuid4())
BLOB = {"sha256": "0" * 64, "size": 1, "name": "a.mp4"}
JOB = {"kind": "reconstruct", "source": {"clip": [BLOB], "depth": [BLOB]}}


def submit(**changes):
    return {"kind": "submit", "job_id": JOB_ID, "hash": "0" * 64, "job": JOB, **changes}


def with_source(**changes):
    return submit(job={"kind": "reconstruct", "source": {**JOB["source"], **changes}})


def with_settings(**changes):
    return with_source(settings=changes)


BAD = {
    "unknown kind": ({"kind": "shutdown"}, "message.kind"),
    "no kind": ({"job_id": JOB_ID}, "message.kind"),
    "kind is a list": ({"kind": []}, "message.kind"),
    "a message of the server": ({"kind": "welcome"}, "message.kind"),
    "unknown field": (submit(priority=1), "'priority'"),
    "missing field": ({"kind": "follow", "job_id": JOB_ID}, "follow.since is missing"),
    "wrong type": ({"kind": "follow", "job_id": JOB_ID, "since": "0"}, "follow.since"),
    "bool for int": ({"kind": "follow", "job_id": JOB_ID, "since": True}, "follow.since"),
    "negative": ({"kind": "follow", "job_id": JOB_ID, "since": -1}, "follow.since"),
    "job id with a path": ({"kind": "cancel", "job_id": "../../etc/passwd"}, "cancel.job_id"),
    "hash with a path": (submit(hash="../x"), "submit.hash"),
    "unknown job": (submit(job={"kind": "train"}), "submit.job.kind"),
    "unknown field in a job": (submit(job={**JOB, "gpu": 1}), "reconstruct has no field 'gpu'"),
    "blob name with a folder": (with_source(clip=[{**BLOB, "name": "../a"}]), "reconstruct.source.clip[0].name"),
    "blob name with a null": (with_source(clip=[{**BLOB, "name": "a\0"}]), "reconstruct.source.clip[0].name"),
    "size beyond all": (with_source(clip=[{**BLOB, "size": 2**62}]), "reconstruct.source.clip[0].size"),
    "no clip": (with_source(clip=[]), "reconstruct.source.clip"),
    "lens not a number": (with_settings(field_of_view=float("nan")), "Field of View must be"),
    "frame rate of zero": (with_settings(fps="0/1"), "is not a frame rate"),
    "too many frames": (with_settings(frames=10**9), "Frames must be between 1 and 100000"),
    "hash of another job": (submit(), "does not fit its hash"),
    "a list": ([1, 2, 3], "must be a map"),
    "an extension type": ({"kind": msgpack.ExtType(5, b"x")}, "extension type"),
    "keys that are numbers": ({1: 2}, "not msgpack"),
}


@pytest.fixture(scope="module")
def lasting_server(tmp_path_factory):
    process = ServerProcess(tmp_path_factory.mktemp("server"))
    process.start()
    try:
        yield process
        assert process.process.poll() is None
    finally:
        process.close()


@pytest.fixture
def raw(lasting_server):
    peer = Raw(lasting_server.address)
    yield peer
    peer.close()


@pytest.mark.parametrize("what", BAD)
def test_a_bad_message_is_answered_with_the_field_and_the_next_one_works(raw, what):
    message, names = BAD[what]
    answer = raw.ask_frames([msgpack.packb(message)])
    assert names in answer.message
    assert raw.ask(Ping()) == Pong()


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"\x81",
        os.urandom(1000),
        b"\x91" * 5000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x90" * 9,
    ],
)
def test_garbage_is_answered_and_the_next_message_works(raw, frame):
    assert raw.ask_frames([frame]).code == "protocol"
    assert raw.ask(Ping()) == Pong()


def test_too_many_frames_are_refused(raw):
    assert "frames" in raw.ask_frames([b"x"] * 10).message
    assert "frames" in raw.ask_frames([b""] * 10_000).message
    assert "one frame" in raw.ask_frames([b"x", b"y"]).message
    assert raw.ask(Ping()) == Pong()


def test_an_oversized_frame_ends_that_connection_only(lasting_server, raw):
    brute = Raw(lasting_server.address)
    brute.control.send(b"\0" * (257 * 1024))
    assert brute.control.poll(300) == 0
    brute.close()
    assert raw.ask(Ping()) == Pong()


def test_nothing_works_before_hello(lasting_server):
    stranger = Raw(lasting_server.address, hello=False)
    for message in (Ping(), Follow(JOB_ID, 0), Cancel(JOB_ID)):
        assert stranger.ask(message).code == "hello_first"
    stranger.close()


def test_a_job_that_nobody_submitted_is_unknown(raw):
    assert raw.ask(Follow(JOB_ID, 0)).code == "unknown_job"
    assert raw.ask(Cancel(JOB_ID)).code == "unknown_job"


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (PROTOCOL_VERSION + 1, "too old for EX-4D 9.9: update the server (in Blender: press Update, or Repair)."),
        (PROTOCOL_VERSION - 1, "too new for EX-4D 9.9: update EX-4D (in Blender: Preferences > Get Extensions)."),
    ],
)
def test_another_protocol_is_refused_with_both_versions_and_what_must_be_updated(lasting_server, theirs, said):
    peer = Raw(lasting_server.address, hello=False)
    hello = {"kind": "hello", "protocol": theirs, "client": "9.9", "a field of the future": 1}
    answer = peer.ask_frames([msgpack.packb(hello)])
    assert answer.code == "version"
    assert answer.message == f"This server is EX-4D {__version__}, which is {said}"
    peer.close()


def test_a_refused_client_says_so_and_never_sends_jobs(lasting_server, tmp_path, shot, monkeypatch):
    monkeypatch.setattr("ex4d.jobs.link.PROTOCOL_VERSION", PROTOCOL_VERSION + 1)  # a future client
    client = Client(lasting_server.address, tmp_path)
    job, files = shot("copy")
    job_id = client.submit(job, files)
    updates = until(lambda update: update.ended, client)
    assert updates[-1].state == "failed"
    assert client.status == "refused"
    assert "update the server" in client.problem
    with pytest.raises(ServerError, match="update the server"):
        client.submit(job, files)
    client.close()
    peer = Raw(lasting_server.address)
    assert peer.ask(Follow(job_id, 0)).code == "unknown_job"
    peer.close()
