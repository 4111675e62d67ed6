"""Nothing in this project unpickles or runs code that came in a file."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
FORBIDDEN = [
    "pic" + "kle.",
    "import pic" + "kle",
    "recv_py" + "obj",
    "send_py" + "obj",
    "msgpack" + "_numpy",
    "msgpack" + "-numpy",
    "allow_pic" + "kle=True",
    "weights_only" + "=False",
    "trust_remote" + "_code",
]


def test_nothing_that_runs_received_code_is_used():
    files = [path for room in ("ex4d", "backend", "blender_addon") for path in (ROOT / room).rglob("*.py")]
    assert len(files) > 10
    found = [f"{path}: {word}" for path in files for word in FORBIDDEN if word in path.read_text(encoding="utf-8")]
    assert found == []
