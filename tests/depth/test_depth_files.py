"""Depth files of three kinds, brought to the clip's size and frames, repaired or refused."""

import io
import struct
import subprocess
import sys
import zipfile
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ex4d.depth.encoding import DepthEncoding, unit_of
from ex4d.depth.estimate import Estimate
from ex4d.depth.files import read_depth
from ex4d.depth.files.pictures import depth_channel
from ex4d.errors import InputError
from ex4d.geometry.depth_video import DepthVideo, load_depth_npz, save_depth
from ex4d.geometry.intrinsics import fit_frame
from ex4d.media.clip import Clip, read_clip
from ex4d.storage.names import beside

SHARED = Path(__file__).resolve().parents[3] / "shared" / "clips"
K = np.array([[50.0, 0, 32], [0, 50, 24], [0, 0, 1]])


def clip_of(
    frames: int = 3,
    width: int = 64,
    height: int = 48,
    *,
    longest_side=None,
    start: int = 0,
    source_frames: int = 0,
    step: int = 1,
) -> Clip:
    fit = fit_frame(width, height, longest_side)
    pictures = np.zeros((frames, fit.height, fit.width, 3), np.uint8)
    return Clip(pictures, Fraction(24), "a.mp4", start, fit, (), source_frames, step=step)


def scene(frames: int = 3, width: int = 64, height: int = 48) -> np.ndarray:
    """Depth in which every pixel differs from every other; too flat to look like disparity."""
    return (100 + np.arange(frames * height * width).reshape(frames, height, width) / 1000).astype(np.float32)


def npz(path: Path, **arrays) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.dtype(">f4")])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_npz_of_the_clips_size_is_taken_as_it_is(tmp_path, dtype, order, save):
    stored = np.asarray(scene(), dtype=dtype, order=order)
    save(tmp_path / "d.npz", depth=stored, intrinsics=K)
    depth = read_depth(tmp_path / "d.npz", clip_of())
    assert np.array_equal(depth.depth, stored.astype(np.float32))
    assert np.array_equal(depth.intrinsics, np.stack([K] * 3))
    assert depth.notes == ("The focal length comes from the depth file.",)


@pytest.mark.parametrize("packed", [False, True])
def test_what_was_saved_is_read_again(tmp_path, packed):
    distances = scene().astype(np.float16).astype(np.float32)  # kept by packing to the bit
    depth = DepthVideo(distances, np.stack([K, 2 * K + np.diag([0, 0, -1]), K]), "a model", ("Einheit: Meter·",))
    save_depth(tmp_path / "d.npz", depth, packed=packed)
    again = load_depth_npz(tmp_path / "d.npz")
    assert np.array_equal(again.depth, depth.depth)
    assert np.array_equal(again.intrinsics, depth.intrinsics)
    assert (again.provider, again.notes) == (depth.provider, depth.notes)
    read = read_depth(tmp_path / "d.npz", clip_of())
    assert np.array_equal(read.depth, depth.depth)
    assert np.array_equal(read.intrinsics, depth.intrinsics)
    assert read.provider == "a model"


def test_the_type_and_its_file_need_numpy_only(tmp_path):
    save_depth(tmp_path / "d.npz", DepthVideo(scene(), K, "x"))
    code = (
        "import sys; from pathlib import Path\n"
        "for name in ('av', 'cv2', 'OpenEXR', 'numba', 'zmq', 'torch'): sys.modules[name] = None\n"
        "from ex4d.geometry.depth_video import load_depth_npz; import ex4d.media.clip, ex4d.media.movie\n"
        f"print(load_depth_npz(Path({str(tmp_path / 'd.npz')!r})).depth.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(3, 48, 64)"


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (scene()[0], "shape"), (scene().astype(np.float64), "float32"), (-scene(), "above 0"),
        (np.full((1, 4, 4), np.nan, np.float32), "finite"), (np.full((1, 4, 4), np.inf, np.float32), "finite"),
        (np.zeros((0, 4, 4), np.float32), "shape"),
    ],
)  # fmt: skip
def test_the_type_refuses_what_is_not_depth(bad, words):
    with pytest.raises(InputError, match=words):
        DepthVideo(bad, K, "x")


def test_depth_of_the_whole_source_follows_the_clips_range(tmp_path):
    path = npz(
        tmp_path / "d.npz",
        depth=scene(10),
        intrinsics=np.stack([K * [[n + 1], [n + 1], [1]] for n in range(10)]),
    )
    depth = read_depth(path, clip_of(3, start=4, source_frames=10))
    assert np.array_equal(depth.depth, scene(10)[4:7])
    assert np.array_equal(depth.intrinsics[:, 0, 0], [250, 300, 350])


def test_depth_of_the_range_alone_fits_too(tmp_path):
    depth = read_depth(npz(tmp_path / "d.npz", depth=scene(3)), clip_of(3, start=4, source_frames=10))
    assert np.array_equal(depth.depth, scene(3))


def test_another_number_of_frames_names_both(tmp_path):
    with pytest.raises(InputError, match=r"has 5 frames, but a\.mp4 has 10, of which 3 are used"):
        read_depth(npz(tmp_path / "d.npz", depth=scene(5)), clip_of(3, start=4, source_frames=10))


@pytest.mark.parametrize(("width", "height", "longest"), [(201, 127, None), (1280, 720, 512), (64, 48, None)])
@pytest.mark.parametrize("factor", [0.5, 1, 2])
def test_depth_follows_the_fit_by_the_nearest_pixel_centre(tmp_path, width, height, longest, factor):
    clip = clip_of(1, width, height, longest_side=longest)
    w, h = round(width * factor), round(height * factor)
    stored = scene(1, w, h)
    got = read_depth(npz(tmp_path / "d.npz", depth=stored), clip).depth[0]
    fit = clip.fit
    assert np.isin(got, stored).all(), "no value is a mixture"
    number = np.rint((got.astype(np.float64) - 100) * 1000).astype(int)
    row, column = np.divmod(number, w)
    # The working pixel's centre in the stored picture, in its pixels.
    y = (np.arange(fit.height) + 0.5 + fit.top) * h / fit.scaled_height
    x = (np.arange(fit.width) + 0.5 + fit.left) * w / fit.scaled_width
    assert (np.abs(row + 0.5 - y[:, None]) <= 0.5 + 1e-9).all()
    assert (np.abs(column + 0.5 - x) <= 0.5 + 1e-9).all()


def test_another_aspect_names_both_sizes(tmp_path):
    with pytest.raises(InputError, match="is 48x48, which does not fit the clip's 64x48"):
        read_depth(npz(tmp_path / "d.npz", depth=scene(3, 48, 48)), clip_of())


def test_intrinsics_of_the_file_are_scaled_with_its_pixels(tmp_path):
    clip = clip_of(1, 1280, 720, longest_side=640)
    path = npz(tmp_path / "d.npz", depth=scene(1, 320, 180), intrinsics=[[250, 0, 160], [0, 250, 90], [0, 0, 1]])
    k = read_depth(path, clip).intrinsics[0]
    fit = clip.fit
    assert k[0, 0] == pytest.approx(250 / 320 * fit.scaled_width)
    assert k[1, 1] == pytest.approx(250 / 180 * fit.scaled_height)
    assert k[0, 2] == pytest.approx(fit.width / 2, abs=0.51)
    assert k[1, 2] == pytest.approx(fit.height / 2, abs=0.51)


def test_the_users_focal_length_comes_first_and_a_usual_lens_last(tmp_path):
    clip = clip_of(1, 1280, 720, longest_side=640)
    given_by_file = npz(tmp_path / "a.npz", depth=scene(1, 320, 180), intrinsics=K)
    depth = read_depth(given_by_file, clip, focal_px=1000)
    assert depth.intrinsics[0, 0, 0] == pytest.approx(1000 * clip.fit.scaled_width / 1280)
    assert "1000 px given" in depth.notes[-1]
    depth = read_depth(npz(tmp_path / "b.npz", depth=scene(1, 320, 180)), clip)
    focal = 500 / 512 * clip.fit.width  # the release's at the release's size, and the same field of view at any other
    np.testing.assert_allclose(
        depth.intrinsics[0], [[focal, 0, clip.fit.width / 2], [0, focal, clip.fit.height / 2], [0, 0, 1]]
    )
    assert "unknown" in depth.notes[-1]
    for wrong in (0, -3, float("nan"), 1e-9, 0.5, 1e12):
        with pytest.raises(InputError, match="focal length"):
            read_depth(given_by_file, clip, focal_px=wrong)


@pytest.mark.parametrize("wrong", [np.zeros((3, 3)), np.ones((2, 3, 3)), np.full((3, 3), np.nan), np.array("K")])
def test_wrong_intrinsics_of_the_file_are_named(tmp_path, wrong):
    with pytest.raises(InputError, match="intrinsics of the depth"):
        read_depth(npz(tmp_path / "d.npz", depth=scene(), intrinsics=wrong), clip_of())


@pytest.mark.parametrize("mark", [np.nan, -np.inf, 0, -1, 9e8])
def test_invalid_values_take_the_nearest_valid_one(tmp_path, mark):
    stored = np.full((3, 48, 64), 2, np.float32)
    stored[:, :, 32:] = 5
    stored[1, 10:20, 5:15] = mark  # inside the near side
    stored[1, 10:20, 50:64] = mark  # inside the far side
    depth = read_depth(npz(tmp_path / "d.npz", depth=stored), clip_of())
    assert (depth.depth[:, :, :32] == 2).all()
    assert (depth.depth[:, :, 32:] == 5).all()
    assert f"{100 * 240 / stored.size:.2f}% of the depth" in depth.notes[0]


def test_half_a_frame_is_repaired_and_more_is_refused(tmp_path):
    stored = scene()
    stored[1, 24:] = np.nan
    repaired = read_depth(npz(tmp_path / "a.npz", depth=stored), clip_of()).depth
    assert np.array_equal(repaired[1, 24:], np.broadcast_to(stored[1, 23], (24, 64)))
    stored[1, 23, 0] = 0
    with pytest.raises(InputError, match=r"50% of frame 1 \(from 0 in the file\) of the depth"):
        read_depth(npz(tmp_path / "b.npz", depth=stored), clip_of())
    stored[:] = np.nan
    with pytest.raises(InputError, match="100% of frame 0"):
        read_depth(npz(tmp_path / "c.npz", depth=stored), clip_of())


def pictures(folder: Path, count: int = 12) -> np.ndarray:
    folder.mkdir()
    millimetres = np.random.default_rng(0).integers(300, 60000, (count, 48, 64)).astype(np.uint16)
    for n, frame in enumerate(millimetres):
        cv2.imwrite(str(folder / f"d{n}.png"), frame)
    return millimetres


def test_16_bit_pictures_are_millimetres_in_natural_order(tmp_path):
    millimetres = pictures(tmp_path / "d")
    depth = read_depth(tmp_path / "d", clip_of(12))
    assert np.allclose(depth.depth, millimetres / 1000, rtol=1e-6)
    assert "millimetres" in depth.notes[0]


def test_pictures_that_are_not_depth_are_named(tmp_path):
    pictures(tmp_path / "d", 3)
    clip = clip_of(3)
    cut = (tmp_path / "d" / "d1.png").read_bytes()[:-2000]
    for content, words in [
        (
            cv2.imencode(".png", np.zeros((48, 64), np.uint8))[1].tobytes(),
            r"d1\.png is not 16-bit grey but 8-bit",
        ),
        (
            cv2.imencode(".png", np.zeros((48, 64, 3), np.uint16))[1].tobytes(),
            "not 16-bit grey but 16-bit colour",
        ),
        (
            cv2.imencode(".png", np.zeros((32, 64), np.uint16))[1].tobytes(),
            r"d1\.png is 64x32 while d0\.png is 64x48",
        ),
        (b"nothing", r"d1\.png is not a PNG"),
        (cut, r"d1\.png is damaged"),
    ]:
        (tmp_path / "d" / "d1.png").write_bytes(content)
        with pytest.raises(InputError, match=words):
            read_depth(tmp_path / "d", clip)


def test_a_picture_that_claims_a_huge_size_is_not_decoded(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    (tmp_path / "d.png").write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 100000, 100000, 16, 0, 0, 0, 0))
        + chunk(b"IEND", b"")
    )
    with pytest.raises(InputError, match="100000x100000"):
        read_depth(tmp_path, clip_of(1))


def exr(path: Path, **channels: np.ndarray) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {name.replace("__", "."): c for name, c in channels.items()}) as file:
        file.write(str(path))


@pytest.mark.parametrize(
    "name", ["Z", "V", "Y", "R", "depth__V", "ViewLayer__Depth__Z", "View Layer__Depth__Z", "distance"]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_exr_with_one_channel_is_read_whatever_its_name(tmp_path, name, dtype):
    stored = scene(3).astype(dtype)
    for n in range(3):
        exr(tmp_path / f"{n}.exr", **{name: np.ascontiguousarray(stored[n])})
    assert np.array_equal(read_depth(tmp_path, clip_of()).depth, stored.astype(np.float32))


def test_exr_with_colour_and_depth_gives_the_depth(tmp_path):
    grey = np.zeros((48, 64), np.float32)
    parts = {f"ViewLayer__Combined__{c}": grey for c in "RGBA"}
    exr(tmp_path / "0.exr", **parts, ViewLayer__Depth__Z=scene(1)[0])
    assert np.array_equal(read_depth(tmp_path, clip_of(1)).depth, scene(1))


def test_exr_without_a_clear_depth_lists_its_channels(tmp_path):
    grey = np.ones((48, 64), np.float32)
    exr(tmp_path / "0.exr", R=grey, G=grey, B=grey)
    with pytest.raises(InputError, match="channels B, G, R"):
        read_depth(tmp_path, clip_of(1))


def test_damaged_exr_is_named(tmp_path):
    exr(tmp_path / "0.exr", Z=np.random.default_rng(0).uniform(1, 9, (48, 64)).astype(np.float32))
    whole = (tmp_path / "0.exr").read_bytes()
    for content in (b"nothing", whole[:100], whole[: len(whole) // 2], b""):
        (tmp_path / "0.exr").write_bytes(content)
        with pytest.raises(InputError, match=r"0\.exr (cannot be read as EXR|is damaged)"):
            read_depth(tmp_path, clip_of(1))


@pytest.mark.parametrize("mark", [1e10, np.inf])  # Blender writes 1e10 where there is nothing
def test_an_empty_sky_stands_at_the_farthest_depth_even_where_it_fills_a_frame(tmp_path, mark):
    stored = np.full((3, 48, 64), 3, np.float32)
    stored[0, 20:] = 7
    stored[:, :10] = mark
    stored[2] = mark
    for number, frame in enumerate(stored):
        exr(tmp_path / f"{number}.exr", Z=frame)
    depth = read_depth(tmp_path, clip_of())
    assert (depth.depth[:, :10] == 7).all()
    assert (depth.depth[2] == 7).all()
    assert (depth.depth[1, 10:] == 3).all()
    assert "sky" in depth.notes[0]


def test_a_shot_of_nothing_but_sky_is_refused(tmp_path):
    with pytest.raises(InputError, match="nothing anywhere"):
        read_depth(npz(tmp_path / "d.npz", depth=np.full((3, 48, 64), np.inf, np.float32)), clip_of())


def test_folders_and_files_of_other_kinds_are_named(tmp_path):
    with pytest.raises(InputError, match="There is no depth file or folder"):
        read_depth(tmp_path / "none.npz", clip_of())
    with pytest.raises(InputError, match="must hold images of one kind"):
        read_depth(tmp_path, clip_of())
    (tmp_path / "d.mp4").write_bytes(b"video")
    with pytest.raises(InputError, match="is not a depth file"):
        read_depth(tmp_path / "d.mp4", clip_of())


def test_what_looks_like_inverse_depth_is_said(tmp_path):
    inverse = (scene().max() - scene()) / np.ptp(scene())
    depth = read_depth(npz(tmp_path / "d.npz", depth=inverse), clip_of())
    assert any("relative inverse depth" in note for note in depth.notes)


def test_npz_without_usable_depth_is_named(tmp_path):
    clip = clip_of()
    for arrays, words in [
        ({"z": scene()}, "has no `depth`, but z"),
        ({"depth": scene()[0]}, "shape"),
        ({"depth": scene() > 3}, "bool"),
        ({"depth": np.array(["far"] * 3)}, "must be numbers"),
        ({"depths": np.ones((3, 48, 64, 3))}, "colour images"),
        ({"depths": np.ones((3, 3, 48, 64))}, "colour images"),
        ({"depth": np.array([{"a": 1}], object)}, "cannot be read as"),
        ({"depth": np.zeros((3, 0, 64), np.float32)}, "shape"),
    ]:
        with pytest.raises(InputError, match=words):
            read_depth(npz(tmp_path / "d.npz", **arrays), clip)


def lying_npz(path: Path, shape: tuple[int, ...], data: bytes) -> Path:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("depth.npy", head.getvalue() + data)
    return path


def test_headers_that_claim_too_much_are_refused_before_anything_is_allocated(tmp_path):
    for shape in [(3, 10**8, 10**8), (10**15, 48, 64), (-1, 48, 64)]:
        with pytest.raises(InputError, match="cannot be read as"):
            read_depth(lying_npz(tmp_path / "d.npz", shape, bytes(100)), clip_of())


def test_a_bomb_of_zeros_is_refused_by_its_shape(tmp_path):
    shape = (1, 8192, 8192)
    path = lying_npz(tmp_path / "d.npz", shape, bytes(4 * 8192 * 8192))
    assert path.stat().st_size < 10**6
    with pytest.raises(InputError, match="8192x8192, which does not fit"):
        read_depth(path, clip_of(1))


def test_a_cut_or_changed_npz_never_gives_anything_but_a_sentence(tmp_path):
    whole = npz(tmp_path / "w.npz", depth=scene(), intrinsics=K).read_bytes()
    path = tmp_path / "d.npz"
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="cannot be read as"):
            read_depth(path, clip_of())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_give_depth_or_a_sentence(tmp_path, changes):
    file = io.BytesIO()
    np.savez_compressed(file, depth=scene(1, 16, 16), intrinsics=K)
    data = bytearray(file.getvalue())
    for where, value in changes:
        data[where % len(data)] = value
    (tmp_path / "d.npz").write_bytes(data)
    try:
        depth = read_depth(tmp_path / "d.npz", clip_of(1, 16, 16))
    except InputError:
        return
    assert depth.depth.shape == (1, 16, 16)


def test_the_depth_beside_a_clip_is_found_by_name(tmp_path):
    clip = tmp_path / "shot.v2.mp4"
    clip.write_bytes(b"")
    assert beside(clip) is None
    for name in ("shot.v2_depth", "shot.v2.depth"):
        (tmp_path / name).mkdir()
        assert beside(clip) == tmp_path / name
    for name in ("shot.v2_depth.npz", "shot.v2.depth.npz"):
        (tmp_path / name).write_bytes(b"")
        assert beside(clip) == tmp_path / name
    (tmp_path / "frames.d").mkdir()
    (tmp_path / "frames.d_depth").mkdir()
    assert beside(tmp_path / "frames.d") == tmp_path / "frames.d_depth"


def test_real_registered_colour_and_depth(tmp_path):
    if not SHARED.is_dir():
        pytest.skip("the real clips for tests are not on this machine")
    clip = read_clip(SHARED / "rgbd" / "color", start=1, frames=3)
    depth = read_depth(SHARED / "rgbd" / "depth", clip, focal_px=525)
    assert depth.depth.shape == (3, 480, 640)
    stored = cv2.imread(str(SHARED / "rgbd" / "depth" / "00002.png"), cv2.IMREAD_UNCHANGED)
    assert np.allclose(depth.depth[1][stored > 0], stored[stored > 0] / 1000, rtol=1e-6)
    assert 0.5 < depth.depth.min() < depth.depth.max() < 10


def test_a_real_picture_in_the_unit_of_its_makers(tmp_path):
    if not SHARED.is_dir():
        pytest.skip("the real clips for tests are not on this machine")
    stored = cv2.imread(str(SHARED / "rgbd" / "tum" / "TUM_depth.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(tmp_path / "0.png"), stored)
    depth = read_depth(tmp_path, clip_of(1, 640, 480), reading=DepthEncoding(unit=1 / 5000), focal_px=525).depth[0]
    assert np.allclose(depth[stored > 0], stored[stored > 0] / 5000)
    assert 0.4 < np.median(depth) < 5


def test_depth_of_every_picture_of_a_variable_rate_clip_follows_the_pictures_shown(tmp_path):
    shown = np.array([0, 0, 1, 3, 4])
    clip = replace(clip_of(5), source_frames=5, stored=shown, stored_pictures=6)
    stored = np.broadcast_to(np.arange(1, 7, dtype=np.float32)[:, None, None], (6, 48, 64))
    depth = read_depth(npz(tmp_path / "d.npz", depth=stored), clip)
    assert (depth.depth[:, 0, 0] == shown + 1).all()
    with pytest.raises(InputError, match=r"6 pictures at a variable rate.*as many frames of depth as one of these"):
        read_depth(npz(tmp_path / "e.npz", depth=stored[:4]), clip)


def test_depth_of_every_picture_follows_them_though_as_many_frames_are_used(tmp_path):
    shown = np.array([0, 0, 1, 1, 2])  # 5 frames of the 10 that 5 pictures make at twice their rate
    clip = replace(clip_of(5), source_frames=10, stored=shown, stored_pictures=5)
    stored = np.broadcast_to(np.arange(1, 6, dtype=np.float32)[:, None, None], (5, 48, 64))
    depth = read_depth(npz(tmp_path / "d.npz", depth=stored), clip)
    assert (depth.depth[:, 0, 0] == shown + 1).all()
    assert "d.npz has as many frames of depth as a.mp4 has images: each frame uses that" in " ".join(depth.notes)
    k = np.repeat(np.diag([60.0, 60.0, 1.0])[None], 5, 0)
    save_depth(tmp_path / "ours.npz", DepthVideo(stored.copy(), k, "a"))  # EX-4D writes depth for the frames used
    assert (read_depth(tmp_path / "ours.npz", clip).depth[:, 0, 0] == [1, 2, 3, 4, 5]).all()


# --- what the numbers mean ---


@pytest.mark.parametrize(("text", "unit"), [("m", 1), ("cm", 0.01), ("mm", 0.001), ("0.0002", 0.0002)])
def test_units_of_files_and_pictures(tmp_path, text, unit):
    assert unit_of(text) == unit
    pictures(tmp_path / "d", 3)
    whole = read_depth(tmp_path / "d", clip_of(), reading=DepthEncoding(unit=0.001))
    depth = read_depth(tmp_path / "d", clip_of(), reading=DepthEncoding(unit=unit_of(text)))
    assert np.allclose(depth.depth, whole.depth * (unit / 0.001), rtol=1e-6)
    assert not any("millimetres" in note for note in depth.notes)
    stored = npz(tmp_path / "d.npz", depth=scene())
    assert np.allclose(read_depth(stored, clip_of(), reading=DepthEncoding(unit=unit)).depth, scene() * unit, rtol=1e-6)


def test_the_sky_stays_sky_in_every_unit(tmp_path):
    stored = scene()
    stored[:, :9] = 1e10
    depth = read_depth(npz(tmp_path / "d.npz", depth=stored), clip_of(), reading=DepthEncoding(unit=0.001)).depth
    assert (depth[:, :9] == depth[:, 9:].max()).all()


def test_inverse_depth_is_turned_over_and_its_zero_is_sky(tmp_path):
    inverse = 1 / scene()
    inverse[0, 0, :5] = 0
    depth = read_depth(npz(tmp_path / "d.npz", depth=inverse), clip_of(), reading=DepthEncoding(convention="inverse"))
    seen = inverse > 0
    assert np.allclose(depth.depth[seen], scene()[seen], rtol=1e-6)
    assert (depth.depth[~seen] == depth.depth[seen].max()).all()
    in_centimetres = DepthEncoding(0.01, "inverse")
    assert np.allclose(
        read_depth(tmp_path / "d.npz", clip_of(), reading=in_centimetres).depth, depth.depth / 100, rtol=1e-6
    )


def test_relative_disparity_is_normalised_once_for_the_shot_as_released(tmp_path):
    disparity = np.stack([np.full((48, 64), value, np.float32) for value in (3, 5, 7)])
    disparity[1, :3] = np.nan
    depth = read_depth(
        npz(tmp_path / "d.npz", depth=disparity), clip_of(), reading=DepthEncoding(convention="disparity")
    )
    assert depth.depth[:, 9, 9] == pytest.approx([1e4, 10000 / 1950, 10000 / 3900])
    assert depth.depth[1, 0, 0] == pytest.approx(10000 / 1950)
    assert any("no unit" in note for note in depth.notes)
    assert depth.repaired == pytest.approx(1 / 48)
    with pytest.raises(InputError, match="the same everywhere"):
        read_depth(
            npz(tmp_path / "e.npz", depth=np.zeros((3, 48, 64), np.float32)),
            clip_of(),
            reading=DepthEncoding(convention="disparity"),
        )


def test_distances_along_the_rays_become_depth_by_the_lens(tmp_path):
    y, x = np.mgrid[:48, :64] + 0.5
    rays = np.sqrt(1 + ((x - 32) / 50) ** 2 + ((y - 24) / 50) ** 2)
    path = npz(tmp_path / "d.npz", depth=np.stack([7 * rays] * 3), intrinsics=K)
    depth = read_depth(path, clip_of(), reading=DepthEncoding(distance="ray"))
    assert np.allclose(depth.depth, 7, rtol=1e-6)  # a wall
    without = npz(tmp_path / "e.npz", depth=np.stack([7 * rays] * 3))
    with pytest.raises(InputError, match="without a lens: give the focal length"):
        read_depth(without, clip_of(), reading=DepthEncoding(distance="ray"))
    assert np.allclose(read_depth(without, clip_of(), reading=DepthEncoding(distance="ray"), focal_px=50).depth, 7)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"convention": "disparity", "unit": 0.001}, "has no unit"),
        ({"convention": "disparity", "distance": "ray"}, "along the rays"),
        ({"convention": "height"}, "'depth' or 'disparity' or 'inverse'"),
        ({"distance": "far"}, "'planar' or 'ray'"),
        ({"unit": 0.0}, "positive number"),
        ({"unit": float("nan")}, "positive number"),
    ],
)
def test_readings_that_do_not_go_together_are_refused(choice, words):
    with pytest.raises(InputError, match=words):
        DepthEncoding(**choice)


def test_readings_that_do_not_fit_the_file_are_refused(tmp_path):
    pictures(tmp_path / "d", 3)
    with pytest.raises(InputError, match="integers, whose unit is unknown"):
        read_depth(tmp_path / "d", clip_of(), reading=DepthEncoding(convention="inverse"))
    for path in (tmp_path / "d", npz(tmp_path / "d.npz", depth=scene())):
        with pytest.raises(InputError, match="has no channels"):
            read_depth(path, clip_of(), reading=DepthEncoding(channel="Z"))
    with pytest.raises(InputError, match="'foot' is not a unit"):
        unit_of("foot")


LAYERS = [f"ViewLayer.{name}" for name in ("Combined.R", "Combined.G", "Combined.B", "Combined.A")] + [
    f"ViewLayer.{name}" for name in ("Normal.X", "Normal.Y", "Normal.Z", "Vector.X", "Vector.Y", "Vector.Z", "Vector.W")
]


@pytest.mark.parametrize("name", ["ViewLayer.Depth.Z", "ViewLayer.Depth.V", "Depth.Z", "depth.V", "ViewLayer.Mist.Z"])
def test_the_depth_among_many_layers_is_found(name):
    assert depth_channel([*LAYERS, name], Path("a.exr")) == name


def test_the_depth_pass_comes_before_other_single_channels():
    names = [*LAYERS, "ViewLayer.Mist.Z", "ViewLayer.Depth.Z", "ViewLayer.Denoising Depth.Z"]
    assert depth_channel(names, Path("a.exr")) == "ViewLayer.Depth.Z"


def test_of_several_depths_one_has_to_be_named():
    names = [*LAYERS, "Front.Depth.Z", "Back.Depth.Z"]
    with pytest.raises(InputError, match=r"several channels that may be the depth \(Back\.Depth\.Z, Front\.Depth\.Z\)"):
        depth_channel(names, Path("a.exr"))
    assert depth_channel(names, Path("a.exr"), "Back.Depth.Z") == "Back.Depth.Z"
    assert depth_channel(["ViewLayer.Depth.Z", "ViewLayer.Mist.Z"], Path("a.exr"), "Mist.Z") == "ViewLayer.Mist.Z"
    with pytest.raises(InputError, match=r"several of which fit 'Depth\.Z'"):
        depth_channel(names, Path("a.exr"), "Depth.Z")
    with pytest.raises(InputError, match="none of which is 'Far'"):
        depth_channel(names, Path("a.exr"), "Far")


def test_layers_without_depth_are_listed():
    with pytest.raises(InputError, match="none of which is clearly the depth"):
        depth_channel(LAYERS, Path("a.exr"))


def test_a_picture_of_several_layers_is_read(tmp_path):
    grey = np.zeros((48, 64), np.float32)
    near, far = scene(1)[0], scene(1)[0] + 5
    layers = {name.replace(".", "__"): grey for name in LAYERS}
    exr(tmp_path / "0.exr", **layers, Front__Depth__Z=near, Back__Depth__Z=far)
    with pytest.raises(InputError, match="name one of them"):
        read_depth(tmp_path, clip_of(1))
    assert np.array_equal(read_depth(tmp_path, clip_of(1), reading=DepthEncoding(channel="Back.Depth.Z")).depth[0], far)
    with pytest.raises(InputError, match="not a distance"):
        read_depth(tmp_path, clip_of(1), reading=DepthEncoding(channel="Combined.R"))


def test_a_picture_of_several_parts_is_read(tmp_path):
    def part(name: str, **channels: np.ndarray) -> OpenEXR.Part:
        height, width = next(iter(channels.values())).shape
        header = {"name": name, "compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        header["displayWindow"] = (np.array([0, 0], np.int32), np.array([63, 47], np.int32))
        header["dataWindow"] = (np.array([0, 0], np.int32), np.array([width - 1, height - 1], np.int32))
        return OpenEXR.Part(header, channels)

    small = np.ones((4, 4), np.float32)
    pictures = {name: np.zeros((48, 64), np.float32) for name in "RGB"}
    parts = [
        part("ViewLayer.Combined", **pictures),
        part("ViewLayer.Depth", Z=scene(1)[0]),
        part("Thumbnail", Y=small, X=small),
    ]
    OpenEXR.File(parts).write(str(tmp_path / "0.exr"))
    assert np.array_equal(read_depth(tmp_path, clip_of(1)).depth, scene(1))
    with pytest.raises(InputError, match="another size"):
        read_depth(tmp_path, clip_of(1), reading=DepthEncoding(channel="Thumbnail.Y"))
    whole = (tmp_path / "0.exr").read_bytes()
    for length in (100, len(whole) // 2, len(whole) - 500):
        (tmp_path / "0.exr").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"0\.exr (cannot be read as EXR|is damaged)"):
            read_depth(tmp_path, clip_of(1))


def test_a_channel_of_whole_numbers_is_no_depth(tmp_path):
    exr(tmp_path / "0.exr", Z=np.ones((48, 64), np.uint32))
    with pytest.raises(InputError, match="integers"):
        read_depth(tmp_path, clip_of(1))


def test_the_guess_is_still_called_a_guess_when_it_is_read_from_a_file(tmp_path):
    save_depth(tmp_path / "d.npz", DepthVideo(scene(), K, "a guess", ("Guessed.",), 0.25, is_guess=True))
    loaded = load_depth_npz(tmp_path / "d.npz")
    assert (loaded.repaired, loaded.is_guess) == (0.25, True)
    read = read_depth(tmp_path / "d.npz", clip_of())
    assert read.is_guess
    assert "Guessed." in read.notes


@pytest.mark.parametrize("packed", [False, True])
def test_depth_that_tells_which_part_of_the_source_it_is_gives_any_frames_in_it(tmp_path, packed):
    """Like a shot's own file when fewer of its frames are requested."""
    stored = scene(9).astype(np.float16).astype(np.float32)
    made = Estimate(DepthVideo(stored, K, "some"), "metres", "free", np.ones_like(stored))
    made.save(tmp_path / "depth.npz", (10, 1, 40), packed=packed)
    with np.load(tmp_path / "depth.npz") as file:
        assert ("confidence" in file) != packed
    part = read_depth(tmp_path / "depth.npz", clip_of(4, start=12, source_frames=40))
    assert np.array_equal(part.depth, stored[2:6])
    with pytest.raises(InputError, match=r"begins at frame 10 .* 9 frames long, but 9 from frame 11"):
        read_depth(tmp_path / "depth.npz", clip_of(9, start=11, source_frames=40))
    every_third = clip_of(3, start=11, source_frames=40, step=3)
    assert np.array_equal(read_depth(tmp_path / "depth.npz", every_third).depth, stored[1:9:3])
    other = read_depth(tmp_path / "depth.npz", clip_of(9, start=0, source_frames=9))  # the clip is shorter now
    assert np.array_equal(other.depth, stored)


def test_packed_depth_that_is_damaged_or_too_large_is_told_as_any_other(tmp_path):
    save_depth(tmp_path / "d.npz", DepthVideo(scene(), K, "some"), packed=True)
    with np.load(tmp_path / "d.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "e.npz", **(arrays | {"packed_size": np.array([100_000, 100_000])}))
    with pytest.raises(InputError, match="claims a depth of 100000x100000 pixels"):
        read_depth(tmp_path / "e.npz", clip_of())
    np.savez(tmp_path / "e.npz", **(arrays | {"packed_depth": arrays["packed_depth"][::-1]}))
    with pytest.raises(InputError, match="damaged"):
        read_depth(tmp_path / "e.npz", clip_of())


def test_depth_of_every_second_frame_gives_those_and_refuses_the_others(tmp_path):
    stored = scene(9)
    Estimate(DepthVideo(stored, K, "some"), "metres", "free").save(tmp_path / "depth.npz", (10, 2, 40))
    part = read_depth(tmp_path / "depth.npz", clip_of(3, start=14, source_frames=40, step=2))
    assert np.array_equal(part.depth, stored[2:5])
    fourth = read_depth(tmp_path / "depth.npz", clip_of(3, start=14, source_frames=40, step=4))
    assert np.array_equal(fourth.depth, stored[2:8:2])
    said = r"9 frames long in steps of 2, but 3 from frame 15 \(from 0 in the file\) on in steps of 2 are used"
    with pytest.raises(InputError, match=said):
        read_depth(tmp_path / "depth.npz", clip_of(3, start=15, source_frames=40, step=2))
    with pytest.raises(InputError, match=r"but 3 from frame 14 \(from 0 in the file\) on are used"):
        read_depth(tmp_path / "depth.npz", clip_of(3, start=14, source_frames=40))
