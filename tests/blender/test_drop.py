"""Dropping files into a 3D View, as Blender passes them on, and File > Import."""

from fractions import Fraction
from types import SimpleNamespace

import bpy
import numpy as np
import pytest

from blender_addon.ui import menu
from blender_addon.work import requests, session, state
from ex4d.media.movie import write_movie

JOB = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def asked(monkeypatch, addon):
    """Requests of Open Clip, which are recorded but not carried out."""
    found = []
    monkeypatch.setattr(session.Session, "press", lambda self, request: found.append(request))
    return found


def drop(folder, *names):
    """Call the operator as the file handler does."""
    view = next(a for a in bpy.context.window_manager.windows[0].screen.areas if a.type == "VIEW_3D")
    with bpy.context.temp_override(window=bpy.context.window_manager.windows[0], area=view):
        kind = bpy.types.EX4D_FH_footage
        assert kind.poll_drop(bpy.context)
        group, name = kind.bl_import_operator.split(".")
        files = [{"name": name} for name in names]
        ended = getattr(getattr(bpy.ops, group), name)("INVOKE_DEFAULT", directory=str(folder) + "/", files=files)
        return ended, view.as_pointer()


def a_video(file):
    write_movie(file, np.full((5, 32, 48, 3), 90, np.uint8), Fraction(24))
    return file


def test_a_video_that_is_dropped_opens_and_the_view_it_fell_into_will_show_it(asked, tmp_path):
    a_video(tmp_path / "street.mp4")
    ended, view = drop(tmp_path, "street.mp4")
    assert ended == {"FINISHED"}
    (request,) = asked
    assert (request.clip, request.settings["frames"], request.viewport) == (str(tmp_path / "street.mp4"), 5, view)


def test_one_picture_of_a_sequence_opens_all_of_it(asked, tmp_path):
    for number in range(7):
        image = bpy.data.images.new("picture", 48, 32)
        image.filepath_raw, image.file_format = str(tmp_path / f"shot.{number:04d}.png"), "PNG"
        image.save()
    drop(tmp_path, "shot.0003.png")
    (request,) = asked
    assert request.settings["frames"] == 7


def test_two_clips_at_once_are_refused_with_what_to_do(asked, tmp_path):
    for name in ("one.mp4", "two.mp4"):
        a_video(tmp_path / name)
    with pytest.raises(RuntimeError, match="Drop one video, or images of one sequence"):
        drop(tmp_path, "one.mp4", "two.mp4")
    assert not asked


def test_a_drop_while_a_job_is_under_way_says_so(addon, tmp_path):
    a_video(tmp_path / "street.mp4")
    session.current().connect()
    session.current().dispatch(state.Reopened(requests.OpenRequest("Scene", "shot", "clip.mp4", "", "", {}), JOB))
    with pytest.raises(RuntimeError, match="EX-4D is busy: wait, or press Cancel, and drop the clip again"):
        drop(tmp_path, "street.mp4")
    assert session.current().state.busy
    session.current().dispatch(state.CancelPressed())


def test_only_3d_views_offer_it_for_videos_and_pictures(addon):
    kind = bpy.types.EX4D_FH_footage
    for area in (SimpleNamespace(type="SEQUENCE_EDITOR"), None):
        assert not kind.poll_drop(SimpleNamespace(area=area))
    endings = kind.bl_file_extensions.split(";")
    assert {".mp4", ".mov", ".mxf", ".png", ".exr", ".jpg"} <= set(endings)
    assert len(kind.bl_file_extensions) < 512, "Blender cuts it there"


def test_file_import_has_the_footage_and_opens_the_file_dialog(addon):
    drawn = []
    layout = SimpleNamespace(operator=lambda name, text: drawn.append((name, text)))
    for draw in bpy.types.TOPBAR_MT_file_import._dyn_ui_initialize():
        if draw is menu._draw_import:
            draw(SimpleNamespace(layout=layout), bpy.context)
    assert drawn == [("ex4d.open_clip", "Footage as EX-4D Shot")]
    assert layout.operator_context == "INVOKE_DEFAULT"
