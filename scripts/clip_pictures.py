"""Write docs/pictures/real_clips.jpg and source_camera.jpg from a folder of real clips, and print the room's figures.

    python scripts/clip_pictures.py CLIPS docs/pictures

CLIPS holds 02_cups.mp4, 04_coffee.mp4, 05_default_juggle.mp4, flower.mp4, and the RGB-D room: rgbd/color, rgbd/depth
and rgbd/trajectory.log; docs/depth.md says where they come from.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ex4d import api
from ex4d.pipeline.open import Shot
from ex4d.render import legend
from ex4d.source_camera import error

CLIPS = ("05_default_juggle", "02_cups", "04_coffee", "flower")
FRAME, FRAMES = 39, 49
ROOM_FIELD_OF_VIEW = 62.73
CELL, LABEL = (264, 198), 20


def main(clips: Path, out: Path) -> None:
    """Write both pictures."""
    real, found = [], []
    for name in CLIPS:
        shot = api.open_clip(clips / f"{name}.mp4", frames=FRAMES, longest_side=512, estimator="plane")
        told = "moves" if shot.source_to_world is not None else "counts as still"
        print(f"{name}: {told}. {' '.join(shot.about_camera)}")
        real.append(row(shot, FRAME, name, "guessed depth"))
        stands = "stands still" if "stands still" in " ".join(shot.about_camera) else "refused, counts as still"
        found.append([*beside(shot, FRAME, f"{name}: {stands}")])
    truth = trajectory(clips / "rgbd" / "trajectory.log")
    room = {motion: open_room(clips, motion) for motion in ("auto", "still")}
    count = len(room["auto"].clip.frames)
    truth = np.linalg.inv(truth[0]) @ truth[:count]
    for motion, shot in room.items():
        poses = np.tile(np.eye(4), (count, 1, 1)) if shot.source_to_world is None else shot.source_to_world
        ate = error.absolute(poses, truth)
        way = np.linalg.norm(poses[-1, :3, 3]), np.linalg.norm(truth[-1, :3, 3])
        print(f"room, {motion}: ATE {ate:.2%}, rotation at the end {error.rotation_at_end(poses, truth):.3f} degrees,")
        print(f"    from first to last {way[0]:.4f} of {way[1]:.4f} m. {' '.join((*shot.about_camera, *shot.notes))}")
    real.append(row(room["auto"], count - 1, "room", "measured depth"))
    top = [
        [
            labelled(room["auto"].clip.frames[0], "room: frame 1"),
            labelled(room["auto"].clip.frames[-1], f"frame {count}"),
        ],
        [steadiness(room["still"], "counts as still"), steadiness(room["auto"], "camera found")],
    ]
    write(out / "real_clips.jpg", real)
    write(out / "source_camera.jpg", [*top, *found])


def open_room(clips: Path, motion: str) -> Shot:
    """Open the room with its measured depth."""
    folder = clips / "rgbd"
    return api.open_clip(
        folder / "color",
        depth=folder / "depth",
        frames=5,
        field_of_view=ROOM_FIELD_OF_VIEW,
        camera_motion=motion,
    )


def trajectory(path: Path) -> NDArray[np.float64]:
    """Camera-to-world poses (N,4,4) float64 from a .log file: a line of numbers, then four rows, for each image."""
    lines = path.read_text().splitlines()
    return np.array([[line.split() for line in lines[n + 1 : n + 5]] for n in range(0, len(lines) // 5 * 5, 5)], float)


def row(shot: Shot, frame: int, name: str, depth: str) -> list[NDArray[np.uint8]]:
    """The clip, what is real along an orbit of 30 degrees, and the preview."""
    view = api.render_path(shot, cam="30")
    made = api.generate_video(view, "preview")
    seen = view.conditioning
    return [
        labelled(shot.clip.frames[frame], f"{name}, {depth}"),
        labelled(legend.tint(seen.colour[frame], seen.mask[frame] > 127), "real, and to be invented"),
        labelled(made.frames[frame], "preview"),
    ]


def beside(shot: Shot, frame: int, label: str) -> list[NDArray[np.uint8]]:
    """The clip, and what is real along an orbit of 30 degrees."""
    seen = api.render_path(shot, cam="30").conditioning
    return [
        labelled(shot.clip.frames[frame], label),
        labelled(legend.tint(seen.colour[frame], seen.mask[frame] > 127), "orbit of 30 degrees"),
    ]


def steadiness(shot: Shot, label: str) -> NDArray[np.uint8]:
    """First and last frame blended, seen from one place 30 degrees to the side: what stands still has one outline."""
    path = api.render_path(shot, cam="30").scene.path
    last = np.repeat(path.camera_to_world[-1:], len(path), axis=0)
    if shot.source_to_world is not None:  # the preset follows the source camera
        last = np.repeat((np.linalg.inv(shot.source_to_world[-1]) @ path.camera_to_world[-1])[None], len(path), axis=0)
    fixed = type(path)(last, path.intrinsics, path.width, path.height)
    seen = api.render_path(shot, fixed).conditioning
    both = (seen.mask[0] > 127) & (seen.mask[-1] > 127)
    apart = np.abs(seen.colour[0].astype(int) - seen.colour[-1]).mean(axis=2)[both].mean()
    print(f"room, {label}: first and last frame from there differ by {apart:.1f} levels")
    mixed = (seen.colour[0].astype(np.uint16) + seen.colour[-1]) // 2
    return labelled(legend.tint(mixed.astype(np.uint8), both), f"both, from aside: {label}, {apart:.1f} levels")


def labelled(picture: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    """A picture scaled to fit a cell, below a line of text."""
    width, height = CELL
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    cell = np.full((LABEL + size[1], width, 3), 255, np.uint8)
    left = (width - size[0]) // 2
    cell[LABEL : LABEL + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    cv2.putText(cell, text, (3, LABEL - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (30, 30, 30), 1, cv2.LINE_AA)
    return cell


def write(path: Path, rows: list[list[NDArray[np.uint8]]]) -> None:
    """Write rows of cells as one JPEG."""
    sheet = np.concatenate([np.concatenate(cells, axis=1) for cells in rows], axis=0)
    cv2.imwrite(str(path), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
