"""Carries out the effects of `state.transition`: the one place with a client, a running task and a timer.

`tick()` does a few milliseconds of work. In a window a timer calls it; scripts and tests call it themselves, or
`finish()`, which calls it until nothing is under way.
"""

import time
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import bpy

from ex4d.errors import EX4DError
from ex4d.jobs.client import Client

from ..identity import PACKAGE
from ..scene import compat, motion, objects
from ..shot import source, takes
from ..ui import picture
from ..ui.preferences import preferences
from ..work import server, state
from ..work.state import OpenRequest, Request, State, TakeRequest

TICK_S = 0.008
"""Time that one tick may take from Blender's window; a single step of a task may need more."""

PATIENCE_S, SERVER_START_S = 5.0, 20.0
"""How long a script waits for a server that does not answer, and for one that was started here."""

BUSY_INTERVAL_S, IDLE_INTERVAL_S = 0.03, 0.5

_state = State()
_client: Client | None = None
_client_address = ""
_task: Iterator | None = None
_task_event: type = state.Prepared
_drawn_status = ""


def current() -> State:
    """What is going on."""
    return _state


def client() -> Client | None:
    """The client, once there was a reason to connect."""
    return _client


def connect() -> Client:
    """The client for the address in the preferences, made or replaced when needed.

    Raises:
        InputError: the address is not one that may be used.
    """
    global _client, _client_address
    address = preferences().address
    if _client is None or address != _client_address:
        disconnect()
        _client = Client(address, compat.user_folder(PACKAGE) / "downloads")
        _client_address = address
    return _client


def model_missing() -> str | None:
    """Why the server cannot run the EX-4D model, in a sentence; "" where it can, None where nobody knows yet."""
    return _client.server.capabilities.wan_missing if _client is not None and _client.server is not None else None


def depth_missing(name: str) -> str | None:
    """What the server lacks for an estimator, in a sentence; "" where nothing, None where nobody knows yet."""
    if _client is None or _client.server is None:
        return None
    return next((choice.missing for choice in _client.server.capabilities.depth if choice.name == name), None)


def disconnect() -> None:
    """Close the client."""
    global _client
    if _client is not None:
        _client.close()
    _client = None


def press(request: Request) -> None:
    """Start what the user asked for, and the server for it where none answers and Server Python is known.

    Raises:
        InputError: the server's address may not be used, or the server cannot be started.
    """
    settings = preferences()
    connect()
    started = bool(settings.python) and not server.is_running() and not server.answers(settings.address)
    if started:
        start_server()
    dispatch(state.Pressed(request))
    if started:
        dispatch(state.Said("No server answered, so one was started on this machine; it ends with Blender."))


def start_server() -> Client:
    """Start the server that the preferences name; returns the client, which hears when it answers.

    Raises:
        InputError: see `server.start` and `connect`.
    """
    settings = preferences()
    server.start(bpy.path.abspath(settings.python), settings.address)
    return connect()


def dispatch(event: state.Event) -> None:
    """Feed one event to the state machine and carry out what comes of it."""
    global _state
    before = _state
    _state, effects = state.transition(_state, event)
    for effect in effects:
        try:
            _run(effect)
        except (EX4DError, OSError) as error:
            dispatch(state.Failed(str(error)))
            break
    if _state.picture != before.picture:
        picture.show(_state.picture)
    if _state != before:
        _redraw()


def tick(budget: float = TICK_S) -> None:
    """Hear the server and work for about `budget` seconds. Never raises: errors become the panel's message."""
    global _drawn_status
    end = time.monotonic() + budget
    try:
        if _client is not None:
            for update in _client.poll(budget / 2):
                dispatch(state.Updated(update))
            if _client.unloaded is not None:
                dispatch(state.Said(_client.unloaded.message))
                _client.unloaded = None
            # Updates first: a last word from the server counts, even when it is gone by now.
            trouble = _trouble(_client)
            if trouble != _state.trouble:
                dispatch(state.Troubled(trouble))
        # The panel shows the status, which is no part of the state: nothing else might draw it again.
        if (status := "" if _client is None else _client.status) != _drawn_status:
            _drawn_status = status
            _redraw()
        takes.show_in_new_workspaces()
        while _task is not None:
            _step()
            if time.monotonic() > end:
                break
    except EX4DError as error:
        dispatch(state.Failed(str(error)))
    except Exception as error:
        traceback.print_exc()
        dispatch(state.Failed(f"{type(error).__name__}: {error}"))


def finish() -> State:
    """Tick until nothing is under way, for scripts; gives up on a server that does not answer."""
    answered = time.monotonic()
    while _state.busy:
        tick(0.1)
        patience = SERVER_START_S if server.is_running() else PATIENCE_S
        if _client is None or _client.status == "ready":
            answered = time.monotonic()
        elif _client.status == "refused" or time.monotonic() - answered > patience:
            dispatch(state.GaveUp())
        if _task is None:
            time.sleep(0.005)
    return _state


def _trouble(connected: Client) -> str:
    if connected.status in ("ready", "connecting"):
        return "" if connected.status == "ready" else _state.trouble
    if server.is_running() and connected.status == "unreachable":
        return "The server that was started here does not answer yet."
    if connected.status == "unreachable":
        return server.trouble() or f"The server at {_client_address} does not answer: press Start Server."
    return connected.problem


def _run(effect: state.Effect) -> None:
    global _task, _task_event
    match effect:
        case state.Prepare(request):
            _task_event = state.Prepared
            _task = (source if isinstance(request, OpenRequest) else takes).prepare(request)
        case state.Submit(job, files):
            job_id = connect().submit(job, {sha: Path(path) for sha, path in files.items()})
            dispatch(state.Submitted(job_id))
        case state.Remember(request, job_id):
            if (scene := objects.find_scene(request)) is not None:
                scene.ex4d.job_id, scene.ex4d.request = job_id, state.request_to_json(request)
        case state.Follow(job_id):
            connect().follow(job_id)
        case state.Import(request, update):
            _task_event = state.Imported
            module = source if isinstance(request, OpenRequest) else takes
            _task = module.bring_in(request, update)
        case state.CancelJob(job_id):
            connect().cancel(job_id)
        case state.Drop():
            drop()
        case state.Forget(request):
            if (scene := objects.find_scene(request)) is not None:
                scene.ex4d.job_id = scene.ex4d.request = ""
            if isinstance(request, TakeRequest):
                Path(request.path).unlink(missing_ok=True)
            elif motion.is_recording(request.camera):
                Path(request.camera).unlink(missing_ok=True)
        case state.PushUndo(message):
            if bpy.ops.ed.undo_push.poll():
                bpy.ops.ed.undo_push(message=f"EX-4D: {message.partition(':')[0].partition('.')[0]}")


def _step() -> None:
    """Let the running task do one step."""
    global _task
    try:
        dispatch(state.Stepped(*next(_task)))
    except StopIteration as end:
        _task = None
        dispatch(state.Prepared(*end.value) if _task_event is state.Prepared else state.Imported(end.value))
    except Exception:
        _task = None
        raise


def drop() -> None:
    """Stop the running task; it cleans up after itself."""
    global _task
    if _task is not None:
        _task.close()
    _task = None


def remember_again() -> None:
    """After undo: what is under way is still under way, so the .blend must say so when it is saved."""
    if _state.busy and _state.job_id:
        _run(state.Remember(_state.request, _state.job_id))


def leave_file() -> None:
    """Before another file is loaded: let go of what is under way; the server goes on with it."""
    global _state
    drop()
    picture.forget()
    _state = State(trouble=_state.trouble)


def enter_file() -> None:
    """After a file was loaded: follow the job that was under way when it was saved."""
    for scene in bpy.data.scenes:
        request = state.request_from_json(scene.ex4d.request) if scene.ex4d.job_id else None
        if request is not None:
            request = replace(request, scene=scene.name, scene_uid=scene.session_uid)
            dispatch(state.Reopened(request, scene.ex4d.job_id))
            return


def timer() -> float:
    """What the application's timer calls; returns when to call again."""
    if bpy.app.is_job_running("RENDER"):  # another thread reads the scene: what comes in can wait
        return IDLE_INTERVAL_S
    tick()
    return BUSY_INTERVAL_S if _state.busy else IDLE_INTERVAL_S


def close() -> None:
    """End everything, for unregister."""
    leave_file()
    disconnect()


def _redraw() -> None:
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "SEQUENCE_EDITOR"):
                area.tag_redraw()
