"""Blender here, and the server on another machine over a network, set up as `docs/another-host.md` says."""

import os
import re
import subprocess
import time
from pathlib import Path

import av
import bpy
import numpy as np
import pytest
from conftest import PYTHON, Server
from test_looking_around import look_until, mask_of
from test_whole_way import SAMPLE, eroded, movie, tick_until

from ex4d.jobs import hosts
from ex4d.jobs.keys import shown_key


@pytest.fixture(autouse=True)
def offline_again():
    """Blender may not go online until a test allows it."""
    system = bpy.context.preferences.system
    system.use_online_access = False
    yield
    system.use_online_access = False


@pytest.fixture
def box(tmp_path, far, monkeypatch):
    """A server on the other machine, which admits only its own user; no server is known here."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "artist"))
    theirs = {"XDG_CONFIG_HOME": str(tmp_path / "their config")}
    made = Server(tmp_path / "box", theirs, f"tcp://{far.ip}:5750", prefix=tuple(far.on_it))
    made.state.mkdir()
    try:
        yield made
    finally:
        made.kill()


def on_box(box: Server, *arguments: str) -> str:
    """Run a command as the server's administrator; returns its output."""
    command = [*box.prefix, PYTHON, "-m", "ex4d.cli", "server", *arguments, "--state", str(box.state / "server")]
    ran = subprocess.run(command, capture_output=True, text=True, env=os.environ | box.environment)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def introduce(box: Server, tmp_path: Path) -> None:
    """Authorize the artist's key, start the server, and import its file."""
    on_box(box, "authorize", shown_key(hosts.own_pair().public), "--name", "anna")
    box.start()
    file = tmp_path / "gpu-box.json"
    file.write_text(on_box(box, "invite", "--name", "gpu-box"))
    assert bpy.ops.ex4d.import_server(filepath=str(file)) == {"FINISHED"}


def check_the_whole_way(scene, tmp_path, monkeypatch, box: Server) -> None:
    """Open, look around, preview, generate: the strip is in the sequencer, and its real part is the clip."""
    from blender_addon.scene import compat
    from blender_addon.shot import live_coverage, takes
    from blender_addon.work import session
    from ex4d.render import classes

    monkeypatch.setattr(live_coverage, "is_seen", lambda scene: True)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    assert bpy.ops.ex4d.open_clip(filepath=str(SAMPLE), frames=9, longest_side=256) == {"FINISHED"}
    assert bpy.ops.ex4d.camera_preset(preset="30", amount=20) == {"FINISHED"}
    coverage = session.current().coverage
    look_until(lambda: len(coverage.along) == 9, scene)
    assert bpy.ops.ex4d.preview() == {"FINISHED"}
    real = mask_of(takes.take_folder(scene, 1, view=True) / "mask.mp4")
    scene.frame_set(scene.ex4d.start + 8)
    look_until(lambda: coverage.found is not None and coverage.found.look.frame == 8, scene)
    assert ((coverage.found.classes() != classes.INVENTED) != real[8]).mean() < 2e-3
    assert bpy.ops.ex4d.generate() == {"FINISHED"}
    (strip,) = [strip for strip in compat.strips(scene) if strip.name.startswith("EX-4D Take 001 (")]
    assert compat.strip_range(strip) == (scene.ex4d.start, scene.ex4d.start + 9)
    folder = takes.take_folder(scene, 1)
    result, _ = movie(folder / "result.mp4")
    colour, _ = movie(folder / "colour.mp4")
    mask, _ = movie(folder / "mask.mp4")
    assert result.shape == colour.shape == (9, 288, 512, 3)  # the clip's own size
    inside = eroded(mask[..., 0], 3) > 127
    assert np.abs(result[inside].astype(int) - colour[inside]).mean() < 4
    assert len(list((box.state / "server" / "blobs").iterdir())) > 5, "it was made over there"


def test_a_shot_is_made_on_another_machine_once_it_lets_this_one_in(scene, tmp_path, monkeypatch, box, server):
    from blender_addon.work import session

    introduce(box, tmp_path)
    with pytest.raises(RuntimeError, match="Blender is not allowed to go online, and gpu-box is another machine"):
        bpy.ops.ex4d.use_server(name="gpu-box")
    bpy.context.preferences.system.use_online_access = True
    assert bpy.ops.ex4d.use_server(name="gpu-box") == {"FINISHED"}
    tick_until(lambda: session.current().client.status == "ready")
    check_the_whole_way(scene, tmp_path, monkeypatch, box)
    assert not list((server.state / "server" / "blobs").iterdir()), "the server on this machine was not asked"


def test_the_same_over_a_slow_link_of_20_megabits_and_80_milliseconds(scene, tmp_path, monkeypatch, box, far):
    from blender_addon.work import session

    introduce(box, tmp_path)
    server = hosts.find("gpu-box")
    hosts.add(hosts.KnownServer(server.name, server.address.replace(far.ip, far.here), server.key))
    far.slow_down("20mbit")
    bpy.context.preferences.system.use_online_access = True
    with far.long_way((5750, 5751), 0.04):
        assert bpy.ops.ex4d.use_server(name="gpu-box") == {"FINISHED"}
        tick_until(lambda: session.current().client.status == "ready")
        check_the_whole_way(scene, tmp_path, monkeypatch, box)
        session.current().disconnect()


def test_a_revoked_artist_is_told_so_and_is_connected_again_once_let_in(scene, tmp_path, box):
    from blender_addon.shot import checks
    from blender_addon.work import session

    introduce(box, tmp_path)
    bpy.context.preferences.system.use_online_access = True
    bpy.ops.ex4d.use_server(name="gpu-box")
    now = session.current()
    tick_until(lambda: now.client.status == "ready")
    on_box(box, "revoke", "anna")
    time.sleep(0.6)
    assert bpy.ops.ex4d.connect() == {"FINISHED"}
    tick_until(lambda: now.client.status == "refused" and bool(now.state.trouble))
    assert now.state.trouble.startswith("gpu-box does not let you in: send your key to its administrator")
    advice = checks.server_trouble()
    assert (advice.short, advice.operator, advice.label) == (
        "gpu-box does not let you in",
        "ex4d.copy_key",
        "Copy My Key",
    )
    on_box(box, "authorize", shown_key(hosts.own_pair().public), "--name", "anna")
    tick_until(lambda: now.client.status == "ready")
    assert not now.state.trouble


def test_the_menu_says_what_each_server_can_do_and_how_busy_it_is(scene, tmp_path, box, far):
    from blender_addon.ui import hosts as panel
    from blender_addon.work import session

    introduce(box, tmp_path)
    hosts.add(hosts.KnownServer("asleep", f"tcp://{far.ip}:5777", hosts.find("gpu-box").key))
    now = session.current()
    now.hosts.read_again()
    known = {server.name: server for server in now.hosts.servers}

    def told(name: str) -> str:
        return panel.glance_told(known[name], now.survey.of(known[name]))

    assert told("gpu-box") == told("asleep") == "needs online access"
    now.tick()
    bpy.context.preferences.system.use_online_access = True
    assert told("gpu-box") == "being asked"
    tick_until(lambda: told("gpu-box") != "being asked" and told("asleep") != "being asked")
    assert told("asleep") == "cannot be used now"
    assert re.fullmatch(r".+, idle", told("gpu-box"))
    now.survey.close()


def grainy(path: Path, frames: int = 5) -> Path:
    """A clip of 1920x1080 with grain, as from a real camera, so that neither it nor its takes compress well."""
    from fractions import Fraction

    rng, (height, width) = np.random.default_rng(0), (1080, 1920)
    rows, columns = np.mgrid[:height, :width]
    picture = np.stack([rows * 0.2, columns * 0.1, (rows + columns) * 0.05], axis=-1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt, stream.options = width, height, "yuv420p", {"crf": "16"}
        for t in range(frames):
            grain = rng.normal(0, 9, (height, width, 1))
            frame = np.clip(np.roll(picture, 8 * t, axis=1) + grain, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_over_a_slow_link_a_take_is_seen_as_a_proxy_until_its_files_are_here(scene, tmp_path, box, far):
    from blender_addon.scene import compat
    from blender_addon.shot import takes
    from blender_addon.ui import layout
    from blender_addon.work import session

    introduce(box, tmp_path)
    server = hosts.find("gpu-box")
    hosts.add(hosts.KnownServer(server.name, server.address.replace(far.ip, far.here), server.key))
    bpy.context.preferences.system.use_online_access = True
    clip = grainy(tmp_path / "grain.mp4")
    far.slow_down("20mbit")
    with far.long_way((5750, 5751), 0.04):
        bpy.ops.ex4d.use_server(name="gpu-box")
        now = session.current()
        tick_until(lambda: now.client.status == "ready")
        scene.ex4d.camera_motion = "still"
        assert bpy.ops.ex4d.open_clip(filepath=str(clip), longest_side=256) == {"FINISHED"}
        assert bpy.ops.ex4d.camera_preset(preset="30", amount=10) == {"FINISHED"}
        strips, rendered = compat.strips(scene), scene.render.use_sequencer
        now.press(takes.request_take(scene, preview=False))
        tick_until(lambda: now.state.stage == "Download", 200)
        begun = time.monotonic()
        tick_until(lambda: len(strips) == 1)
        seen = time.monotonic() - begun
        (proxy,) = strips
        small, _ = movie(bpy.path.abspath(proxy.filepath))
        assert (proxy.name, compat.strip_range(proxy)) == ("EX-4D Proxy", (scene.ex4d.start, scene.ex4d.start + 5))
        assert small.shape == (5, 288, 512, 3)
        assert not scene.ex4d.takes
        assert not scene.render.use_sequencer, "F12 still renders the scene"
        tick_until(lambda: bool(now.state.eta_s))
        assert layout._while_busy()[0] == "A proxy is shown until the take is here"
        assert layout._while_busy()[1].endswith(" left")
        bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "meanwhile.blend"))
        tick_until(lambda: not now.state.busy)
        done = time.monotonic() - begun
    print(f"seen after {seen:.1f} s, all files after {done:.1f} s")
    assert seen < 1.5 < 3 < done
    (strip,) = strips
    assert strip.name.startswith("EX-4D Take 001")
    assert compat.strip_range(strip) == (scene.ex4d.start, scene.ex4d.start + 5)
    large, _ = movie(bpy.path.abspath(strip.filepath))
    assert large.shape == (5, 1080, 1920, 3)
    coarse = [m.reshape(5, 72, each, 128, each, 3).mean((2, 4)) for m, each in ((large, 15), (small, 4))]
    assert np.abs(coarse[0] - coarse[1]).mean() < 2, "the proxy shows the take"
    assert rendered
    assert not scene.render.use_sequencer
    folder = takes.take_folder(scene, 1)
    assert not (folder / "proxy.mp4").exists()
    assert not list((tmp_path / "user" / "downloads").rglob("proxy.mp4"))
    now.disconnect()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "meanwhile.blend"))
    session.current().enter_file()
    fresh = bpy.context.scene
    assert compat.all_strips(fresh) == [], "one that was saved meanwhile goes when the file is opened"
    assert fresh.render.use_sequencer, "it was off while that was the only strip"
