"""The add-on's session: runs the state machine, with its client, its server and the task under way.

`tick()` does a few milliseconds of work. With a window, a timer calls it; scripts and tests call it themselves, or call
`finish()`, which ticks until nothing is under way.
"""

import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy

from ex4d.errors import EX4DError
from ex4d.frame_numbers import renumbered
from ex4d.jobs.client import Client
from ex4d.jobs.limits import MOVING_BUDGET_S, MOVING_INTERVAL_S

from ..scene import comparison, objects
from ..shot import (
    clip_looks,
    copies,
    found_camera,
    from_0_1,
    homes,
    live_coverage,
    part,
    path_check,
    proxies,
    saving,
    takes,
)
from ..translations import told
from ..ui import status_bar
from ..ui.coverage_overlay import Overlay
from ..ui.generators import Groups
from ..ui.picture import Picture
from ..ui.preferences import preferences
from ..ui.take_looks import TakeLooks
from ..work import chores, memory, queue, server, state
from ..work.connection import Connection
from ..work.effects import carry_out
from ..work.handing_over import HandingOver
from ..work.learning import Learning
from ..work.others import Others
from ..work.requests import Request, TakeRequest
from ..work.state import State

TICK_S = 0.008
"""Time that one tick may take from Blender's window; a single step of a task, or of moving a file, may take longer."""

LOOK_S = 0.001
"""The same for looks while a camera is moved, which happen many times a second."""

PATIENCE_S, SERVER_START_S = 5.0, 20.0
"""How long a script waits for a server that does not answer, and for one that was started here, in seconds."""

BUSY_INTERVAL_S, IDLE_INTERVAL_S = 0.03, 0.5

_NAME = "ex4d_session"


class Session(Connection):
    """Everything that the add-on holds between two calls from Blender.

    Attributes:
        state: the current state, for panels.
        queue: takes that wait for the job under way.
        handing_over: waiting takes that the client does not have yet.
        generators: the properties of the generators that the server announced.
        picture: picture of what is being made.
        overlay: drawn into the 3D Views.
        take_looks: pictures of the takes that a panel shows.
        disk_use: by folder, when its size was last measured, and the result.
        learning: how long things take.
        clip_looks: what was read of the clips that a file dialog shows.
        coverage: how much is real at the camera's current place and along its path.
        others: jobs of this user's other Blenders.
        settled: which shots were brought next to the file that is being saved right now, see `saving.settle`.
        paths: results of checks of the chosen cameras' paths.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state = State()
        self.queue = queue.Queue()
        self.handing_over = HandingOver()
        self.generators = Groups()
        self.picture = Picture()
        self.overlay = Overlay()
        self.take_looks = TakeLooks()
        self.settled: saving.Settled | None = None
        self.paths = path_check.PathChecks()
        self.clip_looks = clip_looks.ClipLooks()
        self.coverage = live_coverage.LiveCoverage()
        self.disk_use: dict[Path, tuple[float, Any]] = {}
        self.learning = Learning()
        self.others = Others()
        self._entered = False
        self._drawn_status = ""
        self._task: Iterator | None = None
        self._task_event: type = state.Prepared

    def press(self, request: Request) -> None:
        """Start a request of the user, and a server for it if none answers and one can be started.

        Raises:
            InputError: the server's address may not be used, or the server cannot be started.
        """
        self.connect()
        started = self._lacks_own_server()
        if started:
            self.start_server()
        self.dispatch(state.Pressed(request))
        if started:
            self.dispatch(state.Said(told("A server was started. It runs on this machine, and ends with Blender.")))

    def _lacks_own_server(self) -> bool:
        """Whether this machine's server is chosen, does not answer, and can be started."""
        if self.hosts.name or not self.server_python or self.server.is_running:
            return False
        return not server.answers(preferences().address)

    # -- events and effects

    def dispatch(self, event: state.Event | queue.QueueEvent) -> None:
        """Feed an event to the state machine and carry out its effects.

        Every message that panels show passes through here, so this is where frame numbers become those of the timeline.
        """
        before, waited = self.state, self.queue
        self.state, self.queue, effects = queue.transition(self.state, self.queue, event)
        self.learning.follow(event, before, self.state)
        if before.busy and (first := next(iter(waited.waiting), None)) and self._is_under_way(first):
            self.learning.take_turn(not first.was_begun)
        if self.state.message != before.message:
            self.state = replace(self.state, message=self.on_timeline(self.state.message, before.request))
        for effect in effects:
            try:
                carry_out(self, effect)
            except (EX4DError, OSError) as error:
                self.dispatch(state.Failed(str(error)))
                break
        if self.state.picture != before.picture:
            self.picture.show(self.state.picture)
        if self.state != before or self.queue != waited:
            _redraw()

    def _is_under_way(self, taken: queue.Waiting) -> bool:
        request = self.state.request
        return isinstance(request, TakeRequest) and request.path == taken.request.path

    def on_timeline(self, sentence: str, request: Request | None = None) -> str:
        """A sentence of the library or the server, with frames numbered as in the scene's timeline.

        The scene is that of the request, or else the current one.
        """
        scene = (objects.find_scene(request) if request is not None else None) or bpy.context.scene
        facts = scene.ex4d
        stands = bool(facts.shot) and (request is None or facts.shot == request.shot)
        return renumbered(sentence, facts.start if stands else scene.frame_start)

    def tick(self, budget: float = TICK_S) -> None:
        """Listen to the server and work for about `budget` seconds. Never raises: errors become the panel's message."""
        end = time.monotonic() + budget
        try:
            self.enter_file()
            self.settle_copies()
            if any([chores.hear_setup(self), chores.hear_model_fetch(self)]):
                _redraw()
            self._keep_away()
            self._take_up()
            if self.survey.step(self.hosts.servers):
                _redraw()
            if self.client is not None:
                self._hear(self.client, budget / 2)
            if self.others.step(self.client):
                _redraw()
            # The panel shows the status, which is not part of the state, so nothing else may cause a redraw.
            if (status := "" if self.client is None else self.client.status) != self._drawn_status:
                self._drawn_status = status
                _redraw()
            takes.show_in_new_workspaces()
            if self.clip_looks.take() or self.take_looks.take():
                _redraw()
            while self._task is not None and not (self.state.phase == "preparing" and self.hosts.barred):
                self._step()
                if time.monotonic() > end:
                    break
            while self.handing_over.step(self) and time.monotonic() < end:
                pass
        except EX4DError as error:
            self.dispatch(state.Failed(str(error)))
        except Exception as error:
            traceback.print_exc()
            self.dispatch(state.Failed(f"{type(error).__name__}: {error}"))

    def look_around(self, budget: float = LOOK_S) -> float:
        """Send looks and receive answers for about `budget` seconds; returns the delay until the next call in seconds.

        Never raises.
        """
        try:
            scene = live_coverage.scene_shown()
            if self.client is not None and self.coverage.is_waiting:
                self._hear_updates(self.client, budget)
            news, again = self.coverage.step(scene, self.client, live_coverage.is_seen(scene))
        except Exception as error:
            traceback.print_exc()
            self.coverage.give_up(f"Live Coverage: {type(error).__name__}: {error}")
            self.dispatch(state.Said(self.coverage.problem, failed=True))
            return IDLE_INTERVAL_S
        if news:
            redraw("VIEW_3D")
        return again

    def look(self, scene: bpy.types.Scene) -> None:
        """Note that the view through the chosen camera of a scene is being drawn; for draw handlers."""
        self.coverage.look(scene, self.client)
        if self.coverage.is_waiting:
            look_soon()

    def finish(self) -> State:
        """Tick until nothing is under way, for scripts, and return the state; gives up if no server answers."""
        answered = time.monotonic()
        while self.state.busy:
            self.tick(0.1)
            patience = SERVER_START_S if self.server.is_running else PATIENCE_S
            status = "ready" if self.client is None else self.client.status
            waits = self.state.phase == "working" and status != "ready"
            if not waits and (self.state.phase == "importing" or not self.hosts.barred):
                answered = time.monotonic()
            elif status == "refused" or time.monotonic() - answered > patience:
                self.dispatch(state.GaveUp())
            if self._task is None:
                time.sleep(0.005)
        return self.state

    def _keep_away(self) -> None:
        """Disconnect from a server while talking to it is not allowed, and reconnect once it is.

        The server continues its jobs, so none of them is given up here.
        """
        barred = self.hosts.barred
        if barred:
            self.disconnect()
        if self.client is None and (barred or self.hosts.name) and self.state.trouble != barred:
            self.dispatch(state.Troubled(barred))
        if self.client is None and self.hosts.name and not barred and self.state.phase == "working":
            with suppress(EX4DError):  # errors are reported once a button is pressed
                self.connect()

    def _take_up(self) -> None:
        """Have a new client follow the jobs of the one before it."""
        if self._is_new and self.client is not None:
            self._is_new = False
            self.dispatch(state.Reconnected(self.client.jobs))

    def _hear_updates(self, client: Client, budget: float) -> None:
        for update in client.poll(budget):
            self.dispatch(state.Updated(update))

    def _hear(self, client: Client, budget: float) -> None:
        self._hear_updates(client, max(budget, MOVING_BUDGET_S) if client.moving else budget)
        self.settle_cancels(client)
        if client.unloaded is not None:
            self.dispatch(state.Said(client.unloaded.message))
            client.unloaded = None
        if client.refusal:
            self.dispatch(state.Said(client.refusal, failed=True))
            client.refusal = ""
        self.generators.follow(self.capabilities)
        # Updates first: the server's last message counts even if the server is gone by now.
        before, ended = self.state.trouble, self.server.trouble
        trouble = self.trouble(client, before)
        if ended and ended in trouble and ended not in before and not self.state.busy:
            self.dispatch(state.Said(ended, failed=True))
        if trouble != before:
            self.dispatch(state.Troubled(trouble))

    def _step(self) -> None:
        """Run one step of the current task."""
        try:
            self.dispatch(state.Stepped(*next(self._task)))
        except StopIteration as end:
            self._task = None
            if self._task_event is state.Prepared:
                self.dispatch(state.Prepared(*end.value))
            else:
                self.dispatch(end.value if isinstance(end.value, state.Imported) else state.Imported(end.value))
        except Exception:
            self._task = None
            raise

    def start_task(self, work: Iterator, event: type) -> None:
        """Have ticks step through work inside Blender; its result becomes an event of this type."""
        self._task, self._task_event = work, event

    def drop(self) -> None:
        """Stop the running task; it cleans up after itself."""
        if self._task is not None:
            self._task.close()
        self._task = None

    # -- the open file

    def enter_file(self) -> None:
        """Once per file, update data of earlier versions and follow the job that was under way.

        Blender hides the open file from add-ons while they are being enabled, so the first tick does this.
        """
        if self._entered:
            return
        self._entered = True
        lost = from_0_1.migrate_file()
        homes.look_again()
        part.show_where_missing()
        proxies.remove()
        for scene in bpy.data.scenes:
            comparison.show_after_render(scene)  # the file was saved during a render
        self._follow_file(lost)

    def _follow_file(self, lost: list[str]) -> None:
        """Follow the open file's jobs on the chosen server, and say which other servers have some."""
        others, waiting = memory.turn(), memory.kept()
        for scene in bpy.data.scenes:
            if scene.library is None and (remembered := scene.ex4d.remembered) is not None:
                request = replace(remembered[0], scene=scene.name, scene_uid=scene.session_uid)
                self.dispatch(state.Reopened(request, remembered[1]))
                break
        if waiting:
            self.dispatch(queue.Restored(waiting))
        self._tell([*lost, *map(_told_elsewhere, others)])  # last, because following a job clears the message

    def use_server(self, name: str) -> None:
        """See `Connection.use_server`. Also follows the open file's jobs on this server again.

        Raises:
            InputError: see `Connection.use_server`.
        """
        try:
            super().use_server(name)
        finally:
            self._follow_file([])

    def _tell(self, lost: list[str]) -> None:
        """Show these sentences, if any, as a failure."""
        if lost:
            self.dispatch(state.Said(" ".join(lost), failed=True))

    def settle_copies(self) -> None:
        """Make scenes that Blender has copied independent of their originals."""
        if said := copies.settle():
            self.dispatch(state.Said(said))

    def leave_file(self) -> None:
        """Before another file is loaded, let go of the work under way, which the server continues."""
        self.drop()
        self.handing_over.forget()
        self.picture.forget()
        self.coverage.forget()
        self.take_looks.forget()
        self.paths.forget()
        self.state, self.queue = State(trouble=self.state.trouble), queue.Queue()
        self._entered = False

    def after_undo(self) -> None:
        """Update the scene after undo or redo.

        Undo does not stop the server, so the work under way has to be stored in the .blend again. Undo may also bring
        back values of earlier versions.
        """
        self.dispatch(state.SteppedBack())
        if self.state.finds_camera and not found_camera.has_shot(self.state.request):
            self.dispatch(state.ShotGone())
        self._tell(from_0_1.migrate_file())
        part.show_where_missing()
        proxies.remove(but=self.state.job_id if self.state.proxy else "")
        if self.state.busy and self.state.job_id:
            carry_out(self, state.Remember(self.state.request, self.state.job_id, self.state.taken))
        carry_out(self, queue.Keep())

    def end(self) -> None:
        """End everything."""
        self.leave_file()
        self.generators.remove()
        self.close()


def _told_elsewhere(name: str) -> str:
    """The message about jobs on a server other than the chosen one."""
    return told(
        "Jobs of this file are on {name}: choose it in the Server panel.",
        name=name or told("This Machine"),
    )


def begin() -> None:
    """Make the session when the add-on is enabled.

    Blender calls panels, operators, handlers and timers without passing them anything of ours. So the session is an
    attribute of a Blender type, as usual for add-ons, and modules hold no state.
    """
    setattr(bpy.types.WindowManager, _NAME, Session())


def current() -> Session:
    """The session, while the add-on is enabled."""
    return getattr(bpy.types.WindowManager, _NAME)


def end() -> None:
    """End the session when the add-on is disabled."""
    current().end()
    delattr(bpy.types.WindowManager, _NAME)


def timer() -> float:
    """Called by Blender's timer; returns the delay until the next call in seconds."""
    session = current()
    if bpy.app.is_job_running("RENDER"):  # another thread reads the scene: results can wait
        return IDLE_INTERVAL_S
    session.look_for_server()
    session.tick()
    if session.client is not None and session.client.moving:
        return MOVING_INTERVAL_S
    return BUSY_INTERVAL_S if session.state.busy else IDLE_INTERVAL_S


def looking_timer() -> float:
    """Called by a second timer, which runs faster while a camera is moved; returns the delay in seconds."""
    return current().look_around() if not bpy.app.is_job_running("RENDER") else IDLE_INTERVAL_S


def look_soon() -> None:
    """Make that timer call as soon as an answer can have arrived, instead of when it was due."""
    if bpy.app.timers.is_registered(looking_timer):
        bpy.app.timers.unregister(looking_timer)
    bpy.app.timers.register(looking_timer, first_interval=live_coverage.WAITING_S, persistent=True)


def redraw(*kinds: str) -> None:
    """Redraw all editors of these types."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in kinds:
                area.tag_redraw()


def _redraw() -> None:
    redraw("VIEW_3D", "SEQUENCE_EDITOR", "FILE_BROWSER", "PREFERENCES")
    status_bar.redraw()
