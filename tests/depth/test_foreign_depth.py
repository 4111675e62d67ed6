"""Depth files as written by other tools: names, shapes, numbers, sizes, images and videos."""

import zipfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import OpenEXR
import planes
import pytest

from ex4d.depth.encoding import DepthEncoding
from ex4d.depth.estimate import ASSUMED_METRES, METRES, NO_UNIT, THE_FILES, UNKNOWN
from ex4d.depth.files import read_depth, read_estimate
from ex4d.errors import InputError
from ex4d.geometry.intrinsics import fit_frame
from ex4d.media.clip import Clip
from ex4d.storage.names import beside, maybe_depth_note

FRAMES, WIDTH, HEIGHT = 4, 160, 96
SWAPPED = "Near and far look swapped"
AS_DISPARITY = DepthEncoding(convention="disparity")


def clip_of(frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT, *, start: int = 0, total: int = 0) -> Clip:
    fit = fit_frame(width, height, None)
    return Clip(np.zeros((frames, fit.height, fit.width, 3), np.uint8), Fraction(24), "a.mp4", start, fit, (), total)


def street(frames: int = FRAMES, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Distances of a street, slightly nearer in every frame."""
    return np.concatenate([planes.room(width=width, height=height, end=60 - t) for t in range(frames)])


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def grey_video(path: Path, greys: np.ndarray, pixel_format: str = "yuv420p") -> Path:
    """Write grey values (T,H,W) from 0 to 1 as a nearly lossless H.264 or FFV1 video with 8 or 10 bits."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264" if pixel_format == "yuv420p" else "ffv1", rate=24)
        stream.height, stream.width = greys.shape[1:]
        stream.pix_fmt = pixel_format
        if pixel_format == "yuv420p":
            stream.options = {"crf": "1"}
        for grey in greys:
            sixteen = np.round(np.repeat(grey[..., None], 3, axis=-1) * 65535).astype(np.uint16)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(sixteen, format="rgb48le")))
        container.mux(stream.encode())
    return path


# --- names and shapes of arrays ---


@pytest.mark.parametrize("key", ["depth", "depths", "arr_0"])
@pytest.mark.parametrize("axis", [None, 1, 3])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_other_names_and_axes_are_distances(tmp_path, key, axis, order):
    stored = street() if axis is None else np.expand_dims(street(), axis)
    made = read_estimate(save(tmp_path / "d.npz", **{key: np.asarray(stored, order=order)}), clip_of())
    assert np.array_equal(made.depth.depth, street())
    assert made.scale_note == THE_FILES


@pytest.mark.parametrize("key", ["disparity", "disp"])
def test_an_array_that_is_called_disparity_is_read_as_such_and_says_so(tmp_path, key):
    made = read_estimate(save(tmp_path / "d.npz", **{key: planes.disparity(street())}), clip_of())
    assert planes.back(made.depth.depth, np.minimum(street(), 1e4)) < 0.01
    assert made.scale_note == NO_UNIT
    assert f"d.npz holds an array named {key}: it was read as relative disparity" in made.depth.notes[0]
    assert not made.caution


@pytest.mark.parametrize("axis", [None, 1, 3])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.dtype(">f8"), np.int32, np.uint16])
def test_npy_is_read_as_npz_is(tmp_path, axis, order, dtype):
    stored = np.round(100 * street()).astype(dtype)
    np.save(tmp_path / "d.npy", np.asarray(stored if axis is None else np.expand_dims(stored, axis), order=order))
    depth = read_depth(tmp_path / "d.npy", clip_of())
    assert np.array_equal(depth.depth, stored.astype(np.float32))


def test_part_of_an_npy_is_read_from_its_place(tmp_path):
    np.save(tmp_path / "d.npy", street(10))
    assert np.array_equal(read_depth(tmp_path / "d.npy", clip_of(3, start=5, total=10)).depth, street(10)[5:8])


def test_an_npy_that_lies_or_holds_objects_is_refused_before_anything_is_read(tmp_path):
    path = tmp_path / "d.npy"
    np.save(path, np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match=r"cannot be read as an \.npy array \(it holds Python objects"):
        read_depth(path, clip_of())
    for shape in [(4, 10**8, 10**8), (10**15, 96, 160)]:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
            file.write(bytes(100))
        with pytest.raises(InputError, match="does not hold the numbers that it announces"):
            read_depth(path, clip_of())
    np.save(path, street())
    whole = path.read_bytes()
    for length in (0, 5, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cannot be read as"):
            read_depth(path, clip_of())


def test_what_megasam_writes_is_read_with_its_lens(tmp_path):
    pictures = np.zeros((FRAMES, HEIGHT, WIDTH, 3), np.uint8)
    lens = np.array([[170.0, 0, 80], [0, 170, 48], [0, 0, 1]])
    poses = np.stack([np.eye(4)] * FRAMES)
    path = save(tmp_path / "a_sgd_cvd_hr.npz", images=pictures, depths=street(), intrinsic=lens, cam_c2w=poses)
    depth = read_depth(path, clip_of())
    assert np.array_equal(depth.depth, street())
    assert depth.intrinsics[0, 0, 0] == 170


def test_of_several_arrays_the_one_that_was_read_is_told(tmp_path):
    path = save(tmp_path / "d.npz", disparity=planes.disparity(street()), depth=street())
    depth = read_depth(path, clip_of())
    assert np.array_equal(depth.depth, street())
    assert "d.npz holds depth, disparity, of which depth was read." in depth.notes


def test_a_packed_folder_is_named_as_one(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr("00000.exr", b"")
    with pytest.raises(InputError, match="is a packed folder: unpack it"):
        read_depth(tmp_path / "d.zip", clip_of())


# --- numbers that are not what they seem ---


def test_disparity_in_the_depth_channel_of_exr_is_told_and_reads_well_as_what_it_is(tmp_path):
    stored = planes.disparity(street(), 22.6, 1.3)
    (tmp_path / "vda").mkdir()
    for number, frame in enumerate(stored):
        with OpenEXR.File(
            {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}, {"Z": frame}
        ) as file:
            file.write(str(tmp_path / "vda" / f"frame_{number:05d}.exr"))
    made = read_estimate(tmp_path / "vda", clip_of())
    assert made.depth.notes[0].startswith(f"{SWAPPED}: the numbers in vda grow towards the camera")
    assert "read it as relative disparity" in made.caution
    told = read_estimate(tmp_path / "vda", clip_of(), reading=AS_DISPARITY)
    assert planes.back(told.depth.depth, street()) < 0.01
    assert not told.caution
    assert not any(SWAPPED in note for note in told.depth.notes)


def test_true_distances_are_not_doubted_and_what_was_said_is_not_either(tmp_path):
    path = save(tmp_path / "d.npz", depth=street())
    assert not read_estimate(path, clip_of()).caution
    turned = save(tmp_path / "e.npz", depth=1 / street())
    assert SWAPPED in read_estimate(turned, clip_of()).caution
    assert not read_estimate(turned, clip_of(), reading=DepthEncoding(convention="depth")).caution


def test_the_warning_stays_with_the_depth_in_its_file_and_is_said_once(tmp_path):
    made = read_estimate(save(tmp_path / "d.npz", depth=1 / street()), clip_of())
    made.save(tmp_path / "kept.npz")
    again = read_estimate(tmp_path / "kept.npz", clip_of())
    assert again.caution == made.caution
    assert [note for note in again.depth.notes if SWAPPED in note] == [made.caution]


def write_pictures(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir()
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:03d}.png"), frame)
    return folder


def test_16_bit_pictures_of_the_whole_range_are_not_called_millimetres(tmp_path):
    stretched = np.round(planes.disparity(street()[:, 8:], 65535)).astype(np.uint16)  # near and far at the very start
    made = read_estimate(write_pictures(tmp_path / "a", stretched), clip_of(height=88), focal_px=160)
    assert SWAPPED in made.caution
    assert made.scale_note == UNKNOWN
    assert "millimetres" not in " ".join(made.depth.notes)
    # Without a floor, nothing distinguishes near from far except the range.
    levels = np.linspace(0, 65535, FRAMES * HEIGHT * WIDTH).reshape(FRAMES, HEIGHT, WIDTH).astype(np.uint16)
    shuffled = np.random.default_rng(0).permuted(levels, axis=None).reshape(levels.shape)
    made = read_estimate(write_pictures(tmp_path / "b", shuffled), clip_of())
    assert "span the whole range of 16 bits" in made.caution
    assert made.scale_note == UNKNOWN
    said = read_estimate(tmp_path / "b", clip_of(), reading=DepthEncoding(unit=0.001))
    assert (said.scale_note, said.caution) == (METRES, "")
    said = read_estimate(tmp_path / "b", clip_of(), reading=DepthEncoding(convention="depth"))
    assert (said.scale_note, said.caution) == (UNKNOWN, "")
    assert "The numbers in b span the whole range of 16 bits: their unit is unknown." in said.depth.notes


def test_16_bit_millimetres_are_taken_for_such_and_it_is_said_that_nobody_said_so(tmp_path):
    millimetres = np.round(1000 * np.minimum(street(), 65)).astype(np.uint16)
    made = read_estimate(write_pictures(tmp_path / "a", millimetres), clip_of())
    assert np.allclose(made.depth.depth, millimetres / 1000)
    assert made.scale_note == ASSUMED_METRES
    assert not made.caution
    assert "The 16-bit depth in a was read as millimetres, although nothing in it says so." in made.depth.notes


# --- pictures and videos of 8 and 10 bits ---


@pytest.mark.parametrize("channels", [1, 3])
def test_8_bit_pictures_are_relative_disparity_in_coarse_steps(tmp_path, channels):
    grey = np.round(planes.disparity(street(), 255)).astype(np.uint8)
    stored = grey if channels == 1 else np.repeat(grey[..., None], 3, axis=-1)
    made = read_estimate(write_pictures(tmp_path / "a", stored), clip_of())
    near = street() < 10
    assert planes.back(made.depth.depth[near], street()[near]) < 0.03
    assert made.scale_note == NO_UNIT
    assert "a holds 8-bit PNG: it was read as relative disparity" in made.depth.notes[0]
    levels = len(np.unique(grey))
    assert (
        f"a distinguishes near from far in only {levels} levels, so distant things appear in steps." in made.depth.notes
    )
    assert not made.caution


def test_numbers_of_8_bits_are_relative_too(tmp_path):
    grey = np.round(planes.disparity(street(), 255)).astype(np.uint8)
    made = read_estimate(save(tmp_path / "d.npz", depth=grey), clip_of())
    assert "d.npz holds 8-bit numbers" in made.depth.notes[0]
    near = street() < 10
    assert planes.back(made.depth.depth[near], street()[near]) < 0.03


def test_8_bits_can_be_distances_where_somebody_says_so(tmp_path):
    decimetres = np.round(10 * np.minimum(street(), 25)).astype(np.uint8)
    folder = write_pictures(tmp_path / "a", decimetres)
    warned = read_estimate(folder, clip_of())
    assert "what is light in a seems to be far, and was read as near" in warned.caution
    assert "read it as distances" in warned.caution
    made = read_estimate(folder, clip_of(), reading=DepthEncoding(unit=0.1))
    assert np.allclose(made.depth.depth, decimetres / 10)
    assert made.scale_note == METRES
    unknown = read_estimate(folder, clip_of(), reading=DepthEncoding(convention="depth"))
    assert np.allclose(unknown.depth.depth, decimetres)
    assert unknown.scale_note == UNKNOWN


@pytest.mark.parametrize(("pixel_format", "worst", "white"), [("yuv420p", 0.08, 219), ("gray10le", 0.005, 1023)])
def test_grey_video_is_relative_disparity_of_as_many_levels_as_it_has(tmp_path, pixel_format, worst, white):
    name = "d.mp4" if pixel_format == "yuv420p" else "d.mkv"
    path = grey_video(tmp_path / name, planes.disparity(street()), pixel_format)
    made = read_estimate(path, clip_of())
    near = street() < 10
    assert planes.back(made.depth.depth[near], street()[near]) < worst
    assert f"{name} holds a grey video: it was read as relative disparity" in made.depth.notes[0]
    (steps,) = [note for note in made.depth.notes if "levels, so distant" in note]
    levels = int(steps.split(" levels, so distant")[0].split()[-1])
    written = len(np.unique(np.round(white * planes.disparity(street()))))
    assert 0.95 * written <= levels <= (1.05 * written if white == 1023 else 256)  # H.264 adds some at edges


def test_white_of_a_video_is_255_where_it_holds_distances(tmp_path):
    path = grey_video(tmp_path / "d.mkv", np.minimum(street(), 25.5) / 25.5, "gray10le")
    depth = read_depth(path, clip_of(), reading=DepthEncoding(unit=0.1))
    assert np.allclose(depth.depth, np.minimum(street(), 25.5), rtol=0.006)


def test_a_colour_map_is_refused_by_name(tmp_path):
    grey = np.round(planes.disparity(street(), 255)).astype(np.uint8)
    mapped = np.stack([cv2.applyColorMap(frame, cv2.COLORMAP_INFERNO) for frame in grey])
    with pytest.raises(InputError, match=r"000\.png is in colour, such as a colour map"):
        read_depth(write_pictures(tmp_path / "a", mapped), clip_of())
    with av.open(str(tmp_path / "vis.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for frame in mapped:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode())
    with pytest.raises(InputError, match=r"vis\.mp4 is in colour"):
        read_depth(tmp_path / "vis.mp4", clip_of())


# --- frames, sizes, sky ---


def test_more_frames_than_the_range_are_counted_from_the_clips_first(tmp_path):
    path = save(tmp_path / "d.npz", depth=street(12))
    depth = read_depth(path, clip_of(4, start=3, total=100))
    assert np.array_equal(depth.depth, street(12)[3:7])
    assert "d.npz has 12 frames of depth and a.mp4 100: they are counted from the clip's first frame." in depth.notes
    with pytest.raises(InputError, match=r"has 12 frames, but a\.mp4 has 100, of which 4 are used"):
        read_depth(path, clip_of(4, start=9, total=100))
    halved = read_depth(path, clip_of(4, start=3, total=24))
    assert any("one frame in 2, create it again for all" in note for note in halved.notes)


@pytest.mark.parametrize(
    ("clip_size", "stored"),
    [((128, 54), (128, 64)), ((1920, 1080), (1036, 588)), ((854, 480), (896, 512)), ((1280, 720), (518, 294))],
)
def test_sizes_that_a_tool_has_rounded_are_stretched_back(tmp_path, clip_size, stored):
    clip = clip_of(1, *clip_size)
    whole = planes.room(width=clip_size[0], height=clip_size[1])[0]
    squeezed = cv2.resize(whole, stored, interpolation=cv2.INTER_NEAREST)
    focal = clip_size[0] * stored[0] / clip_size[0]
    k = [[focal, 0, stored[0] / 2], [0, clip_size[0] * stored[1] / clip_size[1], stored[1] / 2], [0, 0, 1]]
    depth = read_depth(save(tmp_path / "d.npz", depth=squeezed[None], intrinsics=k), clip)
    fit = clip.fit
    cropped = cv2.resize(whole, (fit.scaled_width, fit.scaled_height), interpolation=cv2.INTER_NEAREST)
    cropped = cropped[fit.top : fit.top + fit.height, fit.left : fit.left + fit.width]
    # The ground of every row is where it belongs, within the row lost to rounding.
    assert np.median(np.abs(depth.depth[0] / cropped - 1)) < 0.02
    assert depth.intrinsics[0, 0, 0] == pytest.approx(depth.intrinsics[0, 1, 1], rel=0.01)
    exact = abs(stored[1] - stored[0] * clip_size[1] / clip_size[0]) <= max(1, 0.01 * stored[1])
    assert exact == (not any("stretched back" in note for note in depth.notes))


def test_another_picture_is_not_stretched(tmp_path):
    for size in ((96, 96), (128, 128), (160, 64)):
        with pytest.raises(InputError, match="does not fit the clip's 160x96"):
            read_depth(save(tmp_path / "d.npz", depth=street(4, *size)), clip_of())


@pytest.mark.parametrize("mark", [np.nan, 0, -1])
def test_a_large_invalid_area_at_the_top_is_sky(tmp_path, mark):
    stored = street()
    stored[:, :20] = mark
    stored[2:, :80] = mark  # more than half of a frame, as when a camera looks up
    stored[1, 50:54, 20:24] = mark
    depth = read_depth(save(tmp_path / "d.npz", depth=stored), clip_of())
    farthest = np.nanmax(stored)
    assert (depth.depth[:, :20] == farthest).all()
    assert (depth.depth[2:, :80] == farthest).all()
    assert depth.depth[1, 51, 21] == pytest.approx(street()[1, 51, 21], rel=0.2)
    assert any("is empty sky, for which a large invalid area at the upper edge was taken" in n for n in depth.notes)
    assert depth.repaired == pytest.approx(16 / stored.size)


def test_a_single_frame_without_most_of_its_depth_is_damaged_and_shows_no_sky(tmp_path):
    stored = street()
    stored[2, :80] = 0
    with pytest.raises(InputError, match=r"83% of frame 2 \(from 0 in the file\) of the depth"):
        read_depth(save(tmp_path / "d.npz", depth=stored), clip_of())


def test_disparity_without_a_sky_has_it_at_the_farthest(tmp_path):
    stored = planes.disparity(street(), 1, 0.5)
    stored[:, :20] = np.nan
    depth = read_depth(save(tmp_path / "d.npz", disparity=stored), clip_of())
    assert (depth.depth[:, :20] == depth.depth.max()).all()


def test_holes_at_the_ceiling_of_a_room_are_no_sky(tmp_path):
    room = planes.room(floor=1.5, ceiling=1.5, walls=2, end=4, width=WIDTH, height=HEIGHT)
    millimetres = np.round(1000 * np.repeat(room, FRAMES, axis=0)).astype(np.uint16)
    millimetres[:, :20] = 0
    depth = read_depth(write_pictures(tmp_path / "a", millimetres), clip_of())
    assert np.array_equal(depth.depth[:, :20], np.repeat(depth.depth[:, 20:21], 20, axis=1))
    assert not any("sky" in note for note in depth.notes)


# --- depth next to a clip ---


NAMES = [
    "c.depth.npz", "c_depth.npz", "c.depth.npy", "c_depth.npy", "c_depths.npz", "c_sgd_cvd_hr.npz",
    "c.depth/", "c_depth/", "c_depths/", "c_depths_exr/",
    "c_depth.mp4", "c_depth.mov", "c_depth.mkv", "c.depth.mp4", "c_depths.mp4",
]  # fmt: skip


def test_depth_beside_a_clip_is_found_by_the_names_that_tools_give_it(tmp_path):
    (tmp_path / "c.mp4").write_bytes(b"")
    for name in reversed(NAMES):  # each takes precedence over those already there
        path = tmp_path / name.rstrip("/")
        path.mkdir() if name.endswith("/") else path.write_bytes(b"")
        assert beside(tmp_path / "c.mp4") == path


def test_what_may_be_depth_beside_a_clip_is_named(tmp_path):
    clip = tmp_path / "c.mp4"
    clip.write_bytes(b"")
    assert maybe_depth_note(clip) == ""
    for other in ("c_depth.json", "c_depth_views.mp4", "cat_depth.mp4", "c_disparate.txt"):
        (tmp_path / other).write_bytes(b"")
    assert maybe_depth_note(clip) == ""
    (tmp_path / "c-Depth.MP4").write_bytes(b"")
    (tmp_path / "c_disp").mkdir()
    (tmp_path / "c.npz").write_bytes(b"")
    assert beside(clip) is None
    assert maybe_depth_note(clip) == (
        "c-Depth.MP4, c.npz, c_disp beside c.mp4 may be its depth: if so, name it as the depth file."
    )


def test_depth_of_a_turned_clip_in_the_stored_orientation_is_refused_with_what_to_do(tmp_path):
    upright = save(tmp_path / "d.npz", depth=street().transpose(0, 2, 1))
    with pytest.raises(InputError, match=r"96x160 and lies on its side: the clip is shown as 160x96.*Rotate the depth"):
        read_depth(upright, clip_of())


def test_one_picture_stands_for_its_sequence_and_for_itself_where_the_clip_is_one_picture(tmp_path):
    millimetres = np.round(1000 * np.minimum(street(), 65)).astype(np.uint16)
    folder = write_pictures(tmp_path / "a", millimetres)
    assert np.allclose(read_depth(folder / "002.png", clip_of()).depth, millimetres / 1000)
    alone = read_depth(folder / "002.png", replace(clip_of(1), source_frames=1))
    assert np.allclose(alone.depth, millimetres[2:3] / 1000)


def test_depth_in_one_folder_with_the_clips_pictures_is_told_from_them_by_its_name(tmp_path):
    millimetres = np.round(1000 * np.minimum(street(), 65)).astype(np.uint16)
    folder = tmp_path / "render"
    folder.mkdir()
    for number, depth in enumerate(millimetres, 1):
        cv2.imwrite(str(folder / f"Image{number:04d}.png"), np.full((HEIGHT, WIDTH, 3), [0, 90, 200], np.uint8))
        cv2.imwrite(str(folder / f"Image{number:04d}_depth.png"), depth)
    for chosen in (folder, folder / "Image0001_depth.png"):
        assert np.allclose(read_depth(chosen, clip_of()).depth, millimetres / 1000)
    for number, depth in enumerate(millimetres, 1):
        cv2.imwrite(str(folder / f"right_depth.{number}.png"), depth + 1000)
    with pytest.raises(InputError, match=r"several sequences, .*Image####_depth.png.*: choose an image of the one"):
        read_depth(folder, clip_of())
    assert np.allclose(read_depth(folder / "right_depth.3.png", clip_of()).depth, millimetres / 1000 + 1)
