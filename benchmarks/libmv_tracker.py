"""Blender's own tracker without a window; started by `source_camera.py` with bpy's Python.

    python libmv_tracker.py FOLDER_OF_PICTURES FRAMES WIDTH HEIGHT FOCAL_PX REFINE RESULT.npz

Everything has Blender's defaults except detection, because its 120 pixels between features are meant for HD and leave
only two tracks at 256x144.
"""

import sys
from pathlib import Path

import bpy
import numpy as np

TO_OPENCV = np.diag([1.0, -1, -1, 1])


def main(folder: str, frames: str, width: str, height: str, focal: str, refine: str, result: str) -> None:
    """Detect, track and solve; write the camera, its points, and which frames have one."""
    bpy.ops.wm.read_factory_settings(use_empty=False)
    count = int(frames)
    pictures = sorted(Path(folder).glob("*.png"))
    clip = bpy.data.movieclips.load(str(pictures[0]))
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, count
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "CLIP_EDITOR"
    space = area.spaces.active
    space.clip = clip
    region = next(r for r in area.regions if r.type == "WINDOW")
    camera, settings = clip.tracking.camera, clip.tracking.settings
    camera.sensor_width = 36.0
    camera.focal_length = float(focal) / int(width) * 36.0
    settings.use_keyframe_selection = True
    settings.refine_intrinsics_focal_length = refine == "1"
    with bpy.context.temp_override(window=window, area=area, region=region, space_data=space):
        for frame in (1, count // 2):
            scene.frame_set(frame)
            bpy.ops.clip.select_all(action="DESELECT")
            bpy.ops.clip.detect_features(threshold=0.1, margin=16, min_distance=max(8, int(width) // 24))
            for backwards in (False, True):
                scene.frame_set(frame)
                bpy.ops.clip.track_markers(sequence=True, backwards=backwards)
        try:
            bpy.ops.clip.solve_camera()
        except RuntimeError as problem:  # how the operator reports a failure
            print(problem)
    solved = clip.tracking.objects[0].reconstruction
    poses, there = np.tile(np.eye(4), (count, 1, 1)), np.zeros(count, bool)
    for found in solved.cameras:
        t = found.frame - 1
        if 0 <= t < count:
            poses[t], there[t] = np.array(found.matrix) @ TO_OPENCV, True
    points = [track.bundle for track in clip.tracking.objects[0].tracks if track.has_bundle]
    np.savez(
        result,
        camera_to_world=poses,
        there=there,
        points=np.array(points, np.float64).reshape(-1, 3),
        focal=camera.focal_length / 36.0 * int(width),
        error=solved.average_error,
        valid=solved.is_valid,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
