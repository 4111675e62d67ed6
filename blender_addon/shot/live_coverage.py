"""Live coverage: looks through the chosen camera while it moves, and along its path when it rests."""

import time
from collections.abc import Mapping

import bpy

from ex4d.errors import InputError
from ex4d.jobs.client import Client
from ex4d.jobs.messages import Look

from ..scene import live_camera
from ..translations import told
from ..work.looking import Found, Looking

FRAMES_A_STEP = 2
"""Frames of the path read from the camera's keys in one step, which takes Blender about 0.4 ms."""

WAITING_S, READING_S, SETTLED_S, IDLE_S = 0.004, 0.02, 0.1, 0.5
"""Delay until the next step in seconds: while answers are under way, while the path is incomplete, once it is complete,
and while coverage is off."""


def scene_shown() -> bpy.types.Scene:
    """The scene whose coverage is computed: that of the first window."""
    windows = bpy.context.window_manager.windows
    return windows[0].scene if len(windows) else bpy.context.scene


def is_shown(scene: bpy.types.Scene, space: bpy.types.SpaceView3D) -> bool:
    """Whether a 3D View looks through the chosen camera."""
    through = space.camera if space.use_local_camera else scene.camera
    looks = space.region_3d is not None and space.region_3d.view_perspective == "CAMERA"
    return looks and through is not None and through == scene.ex4d.camera


def is_seen(scene: bpy.types.Scene) -> bool:
    """Whether any 3D View looks through the chosen camera."""
    screens = (window.screen for window in bpy.context.window_manager.windows)
    spaces = (area.spaces.active for screen in screens for area in screen.areas if area.type == "VIEW_3D")
    return any(is_shown(scene, space) for space in spaces)


class LiveCoverage:
    """Coverage of the scene's shot: what the camera sees now, and how much of each frame has to be invented."""

    def __init__(self) -> None:
        self._looking = Looking()
        self._standing: live_camera.Standing | None = None
        self._camera = ""
        self._next = 0
        self._by_keys = True
        self._is_offline = False
        self._failure = ""

    @property
    def problem(self) -> str:
        """Why nothing can be seen, as a sentence; "" if all is well."""
        if self._failure or not self._is_offline:
            return self._failure or self._looking.problem
        return told("No server is connected, so what has to be invented is unknown")

    @property
    def is_waiting(self) -> bool:
        """Whether answers from the server are under way."""
        return self._looking.is_waiting

    @property
    def asks_others(self) -> bool:
        """Whether looks also use other frames."""
        return self._standing is not None and bool(self._standing.others)

    @property
    def lacks_plate(self) -> bool:
        """Whether the server does not have the clean plate, so that looks go without it."""
        return self._looking.lacks_plate

    @property
    def found(self) -> Found | None:
        """The answer to show for the chosen camera's current place; None if there is none."""
        return self._looking.shown(time.monotonic())

    @property
    def version(self) -> int:
        """A number that changes whenever the path, or what is known about it, changes."""
        return self._looking.version

    @property
    def along(self) -> Mapping[int, float]:
        """Fraction that has to be invented, by frame of the shot, counted from 0, as far as known."""
        return self._looking.invented_along()

    def place(self, frame: int) -> Look | None:
        """The camera at a frame of the shot, counted from 0; None if not known."""
        return self._looking.along(frame)

    def look(self, scene: bpy.types.Scene, client: Client | None) -> None:
        """Request a look at the chosen camera's current place, because a view shows it. Quick, for draw handlers."""
        if not self._follow(scene):
            return
        assert self._standing is not None
        now = live_camera.look_now(scene, self._standing)
        self._looking.want(now)
        if now is not None and not self._by_keys:
            self._looking.want_as_played(now)
        self._is_offline = client is None or client.status != "ready"
        if client is not None and not self._is_offline:
            self._send(client)

    def step(self, scene: bpy.types.Scene, client: Client | None, is_seen: bool) -> tuple[bool, float]:
        """Receive answers, read more of the path, and send further looks.

        Args:
            scene: the scene that is shown.
            client: the connection to the server, if any.
            is_seen: whether any view looks through the chosen camera.

        Returns:
            Whether there is something new to draw, and the delay until the next step in seconds.
        """
        if client is None or client.status != "ready":
            self._looking.unanswered()
            return False, IDLE_S
        views, now = client.take_views(), time.monotonic()
        news = any([self._looking.hear(view, now) for view in views])
        if not scene.ex4d.show_coverage or not self._follow(scene):
            return news, IDLE_S
        if not is_seen:
            self._looking.want(None)
        complete = not self._looking.is_moving and self._read_path(scene)
        self._send(client)
        if self._looking.is_waiting:
            return news, WAITING_S
        return news, SETTLED_S if complete and self._looking.is_settled else READING_S

    def forget(self) -> None:
        """Forget everything, because another file is loaded."""
        self._looking.forget()
        self._standing, self._camera, self._next, self._failure = None, "", 0, ""

    def give_up(self, why: str) -> None:
        """Stop for this file: an error would otherwise recur many times a second."""
        self.forget()
        self._failure = why

    def _follow(self, scene: bpy.types.Scene) -> bool:
        """Whether there is a shot with a camera to look through; forgets the answers if it is another one."""
        if self._failure:
            return False
        chosen = scene.ex4d.camera
        standing = live_camera.standing(scene, self._standing)
        name = chosen.name if chosen is not None else ""
        if standing is not self._standing or name != self._camera:
            self._looking.forget()
            self._standing, self._camera, self._next = standing, name, 0
        return standing is not None and chosen is not None

    def _read_path(self, scene: bpy.types.Scene) -> bool:
        """Read some frames of the path; True once all have been read, or if they cannot be read from keys."""
        try:
            along = live_camera.Along(scene, self._standing)
            for frame in range(self._next, min(self._next + FRAMES_A_STEP, scene.ex4d.frames)):
                self._looking.want_along(frame, along.look(frame))
                self._next = frame + 1
        except InputError:  # it becomes known frame by frame as it is played
            self._by_keys = False
            return True
        self._by_keys = True
        complete = self._looking.places >= scene.ex4d.frames
        if self._next >= scene.ex4d.frames:
            self._next = 0
        return complete

    def _send(self, client: Client) -> None:
        for look in self._looking.next(time.monotonic()):
            client.look(look)
