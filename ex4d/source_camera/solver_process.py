"""A script that runs pycolmap in its own process: `python solver_process.py TASK.npz RESULT.npz`.

pycolmap and OpenCV in one process corrupt its memory, so this imports only numpy and pycolmap, and nothing of ex4d.
It reports progress in lines `stage|step|steps`, and ends when its input is closed, for instance because its parent was
killed.
"""

import itertools
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from numpy.typing import NDArray

Task = dict[str, Any]
"""Arrays by name, see `ex4d.source_camera.solver`."""

THREADS = max(1, min(8, os.cpu_count() or 1))


def tell(stage: str, step: int, steps: int) -> None:
    """Print a line of progress."""
    print(f"{stage}|{step}|{steps}", flush=True)


def adjust(task: Task) -> dict[str, NDArray]:
    """Bundle adjustment with free points: cameras, points and, if requested, the focal length and distortion."""
    model, points = _model(task)
    options = pycolmap.BundleAdjustmentOptions()
    options.refine_focal_length = bool(task["refine"])
    options.refine_principal_point = options.print_summary = False
    options.refine_extra_params = bool(task["distorts"])
    ceres = options.ceres
    ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    ceres.loss_function_scale = float(task["loss"])
    ceres.solver_options.max_num_iterations = int(task["iterations"])
    ceres.solver_options.num_threads = THREADS
    ceres.solver_options.function_tolerance = 1e-6  # with pycolmap's 0, every adjustment takes the maximum time
    config = pycolmap.BundleAdjustmentConfig()
    for image in model.images:
        config.add_image(image)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    adjuster = pycolmap.create_default_bundle_adjuster(options, config, model)
    tell("Adjusting the camera", 0, 1)
    adjuster.solve()
    tell("Adjusting the camera", 1, 1)
    count = len(task["poses"])
    poses = np.stack([_pose(model.image(t + 1)) for t in range(count)])
    placed = np.full((len(points), 3), np.nan)
    for number, key in enumerate(points):
        if key is not None:
            placed[number] = model.point3D(key).xyz
    each = [model.cameras[model.image(t + 1).camera_id].params[0] for t in range(count)]
    distortion = model.cameras[1].params[3] if task["distorts"] else 0.0
    return {"poses": poses, "points": placed, "focal": np.array(each), "distortion": np.array(distortion)}


def _model(task: Task) -> tuple[Any, list[int | None]]:
    """A reconstruction of cameras, points and sightings; and the key of each point, None for those seen only once."""
    track, frame, xy = task["track"], task["frame"], task["xy"]
    width, height = (int(side) for side in task["size"])
    model, count = pycolmap.Reconstruction(), len(task["poses"])
    zooms, kind = bool(task["zooms"]), "SIMPLE_RADIAL" if task["distorts"] else "SIMPLE_PINHOLE"
    for t in range(count if zooms else 1):
        lens = [float(task["focal"][t]), width / 2, height / 2, *([0.0] if task["distorts"] else [])]
        camera = pycolmap.Camera(model=kind, width=width, height=height, params=lens, camera_id=t + 1)
        model.add_camera_with_trivial_rig(camera)
    place = np.zeros(len(track), int)
    for t in range(count):
        seen = np.flatnonzero(frame == t)
        place[seen] = np.arange(len(seen))
        image = pycolmap.Image(name=f"{t:06d}", keypoints=xy[seen], camera_id=t + 1 if zooms else 1, image_id=t + 1)
        from_world = np.linalg.inv(task["poses"][t])[:3]
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(from_world))
    order = np.argsort(track, kind="stable")
    ends = np.searchsorted(track[order], np.arange(len(task["points"]) + 1))
    keys: list[int | None] = []
    for number, (begin, end) in enumerate(itertools.pairwise(ends)):
        if end - begin < 2 or not np.isfinite(task["points"][number]).all():
            keys.append(None)
            continue
        sightings = pycolmap.Track()
        for i in order[begin:end]:
            sightings.add_element(int(frame[i]) + 1, int(place[i]))
        keys.append(model.add_point3D(task["points"][number], sightings))
    return model, keys


def map_globally(task: Task) -> dict[str, NDArray]:
    """SIFT, sequential matching and global mapping (GLOMAP) of the pictures in a folder; NaN poses where it fails."""
    width, height = (int(side) for side in task["size"])
    pictures = str(task["pictures"])
    with tempfile.TemporaryDirectory(prefix="ex4d-") as temporary:
        database = Path(temporary, "database.db")
        reading = pycolmap.ImageReaderOptions()
        reading.camera_model = "SIMPLE_PINHOLE"
        reading.camera_params = f"{float(task['focal'][0])},{width / 2},{height / 2}"
        if str(task["masks"]):
            reading.mask_path = str(task["masks"])
        extracting = pycolmap.FeatureExtractionOptions()
        extracting.use_gpu, extracting.num_threads = False, THREADS
        extracting.sift.max_num_features = int(task["features"])
        tell("Finding features", 0, 3)
        pycolmap.extract_features(
            database,
            pictures,
            camera_mode=pycolmap.CameraMode.SINGLE,
            reader_options=reading,
            extraction_options=extracting,
        )
        tell("Matching features", 1, 3)
        matching, pairing = pycolmap.FeatureMatchingOptions(), pycolmap.SequentialPairingOptions()
        matching.use_gpu, matching.num_threads = False, THREADS
        pairing.overlap, pairing.quadratic_overlap = int(task["overlap"]), True
        pycolmap.match_sequential(database, matching_options=matching, pairing_options=pairing)
        tell("Solving the camera", 2, 3)
        options = pycolmap.GlobalPipelineOptions()
        options.random_seed, options.num_threads = 0, THREADS
        mapper = options.mapper
        mapper.random_seed, mapper.num_threads = 0, THREADS
        mapper.bundle_adjustment.refine_focal_length = bool(task["refine"])
        mapper.track_min_num_views_per_track = 3
        models = pycolmap.global_mapping(database, pictures, temporary, options)
    tell("Solving the camera", 3, 3)
    count = int(task["count"])
    poses = np.full((count, 4, 4), np.nan)
    if not models:
        return {"poses": poses, "focal": np.zeros(1)}
    best = max(models.values(), key=lambda model: model.num_reg_images())
    for image in best.images.values():
        if image.has_pose:
            poses[int(Path(image.name).stem)] = _pose(image)
    return {"poses": poses, "focal": np.array([next(iter(best.cameras.values())).params[0]])}


def _pose(image: Any) -> NDArray[np.float64]:
    """Camera-to-world (4,4)."""
    from_world = np.eye(4)
    from_world[:3] = image.cam_from_world().matrix()
    return np.asarray(np.linalg.inv(from_world), np.float64)


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


def main(task_file: str, result_file: str) -> None:
    """Run the task in a file."""
    threading.Thread(target=_end_with_input, daemon=True).start()
    pycolmap.logging.minloglevel = int(pycolmap.logging.Level.ERROR)
    with np.load(task_file, allow_pickle=False) as arrays:
        task = dict(arrays)
    made = {"adjust": adjust, "map": map_globally}[str(task["kind"])](task)
    np.savez(result_file, **made)  # type: ignore[arg-type]


if __name__ == "__main__":
    main(*sys.argv[1:])
