"""Run a story of this folder in a real Blender window on a virtual screen: `python run.py --zip ex4d.zip`.

Needs Xvfb, xdotool and ImageMagick on the PATH, and python-xlib in the Python that runs this. Blender starts as it does
for a new user, without preferences or extensions. The exit code is 0 if the story reaches its end.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def parsed(words: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zip", type=Path, required=True, help="zip of the extension")
    parser.add_argument("--clip", type=Path, default=HERE.parents[1] / "sample/clip.mp4", help="clip to open")
    parser.add_argument("--blender", default="blender", help="Blender's executable")
    parser.add_argument("--story", default="day", help="name of the script in this folder")
    parser.add_argument("--out", type=Path, default=Path("out/desktop"), help="folder for screenshots")
    parser.add_argument("--size", default="1280x800", help="size of the screen in pixels")
    parser.add_argument("--minutes", type=float, default=20, help="time limit for the story")
    return parser.parse_args(words)


def main(words: list[str]) -> int:
    """Run it; returns what the process should end with."""
    asked = parsed(words)
    out = asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    result = out / "result.txt"
    result.unlink(missing_ok=True)
    width, height = asked.size.split("x")
    reading, writing = os.pipe()
    screen = subprocess.Popen(
        [
            "Xvfb",
            "-displayfd",
            str(writing),
            "-screen",
            "0",
            f"{asked.size}x24",
            "+extension",
            "GLX",
            "-nolisten",
            "tcp",
        ],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    with tempfile.TemporaryDirectory(prefix="ex4d-desk-") as profile, os.fdopen(reading) as told:
        display = told.readline().strip()
        about = {
            "DISPLAY": f":{display}",
            "HOME": profile,
            "XDG_DATA_HOME": f"{profile}/data",
            "BLENDER_USER_RESOURCES": f"{profile}/blender",
            "DESK_ZIP": str(asked.zip.resolve()),
            "DESK_CLIP": str(asked.clip.resolve()),
            "DESK_OUT": str(out),
            "DESK_PYTHON": sys.executable,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if "site-packages" not in path),
        }
        try:
            blender = [asked.blender, "-p", "0", "0", width, height, "--python", str(HERE / f"{asked.story}.py")]
            subprocess.run(blender, env=os.environ | about, timeout=asked.minutes * 60, check=False)
        except subprocess.TimeoutExpired:
            result.write_text(f"no end after {asked.minutes:g} minutes", encoding="utf-8")
        finally:
            screen.terminate()
            screen.wait()
    trouble = result.read_text(encoding="utf-8") if result.is_file() else "Blender ended before the story did"
    print(f"FAILED: {trouble}" if trouble else "The story came to its end.")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
