"""The command line and a job on a server are one pipeline: the same settings give the same bytes."""

import re
import subprocess
import sys

import pytest
from command_line import ex4d

from ex4d.jobs.client import Client
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.requests import Generate, Source
from ex4d.pipeline.settings import GenerateSettings, PathSettings, RenderSettings, SourceSettings


@pytest.fixture
def client(tmp_path):
    command = [sys.executable, "-m", "ex4d_server", "--address", "tcp://127.0.0.1:0", "--state", tmp_path / "state"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        made = Client(re.search(r"tcp://\S+", server.stdout.readline())[0], tmp_path / "downloads")
        yield made
        made.close()
        server.terminate()


def test_a_job_and_a_command_with_the_same_settings_give_the_same_bytes_and_so_does_again(shoot, client):
    clip, depth = shoot / "clip.mp4", shoot / "clip.depth.npz"
    done = ex4d(
        "generate", "--input_video", clip, "--cam", "60", "--amount", "40", "--fov", "50", "--num_frames", 7,
        "--start", 1, "--occlusion", "release", "--engine", "numpy", "--seed", 4, "--no_keep_source",
        "--generator", "preview", "--result_fps", "12", "--output_video", shoot / "command.mp4", fresh=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    job = Generate(
        Source((blob_of(clip),), (blob_of(depth),), settings=SourceSettings(start=1, frames=7, field_of_view=50.0)),
        preset=PathSettings(cam="60", amount=40.0),
        render=RenderSettings(engine="numpy", occlusion="release"),
        generation=GenerateSettings("preview", seed=4, keep_source=False, fps="12"),
    )
    last = client.wait(client.submit(job, {blob_of(path).sha256: path for path in (clip, depth)}), timeout=120)
    assert last.state == "done", last.message
    take = shoot / "command.take"
    for name in ("result.mp4", "composited.mp4", "colour.mp4", "mask.mp4", "camera.npz"):
        assert (take / name).read_bytes() == last.files[name].read_bytes(), name
    assert (shoot / "command.mp4").read_bytes() == (take / "result.mp4").read_bytes()

    again = ex4d("again", take, "--output_dir", shoot / "once_more", fresh=True)
    assert again.returncode == 0, again.stderr
    assert (shoot / "once_more" / "result.mp4").read_bytes() == last.files["result.mp4"].read_bytes()
