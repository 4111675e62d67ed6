"""Two Blenders of one artist, with a real server: seeing each other's jobs, and fetching a take that one has left."""

from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from test_whole_way import connected, movie, open_few_frames, tick_until

from ex4d.jobs.client import Client

JOBS = 14
"""So many that the last one still waits when this Blender has heard of them."""


class Lines:
    """Stands in for `UILayout` and records the texts and buttons drawn."""

    def __init__(self):
        self.texts, self.buttons = [], []

    def column(self, align=False):
        return self

    row = box = column

    def label(self, text="", icon="NONE", translate=True):
        self.texts.append(text)

    def operator(self, idname, text=None, icon="NONE", emboss=True):
        self.buttons.append((idname, SimpleNamespace()))
        return self.buttons[-1][1]


def drawn() -> Lines:
    """What the panel shows about the other Blender."""
    from blender_addon.ui.others import draw_others

    lines = Lines()
    draw_others(lines, bpy.context)
    return lines


def drawn_once(wanted) -> Lines:
    """The same, once it meets a condition."""
    from blender_addon.work import session

    def is_there() -> bool:
        session.current().others.ask_soon()
        return wanted(drawn())

    tick_until(is_there)
    return drawn()


def a_take() -> tuple:
    """The job and files for a take of the open shot."""
    from blender_addon.shot import takes

    steps = takes.prepare(takes.request_take(bpy.context.scene, preview=False))
    try:
        while True:
            next(steps)
    except StopIteration as end:
        request, job = end.value
    return job, {sha: Path(path) for sha, path in request.files.items()}


@pytest.fixture
def shot(scene):
    open_few_frames()
    bpy.ops.ex4d.camera_preset(preset="30")
    connected()
    return scene


@pytest.fixture
def other(server, tmp_path):
    """The other Blender's client."""
    client = Client(server.address, tmp_path / "other")
    yield client
    client.close()


def poll_until(client: Client, wanted) -> None:
    tick_until(lambda: any(wanted(update) for update in client.poll()))


def test_the_job_of_another_blender_is_shown_and_cancelled_after_a_question(shot, other):
    from blender_addon.work import session

    job, files = a_take()
    first, *_others, last = (other.submit(job, files, file="lobby.blend", shot="clip_1a2b") for _ in range(JOBS))
    poll_until(other, lambda update: update.job_id == last and update.state == "queued")
    lines = drawn_once(lambda lines: len(lines.texts) > 2)
    assert lines.texts[0] == f"In another Blender: {len(lines.texts) - 1} jobs"
    assert all(text.startswith("lobby.blend: take, ") for text in lines.texts[1:])
    assert "lobby.blend: take, waiting" in lines.texts
    assert {idname for idname, _ in lines.buttons} == {"ex4d.other_cancel"}, "nothing of it can be fetched"
    asked = []
    manager = SimpleNamespace(invoke_confirm=lambda operator, event, title, message: asked.append(message))
    kind = bpy.types.EX4D_OT_other_cancel
    kind.invoke(SimpleNamespace(job_id=last, bl_label=kind.bl_label), SimpleNamespace(window_manager=manager), None)
    assert asked == ["lobby.blend: take, waiting. Cancel it? Another Blender asked for it."]
    assert bpy.ops.ex4d.other_cancel(job_id=last) == {"FINISHED"}
    ended = {}
    poll_until(
        other, lambda update: update.ended and (ended.update({update.job_id: update.state}) or len(ended) == JOBS)
    )
    assert ended.pop(last) == "cancelled"
    assert set(ended.values()) == {"done"}
    assert not shot.ex4d.takes, "the take went to the Blender that asked for it"
    drawn_once(lambda lines: lines.texts == [])
    assert session.current().state.message == "lobby.blend: take, waiting: asked the server to cancel it."
    with pytest.raises(RuntimeError, match="This job is not on the server any more"):
        bpy.ops.ex4d.other_fetch(job_id=first)
    session.current().client.stop("11111111-1111-4111-8111-111111111111")
    tick_until(lambda: session.current().state.message == "The server does not know this job.")
    assert session.current().state.failed


def test_a_take_of_a_blender_that_was_closed_comes_into_its_shot(shot, other, tmp_path):
    from blender_addon.scene import compat
    from blender_addon.shot import takes
    from blender_addon.work import session

    job_id = other.submit(*a_take(), file="lobby.blend", shot=shot.ex4d.shot)
    poll_until(other, lambda update: update.state == "running")
    with pytest.raises(RuntimeError, match=r"This take is not finished|not on the server"):
        bpy.ops.ex4d.other_fetch(job_id=job_id)
    other.close()
    lines = drawn_once(lambda lines: "ex4d.other_fetch" in [idname for idname, _ in lines.buttons])
    assert lines.texts == ["In another Blender: 1 job", "lobby.blend: take, finished"]
    assert bpy.ops.ex4d.other_fetch(job_id=job_id) == {"FINISHED"}
    (entry,) = shot.ex4d.takes
    strip = takes.strip_of(shot, entry.number)
    assert compat.strip_range(strip) == (shot.ex4d.start, shot.ex4d.start + 9)
    result, _ = movie(bpy.path.abspath(strip.filepath))
    colour, _ = movie(takes.take_folder(shot, entry.number) / "colour.mp4")
    mask, _ = movie(takes.take_folder(shot, entry.number) / "mask.mp4")
    seen = mask[..., 0] > 250
    assert np.abs(result[seen].astype(int) - colour[seen]).mean() < 4
    assert session.current().state.message.startswith(f"{entry.title} was fetched. It is in the sequencer.")
    drawn_once(lambda lines: lines.texts == [])
    assert not (tmp_path / "user" / "downloads" / job_id).exists(), "nothing is left behind"


def test_a_take_whose_shot_is_not_open_is_kept_in_a_folder_that_is_told(shot, other):
    from blender_addon.work import session

    job_id = other.submit(*a_take(), file="lobby.blend", shot="clip_1a2b")
    poll_until(other, lambda update: update.state == "running")
    other.close()
    drawn_once(lambda lines: "ex4d.other_fetch" in [idname for idname, _ in lines.buttons])
    assert bpy.ops.ex4d.other_fetch(job_id=job_id) == {"FINISHED"}
    assert not shot.ex4d.takes
    said = session.current().state.message
    folder = Path(said.removeprefix("The take is in ").removesuffix(", because its shot is not in this file."))
    assert {"result.mp4", "take.json", "camera.npz"} <= {path.name for path in folder.iterdir()}


def test_a_cancel_while_the_server_is_away_reaches_it_after_blender_was_closed(shot, server):
    from blender_addon.shot import takes
    from blender_addon.work import session

    now = session.current()
    now.press(takes.request_take(shot, preview=False))
    tick_until(lambda: now.state.taken and now.state.step > 0)
    job_id = now.state.job_id
    server.kill()
    tick_until(lambda: now.client.status == "unreachable")
    bpy.ops.ex4d.cancel()
    assert not now.state.busy
    now.disconnect()  # the other Blender only finds the file
    server.start()
    now.connect()
    assert now.client.cancelling == {job_id}
    tick_until(lambda: now.client.status == "ready" and not now.client.cancelling)
    tick_until(lambda: not now.cancels.of(""))
    now.client.ask_queue()
    tick_until(lambda: now.client.queue is not None)
    assert (now.client.queue.running, now.client.queue.waiting, now.client.queue.done) == ((), (), ())


def test_a_cancel_of_a_blender_that_was_closed_reaches_the_server_through_another_that_is_open(shot, server):
    from blender_addon.shot import takes
    from blender_addon.work import session
    from blender_addon.work.connection import Connection

    now, another = session.current(), Connection()
    now.press(takes.request_take(shot, preview=False))
    tick_until(lambda: now.state.taken and now.state.step > 0)
    job_id = now.state.job_id
    server.kill()
    tick_until(lambda: now.client.status == "unreachable")

    def step() -> Client:
        client = another.connect()
        client.poll()
        another.settle_cancels(client)
        return client

    tick_until(lambda: step().status == "unreachable")
    bpy.ops.ex4d.cancel()
    now.disconnect()
    assert another.cancels.of("") == {job_id}
    server.start()
    tick_until(lambda: step().status == "ready")
    tick_until(lambda: step() and not another.cancels.of(""))
    client = another.client
    client.ask_queue()
    tick_until(lambda: step().queue is not None)
    assert (client.queue.running, client.queue.waiting, client.queue.done) == ((), (), ())
    now.cancels.add("", job_id)  # stored by a Blender that cannot reach the server now
    for _ in range(5):
        step()
    assert now.cancels.of("") == {job_id}, "what another Blender has to say is left to it"
    another.close()


def test_the_take_that_is_put_first_is_made_first(shot, monkeypatch):
    from blender_addon.shot import takes, variations
    from blender_addon.work import session

    now = session.current()
    tick_until(lambda: not now.state.busy)
    for request in variations.requests(shot, 3):
        now.press(request)
        tick_until(lambda: now.state.taken and all(each.taken for each in now.queue.waiting))
    assert [each.request.generation["seed"] for each in now.queue.waiting] == [1, 2]
    assert bpy.ops.ex4d.queue_first(path=now.queue.waiting[1].request.path) == {"FINISHED"}
    assert [each.request.generation["seed"] for each in now.queue.waiting] == [2, 1]
    ran, real = [], now.client.poll

    def poll(budget: float) -> list:
        updates = real(budget)
        ran.extend(each.job_id for each in updates if each.state == "running" and each.job_id not in ran)
        return updates

    monkeypatch.setattr(now.client, "poll", poll)
    tick_until(lambda: not now.state.busy)
    assert [entry.made.split("seed ")[1][:1] for entry in shot.ex4d.takes] == ["0", "2", "1"]
    made = [takes.strip_of(shot, entry.number)["ex4d_job"] for entry in shot.ex4d.takes]
    assert ran == made[-len(ran) :], "on the server too"
