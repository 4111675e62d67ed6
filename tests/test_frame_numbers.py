"""Frames in sentences: counted from 0 by the library, otherwise by a timeline."""

import pytest

from ex4d.frame_numbers import in_file, in_shot, renumbered


@pytest.mark.parametrize(("first", "shot"), [(1, "frame 8"), (101, "frame 108"), (0, "frame 7"), (-5, "frame 2")])
def test_frames_in_use_take_the_number_of_the_timeline_and_those_of_files_count_from_1(first, shot):
    sentence = f"In {in_shot(7)} it is dark; start at {in_file(39)} or before."
    assert sentence == "In frame 7 (from 0) it is dark; start at frame 39 (from 0 in the file) or before."
    assert renumbered(sentence, first) == f"In {shot} it is dark; start at frame 40 or before."


def test_a_sentence_that_begins_with_a_frame_begins_with_a_capital():
    told = renumbered(f"{in_shot(3)} is dark. {in_file(4)} is not, but {in_shot(5)} is.", 10)
    assert told == "Frame 13 is dark. Frame 5 is not, but frame 15 is."


def test_other_numbers_stay():
    for sentence in ("49 frames are open (from 0).", "The frame 7 is dark.", "keyframe 3 (from 0)"):
        assert renumbered(sentence, 101) == sentence
