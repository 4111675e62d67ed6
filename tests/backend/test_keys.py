"""The keys in a state folder: created on first use, private to this user, and refused if others can access them."""

import os
import stat

import pytest
from ex4d_server.gate import CLIENTS, Gate
from ex4d_server.server import Server

from ex4d.errors import InputError
from ex4d.jobs import keys
from ex4d.jobs.client import Client
from ex4d.jobs.keys import ClientKeys, KeyPair, admitted, announce, client_keys, find_state, make_keys


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


def mode(path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_once_for_this_user_alone(state):
    pair = make_keys(state)
    assert make_keys(state) == pair
    mine = client_keys(state)
    assert mine.server == pair.public
    assert admitted(state) == {mine.own.public}
    assert mode(state / "keys") == mode(state / "keys" / "clients") == 0o700
    assert mode(state / "keys" / "server.key") == mode(state / "keys" / "client.key") == 0o600
    assert pair.secret not in repr(pair)
    assert client_keys(state / "nowhere") is None


@pytest.mark.parametrize("name", ["keys", "keys/server.key", "keys/client.key"])
@pytest.mark.parametrize("open_to", [0o040, 0o004, 0o020])
def test_what_others_can_reach_is_refused_with_a_sentence(state, name, open_to):
    make_keys(state)
    (state / name).chmod(mode(state / name) | open_to)
    with pytest.raises(InputError, match="open to other users"):
        client_keys(state)
    if name != "keys/client.key":
        with pytest.raises(InputError, match=r"open to other users .*: delete it and start the server again"):
            make_keys(state)
    if name != "keys/server.key":
        assert admitted(state) == frozenset()


def test_a_link_or_another_users_file_is_no_key(state, tmp_path):
    make_keys(state)
    key = state / "keys" / "client.key"
    key.rename(tmp_path / "elsewhere")
    key.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        client_keys(state)
    assert admitted(state) == frozenset()
    if os.getuid() == 0:
        key.unlink()
        (tmp_path / "elsewhere").rename(key)
        os.chown(key, 12345, 12345)
        with pytest.raises(InputError, match="belongs to another user"):
            client_keys(state)


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"public": 1, "secret": 2}', "\0", "x" * 5000])
def test_a_damaged_key_file_is_refused_with_what_to_do(state, text):
    make_keys(state)
    (state / "keys" / "server.key").write_text(text)
    with pytest.raises(InputError, match=r"server.key is damaged: delete it and start the server again\."):
        make_keys(state)


def test_a_pair_whose_halves_do_not_belong_together_is_damaged(state):
    make_keys(state)
    text = (state / "keys" / "server.key").read_text()
    pair, other = make_keys(state), KeyPair.new()
    (state / "keys" / "server.key").write_text(text.replace(pair.public, other.public))
    with pytest.raises(InputError, match="damaged"):
        client_keys(state)


def test_further_keys_are_admitted_by_a_file_and_turned_away_without_it(state):
    make_keys(state)
    mine, other = client_keys(state).own.public, KeyPair.new().public
    file = state / "keys" / "clients" / "render.pub"
    file.write_text(f"{other}\n")
    file.chmod(0o600)
    (state / "keys" / "clients" / "damaged.pub").write_text("no key")
    assert admitted(state) == {mine, other}
    file.chmod(0o622)
    assert admitted(state) == {mine}, "others may have written it"
    file.unlink()
    assert admitted(state) == {mine}


def test_the_registry_of_the_user_says_where_the_server_of_an_address_has_its_folder(state, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "config"))
    assert find_state("tcp://127.0.0.1:5750") is None
    announce("tcp://127.0.0.1:5750", state)
    assert find_state("tcp://localhost:5750") == state
    assert mode(keys.registry()) == 0o700
    assert [mode(path) for path in keys.registry().iterdir()] == [0o600]
    announce("tcp://127.0.0.1:5751", state)
    assert find_state("tcp://127.0.0.1:5750") is None, "a folder is served at one address"
    announce("tcp://0.0.0.0:5752", state)
    assert find_state("tcp://127.0.0.1:5752") == state, "who listens everywhere is found on this machine, too"
    keys.registry().chmod(0o777)
    with pytest.raises(InputError, match="open to other users"):
        find_state("tcp://127.0.0.1:5752")


def test_a_registry_that_others_can_write_is_told_and_nothing_is_sent(state, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "config"))
    announce("tcp://127.0.0.1:5750", state)
    keys.registry().chmod(0o777)
    client = Client("tcp://127.0.0.1:5750", tmp_path)
    client.poll()
    assert client.status == "refused"
    assert "open to other users" in client.problem
    client.close()


def test_without_curve_there_is_a_sentence_and_no_fallback(state, tmp_path, monkeypatch):
    monkeypatch.setattr("zmq.has", lambda what: False)
    for use in (lambda: make_keys(state), lambda: Client("tcp://127.0.0.1:5750", tmp_path), KeyPair.new):
        with pytest.raises(InputError, match="does not support CURVE, without which anybody on this machine"):
            use()


@pytest.mark.parametrize(
    "frames",
    [
        [b"1.0", b"1", b"clients", b"", b"", b"NULL"],
        [b"1.0", b"1", b"clients", b"", b"", b"PLAIN", b"user", b"password"],
        [b"1.0", b"1", b"clients", b"", b"", b"CURVE"],
        [b"1.0", b"1", b"clients", b"", b"", b"CURVE", b"short"],
        [b"1.0", b"1", b"clients", b"", b"", b"CURVE", bytes(32)],
        [b"1.0", b"1", b"", b"", b"", b"CURVE", bytes(32)],
        [b"1.0", b"1", b"\xff", b"", b"", b"CURVE", bytes(32)],
        [b"2.0", b"1", b"clients", b"", b"", b"CURVE", bytes(32)],
    ],
)
def test_the_gate_lets_in_who_is_admitted_and_nobody_else(frames):
    import zmq
    from zmq.utils import z85

    context, known = zmq.Context(), KeyPair.new()
    gate = Gate(context, KeyPair.new())
    socket = context.socket(zmq.ROUTER)
    gate.guard(socket, CLIENTS, lambda: {known.public})
    assert gate._answer(frames)[:3] == [b"1.0", b"1", b"400"]
    welcome = [b"1.0", b"1", b"clients", b"", b"", b"CURVE", z85.decode(known.public)]
    assert gate._answer(welcome) == [b"1.0", b"1", b"200", b"OK", known.public.encode(), b""]
    gate.close()
    context.destroy(linger=0)


def test_keys_that_nobody_has_differ_each_time():
    assert len({ClientKeys.nobodys().server for _ in range(5)}) == 5


def test_a_state_folder_is_made_private_if_it_is_new_or_a_servers_and_refused_otherwise(tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o755)
    for _ in range(2):  # an empty folder, then one that an earlier server left readable by all
        Server("tcp://127.0.0.1:0", state).close()
        assert mode(state) == 0o700
        state.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir(mode=0o755)
    (work / "film.blend").touch()
    with pytest.raises(InputError, match=r"is not for you alone: choose another, or remove other users' access"):
        Server("tcp://127.0.0.1:0", work)
    assert mode(work) == 0o755, "whoever works there may want others to see it"
    (tmp_path / "link").symlink_to(state)
    Server("tcp://127.0.0.1:0", tmp_path / "link").close()
    assert mode(state) == 0o700
