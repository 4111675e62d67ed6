"""Reshoot the sample or another clip in Blender with the add-on, through a real backend process.

`make demo` runs this on the sample, `make demo CLIP=my.mp4` on a clip of yours. Writes a .blend with mesh, camera and
strip, the video, and a contact sheet.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from ex4d.geometry.camera_path import load
from ex4d.geometry.depth_video import load_depth_npz
from ex4d.geometry.mesh import DWMesh
from ex4d.media.movie import read_movie
from ex4d.pipeline import take
from ex4d.render import coverage
from ex4d.render.contact_sheet import contact_sheet, heading, write_picture

SAMPLE = Path(__file__).resolve().parent.parent / "sample"
COLUMNS = 4


def main() -> None:
    """Run Blender's part, then make the contact sheet from its take."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--blender", type=Path, required=True, help="Python of the environment with bpy")
    arguments.add_argument("--output_dir", type=Path, required=True, help="folder for the results")
    arguments.add_argument(
        "--clip", type=Path, default=SAMPLE / "clip.mp4", help="clip to reshoot (default: the sample)"
    )
    options = arguments.parse_args()
    out = options.output_dir.resolve()
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="ex4d-demo-") as user:
        environment = os.environ | {"BLENDER_USER_RESOURCES": user, "PYTHONPATH": ""}
        script = Path(__file__).with_name("demo_blender.py")
        command = [options.blender, script, out, sys.executable, str(free_port()), options.clip.resolve()]
        done = subprocess.run(command, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"The demo's Blender ended with exit code {done.returncode}; its messages are above.")
    folder = next(out.glob("ex4d/*/takes/take_001"))
    sheet = write_sheet(folder, out / "contact_sheet.png")
    print(f"\nBlender file:  {out / 'demo.blend'}\nVideo:         {folder / take.RESULT}\nContact sheet: {sheet}")


def write_sheet(folder: Path, file: Path) -> Path:
    """Write source, conditioning and result of a take at four frames; returns `file`."""
    shot = folder.parent.parent
    files = (shot / "source.mp4", folder / take.COLOUR, folder / take.MASK, folder / take.RESULT)
    source, colour, mask, result = (read_movie(file).frames for file in files)
    height, width = result.shape[1:3]
    path = load(folder / take.CAMERA, len(result), width, height)
    mesh = DWMesh.from_depth(load_depth_npz(shot / "depth.npz"))
    angles = coverage.angles(mesh, path)
    shown = [round(n * (len(result) - 1) / (COLUMNS - 1)) for n in range(COLUMNS)]
    columns = [(t, heading(t, angles[t])) for t in shown]
    is_preview = take.read_record(folder / take.SIDECAR).is_preview
    label = "Result (preview, not the EX-4D model)" if is_preview else "Result"
    write_picture(file, contact_sheet(source, colour, mask[..., 0], result, columns, label))
    return file


def free_port() -> int:
    """A port that nothing is listening on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
