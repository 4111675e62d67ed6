"""3. Depth of a clip, and a report on its quality: `python examples/3_depth.py [CLIP] [OUT_FOLDER]`."""

import sys
from pathlib import Path

import ex4d
from ex4d.depth.report import report
from ex4d.depth.views import write_side_by_side

SAMPLE = Path(__file__).resolve().parent.parent / "sample" / "clip.mp4"


def main(clip: Path = SAMPLE, out: Path = Path("depth")) -> None:
    """Write the depth as .npz and a video of clip, depth and normals side by side, and print a report."""
    shot = ex4d.open_clip(clip)
    out.mkdir(parents=True, exist_ok=True)
    shot.estimate.save(out / "depth.npz")
    write_side_by_side(out / "depth.mp4", shot.clip, shot.depth)

    print(f"from {shot.depth.provider}: {shot.estimate.scale_note}")
    print(report(shot.clip, shot.depth).text())
    print(out)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
