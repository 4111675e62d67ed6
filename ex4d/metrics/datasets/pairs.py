"""A folder of pairs: a folder for each shot, with these files, all optional except one of source and truth.

    source.mp4          the clip
    truth.mp4           what a real camera saw from the path, one picture per frame
    mask.mp4            white where a result shows something real
    camera.npz          the path, in any format of `ex4d.cameras`
    source_camera.npz   how the clip's own camera moved

Videos may have another extension, or be folders of images. Rendered scenes are written in this layout.
"""

from pathlib import Path

from ex4d.errors import InputError
from ex4d.metrics.cases import Case, read_path, read_poses
from ex4d.metrics.datasets.results import folders_in
from ex4d.metrics.streams import open_stream
from ex4d.storage.names import VIDEO_ENDINGS

CAMERA_ENDINGS = (".npz", ".json", ".chan", ".txt")


def cases(data: Path) -> list[Case]:
    """A case for each shot, without a result.

    Raises:
        InputError: there is no such folder, a shot has neither source nor truth, or a camera cannot be read.
    """
    made = [_case(folder) for folder in folders_in(data)]
    if not made:
        raise InputError(f"There are no shots in {data}: it needs a folder for each, with source.mp4 or truth.mp4.")
    return made


def _case(folder: Path) -> Case:
    source, truth, mask = (_pictures(folder / name) for name in ("source", "truth", "mask"))
    seen = truth or source
    if seen is None:
        raise InputError(f"{folder} has neither source.mp4 nor truth.mp4: one of them is needed.")
    camera, own = (_camera(folder / name) for name in ("camera", "source_camera"))
    path = None
    if camera is not None:
        size = open_stream(seen, f"video of {folder.name}")
        path = read_path(camera, size.width, size.height)
    poses = None if own is None else read_poses(own)
    return Case(folder.name, Path(), source, truth, mask=mask, path=path, source_poses=poses)


def _pictures(place: Path) -> Path | None:
    if place.is_dir():
        return place
    return next((path for ending in VIDEO_ENDINGS if (path := place.with_suffix(ending)).is_file()), None)


def _camera(place: Path) -> Path | None:
    return next((path for ending in CAMERA_ENDINGS if (path := place.with_suffix(ending)).is_file()), None)
