"""Coding of messages: what is sent comes out the same, and nothing else comes in."""

import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import msgpack
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ex4d.depth.encoding import DepthEncoding
from ex4d.errors import InputError
from ex4d.jobs.address import parse_address, parse_own_address
from ex4d.jobs.codec import ProtocolError, decode, encode, sentence
from ex4d.jobs.limits import CONTROL_BYTES, VIEW_BYTES
from ex4d.jobs.messages import (
    CLIENT_BULK,
    CLIENT_CONTROL,
    SERVER_BULK,
    SERVER_CONTROL,
    Event,
    Hello,
    Look,
    Put,
    Result,
    Seen,
    Submit,
    Unload,
)
from ex4d.pipeline.requests import Blob, Generate, Reconstruct, Source, blobs_of, canonical, job_hash, safe_name
from ex4d.pipeline.settings import GenerateSettings, SourceSettings
from ex4d.plain import from_plain, to_plain
from ex4d.schema import describe

JOB_ID = "01234567-89ab-4def-8123-456789abcdef"
CLIP, DEPTH, PATH = Blob("a" * 64, 10, "a.mp4"), Blob("b" * 64, 20, "b.npz"), Blob("c" * 64, 30, "c.npz")
SETTINGS = SourceSettings(start=3, frames=49, longest_side=None, field_of_view=54.5, fps="24000/1001")
SOURCE = Source((CLIP,), (DEPTH,), settings=SETTINGS, folder="shot 010")
JOB = Generate(SOURCE, PATH, generation=GenerateSettings(seed=2**63 - 1, fps="25", options={"some": {"steps": 4}}))


def test_a_message_comes_out_as_it_went_in():
    message = Submit(JOB_ID, job_hash(JOB), JOB)
    assert decode(encode(message), CLIENT_CONTROL) == message
    event = Event(JOB_ID, 7, "done", 1, "write", 2, 3, 0.5, "é", Result({"coverage": [0.5], "notes": []}, (CLIP,)))
    assert decode(encode(event), SERVER_CONTROL) == event
    running = Event(JOB_ID, 8, "running", 1, "Sampling", 2, 3, 0.5, picture=b"\xff\xd8 jpeg")
    assert decode(encode(running), SERVER_CONTROL) == running
    assert decode(encode(Unload()), CLIENT_CONTROL) == Unload()
    with pytest.raises(ProtocolError, match=r"picture must have a length between 0 and 16384"):
        decode(encode(replace(running, picture=bytes(16385))), SERVER_CONTROL)
    look = Look(3, "a" * 64, 7, (0.5,) * 16, (1.0,) * 16, (2.0,) * 9, 256, 144)
    assert decode(encode(look), CLIENT_CONTROL) == look
    seen = Seen(3, 256, 144, 0.25, bytes(VIEW_BYTES))
    assert decode(encode(seen), SERVER_CONTROL) == seen
    with pytest.raises(ProtocolError, match=rf"exceeds max_bin_len\({VIEW_BYTES}\)"):
        decode(encode(replace(seen, classes=bytes(VIEW_BYTES + 1))), SERVER_CONTROL)
    for name in ("others", "nearby"):
        with pytest.raises(ProtocolError, match="have 16 numbers each, not 17 in all"):
            decode(msgpack.packb({**to_plain(look), name: [0.5] * 17}), CLIENT_CONTROL)
    with pytest.raises(ProtocolError, match="A view of 2048x144 is more than 262144 pixels"):
        decode(msgpack.packb({**to_plain(look), "width": 2048}), CLIENT_CONTROL)
    with pytest.raises(ProtocolError, match=r"picture must be of type bytes"):
        decode(msgpack.packb({**to_plain(running), "picture": "text"}), SERVER_CONTROL)


def test_the_hash_is_that_of_the_canonical_job_whatever_number_type_was_given():
    assert job_hash(JOB) == job_hash(from_plain(Generate, to_plain(JOB)))
    whole = from_plain(Source, {**to_plain(SOURCE), "settings": {"field_of_view": 60}})
    as_before = SourceSettings(field_of_view=60.0, camera_motion="file", steady_depth=False, depth_edges="off")
    assert canonical(Reconstruct(whole)) == canonical(Reconstruct(replace(SOURCE, settings=as_before)))


def test_each_content_is_listed_once():
    assert blobs_of(Generate(Source((CLIP,), (CLIP,)), CLIP)) == [CLIP]
    assert blobs_of(JOB) == [CLIP, DEPTH, PATH]


def test_a_message_of_the_other_end_is_refused():
    with pytest.raises(ProtocolError, match=r"message\.kind must be one of"):
        decode(encode(Hello(1, "x")), SERVER_CONTROL)
    with pytest.raises(ProtocolError, match=r"message\.kind must be one of"):
        decode(encode(Put("a" * 64, 1, 0)), SERVER_BULK)
    assert decode(encode(Put("a" * 64, 1, 0)), CLIENT_BULK) == Put("a" * 64, 1, 0)


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
@example("clip.of the day and night")  # is cut to twelve characters of the suffix, the last of which is a space
@example("x" * 199 + " y")
@example("clip.of a long suffix." + " " * 12 + "x")
@example("con." + "x" * 300 + ".mp4")
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
            "camera",
            "folder",
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


@given(st.sampled_from(describe(SourceSettings)), plain)
def test_any_value_of_a_setting_is_taken_as_it_is_or_refused_by_its_label(about, value):
    complaint, taken = "", None
    try:
        taken = from_plain(SourceSettings, {about.name: value}, "settings")
    except ProtocolError as error:
        complaint = str(error)
    checked_together = about.name in ("fps", "depth_unit", "depth_convention", "depth_distance")
    assert getattr(taken, about.name) == value if taken else about.label in complaint or checked_together


def test_how_a_depth_file_is_read_travels_and_is_checked():
    encoded = SourceSettings(
        depth_unit="0.01", depth_convention="inverse", depth_distance="ray", depth_channel="View.Z"
    )
    travelled = from_plain(Source, to_plain(replace(SOURCE, settings=encoded)))
    assert travelled.settings.encoding == DepthEncoding(0.01, "inverse", "ray", "View.Z")
    for wrong, said in [
        ({"depth_unit": "-1"}, "The unit of a depth file must be a positive number"),
        ({"depth_convention": "disparity", "depth_unit": "m"}, "Relative disparity has no unit"),
        ({"depth_convention": "depth2"}, "Values is one of depth, inverse, disparity"),
        ({"more": 1}, "There is no setting 'more' here"),
    ]:
        with pytest.raises(ProtocolError, match=re.escape(said)):
            from_plain(Source, {**to_plain(SOURCE), "settings": wrong}, "source")


def test_settings_of_a_generator_are_plain_values():
    for wrong in ({"wan": 3}, {"wan": {"steps": [1]}}, {"wan": {"steps": {}}}, {"w" * 101: {}}):
        with pytest.raises(ProtocolError, match="options"):
            from_plain(Generate, {**to_plain(JOB), "generation": {"options": wrong}}, "job")


def test_the_files_of_a_job_are_those_of_clip_depth_camera_and_path():
    moving = replace(SOURCE, camera=replace(PATH, sha256="d" * 64))
    assert [blob.sha256[0] for blob in blobs_of(Generate(moving, PATH))] == ["a", "b", "d", "c"]
    assert [blob.sha256[0] for blob in blobs_of(Reconstruct(replace(moving, depth=())))] == ["a", "d"]


@given(st.text(max_size=3000))
@example("as Blender shows it \0 whole")
def test_any_text_becomes_a_sentence_that_can_be_sent(text):
    assert len(sentence(text)) <= 2000
    assert "\0" not in sentence(text)
    assert decode(encode(Event(JOB_ID, 1, "failed", 1, message=sentence(text))), SERVER_CONTROL)


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("tcp://127.0.0.1:5750", ("127.0.0.1", 5750)),
        ("tcp://127.1.2.3:*", ("127.1.2.3", 0)),
        ("tcp://localhost:0", ("127.0.0.1", 0)),
        ("tcp://10.0.0.1:1", ("10.0.0.1", 1)),
        ("tcp://gpu-box.studio:5750", ("gpu-box.studio", 5750)),
    ],
)
def test_addresses_are_read(address, parsed):
    assert parse_address(address) == parsed


@pytest.mark.parametrize(
    "address",
    ["tcp://[::]:1", "udp://x:1", "tcp://x", "tcp://x:65536", "tcp://-x:1", "tcp://a b:1", "tcp://x:1/", "tcp://:1"],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(InputError, match="is not a server address"):
        parse_address(address)


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1.example.org:1", "tcp://10.0.0.1:1", "tcp://0.0.0.0:1", "tcp://127.1:1"]
)
def test_only_numbers_of_this_machine_count_as_its_own(address):
    """A name may lead elsewhere tomorrow, whatever it looks like."""
    with pytest.raises(InputError, match="is not on this machine"):
        parse_own_address(address)


def test_the_client_needs_neither_the_backend_nor_heavy_packages():
    code = (
        "import sys, ex4d.jobs.client; "
        "heavy = {'numba', 'av', 'cv2', 'torch', 'typer', 'rich', 'ex4d_server', 'platformdirs', 'OpenEXR'}; "
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
