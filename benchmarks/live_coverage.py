"""How fast the add-on learns what is real while a camera moves, and how much of Blender's time that takes.

    EX4D_PYTHON=.venv/bin/python .venv-bpy-4.5.15/bin/python benchmarks/live_coverage.py

The sample's frames at 1024x576 are opened in Blender by the add-on, with its own server on this machine, and looked at
at 256x144. The camera is in another place in each of 60 pictures per second, as if moved by hand. Each "tick" is one
call that Blender waits for, from the add-on's timer or its draw handler. Then the same over a connection with a round
trip of 30 ms, and while the server generates takes one after another. Other frames are used too, except in one line,
and in one line four frames of a clean plate as well: frames of the clip, which is as much work as any others.
"""

import asyncio
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
SAMPLE = REPOSITORY / "sample"
SERVER_PYTHON = os.environ.get("EX4D_PYTHON", str(REPOSITORY / ".venv/bin/python"))
SECONDS, PICTURES_A_SECOND, ROUND_TRIP_S = 6.0, 60, 0.030
FAR = "127.0.0.2"


def main() -> None:
    """Print a line for each condition."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ |= {"EX4D_DATA": str(folder / "user"), "XDG_CONFIG_HOME": str(folder / "config")}
        (folder / "user").mkdir()
        run("clip", str(folder)).wait()
        server = subprocess.Popen(
            [SERVER_PYTHON, "-m", "ex4d_server", "--address", "tcp://127.0.0.1:0", "--state", str(folder / "state")],
            stdout=subprocess.PIPE,
            stderr=(folder / "log").open("w"),
            text=True,
        )
        assert server.stdout
        address = server.stdout.readline().split()[-1]
        helpers: list[subprocess.Popen] = []
        try:
            measure_all(folder, address, helpers)
        finally:
            for process in (*helpers, server):
                process.terminate()
                process.wait()


def measure_all(folder: Path, address: str, helpers: list[subprocess.Popen]) -> None:
    """Open the clip in Blender, and measure under each condition."""
    sys.path.insert(0, str(REPOSITORY))
    import bpy  # noqa: F401 - Blender's other modules can only be found after it
    import addon_utils  # isort: skip

    addon_utils.enable("blender_addon", default_set=True)
    try:
        blender = Blender(folder / "clip.mp4", address)
        blender.measure("idle server")
        blender.ask_others("off")
        blender.measure("idle server, frames alone")
        blender.ask_others("fill")
        blender.choose_plate(folder / "plate.npz", folder / "sent")
        blender.measure("idle server, with a clean plate")
        blender.choose_plate(None)
        helpers.append(run("delay", address, str(blender.bulk_port)))
        time.sleep(1)
        far = address.replace("127.0.0.1", FAR)
        blender.connect(far, folder / "state")
        blender.measure(f"idle server, round trip {1e3 * ROUND_TRIP_S:.0f} ms")
        helpers.append(run("jobs", str(folder), address))
        time.sleep(8)
        blender.measure(f"while a job runs, round trip {1e3 * ROUND_TRIP_S:.0f} ms")
        blender.connect(address, folder / "state")
        blender.measure("while a job runs")
    finally:
        addon_utils.disable("blender_addon", default_set=True)


def run(*arguments: str) -> subprocess.Popen:
    """Run this file with the server's Python."""
    return subprocess.Popen([SERVER_PYTHON, __file__, *arguments])


class Blender:
    """The add-on with an open clip and a moving camera."""

    def __init__(self, clip: Path, address: str) -> None:
        import bpy

        self._bpy: Any = bpy
        self._session: Any = importlib.import_module("blender_addon.work.session").current()
        self._session_module: Any = importlib.import_module("blender_addon.work.session")
        self._address = address
        self._work = clip.with_name("state") / "work"
        self._set_address(address)
        bpy.ops.ex4d.open_clip(filepath=str(clip))
        bpy.ops.ex4d.camera_preset(preset="60")
        self.bulk_port = self._session.client.server.bulk_port

    def _set_address(self, address: str) -> None:
        self._bpy.context.preferences.addons["blender_addon"].preferences.address = address

    def ask_others(self, persistence: str) -> None:
        """Set whether other frames are used too."""
        self._bpy.context.scene.ex4d.persistence = persistence

    def choose_plate(self, placed: Path | None, folder: Path = Path()) -> None:
        """Send a placed plate to the server, by a job that is good for nothing else, and count it from now on."""
        facts = self._bpy.context.scene.ex4d
        facts.plate_path = str(placed or "")
        if placed is None:
            return
        requests, hashing = (importlib.import_module(f"ex4d.pipeline.{name}") for name in ("requests", "hashing"))
        blob = hashing.blob_of(placed)
        client = importlib.import_module("ex4d.jobs.client").Client(self._address, folder)
        client.wait(client.submit(requests.Reconstruct(requests.Source((blob,))), {blob.sha256: placed}))
        client.close()
        made_for = importlib.import_module("blender_addon.shot.placed_plate").made_for(facts)
        facts.placed_plate = json.dumps({"of": made_for, "sha256": blob.sha256})

    def connect(self, address: str, state: Path) -> None:
        """Connect to the server at another address."""
        client = importlib.import_module("ex4d.jobs.client").Client
        self._session.disconnect()
        self._session.client = client(address, state.parent / "downloads", state=state)
        end = time.monotonic() + 20
        while self._session.client.status != "ready":
            self._session.client.poll()
            assert time.monotonic() < end, self._session.client.problem
            time.sleep(0.01)

    def measure(self, condition: str) -> None:
        """Move the camera for a while, as Blender's event loop would, and print the result."""
        scene, session = self._bpy.context.scene, self._session
        camera, coverage, client = scene.ex4d.camera, session.coverage, session.client
        scene.frame_set(25)
        coverage.forget()
        sent: dict[int, float] = {}  # looks from before that are still in progress do not count
        waited: list[float] = []
        look, take_views = client.look, client.take_views

        def noted_look(asked: Any) -> bool:
            sent[asked.number] = time.perf_counter()
            return look(asked)

        def noted_views() -> list:
            views = take_views()
            waited.extend(time.perf_counter() - sent[view.number] for view in views if view.number in sent)
            return views

        client.look, client.take_views = noted_look, noted_views
        ticks: list[tuple[float, float]] = []
        draw = self._timed(lambda: session.look(scene), ticks)
        step = self._timed(session.look_around, ticks)
        self._session_module.live_coverage.is_seen = lambda scene: True  # there is no window here
        assert any(self._work.iterdir()) == ("job" in condition)
        place, picture, due = camera.location.x, 0.0, 0.0
        began, warm = time.perf_counter(), False
        while (now := time.perf_counter()) < began + SECONDS + (2 if warm else 30):
            if not warm and waited:  # the first look starts the process and reads the depth of the whole shot
                began, warm = now, True
                waited.clear()
                ticks.clear()
            if now >= picture:
                picture = now + 1 / PICTURES_A_SECOND
                camera.location.x = place + 0.3 * np.sin(3 * now)
                self._bpy.context.view_layer.update()
                draw()
                due = min(due, now + 0.004)
            if now >= due:
                due = now + step()
            if warm and now > began + SECONDS:
                break
            time.sleep(0.0005)
        camera.location.x = place
        took = time.perf_counter() - began
        assert coverage.asks_others == (scene.ex4d.persistence != "off")
        assert bool(coverage._standing.plate) == ("plate" in condition)
        client.look, client.take_views = look, take_views
        assert any(self._work.iterdir()) == ("job" in condition)
        wall, own = 1e3 * np.array(ticks).T
        print(
            f"{condition:36s} {len(waited) / took:5.1f} answers/s, after {1e3 * np.median(waited):4.0f} ms"
            f" (95%: {1e3 * np.percentile(waited, 95):.0f}); tick {np.median(wall):.2f} ms (95%:"
            f" {np.percentile(wall, 95):.2f}, 99%: {np.percentile(wall, 99):.2f}; of the processor 99%:"
            f" {np.percentile(own, 99):.2f})",
            flush=True,
        )

    @staticmethod
    def _timed(call: Any, into: list[tuple[float, float]]) -> Any:
        """A call that records its seconds of wall-clock and of CPU time."""

        def timed() -> Any:
            began, own = time.perf_counter(), time.thread_time()
            result = call()
            into.append((time.perf_counter() - began, time.thread_time() - own))
            return result

        return timed


# -- code that runs with the server's Python, in separate processes


def make_clip(folder: Path) -> None:
    """Write the sample at twice its size."""
    from dataclasses import replace

    from ex4d.depth.files import read_depth
    from ex4d.geometry.depth_video import save_depth
    from ex4d.geometry.posed_depth import save_posed
    from ex4d.media.clip import read_clip
    from ex4d.media.movie import write_movie

    clip = read_clip(SAMPLE / "clip.mp4")
    depth = read_depth(SAMPLE / "clip.depth.npz", clip)
    write_movie(folder / "clip.mp4", clip.frames.repeat(2, 1).repeat(2, 2), clip.fps)
    twice = np.diag([2, 2, 1]) @ depth.intrinsics
    large = replace(depth, depth=depth.depth.repeat(2, 1).repeat(2, 2), intrinsics=twice)
    save_depth(folder / "clip.depth.npz", large)
    some = slice(0, 49, 16)
    plate = replace(large, depth=large.depth[some], intrinsics=large.intrinsics[some])
    save_posed(folder / "plate.npz", plate, np.tile(np.eye(4), (4, 1, 1)))


def run_jobs(folder: Path, address: str) -> None:
    """Generate previews of the clip forever."""
    from ex4d.jobs.client import Client
    from ex4d.pipeline.hashing import blob_of
    from ex4d.pipeline.requests import Generate, Source
    from ex4d.pipeline.settings import GenerateSettings, PathSettings

    files = {blob_of(path): path for path in (folder / "clip.mp4", folder / "clip.depth.npz")}
    clip, depth = files
    client = Client(address, folder / "jobs")
    for seed in range(100):
        job = Generate(
            Source((clip,), (depth,)), None, PathSettings("60"), generation=GenerateSettings("preview", seed)
        )
        client.wait(client.submit(job, {blob.sha256: path for blob, path in files.items()}))


async def delay(ports: list[int]) -> None:
    """Forward everything from these ports of `FAR` to the same ports of 127.0.0.1, half a round trip later."""

    async def later(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def write() -> None:
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                writer.write(data)

        task = asyncio.create_task(write())
        while data := await reader.read(1 << 16):
            queue.put_nowait((time.monotonic() + ROUND_TRIP_S / 2, data))
        task.cancel()
        writer.close()

    def accept(port: int) -> Any:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(later(reader, far_writer), later(far_reader, writer), return_exceptions=True)

        return connected

    for port in ports:
        await asyncio.start_server(accept(port), FAR, port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["clip"]:
        make_clip(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["jobs"]:
        run_jobs(Path(sys.argv[2]), sys.argv[3])
    elif sys.argv[1:2] == ["delay"]:
        asyncio.run(delay([int(sys.argv[2].rsplit(":", 1)[1]), int(sys.argv[3])]))
    else:
        main()
