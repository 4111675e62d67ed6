"""What names of files say."""

from pathlib import Path

import pytest

from ex4d.storage.names import beside, clip_name, natural_order, words_in


def test_other_digits_in_names_are_letters():
    names = ["\u00b21.png", "\u06631.png", "a10.png", "a1.png", "1.png", "10.png", "9.png", "a\u00b2.png"]
    ordered = sorted(map(Path, names), key=natural_order)
    assert [path.name for path in ordered][:5] == ["1.png", "9.png", "10.png", "a1.png", "a10.png"]


def test_the_dot_in_the_name_of_a_folder_begins_no_ending(tmp_path):
    (tmp_path / "cam.v1").mkdir()
    assert clip_name(tmp_path / "cam.v1") == "cam.v1"
    assert clip_name(tmp_path / "cam.v1.mp4") == "cam.v1"


@pytest.mark.parametrize("named", [".", "inner/.."])
def test_depth_is_found_beside_the_working_folder(tmp_path, monkeypatch, named):
    (tmp_path / "walk" / "inner").mkdir(parents=True)
    (tmp_path / "walk.depth.npz").touch()
    monkeypatch.chdir(tmp_path / "walk")
    assert beside(Path(named)) == tmp_path / "walk.depth.npz"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("IMG_2034", ""),
        ("old-town_walk v03", "old town walk"),
        ("OldTownWalk", "old town walk"),
        ("NYC street 4k 24fps final_v2", "nyc street"),
        ("Kölner Dom-Vorplatz", "kölner dom vorplatz"),
        ("日本_01", "日本"),
        ("forest path.0001-0240", "forest path"),
        ("IMG 2034 kitchen", "kitchen"),
        ("WhatsApp Video 2024-01-01 at 12.30.11", ""),
        ("sh010_comp_v003", ""),
        ("GH010123", ""),
        ("a_b", ""),
        ("", ""),
    ],
)
def test_the_name_of_a_clip_says_what_it_shows_or_nothing(name, words):
    assert words_in(name) == words
