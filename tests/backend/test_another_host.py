"""A server on another machine: only authorized clients get in and work as usual; others are told why they cannot."""

import json
import os
import socket
import stat
import time
import uuid
from pathlib import Path

import pytest
import zmq
from command_line import ex4d
from ex4d_server import access
from ex4d_server.server import Server
from proxy import Proxy
from raw import Raw
from server_process import PATIENCE, ServerProcess, until
from strangers import Scene, admit, answers

from ex4d.errors import InputError, ServerError
from ex4d.jobs import hosts
from ex4d.jobs.client import Client
from ex4d.jobs.codec import encode
from ex4d.jobs.hosts import KnownServer
from ex4d.jobs.keys import ClientKeys, KeyPair, client_keys, read_key, shown_key
from ex4d.jobs.limits import CHUNK_BYTES
from ex4d.jobs.messages import Follow, Get, Load, Missing, Ping, Pong, Put, Status, Submit
from ex4d.pipeline.requests import job_hash


@pytest.fixture(autouse=True)
def laptop(tmp_path, monkeypatch) -> Path:
    """The configuration folder of the client's user, who has no server on this machine."""
    for name in ("XDG_CONFIG_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "laptop"))
    return tmp_path / "laptop"


def done(*arguments) -> str:
    ran = ex4d(*arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def refused(*arguments) -> str:
    ran = ex4d(*arguments)
    assert ran.returncode == 2, ran.stdout
    return ran.stderr.strip()


def serving(folder: Path, host) -> ServerProcess:
    """Somebody else's server on another machine, not started yet; its registry is not ours."""
    process = ServerProcess(folder, host.on_it, {"XDG_CONFIG_HOME": str(folder / "their config")})
    process.address = f"tcp://{host.ip}:5760"  # files use the next port
    return process


def let_in(state: Path) -> None:
    """Authorize this user's key."""
    access.authorize(state, shown_key(hosts.own_pair().public), "anna")


@pytest.fixture
def box(tmp_path, far):
    """Such a server that lets this user in and is in the user's list as "gpu-box"."""
    process = serving(tmp_path, far)
    let_in(process.state)
    try:
        process.start()
        hosts.add(hosts.read_file(access.invitation(process.state, "gpu-box", None).to_file()))
        yield process
    finally:
        process.close()


def test_who_listens_for_other_machines_must_have_let_one_in(tmp_path):
    started = ex4d("serve", "--address", "tcp://0.0.0.0:0", "--state", tmp_path / "state", fresh=True)
    assert started.returncode == 2
    assert "Other machines can reach tcp://0.0.0.0:0, but no client is let in yet" in started.stderr
    assert "`ex4d server authorize KEY --name NAME`" in started.stderr
    assert not (tmp_path / "state").exists()
    access.prepare(tmp_path / "state")
    anna = tmp_path / "state" / "keys" / "clients" / "anna.pub"
    anna.write_text(KeyPair.new().public)
    anna.chmod(0o644)
    assert ex4d("serve", "--address", "tcp://0.0.0.0:0", "--state", tmp_path / "state").returncode == 2, (
        "a file that others can read lets nobody in"
    )
    assert "a server listens on an address" in refused("serve", "--address", "tcp://gpu-box:5750")


def test_files_need_a_port_and_take_any_free_one_where_the_server_does(tmp_path):
    state = tmp_path / "state"
    access.authorize(state, shown_key(KeyPair.new().public), "anna")
    last = refused("serve", "--address", "tcp://0.0.0.0:65535", "--state", state)
    assert "There is no port after that of tcp://0.0.0.0:65535 for files: give one with --files-port." in last
    apart = []
    for _ in range(3):  # the port may be the next one by chance
        server = Server("tcp://0.0.0.0:0", state)
        apart.append(server._bulk.port - int(server.address.rsplit(":", 1)[1]))
        server.close()
    assert apart != [1, 1, 1]


def test_clients_are_let_in_and_turned_away_by_name(tmp_path):
    state, key = tmp_path / "state", shown_key(KeyPair.new().public)
    public = done("server", "keygen", "--state", state)
    assert client_keys(state).server == read_key(public)
    assert done("server", "keygen", "--state", state) == public
    assert stat.S_IMODE((state / "keys" / "server.key").stat().st_mode) == 0o600
    assert "No client is let in" in done("server", "clients", "--state", state)
    assert done("server", "authorize", key, "--name", "anna", "--state", state) == "anna can now connect."
    assert stat.S_IMODE((state / "keys" / "clients" / "anna.pub").stat().st_mode) == 0o600
    assert done("server", "clients", "--state", state) == f"anna  {key}"
    again = done("server", "authorize", read_key(key), "--name", "ann", "--state", state)
    assert again == "This key is already let in, as anna."
    for hyphens in "-so7#L}:i-2Ow8rp?Q.uNXug5=OJs4H!ou0AYBy[", "--o7#L}:i-2Ow8rp?Q.uNXug5=OJs4H!ou0AYBy[":
        assert done("server", "authorize", hyphens, "--name", "ben", "--state", state) == "ben can now connect."
        assert done("server", "revoke", hyphens, "--state", state) == "ben can no longer connect."
    assert "--nam" in refused("server", "authorize", key, "--nam", "ann", "--state", state)
    other = shown_key(KeyPair.new().public)
    for key_and_name, why in {
        (other, "anna"): "anna already has another key: choose another name, or first run `ex4d server revoke anna`",
        (other, "Anna"): "anna already has another key: choose another name, or first run `ex4d server revoke anna`",
        (other, "../../x"): "A client's name has up to 60 letters",
        (other, "con"): "Windows can have no file named con: choose another name",
        (other, "LPT1.anna"): "Windows can have no file named LPT1.anna",
        ("0" * 63, "ben"): "That is not a key. A key has 64 hexadecimal digits; get it with Copy My Key",
        (public, "ben"): "This is the key of this server itself",
    }.items():
        assert why in refused("server", "authorize", key_and_name[0], "--name", key_and_name[1], "--state", state)
    unusable = state / "keys" / "clients" / "ben.pub"
    unusable.write_text("no key")
    told = refused("server", "authorize", other, "--name", "ben", "--state", state)
    assert "ben.pub already exists and is not a usable key: delete it first" in told
    assert unusable.read_text() == "no key"
    unusable.unlink()
    assert "No client named ben is let in. The clients are anna." in refused(
        "server", "revoke", "ben", "--state", state
    )
    assert done("server", "revoke", key, "--state", state) == "anna can no longer connect."
    assert list((state / "keys" / "clients").iterdir()) == []


def test_a_server_comes_into_the_list_by_its_file_and_no_other_takes_its_name(tmp_path, laptop):
    state, file = tmp_path / "state", tmp_path / "box.json"
    assert "As it runs now, only this machine can reach the server" in refused("server", "invite", "--state", state)
    invite = ("server", "invite", "--name", "gpu-box", "--state", state, "--address")
    file.write_text(done(*invite, "tcp://gpu-box:5750"))
    secret = json.loads((state / "keys" / "server.key").read_text())["secret"]
    assert secret not in file.read_text()
    assert shown_key(secret) not in file.read_text()
    assert done("hosts", "add", file) == "gpu-box at tcp://gpu-box:5750 is in your list."
    public = client_keys(state).server
    assert hosts.known() == (KnownServer("gpu-box", "tcp://gpu-box:5750", public),)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (hosts.folder(), hosts.folder() / "servers.json")] == [
        0o700,
        0o600,
    ]
    file.write_text(done(*invite, "tcp://10.1.2.3:5750"))
    done("hosts", "add", file)
    assert hosts.find("gpu-box").address == "tcp://10.1.2.3:5750", "the same server has moved"
    file.write_text(KnownServer("gpu-box", "tcp://10.6.6.6:5750", KeyPair.new().public).to_file())
    assert "a server named gpu-box with another key" in refused("hosts", "add", file)
    file.write_text(KnownServer("other", "tcp://10.1.2.3:5750", KeyPair.new().public).to_file())
    assert "is in your list already, as gpu-box" in refused("hosts", "add", file)
    assert hosts.find("gpu-box").key == public
    assert "Your list has no server named box, only gpu-box: import box's server file." in refused(
        "hosts", "remove", "box"
    )
    assert done("hosts", "remove", "gpu-box") == "gpu-box was removed from your list."
    assert "Your list has no servers: import box's server file." in refused("hosts", "remove", "box")
    assert hosts.known() == ()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"ex4d_server": "a", "address": "tcp://a:1"}',
        b'{"ex4d_server": "a", "address": "tcp://a:1", "key": 1}',
        b'{"ex4d_server": "a", "address": "tcp://a:1", "key": "00"}',
        b" " * 5000,
        b"[" * 4000,
    ],
)
def test_what_is_no_server_file_is_said_to_be_none(content):
    with pytest.raises(InputError, match="This is not a server file: ask the server's administrator"):
        hosts.read_file(content)


@pytest.mark.parametrize(
    "address", ["tcp://0.0.0.0:5750", "tcp://gpu-box:0", "ipc:///tmp/x", "tcp://a b:1", "tcp://:1"]
)
def test_a_server_file_with_an_address_that_nobody_can_connect_to_says_so(address):
    with pytest.raises(InputError, match="address"):
        hosts.read_file(json.dumps({"ex4d_server": "box", "address": address, "key": "0" * 64}))


def test_the_users_key_is_made_once_and_not_used_where_others_can_read_it(laptop):
    pair = hosts.own_pair()
    assert hosts.own_pair() == pair
    assert done("hosts", "key") == shown_key(pair.public)
    key = hosts.folder() / "client.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o640)
    with pytest.raises(InputError, match="open to other users of this machine"):
        hosts.own_pair()
    assert "open to other users" in refused("hosts", "key")
    key.unlink()
    assert hosts.own_pair() != pair
    (hosts.folder() / "servers.json").write_text("[]")
    with pytest.raises(InputError, match="open to other users"):
        hosts.known()
    (hosts.folder() / "servers.json").chmod(0o600)
    assert hosts.known() == ()
    for damaged in ("[1]", "[" * 4000):
        (hosts.folder() / "servers.json").write_text(damaged)
        with pytest.raises(InputError, match="is damaged: delete it and import your servers again"):
            hosts.known()
    hosts.folder().chmod(0o770)
    with pytest.raises(InputError, match="open to other users"):
        hosts.known()


def test_a_job_goes_to_another_machine_and_its_result_comes_back(box, connect, shot, far):
    content = os.urandom(3 * CHUNK_BYTES + 7)
    job, files = shot("copy", content)
    client = connect(box)
    assert client.known == hosts.find("gpu-box")
    ended = client.wait(client.submit(job, files), timeout=PATIENCE)
    assert ended.state == "done"
    assert ended.files["result.mp4"].read_bytes() == content
    assert client._exchange is None, "a path there is none here"
    assert client.server.bulk_port == int(box.address.rsplit(":", 1)[1]) + 1, "a firewall can know it"
    listed = done("hosts", "list")
    assert f"gpu-box  {box.address}" in listed
    assert "; idle" in listed
    job, files = shot("slow")
    client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    client.submit(*shot("copy", b"behind"))
    until(lambda update: update.state == "queued", client)
    assert "; 1 running, 1 waiting" in done("hosts", "list")
    again = connect(box, known=hosts.find("gpu-box"))
    until(lambda: (again.poll(), again.status == "ready")[1])
    assert again.server.load == Load(1, 1)
    assert done("unload", "--server", "gpu-box") == "A job is running: wait for it, or cancel it first."


@pytest.fixture
def far_scene(far, tmp_path, connect, shot):
    """A server at work on another machine, and a client here that has its user's keys from the state folder."""
    process = ServerProcess(tmp_path, far.on_it)
    process.address = f"tcp://{far.ip}:0"
    access.authorize(process.state, KeyPair.new().public, "someone")
    try:
        yield Scene(process, connect, shot, tmp_path)
    finally:
        process.close()


def test_a_stranger_on_another_machine_sees_and_changes_nothing_by_any_message_on_any_port(far_scene):
    strangers = {
        "its own key": ClientKeys(far_scene.public, KeyPair.new()),
        "no key": None,
        "a wrong server": ClientKeys.nobodys(),
        "a client's public key without its secret": ClientKeys(
            far_scene.public, KeyPair(client_keys(far_scene.server.state).own.public, KeyPair.new().secret)
        ),
    }
    for address, messages in far_scene.ports():
        for who, keys in strangers.items():
            assert answers(address, messages, keys) == [], (address, who)
        for frames in messages:
            assert answers(address, [frames], strangers["its own key"], 0.1) == []
    far_scene.check_unchanged()


def test_a_revoked_client_on_another_machine_sees_and_changes_nothing_on_old_and_new_connections(far_scene):
    pair, state = KeyPair.new(), far_scene.server.state
    access.authorize(state, pair.public, "anna")
    time.sleep(0.6)
    keys = ClientKeys(far_scene.public, pair)
    anna = Raw(far_scene.server.address, keys=keys)
    assert anna.ask(Ping()) == Pong()
    access.revoke(state, "anna")
    time.sleep(0.6)
    for frames in far_scene.control():
        assert anna.ask_frames(frames).code == "not_admitted"
    for frames in far_scene.bulk():
        anna.bulk.send_multipart(frames)
        assert b"hello_first" in anna.bulk.recv_multipart()[0]
    anna.close()
    for address, messages in far_scene.ports()[:2]:
        assert answers(address, messages, keys) == []
    far_scene.check_unchanged()


def test_content_that_was_asked_for_before_the_key_was_taken_back_is_not_sent_after_it(server, connect, shot):
    """A client that does not read loses what is queued for it, just like what it requests later."""
    server.start()
    content = os.urandom(24 * CHUNK_BYTES)
    job, files = shot("copy", content)
    keys = admit(server, "anna")
    anna = Raw(server.address, keys=keys)
    submit = Submit(str(uuid.uuid4()), job_hash(job), job)
    assert isinstance(anna.ask(submit), Missing)
    for sha256, path in files.items():
        data = path.read_bytes()
        for offset in range(0, len(data), CHUNK_BYTES):
            anna.ask_bulk(Put(sha256, len(data), offset), data[offset : offset + CHUNK_BYTES])
    assert isinstance(anna.ask(submit), Status)
    until(lambda: anna.ask(Follow(submit.job_id, 0)).state == "done")
    anna.bulk.close()
    time.sleep(0.3)
    anna.bulk = anna.context.socket(zmq.DEALER)
    anna.bulk.linger, anna.bulk.rcvhwm, anna.bulk.rcvbuf = 0, 1, 4096
    keys.put_on(anna.bulk)
    anna.bulk.routing_id = anna.welcome.session.encode()
    anna.bulk.connect(f"tcp://127.0.0.1:{anna.welcome.bulk_port}")
    for offset in range(0, len(content), CHUNK_BYTES):
        anna.bulk.send_multipart([encode(Get(job.source.clip[0].sha256, offset))])
    time.sleep(0.5)
    (server.state / "keys" / "clients" / "anna.pub").unlink()
    time.sleep(0.6)
    came = []
    while anna.bulk.poll(1000):
        came.append(anna.bulk.recv_multipart())
    assert len(came) == 24
    assert b"hello_first" in came[-1][0]
    assert sum(len(frames) == 2 for frames in came) < 20, "what was on its way already arrives"
    anna.close()


def test_a_client_is_told_that_it_is_not_let_in_and_goes_on_when_it_is(box, connect, shot):
    access.revoke(box.state, "anna")
    time.sleep(0.6)
    client = connect(box)
    job, files = shot("copy", b"patience")
    job_id = client.submit(job, files)
    until(lambda update: "gpu-box does not let you in: send your key to its administrator" in update.message, client)
    assert client.status == "refused"
    began = time.monotonic()
    let_in(box.state)
    updates = until(lambda update: update.ended, client)
    assert time.monotonic() - began < 15
    assert (updates[-1].job_id, updates[-1].state) == (job_id, "done")
    assert client.problem == ""


def test_a_key_that_is_taken_back_while_a_job_runs_ends_the_talk_and_not_the_job(box, connect, shot):
    client = connect(box)
    job, files = shot("slow")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    access.revoke(box.state, "anna")
    until(lambda update: "your key was removed from its list" in update.message, client)
    assert client.status == "refused"
    end = time.monotonic() + 4
    while time.monotonic() < end:  # it tries again now and then, and is refused each time
        assert not any(update.ended for update in client.poll(0.01))
        time.sleep(0.02)
    assert client.status == "refused"
    let_in(box.state)
    until(lambda: (client.poll(), client.status == "ready")[1])
    client.cancel(job_id)
    assert client.wait(job_id, timeout=PATIENCE).state == "cancelled", "it was the same job all the time"


def test_each_way_of_not_reaching_a_server_has_its_own_sentence(box, far, tmp_path):
    key = hosts.find("gpu-box").key
    port = int(box.address.rsplit(":", 1)[1])

    def said(server: KnownServer) -> str:
        client = Client(server.address, tmp_path, known=server)
        until(lambda: (client.poll(), client.problem)[1])
        client.close()
        return client.problem

    assert said(KnownServer("gpu-box", box.address, KeyPair.new().public)).startswith(
        f"What listens at {box.address} is not gpu-box, so nothing was sent to it."
    )
    assert said(KnownServer("gpu-box", f"tcp://{far.ip}:{port - 1}", key)).startswith(
        f"gpu-box does not answer at tcp://{far.ip}:{port - 1}: check your network or VPN"
    )
    assert said(KnownServer("gpu-box", "tcp://gpu-box.invalid:5750", key)).startswith(
        "The machine gpu-box.invalid of gpu-box cannot be found: check your network or VPN"
    )
    nowhere = Client(f"tcp://{far.ip}:{port - 1}", tmp_path)  # only an address
    until(lambda: (nowhere.poll(), nowhere.status == "refused")[1])
    assert "is in your list, so it is not known who listens there: import the server file first" in nowhere.problem
    nowhere.close()


def test_a_cable_that_is_pulled_is_told_and_the_job_goes_on_when_it_is_back(box, connect, shot, far):
    client = connect(box)
    job, files = shot("slow")
    job_id = client.submit(job, files)
    until(lambda update: update.stage == "wait", client)
    far.pull_the_cable()
    until(lambda update: "gpu-box does not answer" in update.message, client)
    far.pull_the_cable(out=False)
    until(lambda: (client.poll(), client.status == "ready")[1])
    client.cancel(job_id)
    assert client.wait(job_id, timeout=PATIENCE).state == "cancelled"


def test_a_firewall_that_lets_no_files_through_is_told_and_the_job_goes_on_when_it_does(box, far, shot, tmp_path):
    port, server = int(box.address.rsplit(":", 1)[1]), hosts.find("gpu-box")
    way = KnownServer("gpu-box", f"tcp://{far.here}:{port}", server.key)
    client = Client(way.address, tmp_path / "downloads", known=way)
    with far.long_way((port,), 0.0):
        job, files = shot("copy", b"clip")
        job_id = client.submit(job, files)
        updates = until(lambda update: "no file gets through" in update.message, client)
        assert f"has to let port {port + 1} through as well" in updates[-1].message
        assert (client.status, updates[-1].state) == ("ready", "uploading")
        with pytest.raises(ServerError, match="gpu-box answers, but no file gets through"):
            client.wait(job_id, timeout=40)
        with far.long_way((port + 1,), 0.0):
            assert client.wait(job_id, timeout=PATIENCE).state == "done"
            assert client.problem == ""
            client.close()


def test_nothing_waits_while_a_name_is_looked_up(tmp_path, monkeypatch):
    asked = []

    def slowly(*arguments, **options):
        asked.append(arguments)
        time.sleep(2)
        raise OSError("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    began = time.monotonic()
    client = Client("tcp://gpu-box:5750", tmp_path, known=KnownServer("gpu-box", "tcp://gpu-box:5750", "0" * 40))
    longest = time.monotonic() - began
    while client.status != "unreachable":
        before = time.monotonic()
        client.poll()
        longest = max(longest, time.monotonic() - before)
        assert time.monotonic() - began < 10
        time.sleep(0.01)
    before = time.monotonic()
    client.close()
    assert max(longest, time.monotonic() - before) < 0.3
    assert len(asked) < 4, "one thread at a time, however long it takes"


def test_through_a_tunnel_a_server_is_known_by_its_key_and_sends_files_by_the_socket(server, connect, shot, tmp_path):
    """As forwarded by `ssh -L`: at a loopback address, without a state folder that this user could read."""
    server.environment["XDG_CONFIG_HOME"] = str(tmp_path / "their config")
    server.start()
    state = server.state
    let_in(state)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path / "their config"))
        tunnel = Proxy(server.address)
    try:
        file = tmp_path / "box.json"
        file.write_text(done("server", "invite", "--name", "box", "--address", tunnel.address, "--state", state))
        done("hosts", "add", file)
        client = Client(tunnel.address, tmp_path / "downloads")
        content = os.urandom(2 * CHUNK_BYTES)
        job, files = shot("copy", content)
        ended = client.wait(client.submit(job, files), timeout=PATIENCE)
        assert ended.files["result.mp4"].read_bytes() == content
        assert tunnel.moved["up"] > len(content)
        assert tunnel.moved["down"] > len(content)
        client.close()
    finally:
        tunnel.close()


def test_over_a_slow_link_a_small_movie_of_a_take_is_here_long_before_its_files(box, far, tmp_path, shot):
    """A take of 49 frames at 1920x1080 has 36 MB, and its small movie 0.2 MB; this test uses a quarter of that."""
    far.slow_down("20mbit")
    known = KnownServer("gpu-box", box.address.replace(far.ip, far.here), client_keys(box.state).server)
    hosts.remove("gpu-box")
    hosts.add(known)
    content = os.urandom(9 << 20)
    job, files = shot("take", content)
    seen: dict[str, float] = {}
    left = []
    with far.long_way((5760, 5761), 0.04):
        client = Client(known.address, tmp_path / "one", known=known, proxies=True)
        job_id = client.submit(job, files)

        def note(update) -> None:
            now = time.monotonic()
            if update.state == "downloading":
                seen.setdefault("begun", now)
                left.append((now, update.step, update.eta_s))
            elif update.stage == "upload":
                left.append((now, update.step, update.eta_s))
            if update.proxy:
                seen.setdefault("proxy", now)
                assert update.proxy.read_bytes() == content[: len(content) // 50]
                assert update.facts["coverage"] == [0.5, 1.0], "with what is needed to show it"
            if update.state == "done":
                seen["done"] = now
                assert set(update.files) == {"result.mp4"}

        client.wait(job_id, note, timeout=60)
        client.close()
    first, all_ = seen["proxy"] - seen["begun"], seen["done"] - seen["begun"]
    print(f"first picture after {first:.1f} s, all files after {all_:.1f} s")
    assert first < 1.5
    assert all_ > 3
    told = [(at, eta) for at, _step, eta in left if eta is not None and at > seen["begun"]]
    assert len(told) > 5
    for at, eta in told[len(told) // 3 :]:
        assert abs(seen["done"] - at - eta) < 0.5 + 0.3 * (seen["done"] - at), "the time that was left was left"
    uploads = [eta for at, _step, eta in left if at < seen["begun"] and eta is not None]
    assert max(uploads) > 2


def test_over_a_fast_link_no_small_movie_is_shown(box, tmp_path, shot):
    known = hosts.find("gpu-box")
    client, updates = Client(known.address, tmp_path / "one", known=known, proxies=True), []
    last = client.wait(client.submit(*shot("take", os.urandom(9 << 20))), updates.append, timeout=PATIENCE)
    client.close()
    assert set(last.files) == {"result.mp4"}
    assert [update for update in updates if update.proxy] == []
    assert [path.name for path in (tmp_path / "one").rglob("*.*")] == ["result.mp4"]


def test_a_folder_of_the_server_is_told_to_clients_on_its_machine_alone(box, tmp_path):
    peer = Raw(box.address, keys=hosts.find("gpu-box").keys)
    assert peer.welcome.exchange == ""
    peer.close()
