"""Coding of messages: what is sent comes out the same, and nothing else comes in."""

import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ex4d.depth.encoding import DepthEncoding
from ex4d.errors import InputError
from ex4d.jobs.address import parse_address
from ex4d.jobs.codec import ProtocolError, decode, encode, sentence
from ex4d.jobs.limits import CONTROL_BYTES
from ex4d.jobs.messages import (
    CLIENT_BULK,
    CLIENT_CONTROL,
    SERVER_BULK,
    SERVER_CONTROL,
    Event,
    Hello,
    Put,
    Result,
    Submit,
    Unload,
)
from ex4d.pipeline.requests import Blob, Generate, Reconstruct, Source, blobs_of, canonical, job_hash, safe_name
from ex4d.plain import from_plain, to_plain

JOB_ID = "01234567-89ab-4def-8123-456789abcdef"
CLIP, DEPTH, PATH = Blob("a" * 64, 10, "a.mp4"), Blob("b" * 64, 20, "b.npz"), Blob("c" * 64, 30, "c.npz")
SOURCE = Source((CLIP,), (DEPTH,), start=3, frames=49, longest_side=None, field_of_view=54.5, fps="24000/1001")
JOB = Generate(SOURCE, PATH, "auto", seed=2**63 - 1, fps="25")


def test_a_message_comes_out_as_it_went_in():
    message = Submit(JOB_ID, job_hash(JOB), JOB)
    assert decode(encode(message), CLIENT_CONTROL) == message
    event = Event(JOB_ID, 7, "done", 1, "write", 2, 3, 0.5, "é", Result({"coverage": [0.5], "notes": []}, (CLIP,)))
    assert decode(encode(event), SERVER_CONTROL) == event
    running = Event(JOB_ID, 8, "running", 1, "Sampling", 2, 3, 0.5, picture=b"\xff\xd8 jpeg")
    assert decode(encode(running), SERVER_CONTROL) == running
    assert decode(encode(Unload()), CLIENT_CONTROL) == Unload()
    with pytest.raises(ProtocolError, match=r"exceeds max_bin_len\(16384\)"):
        decode(encode(replace(running, picture=bytes(16385))), SERVER_CONTROL)
    with pytest.raises(ProtocolError, match=r"picture must be of type bytes"):
        decode(msgpack.packb({**to_plain(running), "picture": "text"}), SERVER_CONTROL)


def test_the_hash_is_that_of_the_canonical_job_whatever_number_type_was_given():
    assert job_hash(JOB) == job_hash(from_plain(Generate, to_plain(JOB)))
    whole = from_plain(Source, {**to_plain(SOURCE), "field_of_view": 60})
    assert canonical(Reconstruct(whole)) == canonical(Reconstruct(replace(SOURCE, field_of_view=60.0)))


def test_each_content_is_listed_once():
    assert blobs_of(Generate(Source((CLIP,), (CLIP,)), CLIP)) == [CLIP]
    assert blobs_of(JOB) == [CLIP, DEPTH, PATH]


def test_a_message_of_the_other_end_is_refused():
    with pytest.raises(ProtocolError, match=r"message\.kind must be one of"):
        decode(encode(Hello(1, "x")), SERVER_CONTROL)
    with pytest.raises(ProtocolError, match=r"message\.kind must be one of"):
        decode(encode(Put("a" * 64, 0)), SERVER_BULK)
    assert decode(encode(Put("a" * 64, 0)), CLIENT_BULK) == Put("a" * 64, 0)


def test_what_is_too_large_is_neither_written_nor_read():
    with pytest.raises(ProtocolError, match="over the limit"):
        encode(Event(JOB_ID, 1, "done", 1, result=Result({"x": "y" * CONTROL_BYTES}, ())))
    with pytest.raises(ProtocolError, match="over the limit"):
        decode(b"\x80" * (CONTROL_BYTES + 1), SERVER_CONTROL)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a/b", "a\\b", "/etc", "a\n", "a\0b", "x" * 256, "é" * 128, "CON", "nul.txt", "a:b", "a ", "a."],
)
def test_names_that_could_do_harm_are_refused(name):
    with pytest.raises(ProtocolError, match=r"blob\.name must"):
        from_plain(Blob, {"sha256": "a" * 64, "size": 1, "name": name}, "blob")


@pytest.mark.parametrize("facts", [{"a": float("nan")}, {"a": [float("inf")]}, {1: 2}, {"a": b"x"}, [], "x"])
def test_facts_are_plain_json(facts):
    with pytest.raises(ProtocolError, match=r"result\.facts"):
        from_plain(Result, {"facts": facts, "files": []}, "result")


def test_facts_are_not_nested_without_end():
    facts = {}
    for _ in range(20):
        facts = {"a": facts}
    with pytest.raises(ProtocolError, match="nested"):
        from_plain(Result, {"facts": facts, "files": []}, "result")


@given(st.text(max_size=300))
def test_any_file_name_has_one_that_may_travel(name):
    safe = safe_name(name)
    blob = {"sha256": "a" * 64, "size": 1, "name": safe}
    assert from_plain(Blob, blob).name == safe
    assert safe_name(safe) == safe


def test_an_ordinary_name_keeps_its_letters_and_suffix():
    assert safe_name("Größe 1_v2.final.MP4") == "Größe 1_v2.final.MP4"
    assert safe_name("shot 12:30.mov") == "shot 12_30.mov"
    assert safe_name("x" * 400 + ".mp4").endswith("x.mp4")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_protocol_error(frame):
    with suppress(ProtocolError):
        assert isinstance(decode(frame, CLIENT_CONTROL), CLIENT_CONTROL)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.sampled_from(
        [
            "sha256",
            "size",
            "name",
            "start",
            "frames",
            "longest_side",
            "field_of_view",
            "camera",
            "estimator",
            "fps",
            "clip",
        ]
    ),
    plain,
)
def test_any_value_in_a_field_is_taken_as_it_is_or_refused_by_name(field, value):
    blob, source = to_plain(CLIP), to_plain(SOURCE)
    (blob if field in blob else source)[field] = value
    source["clip"] = value if field == "clip" else [blob]
    try:
        taken = from_plain(Source, source, "source")
    except ProtocolError as error:
        taken, complaint = None, str(error)
    assert to_plain(taken) == source if taken else field in complaint


def test_how_a_depth_file_is_read_travels_and_is_checked():
    reading = DepthEncoding(0.01, "inverse", "ray", "View.Z")
    assert from_plain(Source, to_plain(replace(SOURCE, reading=reading))).reading == reading
    for wrong, said in [
        ({"unit": -1.0}, "source.reading: The unit of a depth file must be a positive number"),
        ({"convention": "disparity", "unit": 1.0}, "source.reading: Relative disparity has no unit"),
        ({"convention": "depth2"}, "source.reading.convention must be one of depth, disparity, inverse"),
        ({"more": 1}, "source.reading has no field 'more'"),
    ]:
        with pytest.raises(ProtocolError, match=re.escape(said)):
            from_plain(Source, {**to_plain(SOURCE), "reading": wrong}, "source")


def test_the_files_of_a_job_are_those_of_clip_depth_camera_and_path():
    moving = replace(SOURCE, camera=replace(PATH, sha256="d" * 64))
    assert [blob.sha256[0] for blob in blobs_of(Generate(moving, PATH))] == ["a", "b", "d", "c"]
    assert [blob.sha256[0] for blob in blobs_of(Reconstruct(replace(moving, depth=())))] == ["a", "d"]


@given(st.text(max_size=3000))
def test_any_text_becomes_a_sentence_that_can_be_sent(text):
    assert len(sentence(text)) <= 2000
    assert decode(encode(Event(JOB_ID, 1, "failed", 1, message=sentence(text))), SERVER_CONTROL)


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("tcp://127.0.0.1:5750", ("127.0.0.1", 5750)),
        ("tcp://127.1.2.3:*", ("127.1.2.3", 0)),
        ("tcp://localhost:0", ("127.0.0.1", 0)),
    ],
)
def test_loopback_addresses_are_read(address, parsed):
    assert parse_address(address) == parsed


@pytest.mark.parametrize("address", ["tcp://127.0.0.1.example.org:1", "tcp://10.0.0.1:1", "tcp://[::]:1", "udp://x:1"])
def test_other_addresses_are_refused(address):
    with pytest.raises(InputError):
        parse_address(address)


def test_the_client_needs_neither_the_backend_nor_heavy_packages():
    code = (
        "import sys, ex4d.jobs.client; "
        "heavy = {'numba', 'av', 'cv2', 'torch', 'typer', 'rich', 'backend', 'platformdirs', 'OpenEXR'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
