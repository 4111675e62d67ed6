"""A contact sheet numbers frames like Blender."""

from ex4d.render.contact_sheet import heading


def test_a_column_is_headed_by_its_frame_counted_from_1():
    assert heading(0, 0.2) == "frame 1, 0 degrees"
    assert heading(48, 59.6) == "frame 49, 60 degrees"
