"""Videos of a dataset are found in folders, lists and tables."""

import pytest
from films import folder_of

from ex4d.errors import InputError
from ex4d.training.sources import videos


def empty(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


def test_a_folder_gives_its_videos_in_natural_order_with_those_below(tmp_path):
    for name in ("clip_10.mp4", "clip_9.mov", "b/clip_1.mkv", "notes.doc", ".hidden.mp4", ".trash/x.mp4"):
        empty(tmp_path / name)
    (tmp_path / "clip_9.txt").write_text("A dog\n runs.\n")
    found = videos(tmp_path)
    names = [video.path.relative_to(tmp_path).as_posix() for video in found]
    assert names == ["b/clip_1.mkv", "clip_9.mov", "clip_10.mp4"]
    assert {video.path.name: video.caption for video in found}["clip_9.mov"] == "A dog runs."


def test_a_list_gives_its_lines_in_their_order(tmp_path):
    (tmp_path / "list.txt").write_text("# mine\nb/two.mp4\n\none.mp4\n")
    assert [video.path for video in videos(tmp_path / "list.txt")] == [tmp_path / "b/two.mp4", tmp_path / "one.mp4"]


def test_openvids_table_gives_captions_and_finds_videos_in_the_folders_of_its_archives(tmp_path):
    empty(tmp_path / "OpenVid_part0/celebv_abc_0.mp4")
    empty(tmp_path / "beside.mp4")
    (tmp_path / "OpenVid-1M.csv").write_text(
        "video,caption,aesthetic score,motion score,temporal consistency score,camera motion,frame,fps,seconds\n"
        'celebv_abc_0.mp4,"In the video, a man\nspeaks, and laughs.",5.1,3.2,0.99,static,120,24.0,5.0\n'
        "beside.mp4,A street.,5.0,1.0,0.9,pan_left,98,30,3.2\n"
        "gone.mp4,A lake.,5.0,1.0,0.9,pan_left,98,30,3.2\n"
    )
    said: list[str] = []
    found = videos(tmp_path / "OpenVid-1M.csv", said.append)
    assert [(video.path, video.caption) for video in found] == [
        (tmp_path / "OpenVid_part0/celebv_abc_0.mp4", "In the video, a man speaks, and laughs."),
        (tmp_path / "beside.mp4", "A street."),
    ]
    assert said == ["1 of the 3 videos in OpenVid-1M.csv are not in its folder or below."]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.txt", b"\n# nothing\n", "no video in"),
        ("table.csv", b"name,caption\na,b\n", "no column 'video', but name, caption"),
        ("lost.csv", b"video,caption\ngone.mp4,b\n", "no video in"),
        ("table.csv", b"video,caption\n\xff\xfe\x00\xd8,b\n", "cannot be read as a table"),
        ("list.txt", b"\xff\xfe\x00\xd8", "is not text in UTF-8"),
    ],
)
def test_a_source_without_videos_says_what_is_wrong(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        videos(tmp_path / name)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no folder, list or table of videos .*films"):
        videos(tmp_path / "films")


def test_a_table_names_nothing_outside_of_its_folder(tmp_path):
    outside, inside = empty(tmp_path / "secret.mp4"), empty(tmp_path / "set/b/film.mp4")
    (tmp_path / "set/table.csv").write_text(f"video\n../secret.mp4\n{outside}\nb/../b/film.mp4\n")
    assert [video.path for video in videos(tmp_path / "set/table.csv")] == [inside]


def test_a_text_that_is_too_long_for_a_name_is_a_video_that_is_not_there(tmp_path):
    folder_of(tmp_path, 1, 2)
    (tmp_path / "table.csv").write_text("video\n" + "x" * 300 + "\nfilm_0.mp4\n", "utf-8")
    said = []
    assert [video.path.name for video in videos(tmp_path / "table.csv", said.append)] == ["film_0.mp4"]
    assert said == ["1 of the 2 videos in table.csv are not in its folder or below."]
