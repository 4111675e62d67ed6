"""Make the pictures and animation of the docs from what `tests/desktop/page.py` left: `page_pictures.py FROM TO`.

ImageMagick and ffmpeg must be on the PATH.
"""

import subprocess
import sys
from pathlib import Path

SHOWN = ("1_installed", "2_set_up", "4_open", "6_generating", "7_playing", "8_coverage", "9_wipe")
"""The story's pictures that docs/first-shot.md shows."""

WIDTH, FILM_WIDTH = 1280, 800
MOST_BYTES = 2_000_000
FILM_RATE = 5


def pictures(folder: Path, out: Path) -> None:
    """Write a JPEG of each picture that is shown."""
    for name in SHOWN:
        to, picture = out / f"{name}.jpg", folder / f"{name}.png"
        subprocess.run(["convert", picture, "-resize", f"{WIDTH}x", "-quality", "80", "-strip", to], check=True)


def animation(folder: Path, out: Path) -> None:
    """Write the film as an animated WebP, at the best quality that `MOST_BYTES` allows.

    Raises:
        ValueError: the file is too large even at the lowest quality.
    """
    to = out / "first-shot.webp"
    frames = str(folder / "film_%03d.png")
    film = ["ffmpeg", "-loglevel", "error", "-y", "-framerate", str(FILM_RATE), "-i", frames]
    for quality in (60, 45, 30, 20):
        shown = ["-vf", f"scale={FILM_WIDTH}:-2:flags=lanczos", "-c:v", "libwebp_anim", "-quality", str(quality)]
        subprocess.run([*film, *shown, "-loop", "0", str(to)], check=True)
        if to.stat().st_size <= MOST_BYTES:
            return
    raise ValueError(f"{to} has {to.stat().st_size} bytes: film fewer frames")


if __name__ == "__main__":
    source, target = (Path(word) for word in sys.argv[1:3])
    target.mkdir(parents=True, exist_ok=True)
    pictures(source, target)
    animation(source, target)
