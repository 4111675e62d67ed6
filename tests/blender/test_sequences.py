"""Requests to the server for image sequences, and for files that Blender cannot read."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import bpy
import numpy as np
import pytest
import shots

from blender_addon.shot import asking, source
from blender_addon.ui import clip_operators
from ex4d.errors import InputError
from ex4d.jobs.codec import encode
from ex4d.jobs.limits import JOB_FILES
from ex4d.jobs.messages import Submit
from ex4d.media.clip import clip_info
from ex4d.pipeline.requests import Reconstruct, job_hash
from ex4d.storage.names import CLIP_ENDINGS, VIDEO_ENDINGS
from ex4d.storage.sequence import Numbering, clip_at

JOB_ID = "00000000-0000-0000-0000-000000000000"


def pictures(folder: Path, names: list[str]) -> Path:
    """Small images, each with different content."""
    folder.mkdir(exist_ok=True)
    image = bpy.data.images.new("picture", 64, 48)
    image.filepath_raw, image.file_format = str(folder / names[0]), "PNG"
    image.save()
    bpy.data.images.remove(image)
    png = (folder / names[0]).read_bytes()
    for name in names:
        (folder / name).write_bytes(png + name.encode())  # anything after the end of an image is not read
    return folder


def movie(path: Path, form: str, frames: int = 30) -> Path:
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream("libx265" if form == "hevc" else "libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            grey = np.full((48, 64, 3), 20 + 5 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    return path


def job_of(scene, clip: Path, frames: int | None = 49, depth: str = "", start: int = 0, **more) -> Reconstruct:
    request = asking.request_open(scene, clip_at(clip), depth, start, frames, 1024, **more)
    return shots.outcome(source.prepare(request))[1]


def names(blobs) -> list[str]:
    return [blob.name for blob in blobs]


def test_the_picture_that_is_chosen_picks_its_sequence(scene, tmp_path):
    colour, depth = ([f"Image{n:04d}{end}.png" for n in range(1, 6)] for end in ("", "_depth"))
    folder = pictures(tmp_path / "render", colour + depth)
    job = job_of(scene, folder / "Image0001.png")
    assert names(job.source.clip) == colour
    assert (job.source.folder, job.source.settings.frames) == ("render", 5)
    assert job.source.numbering == Numbering(((1, 5),))
    assert names(job_of(scene, folder / "Image0003_depth.png").source.clip) == depth


def test_what_a_folder_leaves_out_is_told(scene, tmp_path):
    folder = pictures(tmp_path / "render", ["a1.png", "a2.png", "cover.png"])
    request = asking.request_open(scene, folder, "", 0, 49, 1024)
    assert "a#.png (2 images) was used. Left out: cover.png (1);" in request.notes


def test_gaps_are_held_or_left_out_by_choice(scene, tmp_path):
    folder = pictures(tmp_path / "shot", [f"shot.{n}.png" for n in (1001, 1002, 1003, 1007, 1008)])
    held = job_of(scene, folder).source
    assert (held.settings.gaps, held.settings.frames, len(held.clip)) == ("hold", 8, 5)
    left = job_of(scene, folder, gaps="leave").source
    assert (left.settings.gaps, left.settings.frames, len(left.clip)) == ("leave", 5, 5)
    assert names(job_of(scene, folder, start=3, frames=4).source.clip) == ["shot.1003.png", "shot.1007.png"]


def test_of_more_pictures_than_a_job_may_have_only_the_range_is_sent(scene, tmp_path):
    count = JOB_FILES + 100
    files = [f"shot.{n:04d}.png" for n in range(count)]
    folder, depth = pictures(tmp_path / "long", files), pictures(tmp_path / "long_depth", files)
    job = job_of(scene, folder, frames=9, start=2000, step=3, depth=str(depth))
    wanted = [f"shot.{n:04d}.png" for n in range(2000, 2027, 3)]
    assert names(job.source.clip) == names(job.source.depth) == wanted
    assert job.source.numbering == Numbering(((0, count - 1),))
    assert len(encode(Submit(JOB_ID, job_hash(job), job))) < 5000


def test_a_file_whose_length_blender_cannot_tell_is_left_to_the_server(scene, tmp_path):
    for name, form in (("a.3gp", "3gp"), ("a.hevc", "hevc"), ("a", "mp4")):
        clip = movie(tmp_path / name, form)
        assert clip_info(clip).frames == 30
        assert job_of(scene, clip).source.settings.frames is None, "49, or all if there are fewer"
        assert job_of(scene, clip, frames=12).source.settings.frames == 12
    assert job_of(scene, movie(tmp_path / "a.mp4", "mp4")).source.settings.frames == 30


def test_a_tracked_camera_needs_a_clip_whose_length_blender_can_tell(scene, tmp_path):
    made = bpy.data.objects.new("Tracked", bpy.data.cameras.new("Tracked"))
    scene.collection.objects.link(made)
    scene.ex4d.tracked_camera, scene.ex4d.motion = made, "CAMERA"
    with pytest.raises(InputError, match=r"Blender cannot tell the length or the frame size of a\.3gp"):
        job_of(scene, movie(tmp_path / "a.3gp", "3gp"))


def test_steps_and_rates_are_asked_for_as_on_the_command_line(scene, tmp_path):
    clip = movie(tmp_path / "a.mp4", "mp4")
    settings = job_of(scene, clip, start=2, step=4).source.settings
    assert (settings.step, settings.frames, settings.fps) == (4, 7, None)
    at_another = job_of(scene, clip, fps="12").source.settings
    assert (at_another.fps, at_another.frames) == ("12", None)
    scene.render.fps = 25
    folder = pictures(tmp_path / "b", ["1.png", "2.png"])
    assert job_of(scene, folder).source.settings.fps == "25"
    assert job_of(scene, folder, fps="24000/1001").source.settings.fps == "24000/1001"


def test_takes_and_opening_again_keep_which_frames_are_used(scene, tmp_path):
    folder = pictures(tmp_path / "shot", [f"{n}.png" for n in range(1, 40) if n != 20])
    request = asking.request_open(scene, folder, "", 4, 13, 1024, 2, "12", "leave")
    prepared, job = shots.outcome(source.prepare(request))
    depth = shots.small_depth()
    shots.bring_in(prepared, shots.deliver(tmp_path / "job", depth, Fraction(6)))
    kept = json.loads(scene.ex4d.source)
    for name in source.PART:
        assert kept["settings"][name] == getattr(job.source.settings, name), name
    assert kept["numbering"] == {"runs": [[1, 19], [21, 39]], "step": 1}
    again = shots.outcome(source.prepare(asking.request_again(scene, False)))[1]
    assert (again.source.clip, again.source.numbering) == (job.source.clip, job.source.numbering)
    # A new clip opens at once, and its camera is searched for afterwards; opening it again includes the search.
    assert (job.source.settings.camera_motion, again.source.settings.camera_motion) == ("file", "auto")
    assert replace(again.source.settings, camera_motion="file") == job.source.settings


def test_the_file_dialog_shows_every_kind_that_the_command_line_lists(addon):
    shown = bpy.ops.ex4d.open_clip.get_rna_type().properties["filter_glob"].default
    assert shown.split(";") == [f"*{ending}" for ending in (*VIDEO_ENDINGS, *CLIP_ENDINGS)]
    assert len(shown) < bpy.types.FileSelectParams.bl_rna.properties["filter_glob"].length_max
    assert {"*.3gp", "*.hevc", "*.exr", "*.webp", "*.tif"} <= set(shown.split(";"))
    assert clip_operators.OpensClip.__annotations__.keys() >= {"step", "fps", "gaps"}
