"""Which pose belongs to which frame, which lens to which picture, and where a path is placed."""

from fractions import Fraction

import numpy as np
import pytest
from test_formats import HEIGHT, WIDTH, lens, turn, walk

from ex4d.cameras import fitting
from ex4d.cameras.fitting import ClipFrames
from ex4d.cameras.track import CameraTrack, Lens
from ex4d.errors import InputError
from ex4d.geometry import transforms
from ex4d.geometry.intrinsics import fit_frame


def at(track: CameraTrack, clip: ClipFrames, path: bool = False):
    found, notes = (fitting.path_track if path else fitting.source_track)(track, clip, "a.chan")
    return found.camera_to_world, " ".join(notes)


def numbered(*numbers: int) -> CameraTrack:
    """Poses of a steady walk along x with a steady turn, so that the pose between any two is known."""
    poses = np.repeat(np.eye(4)[None], len(numbers), 0)
    for pose, number in zip(poses, numbers, strict=True):
        pose[:3, :3], pose[0, 3] = turn("y", 2 * number), number
    return CameraTrack("Nuke .chan", poses, frames=np.array(numbers))


def test_missing_frames_are_filled_evenly_and_that_is_said():
    found, said = at(numbered(1, 2, 5, 6, 9), ClipFrames(9, whole=9))
    assert np.abs(found - numbered(*range(1, 10)).camera_to_world).max() < 1e-12
    assert "4 of 9 frames have no pose" in said


def test_frames_that_have_a_pose_keep_it_to_the_bit():
    track = CameraTrack("COLMAP", walk(3), frames=np.array([1, 2, 4]))
    found, _said = at(track, ClipFrames(4, whole=4))
    assert np.array_equal(found[[0, 1, 3]], walk(3))


@pytest.mark.parametrize("first", [0, 1, 1001])
def test_a_range_of_the_clip_takes_its_own_part_of_all_frames(first):
    track = numbered(*(number for number in range(first, first + 20) if number != first + 12))
    found, said = at(track, ClipFrames(5, start=10, whole=20))
    assert found[:, 0, 3] == pytest.approx(np.arange(first + 10, first + 15))
    assert f"19 poses for the frames {first} to {first + 19}; those from {first + 10} to {first + 14}" in said


def test_poses_missing_at_an_end_are_refused_with_all_numbers():
    with pytest.raises(
        InputError, match=r"8 poses for the frames 3 to 12.*has 20 frames, of which 20 are used.*that have a pose"
    ):
        at(numbered(3, 4, 5, 7, 8, 9, 10, 12), ClipFrames(20, whole=20))


def test_of_a_longer_path_the_first_frames_are_taken_with_its_gaps_filled():
    found, said = at(numbered(*range(1001, 1020, 2), *range(1020, 1100)), ClipFrames(9, start=3, whole=30), path=True)
    assert found[:, 0, 3] == pytest.approx(np.arange(1001, 1010))
    assert "90 poses for the frames 1001 to 1099; those from 1001 to 1009 were used" in said
    assert "4 of 9 frames have no pose" in said


def test_every_second_frame_is_taken_in_order_where_the_count_fits():
    found, said = at(numbered(1, 3, 5, 7), ClipFrames(4, whole=30))
    assert (found[:, 0, 3].tolist(), said) == ([1, 3, 5, 7], "")


def test_too_few_and_too_many_poses_are_told_with_both_numbers():
    track = CameraTrack("KITTI", walk(7))
    with pytest.raises(InputError, match="7 poses, but the clip has 30 frames, of which 9 are used"):
        at(track, ClipFrames(9, whole=30))
    with pytest.raises(InputError, match=r"7 poses but the clip has 9 frames.*use 7 frames"):
        at(track, ClipFrames(9, whole=30), path=True)
    with pytest.raises(InputError, match="7 poses, but the clip has 30 frames, of which 5 are used"):
        at(track, ClipFrames(5, whole=30))
    found, said = at(track, ClipFrames(5, whole=30), path=True)
    assert np.array_equal(found, walk(7)[:5])
    assert "7 poses; the first 5 were used" in said


def test_times_are_followed_at_the_clips_rate_where_the_count_does_not_fit():
    times = 1305031102.0 + np.arange(31) / 30  # epoch seconds, like TUM's own
    poses = np.repeat(np.eye(4)[None], 31, 0)
    poses[:, 0, 3] = np.arange(31) / 30
    track = CameraTrack("TUM", poses, times=times)
    found, said = at(track, ClipFrames(9, start=2, whole=24, rate=Fraction(24)))
    assert found[:, 0, 3] == pytest.approx((2 + np.arange(9)) / 24, abs=1e-6)
    assert "31 poses over 1 s for 9 frames" in said
    with pytest.raises(InputError, match=r"31 poses over 1 s, but the frames of the clip reach to 1.62 s"):
        at(track, ClipFrames(40, whole=40, rate=Fraction(24)))
    same, said = at(track, ClipFrames(31, whole=31, rate=Fraction(24)))
    assert np.array_equal(same, poses)  # in order, whatever the times
    assert said == ""


def test_a_lens_that_changes_is_followed_between_frames():
    track = CameraTrack("COLMAP", walk(2), lens(2, changes=True), frames=np.array([1, 3]))
    found, _notes = fitting.source_track(track, ClipFrames(3, whole=3), "a")
    assert found.lens.intrinsics[:, 0, 0].tolist() == [500, 501.5, 503]


def test_a_lens_for_the_whole_picture_fits_the_working_size_as_the_clip_does():
    k = np.array([[[1500, 0, 973.0], [0, 1500, 530], [0, 0, 1]]])
    fit = fit_frame(1920, 1080, 1024)
    found, notes = Lens(k, "pixels", (1920, 1080)).in_pixels(fit.width, fit.height)
    assert np.abs(found - fit.apply_to_intrinsics(k)).max() < 0.5  # sizes are integers there
    assert found[0, 0, 0] == found[0, 1, 1]
    assert notes == ()


def test_a_lens_for_another_shape_keeps_its_horizontal_field_of_view_and_that_is_said():
    k, notes = lens(1).in_pixels(480, 480)
    assert k[0] == pytest.approx(np.array([[375, 0, 240], [0, 375, 240], [0, 0, 1]]))
    assert "640x360, a different shape from 480x480" in notes[0]


def test_a_path_without_a_lens_has_the_clips_and_that_is_said():
    k = np.repeat(np.diag([700.0, 700, 1])[None], 3, 0)
    path = fitting.with_lens(CameraTrack("TUM", walk(3)), walk(3), k, WIDTH, HEIGHT)
    assert np.array_equal(path.intrinsics, k)
    assert "has no lens" in path.notes[0]


def test_a_path_stands_where_it_says_or_on_the_source_view_or_in_the_world_of_the_source_camera():
    track = CameraTrack("Nuke .chan", walk(4))
    assert np.array_equal(fitting.placed(track), walk(4))
    scaled = fitting.placed(track, 2.0, "first")
    assert scaled[0] == pytest.approx(np.eye(4))
    wanted = transforms.inverse(walk(4)[0]) @ walk(4)[3]
    assert np.abs(scaled[3, :3, :3] - wanted[:3, :3]).max() < 1e-12
    assert scaled[3, :3, 3] == pytest.approx(2 * wanted[:3, 3])
    # A source camera at `there` in the same scene, with distances half as long as the depth's.
    there = walk(9)[8]
    from_file = np.diag([2.0, 2, 2, 1]) @ transforms.inverse(there)
    found = fitting.placed(track, world="source_camera", source_world=from_file)
    wanted = transforms.inverse(there) @ walk(4)
    wanted[:, :3, 3] *= 2
    assert np.abs(found - wanted).max() < 1e-12
    with pytest.raises(InputError, match="but there is no such file: give it"):
        fitting.placed(track, world="source_camera")


def test_every_second_frame_takes_every_second_pose_by_count_by_number_and_by_time():
    clip = ClipFrames(5, start=4, step=2, whole=20, rate=Fraction(24))
    whole = numbered(*range(20))
    assert at(whole, clip)[0][:, 0, 3] == pytest.approx([4, 6, 8, 10, 12])
    gaps = numbered(*(number for number in range(1001, 1021) if number != 1008))
    assert at(gaps, clip)[0][:, 0, 3] == pytest.approx([1005, 1007, 1009, 1011, 1013])
    poses = np.repeat(np.eye(4)[None], 31, 0)
    poses[:, 0, 3] = np.arange(31) / 30
    timed = CameraTrack("TUM", poses, times=np.arange(31) / 30)
    assert at(timed, clip)[0][:, 0, 3] == pytest.approx(np.array([4, 6, 8, 10, 12]) / 24)


def test_poses_of_pictures_follow_them_at_another_rate_whatever_number_of_frames_is_used():
    shown = np.arange(10) // 2  # 10 of the 20 frames that 10 pictures make at twice their rate
    clip = ClipFrames(10, whole=20, stored=shown, stored_pictures=10)
    found, said = at(numbered(*range(1001, 1011)), clip)
    assert found[:, 0, 3] == pytest.approx(1001 + shown)
    assert "as many poses as the clip has images" in said
    assert at(numbered(*range(1001, 1011)), clip, path=True)[0][:, 0, 3] == pytest.approx(np.arange(1001, 1011))
    recorded = CameraTrack(".npz", numbered(*range(10)).camera_to_world)  # by Blender, one for each frame used
    found, said = at(recorded, clip)
    assert found[:, 0, 3] == pytest.approx(np.arange(10))
    assert "matched in order" in said
    gaps = numbered(*(number for number in range(1001, 1011) if number != 1003))
    for used in (9, 10):  # even if as many frames are used as there are poses
        clip = ClipFrames(used, whole=20, stored=shown[:used], stored_pictures=10)
        for path in (False, True):
            assert at(gaps, clip, path)[0][:, 0, 3] == pytest.approx(1001 + shown[:used])


def test_poses_of_missing_pictures_are_left_out_with_them():
    places = np.array([0, 1, 2, 6, 7, 8])
    clip = ClipFrames(4, start=1, whole=6, stored=np.arange(1, 5), stored_pictures=6, places=places)
    for numbers in (range(1001, 1010), [number for number in range(1001, 1010) if number != 1005]):
        assert at(numbered(*numbers), clip)[0][:, 0, 3] == pytest.approx([1002, 1003, 1007, 1008])
