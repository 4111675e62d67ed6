"""A model whose files arrive while a job runs, with a real server that looks for them in a folder of this test."""

import sys

import pytest
from test_whole_way import connected, open_few_frames, press_generate_and_wait_until_it_runs, tick_until

MODEL = "video-depth-anything"

BRINGS_THE_FILE = """
import json, sys, zipfile
from pathlib import Path
place = Path(sys.argv[1])
place.parent.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(place, "w") as archive:  # whole, as far as can be told without torch
    archive.writestr("archive/data.pkl", b"")
print(json.dumps({"stage": "Fetching Model", "step": 1, "steps": 2}), flush=True)
print(json.dumps({"done": "Model has been downloaded."}), flush=True)
"""


@pytest.fixture
def models(server, tmp_path, monkeypatch):
    """The models folder of the running server."""
    folder = tmp_path / "models"
    monkeypatch.setenv("EX4D_MODELS", str(folder))
    server.kill()
    server.start()
    return folder


def lacking(now) -> float:
    """Size in GB of the model's missing files, according to the server."""
    return next(info.lacking_gb for info in now.capabilities.estimators if info.name == MODEL)


def test_a_model_that_arrives_while_a_take_is_made_can_be_used_after_it_and_the_take_is_not_lost(scene, models):
    from ex4d.depth.registry import estimators

    now = connected()
    assert lacking(now) > 0.1
    open_few_frames()
    press_generate_and_wait_until_it_runs()
    (part,) = estimators()[MODEL].usual_parts
    fetch = now.model_fetch
    fetch.name = MODEL
    fetch.begin([sys.executable, "-c", BRINGS_THE_FILE, models / part.files[0]], models.parent / "fetch.log")
    tick_until(lambda: not fetch.busy or not now.state.busy)
    assert now.state.busy, "the take was through before the model: give it more frames"
    assert "can be used once the work under way has ended" in now.state.message
    tick_until(lambda: not now.state.busy)
    assert not now.state.failed, now.state
    assert len(scene.ex4d.takes) == 1
    tick_until(lambda: now.capabilities is not None and lacking(now) == 0)
