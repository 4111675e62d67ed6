"""The list of servers in Blender: adding servers, choosing one, and when Blender may talk to it."""

import json
import socket
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import announced
import bpy
import pytest
import shots
from test_panels import Layout

from blender_addon.shot import checks
from blender_addon.ui import get_model, panels
from blender_addon.ui import hosts as panel
from blender_addon.ui.preferences import preferences
from blender_addon.work import memory, queue, requests, session, state, survey
from ex4d.jobs import hosts
from ex4d.jobs.client import JobUpdate
from ex4d.jobs.hosts import KnownServer
from ex4d.jobs.keys import KeyPair, shown_key

AT_WORK = state.State(phase="working", request=requests.OpenRequest("Scene", "shot", "c.mp4", "", "", {}), job_id="1")
JOB = "11111111-1111-4111-8111-111111111111"
A, B, C, D = (f"{number}111111-1111-4111-8111-111111111111" for number in (11, 12, 13, 23))
FINISH = session.Session.finish
BOX = KnownServer("gpu-box", "tcp://192.0.2.7:5750", KeyPair.new().public)


@pytest.fixture(autouse=True)
def own_list(tmp_path, monkeypatch):
    for name in ("XDG_CONFIG_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path / "config"))
    bpy.context.preferences.system.use_online_access = False
    preferences().server = ""
    yield
    bpy.context.preferences.system.use_online_access = False
    preferences().server = ""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "gpu-box.json"
    path.write_text(BOX.to_file())
    return path


def until(happened) -> None:
    for _ in range(200):
        session.current().tick()
        if happened():
            return
    pytest.fail("it did not happen")


def draw(draw_panel) -> Layout:
    layout = Layout()
    draw_panel(layout, bpy.context)
    return layout


def online(allowed: bool = True) -> None:
    bpy.context.preferences.system.use_online_access = allowed


def test_a_server_file_is_imported_shown_in_the_preferences_and_removed(file):
    assert bpy.ops.ex4d.import_server(filepath=str(file)) == {"FINISHED"}
    assert hosts.known() == (BOX,)
    assert session.current().state.message == "gpu-box is in the list of servers: choose it in the Server panel."
    drawn = draw(lambda layout, context: panel.draw_list(layout))
    assert f"gpu-box at tcp://192.0.2.7:5750, key {shown_key(BOX.key)[:8]}…" in drawn.labels
    assert drawn.buttons == ["", "Import Server File", "Copy My Key"]
    assert drawn.pressed[""].name == "gpu-box"
    assert bpy.ops.ex4d.forget_server(name="gpu-box") == {"FINISHED"}
    assert hosts.known() == ()
    assert session.current().state.message == "gpu-box was removed from your list."


def test_what_is_no_server_file_is_refused_with_what_to_do(tmp_path, file):
    (tmp_path / "film.json").write_text(json.dumps({"shot": 1}))
    with pytest.raises(RuntimeError, match="This is not a server file: ask the server's administrator"):
        bpy.ops.ex4d.import_server(filepath=str(tmp_path / "film.json"))
    bpy.ops.ex4d.import_server(filepath=str(file))
    file.write_text(replace(BOX, key=KeyPair.new().public).to_file())
    with pytest.raises(RuntimeError, match="a server named gpu-box with another key"):
        bpy.ops.ex4d.import_server(filepath=str(file))
    assert hosts.known() == (BOX,)


def test_the_key_that_is_copied_is_the_public_one():
    window_manager, said = SimpleNamespace(clipboard=""), []
    operator = SimpleNamespace(tell=said.append)
    panel.EX4D_OT_copy_key.act(operator, SimpleNamespace(window_manager=window_manager))
    assert window_manager.clipboard == shown_key(hosts.own_pair().public)
    assert said == ["Your public key is on the clipboard. The secret one stays on this machine."]


def test_nothing_goes_to_another_machine_before_blender_may_go_online(monkeypatch):
    hosts.add(BOX)
    made = []
    monkeypatch.setattr("blender_addon.work.connection.Client", lambda *given, **named: made.append(given))
    monkeypatch.setattr("blender_addon.work.survey.Client", lambda *given, **named: made.append(given))
    now = session.current()
    with pytest.raises(RuntimeError, match="Blender is not allowed to go online, and gpu-box is another machine"):
        bpy.ops.ex4d.use_server(name="gpu-box")
    assert preferences().server == "gpu-box"
    now._looked = 0.0
    now.look_for_server()
    now.survey.of(BOX)
    for _ in range(3):
        now.tick()
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.ex4d.connect()
    assert made == []
    assert "turn on Allow Online Access" in now.state.trouble
    drawn = draw(panels.draw_server)
    assert "gpu-box needs online access, which is off in Blender:" in drawn.labels
    assert drawn.shown == ["use_online_access"]
    assert checks.server_trouble().short == "gpu-box cannot be used now"


def test_a_server_that_says_nothing_while_it_is_visited_cannot_be_used_now(tmp_path, monkeypatch):
    monkeypatch.setattr("blender_addon.work.survey.VISIT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        box, seen = replace(BOX, address=f"tcp://127.0.0.1:{hangs.getsockname()[1]}"), survey.Survey(tmp_path)
        for _ in range(200):
            glance = seen.of(box)
            seen.step([box])
            if glance is not None:
                break
            time.sleep(0.01)
        seen.close()
    assert glance.problem.startswith("gpu-box does not answer at tcp://127.0.0.1:")
    assert panel.glance_told(box, glance) == "cannot be used now"


def test_a_tunnel_begins_on_this_machine_and_needs_no_online_access():
    hosts.add(replace(BOX, address="tcp://127.0.0.1:59738"))
    assert bpy.ops.ex4d.use_server(name="gpu-box") == {"FINISHED"}
    now = session.current()
    assert now.client.known.name == "gpu-box"
    assert not now.hosts.offline


def test_a_server_is_left_when_blender_may_not_go_online_any_more(monkeypatch):
    hosts.add(BOX)
    online()
    assert bpy.ops.ex4d.use_server(name="gpu-box") == {"FINISHED"}
    now = session.current()
    assert now.client is not None
    now.state = state.State(
        phase="working", request=requests.OpenRequest("Scene", "shot", "c.mp4", "", "", {}), job_id="1"
    )
    online(False)
    now.tick()
    assert now.client is None
    assert now.state.busy
    assert "turn on Allow Online Access" in now.state.trouble
    online()
    now.tick()
    assert now.state.trouble == ""


@pytest.fixture
def queued(tmp_path, monkeypatch):
    """Take A is being made on gpu-box, B waits there, and C waits here because the server has not confirmed it."""
    shots.open_small(tmp_path)
    hosts.add(BOX)
    clients = []

    class Box:
        """The part of a client that the session uses."""

        def __init__(self, *given, **named):
            self.did, self.jobs, self.updates = [], set(), []
            self.status, self.problem, self.server, self.unloaded, self.moving = "ready", "", None, None, False
            self.trouble = self.refusal = ""
            self.queue, self.cancelling = None, frozenset()
            clients.append(self)

        def poll(self, budget):
            updates, self.updates = self.updates, []
            return updates

        def follow(self, job_id):
            self.jobs.add(job_id)
            self.did.append(("follow", job_id))

        def cancel(self, job_id):
            self.did.append(("cancel", job_id))

        def ask_queue(self):
            pass

        def submit(self, job, files, *, job_id=None, file="", shot=""):
            if job_id:
                self.jobs.add(job_id)
                self.did.append(("submit again", job_id))
                return job_id
            made = f"{len(clients)}{len(self.jobs) + 1}111111-1111-4111-8111-111111111111"
            self.jobs.add(made)
            self.did.append(("submit", type(job).__name__))
            return made

        def close(self):
            self.did.append(("close", ""))

    monkeypatch.setattr("blender_addon.work.connection.Client", Box)
    online()
    assert bpy.ops.ex4d.use_server(name="gpu-box") == {"FINISHED"}
    now = session.current()
    monkeypatch.setattr(session.Session, "finish", lambda self: self.state)  # as in the panel
    assert bpy.ops.ex4d.variations(number=3) == {"FINISHED"}
    until(lambda: now.queue.waiting[-1].job_id)
    (box,) = clients
    box.updates = [JobUpdate(A, "running"), JobUpdate(B, "queued")]
    now.tick()
    del box.did[:]
    paths = [Path(request.path) for request in (now.state.request, *(each.request for each in now.queue.waiting))]
    assert [(each.job_id, each.taken) for each in now.queue.waiting] == [(B, True), (C, False)]
    yield now, clients, paths
    now.leave_file()


def test_takes_on_a_server_outlast_that_blender_may_not_go_online(queued):
    now, clients, paths = queued
    online(False)
    for _ in range(3):
        now.tick()
    assert clients[0].did == [("close", "")]
    assert (now.state.job_id, [each.job_id for each in now.queue.waiting]) == (A, [B, C])
    assert all(path.exists() for path in paths)
    assert "turn on Allow Online Access" in now.state.trouble
    online()
    for _ in range(3):
        now.tick()
    assert clients[1].did == [("follow", A), ("follow", B), ("submit again", C)], "not twice, should the server have it"
    assert (now.state.job_id, [each.job_id for each in now.queue.waiting]) == (A, [B, C])
    assert not now.queue.lost


def test_a_take_that_is_cancelled_while_blender_may_not_go_online_is_stopped_when_it_may(queued):
    now, clients, _paths = queued
    online(False)
    now.tick()
    assert bpy.ops.ex4d.cancel() == {"FINISHED"}
    assert (now.state.job_id, now.state.message) == (B, "Cancelled.")
    now.dispatch(queue.CancelWaiting())
    online()
    for _ in range(3):
        now.tick()
    assert clients[1].did[:2] in ([("follow", A), ("cancel", A)], [("follow", C), ("cancel", C)])
    assert sorted(clients[1].did[:4]) == sorted((what, job) for what in ("follow", "cancel") for job in (A, C))
    assert clients[1].did[4:] == [("follow", B)]


def test_a_file_with_a_take_under_way_can_be_opened_while_blender_may_not_go_online(queued):
    now, clients, paths = queued
    scene = bpy.context.scene
    scene.ex4d.remember(now.state.request, A, True)
    memory.keep(now.queue.waiting)
    online(False)
    now.leave_file()
    now.tick()
    assert scene.ex4d.job_id == A
    assert (now.state.job_id, len(now.queue.waiting)) == (A, 2)
    online()
    now.tick()
    assert clients[1].did == [("follow", A), ("follow", B), ("submit again", C)]
    assert not now.queue.lost
    assert all(path.exists() for path in paths)


def test_a_script_does_not_wait_for_ever_for_online_access(queued, monkeypatch):
    now, _clients, _paths = queued
    monkeypatch.setattr(session, "PATIENCE_S", 0.1)
    online(False)
    assert not FINISH(now).busy
    assert "turn on Allow Online Access" in now.state.message


def test_the_panel_has_a_menu_of_servers_and_no_buttons_for_one_that_is_elsewhere(file):
    hosts.add(BOX)
    drawn = draw(panels.draw_server)
    assert drawn.labels[0] == "This Machine"
    assert "Set Up Server" in drawn.buttons
    online()
    bpy.ops.ex4d.use_server(name="gpu-box")
    session.current().hosts.read_again()
    drawn = draw(panels.draw_server)
    assert drawn.labels[0] == "gpu-box"
    assert "tcp://192.0.2.7:5750" in drawn.labels
    assert not {"Set Up Server", "Start Server", "Stop Server"} & set(drawn.buttons)
    assert not session.current().lacks_server
    with pytest.raises(RuntimeError, match=r"ex4d\.server_start\.poll.*gpu-box does the work: choose This Machine"):
        bpy.ops.ex4d.server_start()
    menu = Layout()
    panel.EX4D_MT_servers.draw(SimpleNamespace(layout=menu), bpy.context)
    assert menu.buttons == ["This Machine", "gpu-box: being asked", "Import Server File", "Copy My Key"]
    assert [menu.pressed[text].name for text in menu.buttons[:2]] == ["", "gpu-box"]


def test_what_a_model_lacks_elsewhere_is_said_and_not_fetched_to_this_machine():
    hosts.add(BOX)
    announced.by()
    painter = replace(announced.PAINTER, lacking_gb=19.0)
    assert draw(lambda layout, context: get_model.draw(layout, painter)).buttons == ["Get The Painter (19 GB)"]
    preferences().server = "gpu-box"
    drawn = draw(lambda layout, context: get_model.draw(layout, painter))
    assert drawn.buttons == []
    assert drawn.labels == ["19 GB of files are missing on gpu-box"]


def test_a_server_is_not_changed_under_work_that_goes_on_and_one_that_is_gone_is_named():
    hosts.add(BOX)
    now = session.current()
    now.state = state.State(
        phase="working", request=requests.OpenRequest("Scene", "shot", "c.mp4", "", "", {}), job_id="1"
    )
    with pytest.raises(RuntimeError, match="EX-4D is busy"):
        bpy.ops.ex4d.use_server(name="gpu-box")
    now.state = state.State()
    online()
    bpy.ops.ex4d.use_server(name="gpu-box")
    hosts.remove("gpu-box")  # by another program
    now.hosts.read_again()
    with pytest.raises(RuntimeError, match="gpu-box is no longer in your list: choose a server"):
        bpy.ops.ex4d.connect()
    assert bpy.ops.ex4d.use_server(name="") == {"FINISHED"}
    assert now.hosts.chosen is None


def asked(scene, seed) -> requests.TakeRequest:
    return requests.TakeRequest(
        scene.name, "shot", f"{seed}/camera.npz", "{}", {}, {"seed": seed}, scene_uid=scene.session_uid
    )


@pytest.fixture
def two_scenes(scene, monkeypatch):
    """A file with a take on gpu-box in one scene and one on this machine, which is chosen, in the other."""
    hosts.add(BOX)
    online()
    followed, now, other = [], session.current(), bpy.data.scenes.new("Other")
    now.hosts.read_again()
    client = SimpleNamespace(
        follow=followed.append,
        status="ready",
        problem="",
        trouble="",
        server=None,
        unloaded=None,
        refusal="",
        moving=False,
    )
    client.poll, client.close = lambda budget: [], lambda: None
    monkeypatch.setattr(now, "connect", lambda: client)
    preferences().server = "gpu-box"
    scene.ex4d.remember(asked(scene, 1), A, True)
    memory.keep((queue.Waiting(asked(scene, 2), B, taken=True),))
    preferences().server = ""
    other.ex4d.remember(asked(other, 3), C, True)
    now.leave_file()
    yield now, other, followed
    now.leave_file()


def test_of_a_file_the_work_on_the_chosen_server_is_followed_and_that_on_another_told(two_scenes):
    now, _other, followed = two_scenes
    now.enter_file()
    assert followed == [C]
    assert now.state.request.scene == "Other"
    assert now.state.message == "Jobs of this file are on gpu-box: choose it in the Server panel."
    preferences().server = "gpu-box"
    now.leave_file()
    now.enter_file()
    assert followed == [C, A, B]
    assert now.state.message == "Jobs of this file are on This Machine: choose it in the Server panel."


def test_takes_made_here_meanwhile_do_not_make_the_file_forget_those_on_another_server(two_scenes, scene):
    now, other, followed = two_scenes
    now.enter_file()
    now.state = state.State()
    other.ex4d.forget()
    scene.ex4d.remember(asked(scene, 4), D, True)  # in the scene with takes on the other server
    memory.keep((queue.Waiting(asked(scene, 5), "", taken=False), queue.Waiting(asked(other, 6), "", taken=False)))
    now.state = state.State()
    scene.ex4d.forget()
    memory.keep(())
    followed.clear()
    assert bpy.ops.ex4d.use_server(name="gpu-box") == {"FINISHED"}
    assert followed == [A, B], "without opening the file again"
    assert [each.request.generation["seed"] for each in now.queue.waiting] == [2]


def test_what_a_file_says_of_other_servers_and_is_not_ours_is_left_out(two_scenes, scene):
    now, _other, followed = two_scenes
    for text in ("{", "[1]", '{"gpu-box": 1}', '{"gpu-box": [1]}'):
        scene.ex4d.elsewhere = text
        assert scene.ex4d.servers_elsewhere == set()
    now.enter_file()
    assert followed == [C]
