"""A .blend from a stranger may name any file on this machine: opening it neither removes nor moves them."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from blender_addon.shot import files, proxies, takes
from blender_addon.work import requests, session

BAD_JOB = "no job's id"


def open_with(request, folder: Path) -> None:
    """Save a file whose scene stores a request, open it like a stranger's file, and let the add-on work."""
    bpy.context.scene.ex4d.remember(request, BAD_JOB, True)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "strange.blend"))
    session.current().leave_file()
    bpy.ops.wm.open_mainfile(filepath=str(folder / "strange.blend"), use_scripts=False)
    for _ in range(5):
        session.current().tick()
    assert bpy.context.scene.ex4d.job_id == "", "it was taken up, and came to nothing"


def search(**more) -> requests.OpenRequest:
    return requests.OpenRequest(
        "Scene", "shot", "/a/clip.mp4", more.pop("depth", ""), more.pop("camera", ""), {}, **more
    )


def victim_in(folder: Path) -> Path:
    """A folder with a file that is not ours."""
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("years of work")
    return folder


def test_a_folder_of_pictures_of_a_mask_goes_only_where_we_have_made_it(scene, addon, tmp_path, user_folder):
    victim = victim_in(tmp_path / "own/victim")
    ours = victim_in(user_folder / "masks/1234")
    (user_folder / "masks/link").symlink_to(victim, target_is_directory=True)
    roundabout = user_folder / "masks/../masks/1234/../../../own/victim"
    for moving in (victim, user_folder / "masks/link", roundabout, user_folder / "masks", user_folder / "masks/.."):
        open_with(search(moving_mask="m", moving=str(moving)), tmp_path)
        assert (victim / "thesis.txt").read_text() == "years of work"
        assert (ours / "thesis.txt").exists()
    open_with(search(moving_mask="m", moving=str(ours)), tmp_path)
    assert not ours.exists(), "of our own nothing is left"


def test_a_camera_path_goes_only_where_we_have_written_it(scene, addon, tmp_path, user_folder):
    victim = victim_in(tmp_path / "own/victim")
    ours = takes.new_path_file()
    ours.write_bytes(b"path")
    for path in (victim / "thesis.txt", ours.parent / f"../../../own/victim/{ours.name}"):
        path.write_text("years of work")
        open_with(requests.TakeRequest("Scene", "shot", str(path), "{}", {}), tmp_path)
        assert path.read_text() == "years of work"
    open_with(requests.TakeRequest("Scene", "shot", str(ours), "{}", {}), tmp_path)
    assert not ours.parent.exists()


def test_a_camera_file_goes_only_where_we_have_recorded_it(scene, addon, tmp_path, user_folder):
    victim = victim_in(tmp_path / "own/victim")
    ours = files.recordings() / "tracked_1.npz"
    ours.write_bytes(b"camera")
    link = files.recordings() / "tracked_2.npz"
    link.symlink_to(victim / "thesis.txt")
    for camera in (victim / "thesis.txt", link, files.recordings() / "..", files.recordings() / "../cameras/.."):
        open_with(search(camera=str(camera)), tmp_path)
        assert (victim / "thesis.txt").read_text() == "years of work"
        assert ours.exists()
    open_with(search(camera=str(ours)), tmp_path)
    assert not ours.exists()


def test_a_take_that_comes_copies_a_camera_path_that_is_not_ours_and_moves_one_that_is(addon, tmp_path):
    theirs, ours = tmp_path / "camera.npz", takes.new_path_file()
    for path, stays in ((theirs, True), (ours, False)):
        path.write_bytes(b"path")
        folder = tmp_path / f"take_{stays}"
        folder.mkdir()
        request = requests.TakeRequest("Scene", "shot", str(path), "{}", {})
        placed = takes._bring(request, SimpleNamespace(files={}), folder)
        assert [file.read_bytes() for file in placed.values()] == [b"path"]
        assert path.exists() == stays


def test_the_movie_of_a_proxy_that_a_closed_blender_has_left_goes_after_a_day(addon, user_folder):
    movies = {hours: user_folder / f"downloads/job_{hours}/proxy.mp4" for hours in (1, 25)}
    part = user_folder / "downloads/job_25/1234.part"  # part of the result, which may still be fetched
    for hours, movie in movies.items():
        movie.parent.mkdir(parents=True)
        movie.write_bytes(b"movie")
        os.utime(movie, 2 * (time.time() - hours * 3600,))
    proxies.tidy()
    assert (movies[1].exists(), movies[25].parent.exists()) == (True, False)
    movies[25].parent.mkdir()
    movies[25].write_bytes(b"movie")
    part.write_bytes(b"part")
    os.utime(movies[25], 2 * (time.time() - 25 * 3600,))
    proxies.tidy()
    assert (movies[25].exists(), part.exists()) == (False, True)


@pytest.mark.parametrize("place", ["downloads/../hosts.json", "hosts.json", "downloads/hosts.json"])
def test_the_movie_of_a_proxy_goes_only_from_among_results_that_came(addon, user_folder, place):
    (user_folder / "downloads/job").mkdir(parents=True)
    file = user_folder / place
    file.write_text("{}")
    proxies.discard(file)
    assert file.exists()
    movie = user_folder / "downloads/job/proxy.mp4"
    movie.write_bytes(b"movie")
    proxies.discard(movie)
    assert not movie.parent.exists()
