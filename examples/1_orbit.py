"""1. An orbit of 60 degrees around the sample: `python examples/1_orbit.py [CLIP] [OUT.mp4]`."""

import sys
from pathlib import Path

import ex4d
from ex4d.media.movie import write_movie

SAMPLE = Path(__file__).resolve().parent.parent / "sample" / "clip.mp4"


def main(clip: Path = SAMPLE, out: Path = Path("orbit.mp4")) -> None:
    """Open the clip with the depth file beside it, render the orbit, fill in what was not seen, and write the video."""
    shot = ex4d.open_clip(clip)
    view = ex4d.render_path(shot, cam="60")
    seen = view.conditioning.coverage.real
    print(f"{len(seen)} frames; {seen.min():.0%} of the emptiest one was seen by the source")

    video = ex4d.generate_video(view, seed=1)
    write_movie(out, video.frames, view.fps)
    for note in (*view.notes, *video.notes):
        print(note)
    print(out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
