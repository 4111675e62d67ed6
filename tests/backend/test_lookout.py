"""Looks: which pixels are real as seen from a camera, over the real wire from the real process."""

import time
import uuid
from dataclasses import replace
from fractions import Fraction

import msgpack
import numpy as np
import psutil
import pytest
import zmq
from ex4d_server import lookout
from ex4d_server.gate import Gate
from raw import Raw
from server_process import PATIENCE, until
from zmq.utils.monitor import recv_monitor_message

from ex4d.geometry import presets
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo, save_depth
from ex4d.geometry.mesh import DWMesh
from ex4d.geometry.posed_depth import save_posed
from ex4d.jobs.codec import decode, encode, unpack
from ex4d.jobs.keys import ClientKeys, KeyPair, client_keys
from ex4d.jobs.messages import SERVER_CONTROL, Error, Follow, Holds, Look, Missing, Put, Seen, Submit, Unseen
from ex4d.media.movie import write_movie
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Reconstruct, Source, job_hash
from ex4d.pipeline.settings import RenderSettings
from ex4d.render import classes
from ex4d.render.conditioning import render
from ex4d.render.donors import donors, nearby
from ex4d.render.scene import Plate, Scene

WIDTH, HEIGHT, FRAMES = 96, 64, 5


def depth_of_a_box() -> DepthVideo:
    depth = np.full((FRAMES, HEIGHT, WIDTH), 8, np.float32)
    for t in range(FRAMES):
        depth[t, 20:45, 20 + 4 * t : 50 + 4 * t] = 4
    k = np.array([[90.0, 0, WIDTH / 2], [0, 90, HEIGHT / 2], [0, 0, 1]])
    return DepthVideo(depth, k, "box")


@pytest.fixture
def sent(server, connect, tmp_path):
    """A client whose server has a shot's depth; looks along an orbit; the shot's mesh; and the orbit."""
    server.start()
    client = connect(server)
    clip, file = tmp_path / "copy.mp4", tmp_path / "depth.npz"
    clip.write_bytes(b"clip")
    save_depth(file, depth_of_a_box())
    blobs = blob_of(clip), blob_of(file)
    job = Reconstruct(Source((blobs[0],), (blobs[1],)))
    last = client.wait(client.submit(job, {blobs[0].sha256: clip, blobs[1].sha256: file}), timeout=PATIENCE)
    assert last.state == "done"
    mesh = DWMesh.from_depth(depth_of_a_box())
    radius = presets.pivot_distance(mesh.depth[0])
    path = presets.preset("60", radius, mesh.intrinsics, WIDTH, HEIGHT, FRAMES).in_size(72, 48)
    looks = [look_at(path, t, blobs[1].sha256) for t in range(FRAMES)]
    return client, looks, mesh, path


def look_at(path, t: int, sha256: str) -> Look:
    return Look(
        number=t,
        depth=sha256,
        frame=t,
        camera_to_world=tuple(path.camera_to_world[t].ravel().tolist()),
        source_to_world=tuple(np.eye(4).ravel().tolist()),
        intrinsics=tuple(path.intrinsics[t].ravel().tolist()),
        width=path.width,
        height=path.height,
    )


def views(client, count: int = 1, seconds: float = 60.0) -> list:
    found, end = [], time.monotonic() + seconds
    while len(found) < count and time.monotonic() < end:
        client.poll(0.01)
        found += client.take_views()
        time.sleep(0.002)
    assert len(found) >= count, "no answer came"
    return found


def looker_of(server) -> psutil.Process:
    (found,) = [
        child
        for child in psutil.Process(server.process.pid).children()
        if "ex4d_server.looker" in " ".join(child.cmdline())
    ]
    return found


def test_looks_along_a_path_are_the_masks_of_the_render(sent):
    client, looks, mesh, path = sent
    mask = render(Scene(mesh, np.zeros((*mesh.depth.shape, 3), np.uint8), path)).mask
    for t, look in enumerate(looks[1:], 1):
        assert client.look(look)
        (seen,) = views(client)
        assert isinstance(seen, Seen)
        assert seen.number == look.number
        real = classes.unpack(seen.classes, seen.width, seen.height) == classes.OWN
        assert np.array_equal(real, mask[t] > 0)
        assert seen.real == pytest.approx((mask[t] > 0).mean())
    assert seen.real < 0.95


@pytest.fixture
def with_others(sent, server, tmp_path):
    """A client that has also sent what moves; looks that use other frames; and the rendered result to compare with."""
    client, looks, mesh, path = sent
    file, moves, poses = tmp_path / "moving.mp4", depth_of_a_box().depth < 6, donors(FRAMES)
    write_movie(file, moves * np.uint8(255), Fraction(24), lossless=True)
    clip, depth = tmp_path / "copy.mp4", tmp_path / "depth.npz"
    paths = {blob_of(path): path for path in (clip, depth, file)}
    blobs = list(paths)
    job = Reconstruct(Source((blobs[0],), (blobs[1],), moving=(blobs[2],)))
    client.wait(client.submit(job, {blob.sha256: path for blob, path in paths.items()}), timeout=PATIENCE)
    eye = tuple(np.eye(4).ravel().tolist())
    asking = [
        replace(
            look,
            moving=blobs[2].sha256,
            others=eye * len(poses),
            nearby=eye * len(nearby(look.frame, FRAMES)),
        )
        for look in looks
    ]
    seen = render(Scene(mesh, np.zeros((*mesh.depth.shape, 3), np.uint8), path, False, "fill", moves))
    found = np.where(seen.mask > 0, classes.OWN, classes.INVENTED)
    found[seen.borrowed > 0] = classes.BORROWED
    return client, asking, found


def test_looks_that_ask_other_frames_tell_what_they_saw_as_the_render_does(with_others):
    client, looks, rendered = with_others
    for t, look in enumerate(looks[1:], 1):
        client.look(look)
        (seen,) = views(client)
        assert isinstance(seen, Seen), seen
        assert np.mean(classes.unpack(seen.classes, seen.width, seen.height) == rendered[t]) > 0.999
        assert seen.real == pytest.approx((rendered[t] != classes.INVENTED).mean(), abs=1e-3)
    assert np.count_nonzero(rendered == classes.BORROWED) > 50


@pytest.mark.parametrize(
    "changes",
    [{"others": ()}, {"moving": None}, {"moving": "0" * 64}, {"render": RenderSettings(persistence="off")}],
    ids=["no poses", "nobody knows what moves", "never sent", "off"],
)
def test_without_what_others_need_a_frame_is_looked_at_alone(with_others, sent, changes):
    client, looks, _rendered = with_others
    client.look(replace(looks[4], **changes))
    client_alone, plain = sent[0], sent[1][4]
    (seen,) = views(client)
    client_alone.look(replace(plain, number=77))
    (alone,) = views(client_alone)
    assert seen.classes == alone.classes
    assert seen.real == alone.real


def test_what_moves_in_another_clients_shot_is_not_read(with_others, sent, server, tmp_path):
    _client, looks, rendered = with_others
    stranger, depth = another_client(server), (tmp_path / "depth.npz").read_bytes()
    job = Reconstruct(Source((blob_of(tmp_path / "depth.npz"),)))
    assert isinstance(stranger.ask(Submit(str(uuid.uuid4()), job_hash(job), job)), Missing)
    held = stranger.ask_bulk(Put(looks[4].depth, len(depth), 0), depth)
    assert held == Holds(looks[4].depth, len(depth))
    seen, alone = stranger.ask(looks[4]), stranger.ask(sent[1][4])
    assert isinstance(seen, Seen)
    assert seen.classes == alone.classes
    assert (rendered[4] == classes.BORROWED).any()
    stranger.close()


@pytest.fixture
def with_plate(with_others, tmp_path):
    """Looks that also count a clean plate, which sees behind the box; and the rendered result to compare with."""
    client, looks, _found = with_others
    mesh, path = DWMesh.from_depth(depth_of_a_box()), looks_of_path(looks)
    depth, poses = depth_of_a_box(), np.tile(np.eye(4), (2, 1, 1))
    poses[:, 0, 3] = [-1.5, 1.5]
    plate = DepthVideo(np.full((2, HEIGHT, WIDTH), 8, np.float32), depth.intrinsics[:2], "plate")
    file, clip, kept = tmp_path / "plate.npz", tmp_path / "copy.mp4", tmp_path / "depth.npz"
    save_posed(file, plate, poses)
    paths = {blob_of(each): each for each in (clip, kept, file)}
    blobs = list(paths)
    job = Reconstruct(Source((blobs[0],), (blobs[1],), plate=(blobs[2],)))  # any job that sends the file
    client.wait(client.submit(job, {blob.sha256: each for blob, each in paths.items()}), timeout=PATIENCE)
    moves = depth.depth < 6
    placed = Plate(DWMesh.from_depth(plate, poses), np.zeros((2, HEIGHT, WIDTH, 3), np.uint8))
    seen = render(Scene(mesh, np.zeros((*moves.shape, 3), np.uint8), path, False, "fill", moves, plate=placed))
    found = np.where(seen.mask > 0, classes.OWN, classes.INVENTED)
    found[seen.borrowed > 0] = classes.BORROWED
    return client, [replace(look, plate=blobs[2].sha256) for look in looks], found


def looks_of_path(looks: list[Look]) -> CameraPath:
    cameras = [look.camera for look in looks]
    poses, k = (np.concatenate([getattr(one, name) for one in cameras]) for name in ("camera_to_world", "intrinsics"))
    return CameraPath(poses, k, cameras[0].width, cameras[0].height)


def test_looks_that_count_a_clean_plate_tell_what_it_saw_as_the_render_does(with_others, with_plate):
    client, looks, rendered = with_plate
    for t, look in enumerate(looks[1:], 1):
        client.look(look)
        (seen,) = views(client)
        assert isinstance(seen, Seen), seen
        assert seen.plate
        assert np.mean(classes.unpack(seen.classes, seen.width, seen.height) == rendered[t]) > 0.999
    more = (rendered == classes.BORROWED) & (with_others[2] == classes.INVENTED)
    assert np.count_nonzero(more) > 50


@pytest.mark.parametrize("sha256", ["0" * 64, None], ids=["never sent", "none"])
def test_without_the_file_of_a_plate_a_look_goes_without_it(with_others, with_plate, sha256):
    client, looks, rendered = with_plate
    client.look(replace(looks[4], number=30, plate=sha256))
    client.poll(0.01)
    (seen,) = views(client)
    assert not seen.plate
    found = classes.unpack(seen.classes, seen.width, seen.height)
    assert np.mean(found == with_others[2][4]) > 0.999
    assert not np.array_equal(found, rendered[4])


def test_the_plate_of_another_client_is_not_read(with_others, with_plate, server, tmp_path):
    _client, looks, rendered = with_plate
    stranger = another_client(server)
    files = [tmp_path / name for name in ("depth.npz", "moving.mp4")]
    blobs = [blob_of(file) for file in files]
    job = Reconstruct(Source((blobs[0],), moving=(blobs[1],)))
    assert isinstance(stranger.ask(Submit(str(uuid.uuid4()), job_hash(job), job)), Missing)
    for blob, file in zip(blobs, files, strict=True):
        held = stranger.ask_bulk(Put(blob.sha256, blob.size, 0), file.read_bytes())
        assert held == Holds(blob.sha256, blob.size)
    seen = stranger.ask(looks[4])
    assert isinstance(seen, Seen)
    found = classes.unpack(seen.classes, seen.width, seen.height)
    assert np.mean(found == with_others[2][4]) > 0.999
    assert not np.array_equal(found, rendered[4])
    stranger.close()


def test_what_cannot_be_read_of_a_plate_is_said_without_a_path(with_plate, server, tmp_path):
    client, looks, _rendered = with_plate
    no_plate = blob_of(tmp_path / "depth.npz").sha256
    client.look(replace(looks[4], number=20, plate=no_plate))
    (view,) = views(client)
    assert isinstance(view, Unseen)
    assert no_plate not in view.message
    assert str(server.state) not in view.message
    assert "frames of depth" in view.message


def test_what_cannot_be_read_of_other_frames_is_said_without_a_path(with_others, server, tmp_path):
    client, looks, _rendered = with_others
    no_video = blob_of(tmp_path / "copy.mp4").sha256
    client.look(replace(looks[4], number=20, moving=no_video))
    (view,) = views(client)
    assert isinstance(view, Unseen)
    assert "the video of what moves" in view.message
    assert no_video not in view.message
    assert str(server.state) not in view.message
    client.look(replace(looks[4], number=21, others=looks[4].others[:32]))
    (view,) = views(client)
    assert f"2 other frames where the shot has {FRAMES}" in view.message
    client.look(replace(looks[4], number=22, nearby=looks[4].nearby[:16]))
    (view,) = views(client)
    assert "got the camera of 1 frames nearby, but the shot has 2" in view.message


def test_of_many_looks_at_once_the_newest_is_answered_and_old_ones_fall_away(sent):
    client, looks, _mesh, _path = sent
    client.look(looks[0])
    views(client)  # the process is running now
    for number in range(100, 200):
        client.look(replace(looks[1 + number % 4], number=number))
    found = []
    until(lambda: found.extend(views(client)) or found[-1].number == 199)
    assert [view.number for view in found] == sorted(view.number for view in found)
    assert len(found) < 100


def test_a_look_at_what_was_never_sent_says_what_to_do(sent):
    client, looks, _mesh, _path = sent
    client.look(replace(looks[0], depth="0" * 64, number=7))
    (view,) = views(client)
    assert view == Unseen(7, "The server has no depth of this shot: press Preview Path to send it.")
    wrong = {
        f"has {FRAMES} frames": {"frame": FRAMES},
        "camera_to_world of": {"camera_to_world": (2.0,) * 16},
        "source_to_world of": {"source_to_world": (0.0,) * 16},
        "intrinsics": {"intrinsics": (0.0,) * 9},
    }
    for number, (says, changes) in enumerate(wrong.items(), 10):
        client.look(replace(looks[1], number=number, **changes))
        (view,) = views(client)
        assert isinstance(view, Unseen)
        assert says in view.message


def another_client(server) -> Raw:
    """A client with a different key."""
    own = client_keys(server.state)
    other = KeyPair.new()
    file = server.state / "keys" / "clients" / "other.pub"
    file.write_text(other.public)
    file.chmod(0o600)
    time.sleep(1)  # the server checks for new keys now and then
    return Raw(server.address, keys=ClientKeys(own.server, other))


def test_another_key_of_this_server_learns_nothing_of_a_shot(sent, server):
    _client, looks, _mesh, _path = sent
    stranger = another_client(server)
    answer = stranger.ask(looks[1])
    assert isinstance(answer, Unseen)
    assert "no depth of this shot" in answer.message
    stranger.close()


def test_a_look_before_hello_is_refused(sent, server):
    raw = Raw(server.address, hello=False)
    answer = raw.ask(sent[1][0])
    assert isinstance(answer, Error)
    assert answer.code == "hello_first"
    raw.close()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"width": 4096, "height": 4096}, "more than"),
        ({"width": 0}, "between"),
        ({"camera_to_world": (1.0,) * 12}, "length between 16 and 16"),
        ({"intrinsics": (float("nan"),) * 9}, "finite"),
        ({"frame": -1}, "between"),
        ({"depth": "../../etc/passwd"}, "64 hexadecimal digits"),
        ({"moving": "../../etc/passwd"}, "64 hexadecimal digits"),
        ({"plate": "../../etc/passwd"}, "64 hexadecimal digits"),
        ({"others": (1.0,) * 17}, "16 numbers each"),
        ({"others": (1.0,) * 144}, "length between 0 and 128"),
        ({"render": {"occlusion": "none"}}, "Occlusion"),
    ],
)
def test_what_is_no_look_is_refused_before_anything_is_made_of_it(sent, server, changes, says):
    raw = Raw(server.address)
    plain = unpack(encode(sent[1][0])) | {name: list(v) if isinstance(v, tuple) else v for name, v in changes.items()}
    answer = raw.ask_frames([msgpack.packb(plain)])
    assert isinstance(answer, Error)
    assert answer.code == "protocol"
    assert says in answer.message
    raw.close()


def test_a_looker_that_is_killed_comes_back_and_one_that_is_stopped_hurts_nobody(sent, server):
    client, looks, _mesh, _path = sent
    client.look(looks[1])
    views(client)
    first = looker_of(server)
    first.kill()
    found = []

    def asked_again():
        client.look(replace(looks[1], number=len(found) + 10))
        found.extend(views(client))
        return isinstance(found[-1], Seen)

    until(asked_again)
    second = looker_of(server)
    assert second.pid != first.pid
    second.suspend()
    client.look(replace(looks[2], number=50))
    raw = Raw(server.address)
    began = time.monotonic()
    assert isinstance(raw.ask(Follow(str(uuid.uuid4()), 0)), Error)  # meanwhile the loop answers others
    assert time.monotonic() - began < 1
    raw.close()
    second.resume()
    assert views(client)[-1].number == 50


def test_nobody_gets_into_the_lookers_port_with_a_clients_key(sent, server):
    client, looks, _mesh, _path = sent
    client.look(looks[1])
    views(client)
    port = next(part for part in looker_of(server).cmdline() if part.startswith("tcp://"))
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    client_keys(server.state).put_on(socket)
    socket.linger = 0
    monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_SUCCEEDED)
    socket.connect(port)
    assert monitor.poll(1000 * PATIENCE)
    assert recv_monitor_message(monitor)["event"] == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    socket.disable_monitor()
    monitor.close(0)
    context.destroy(linger=0)
    client.look(looks[2])
    assert isinstance(views(client)[-1], Seen)


def test_a_looker_that_hangs_is_ended_and_the_client_told(tmp_path, monkeypatch):
    monkeypatch.setattr(lookout, "ANSWER_SECONDS", 0.5)
    (tmp_path / "logs").mkdir()
    context = zmq.Context()
    gate = Gate(context, KeyPair.new())
    outlook = lookout.Lookout(context, gate, tmp_path)
    mesh = DWMesh.from_depth(depth_of_a_box())
    path = presets.preset("60", 4.0, mesh.intrinsics, WIDTH, HEIGHT, FRAMES)
    try:
        outlook.ask(b"peer", look_at(path, 1, "0" * 64))
        got = []
        until(lambda: got.extend(outlook.tick()) or got, seconds=100)
        assert "no depth of this shot" in got[0][1].message
        outlook._process.popen.send_signal(19)  # SIGSTOP
        outlook.ask(b"peer", look_at(path, 2, "0" * 64))
        until(lambda: got.extend(outlook.tick()) or len(got) > 1)
        assert (got[1][0], got[1][1].number) == (b"peer", 2)
        assert "gave no answer" in got[1][1].message
        outlook.ask(b"peer", look_at(path, 3, "0" * 64))
        until(lambda: got.extend(outlook.tick()) or len(got) > 2)
        assert got[2][1].number == 3
    finally:
        outlook.close()
        gate.close()
        context.destroy(linger=0)


def test_the_looker_ends_with_a_server_that_is_killed(sent, server):
    client, looks, _mesh, _path = sent
    client.look(looks[1])
    views(client)
    process = looker_of(server)
    server.kill()
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def test_looks_go_on_while_a_job_runs(sent, server, connect, shot):
    client, looks, _mesh, _path = sent
    job, files = shot("endless")
    job_id = client.submit(job, files)
    until(lambda update: update.state == "running", client)
    client.look(looks[2])
    assert isinstance(views(client)[-1], Seen)
    client.cancel(job_id)
    until(lambda update: update.ended, client)


def test_events_and_answers_share_the_socket(sent, server):
    raw = Raw(server.address)
    raw.control.send(encode(sent[1][3]))
    raw.control.send(encode(Follow(str(uuid.uuid4()), 0)))
    kinds = {type(decode(raw.control.recv(), SERVER_CONTROL)) for _ in range(2)}
    assert kinds == {Seen, Error}
    raw.close()
