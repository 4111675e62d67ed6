"""Which pictures are a sequence, by their names alone."""

from pathlib import Path

import pytest

from ex4d.errors import InputError
from ex4d.plain import PlainError, from_plain, to_plain
from ex4d.storage.sequence import Numbering, clip_at, is_sequence, sequence_at


def folder_of(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def names(path: Path) -> list[str]:
    return [file.name for file in sequence_at(path).files]


def test_the_name_of_the_chosen_picture_picks_its_sequence(tmp_path):
    colour, depth = ([f"Image{n:04d}{end}.png" for n in (1, 2, 3)] for end in ("", "_depth"))
    folder = folder_of(tmp_path / "render", *colour, *depth)
    assert names(folder / colour[1]) == colour
    assert names(folder / depth[1]) == depth
    assert sequence_at(folder / depth[1]).pattern == "Image####_depth.png"


def test_a_folder_stands_for_its_colour_and_says_what_it_leaves_out(tmp_path):
    depth = [f"depth{n:03d}.exr" for n in range(9)]
    folder = folder_of(tmp_path / "render", "a001.png", "a002.png", *depth, "cover.jpg")
    found = sequence_at(folder)
    assert [file.name for file in found.files] == ["a001.png", "a002.png"]
    (said,) = found.notes
    assert "a###.png (2 images) was used" in said
    assert "Left out: cover.jpg (1) and depth###.exr (9);" in said
    assert clip_at(folder / "a002.png") == folder
    assert clip_at(folder / depth[0]) == folder / depth[0]


def test_of_two_versions_with_the_same_frames_one_is_taken(tmp_path):
    both = [f"shot_v{v}.{n}.png" for v in (1, 2) for n in range(1001, 1005)]
    folder = folder_of(tmp_path / "shot", *both)
    assert names(folder) == both[:4]
    assert names(folder / "shot_v2.1003.png") == both[4:]
    assert sequence_at(folder / both[4]).pattern == "shot_v2.####.png"


def test_a_resolution_in_the_name_is_no_frame_number(tmp_path):
    folder = folder_of(tmp_path / "a", *[f"take{n:02d}_1080p.png" for n in (1, 2, 4)])
    assert sequence_at(folder).numbering == Numbering(((1, 2), (4, 4)))


def test_names_without_anything_in_common_follow_each_other(tmp_path):
    folder = folder_of(tmp_path / "a", "one.png", "two.jpg", "three.png")
    assert names(folder) == ["one.png", "three.png", "two.jpg"]
    assert names(folder / "two.jpg") == ["two.jpg"]


def test_time_stamps_are_no_frame_numbers(tmp_path):
    tum = folder_of(tmp_path / "tum", "1305031102.175304.png", "1305031102.211214.png", "1305031103.175304.png")
    assert sequence_at(tum).numbering.pictures == len(names(tum)) == 3
    assert sequence_at(tum).numbering.shown("hold").tolist() == [0, 1, 2]
    euroc = folder_of(
        tmp_path / "euroc", "1403636579763555584.png", "1403636579813555456.png", "1403636579863555588.png"
    )
    assert sequence_at(euroc).numbering.shown("hold").tolist() == [0, 1, 2]
    assert "more gaps than images" in sequence_at(euroc).notes[0]


def test_gaps_are_held_or_left_out_and_told(tmp_path):
    present = [*range(1001, 1004), *range(1007, 1013)]
    numbering = sequence_at(folder_of(tmp_path / "a", *[f"s.{n}.exr" for n in present])).numbering
    assert numbering == Numbering(((1001, 1003), (1007, 1012)))
    assert numbering.shown("hold").tolist() == [0, 1, 2, 2, 2, 2, 3, 4, 5, 6, 7, 8]
    assert numbering.shown("leave").tolist() == list(range(9))
    (held,) = numbering.notes("s", "hold")
    assert "Missing from s: 1004 to 1006." in held
    assert "9 images make 12 frames" in held
    (left,) = numbering.notes("s", "leave")
    assert "9 frames instead of 12" in left


def test_a_sequence_numbered_in_steps_has_no_gaps_but_the_real_ones(tmp_path):
    folder = folder_of(tmp_path / "a", *[f"{n:04d}.png" for n in (1, 3, 5, 9)])
    numbering = sequence_at(folder).numbering
    assert numbering == Numbering(((1, 5), (9, 9)), 2)
    assert numbering.shown("hold").tolist() == [0, 1, 2, 2, 3]
    steps, gap = numbering.notes("a", "hold")
    assert "in steps of 2" in steps
    assert "Missing from a: 7." in gap


def test_a_folder_without_pictures_and_a_file_that_is_none_are_named(tmp_path):
    with pytest.raises(InputError, match="holds no PNG, JPEG, TIFF, WebP or EXR images"):
        sequence_at(tmp_path)
    (tmp_path / "a.mp4").touch()
    assert not is_sequence(tmp_path / "a.mp4")
    assert clip_at(tmp_path / "a.mp4") == tmp_path / "a.mp4"


def test_numbers_travel_and_wrong_ones_are_refused():
    numbering = Numbering(((1, 5), (9, 9)), 2)
    assert from_plain(Numbering, to_plain(numbering)) == numbering
    for runs, step in (
        ([], 1),
        ([[3, 1]], 1),
        ([[1, 2], [2, 3]], 1),
        ([[1, 4]], 2),
        ([[1]], 1),
        ([[0, 10**15]], 1),
        ([[1, 2]], 0),
    ):
        with pytest.raises(PlainError):
            from_plain(Numbering, {"runs": runs, "step": step})


def test_depth_and_masks_beside_pictures_named_by_words_are_no_frames(tmp_path):
    still = folder_of(tmp_path / "still", "photo.png", "photo_depth.png")
    assert names(still) == ["photo.png"]
    assert sequence_at(still).notes == (
        "still also holds other images: photo.png (1 image) was used. Left out: photo_depth.png (1); to use"
        " others, choose one of them instead of the folder.",
    )
    album = folder_of(tmp_path / "album", "one.png", "one_mask.png", "two.png")
    assert names(album) == ["one.png", "two.png"]
    assert "album (2 images) was used. Left out: one_mask.png (1)" in sequence_at(album).notes[0]
    assert names(folder_of(tmp_path / "only", "near_mask.png", "far_mask.png")) == ["far_mask.png", "near_mask.png"]
