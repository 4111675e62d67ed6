"""The settings of the EX-4D model as seen by command line, server and panel; needs no torch."""

import subprocess
import sys

import pytest
from command_line import ex4d

from ex4d.errors import InputError
from ex4d.generate import registry
from ex4d.generate.wan.quality import QUALITIES
from ex4d.generate.wan.settings import WanSettings
from ex4d.generate.wan.spec import SPEC
from ex4d.schema import build, describe


def test_they_keep_their_order_and_the_names_of_their_options():
    told = {setting.name: setting for setting in describe(SPEC.settings)}
    assert list(told) == ["quality", "model_size", "steps", "prompt", "hold"]
    assert [setting.flag for setting in told.values()] == [
        "--quality",
        "--model_size",
        "--num_inference_steps",
        "--prompt",
        "--hold",
    ]
    assert [choice.value for choice in told["quality"].choices] == list(QUALITIES) == ["final", "balanced", "draft"]
    assert [choice.value for choice in told["model_size"].choices] == ["512x512", "832x480"]
    assert (told["steps"].kind, told["steps"].optional, told["steps"].default) == ("whole", True, None)
    assert (told["prompt"].kind, told["prompt"].optional) == ("text", False)


def test_values_that_make_no_sense_are_refused():
    for wrong in ({"quality": "best"}, {"steps": 0}, {"model_size": "64x64"}, {"prompt": None}, {"prompt": "x" * 3000}):
        with pytest.raises(InputError):
            build(WanSettings, wrong)
    assert build(WanSettings, {"prompt": ""}).prompt == ""


def test_the_model_is_found_before_all_others():
    known = registry.generators()
    assert known["wan"] is SPEC
    assert next(iter(known)) == "wan"


def test_what_there_is_to_know_about_generators_is_known_with_numpy_alone():
    heavy = "{'torch', 'diffsynth', 'cv2', 'numba', 'av', 'safetensors', 'zmq', 'msgpack'}"
    code = (
        "import sys; from ex4d.generate import registry;"
        " [registry.missing(spec, False) for spec in registry.generators().values()];"
        f" print({heavy} & {{name.partition('.')[0] for name in sys.modules}})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_options_of_0_1_have_kept_their_flags_and_defaults():
    told = {setting.flag: setting.default for setting in describe(SPEC.settings)}
    assert (told["--num_inference_steps"], told["--quality"], told["--model_size"]) == (None, "final", "512x512")
    done = ex4d("generate", "--help")
    assert all(flag in done.stdout for flag in told)


def test_steps_out_of_range_are_one_sentence_with_the_flag(tmp_path):
    results = ("--input_video", "clip.mp4", "--output_video", str(tmp_path / "out.mp4"))
    done = ex4d("generate", *results, "--num_inference_steps", "0")
    assert done.returncode == 2
    assert done.stderr.strip().startswith("ex4d: --num_inference_steps: Steps must be between 1 and 1000, not 0.")
    assert not list(tmp_path.iterdir())


def test_doctor_says_what_the_model_lacks():
    done = ex4d("doctor")
    assert done.returncode == 0
    (line,) = [line for line in done.stdout.splitlines() if "Generator: EX-4D Model" in line]
    assert "missing" in line
