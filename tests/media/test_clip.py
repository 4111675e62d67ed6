"""Reading clips: the kinds of files that users bring, made here with PyAV or taken from real clips."""

import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ex4d.errors import Cancelled, InputError
from ex4d.geometry.intrinsics import fit_frame
from ex4d.media import clip as clip_module
from ex4d.media.clip import clip_info, read_clip
from ex4d.media.movie import read_movie

SHARED = Path(__file__).resolve().parents[3] / "shared" / "clips"


@pytest.fixture
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real clips for tests are not on this machine")
    return SHARED


def level(number: int) -> int:
    """The grey level of frame `number` in `numbered` clips."""
    return 20 + 5 * number


def numbered(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Frames whose grey level gives their number."""
    return [np.full((height, width, 3), level(n), np.uint8) for n in range(count)]


def numbers(frames: np.ndarray) -> list[int]:
    return [round((float(f.mean()) - 20) / 5) for f in frames]


def encode(
    path: Path,
    frames: list[np.ndarray],
    *,
    fps: Fraction = Fraction(30000, 1001),
    pts: list[int] | None = None,
    time_base: Fraction | None = None,
    pix_fmt: str = "yuv420p",
    codec: str = "libx264",
    matrix: int = 1,
    colour_range: int = 1,
    aspect: Fraction | None = None,
    sound: bool = False,
    gop: int = 12,
    movflags: str = "",
) -> Path:
    """Write a video file with this matrix and colour range, tagged accordingly (0: BT.709, untagged)."""
    sws = {1: 1, 5: 5, 6: 5, 0: 1}[matrix]
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.options = {"crf": "8"} if codec == "libx264" else {}
        context = stream.codec_context
        context.gop_size = gop
        if time_base:
            context.time_base = time_base
        if matrix:
            context.colorspace, context.color_range = matrix, colour_range
        if aspect:
            context.sample_aspect_ratio = aspect
        tone = container.add_stream("aac", rate=48000, layout="mono") if sound else None
        for n, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
                format=pix_fmt, dst_colorspace=sws, dst_color_range=colour_range
            )
            picture.pts = pts[n] if pts else n
            picture.time_base = time_base or 1 / fps
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if tone:
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
            samples.rate = 48000
            container.mux(tone.encode(samples))
            container.mux(tone.encode())
    return path


def rotate_clockwise_tag(path: Path) -> None:
    """Write "turn a quarter clockwise for display" into the track header's matrix, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of other fields
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def test_frames_come_in_order_with_their_rate_and_range(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered(40))
    clip = read_clip(path, start=7, frames=20)
    assert numbers(clip.frames) == list(range(7, 27))
    assert (clip.fps, clip.start, clip.source, clip.source_frames) == (Fraction(30000, 1001), 7, "a.mp4", 40)
    assert clip.notes == ()
    info = clip_info(path)
    assert (info.width, info.height, info.frames, info.variable) == (64, 48, 40, False)
    assert clip_info(path).frames == 40


@pytest.mark.parametrize("ending", [".mkv", ".avi", ".webm", ".mov", ".ts"])
@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(25)])
def test_other_containers_are_read_at_their_exact_rate(tmp_path, ending, fps):
    codec = "libvpx" if ending == ".webm" else "libx264"
    path = encode(tmp_path / f"a{ending}", numbered(30), fps=fps, codec=codec)
    clip = read_clip(path, start=20, frames=None)
    assert clip.fps == fps
    assert numbers(clip.frames) == list(range(20, 30))
    assert not clip_info(path).variable


def test_a_start_deep_in_the_clip_gives_the_same_frames_as_reading_from_the_beginning(tmp_path):
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(40)]
    path = encode(tmp_path / "a.mp4", frames, gop=7)
    whole = read_clip(path, frames=None)
    for start in (1, 6, 7, 8, 20, 39):
        assert np.array_equal(read_clip(path, start=start, frames=1).frames[0], whole.frames[start])


def test_a_size_that_fits_already_is_not_resampled(tmp_path):
    rng = np.random.default_rng(2)
    frame = rng.integers(0, 255, (48, 64, 3), np.uint8)
    (tmp_path / "p").mkdir()
    cv2.imwrite(str(tmp_path / "p" / "1.png"), frame[..., ::-1])
    assert np.array_equal(read_clip(tmp_path / "p", frames=None).frames[0], frame)


def test_odd_sizes_are_cropped_about_the_centre_without_squeezing(tmp_path):
    folder = tmp_path / "p"
    folder.mkdir()
    picture = np.zeros((127, 201, 3), np.uint8)
    cv2.circle(picture, (100, 63), 40, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.imwrite(str(folder / "1.png"), picture)
    clip = read_clip(folder, frames=None)
    assert clip.frames.shape == (1, 112, 192, 3)
    inside = clip.frames[0, ..., 0] > 127
    (h, w), fit = inside.shape, clip.fit
    rows, columns = np.nonzero(inside)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 1, "the circle stayed round"
    assert abs(rows.mean() + 0.5 - h / 2) < 1
    assert abs(columns.mean() + 0.5 - w / 2) < 1
    k = fit.apply_to_intrinsics(np.array([[100, 0, 100.5], [0, 100, 63.5], [0, 0, 1]]))
    assert abs(k[0, 2] - (columns.mean() + 0.5)) < 0.6, "the fit says where the picture's centre went"
    assert abs(k[1, 2] - (rows.mean() + 0.5)) < 0.6


@given(st.integers(16, 5000), st.integers(16, 5000), st.sampled_from([None, 512, 1024]))
def test_a_fit_covers_the_working_size_and_keeps_the_aspect(width, height, longest_side):
    try:
        fit = fit_frame(width, height, longest_side)
    except InputError:
        assert min(width, height) * (longest_side or 10**9) < 16 * max(width, height) + 16
        return
    assert fit.width % 16 == fit.height % 16 == 0
    assert max(fit.width, fit.height) <= (longest_side or 10**9)
    assert 0 <= fit.left <= fit.scaled_width - fit.width
    assert 0 <= fit.top <= fit.scaled_height - fit.height
    scale_x, scale_y = fit.scaled_width / width, fit.scaled_height / height
    assert abs(scale_x - scale_y) * max(width, height) * min(1, scale_x) <= 1.01 * max(width, height) / min(
        width, height
    )


def test_a_rotation_tag_is_applied(tmp_path):
    stored = np.zeros((48, 80, 3), np.uint8)
    stored[:, :40] = (200, 30, 30)  # left half red; turned clockwise, it is on top
    path = encode(tmp_path / "a.mp4", [stored] * 3)
    rotate_clockwise_tag(path)
    assert (clip_info(path).width, clip_info(path).height) == (48, 80)
    frame = read_clip(path, frames=3).frames[0]
    assert frame.shape == (80, 48, 3)
    assert frame[10, 24, 0] > 150
    assert frame[70, 24, 0] < 50


def test_anamorphic_pixels_become_square(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered(3, height=48, width=48), aspect=Fraction(4, 3))
    clip = read_clip(path, frames=3)
    assert (clip_info(path).width, clip_info(path).height) == (64, 48)
    assert clip.frames.shape == (3, 48, 64, 3)
    assert clip.fit.source_width == 64


def test_a_variable_rate_shows_what_is_on_screen_and_says_so(tmp_path):
    pts = [0, 1, 2, 3, 8, 9, 10, 15, 16, 17]  # thirtieths of a second
    path = encode(tmp_path / "a.mp4", numbered(10), fps=Fraction(30), pts=pts, time_base=Fraction(1, 30))
    clip = read_clip(path, frames=None)
    assert clip.fps == 30
    assert numbers(clip.frames) == [0, 1, 2, 3, 3, 3, 3, 3, 4, 5, 6, 6, 6, 6, 6, 7, 8, 9]
    assert "variable frame rate" in clip.notes[0]
    assert clip_info(path).variable
    assert clip_info(path).frames == 18
    assert numbers(read_clip(path, start=6, frames=6).frames) == [3, 3, 4, 5, 6, 6]


def test_time_stamps_that_only_jitter_are_a_constant_rate(tmp_path):
    jitter = [0, 3, -4, 2, 0, -3, 5, 0, 1, -2]
    pts = [1000 * n // 30 + j for n, j in enumerate(jitter)]
    path = encode(tmp_path / "a.mkv", numbered(10), fps=Fraction(30), pts=pts, time_base=Fraction(1, 1000))
    clip = read_clip(path, frames=None)
    assert (clip.fps, numbers(clip.frames), clip.notes) == (30, list(range(10)), ())


def test_sound_is_left_out(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered(12), sound=True)
    assert numbers(read_clip(path, frames=None).frames) == list(range(12))


COLOURS = np.array(
    [
        [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255],
        [255, 255, 255], [0, 0, 0], [128, 128, 128], [37, 90, 200],
    ],
    np.uint8,
)  # fmt: skip


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le", "yuv444p"])
@pytest.mark.parametrize(("matrix", "colour_range"), [(1, 1), (1, 2), (6, 1), (6, 2)])
def test_matrix_and_range_that_the_file_names_are_honoured(tmp_path, pix_fmt, matrix, colour_range):
    frame = np.repeat(COLOURS, 32, axis=0)[None].repeat(64, axis=0)
    path = encode(tmp_path / "a.mp4", [frame] * 3, pix_fmt=pix_fmt, matrix=matrix, colour_range=colour_range)
    got = read_clip(path, frames=1).frames[0, 32, 16::32].astype(int)
    assert np.abs(got - COLOURS).max() <= 3


def test_luma_follows_bt709_and_not_the_converter_that_wrote_it(tmp_path):
    red = np.full((64, 64, 3), (255, 0, 0), np.uint8)
    path = encode(tmp_path / "a.mp4", [red] * 3)
    with av.open(str(path)) as container:
        y = next(container.decode(video=0)).to_ndarray()[32, 32]
    assert abs(int(y) - round(16 + 219 * 0.2126)) <= 1, "the test's own clip is BT.709"
    assert np.abs(read_clip(path, frames=1).frames[0, 32, 32].astype(int) - (255, 0, 0)).max() <= 3


def test_untagged_high_definition_is_taken_for_bt709(tmp_path):
    frame = np.repeat(COLOURS, 128, axis=0)[None].repeat(720, axis=0)
    path = encode(tmp_path / "a.mp4", [frame], matrix=0)
    got = read_clip(path, frames=1, longest_side=None).frames[0, 360, 64::128].astype(int)
    assert np.abs(got - COLOURS).max() <= 3


def test_one_frame_works_when_one_is_asked_for_and_names_the_count_otherwise(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered(1))
    assert len(read_clip(path, frames=None).frames) == len(read_clip(path, frames=1).frames) == 1
    assert clip_info(path).fps == Fraction(30000, 1001)
    with pytest.raises(InputError, match=r"has 1 frames.*49 asked for.*at most 1"):
        read_clip(path)


def test_a_start_beyond_the_end_names_the_count(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered(5))
    with pytest.raises(InputError, match=r"has 5 frames: start at frame 4 \(from 0 in the file\) or before"):
        read_clip(path, start=5, frames=None)
    with pytest.raises(InputError, match="at most 2"):
        read_clip(path, start=3, frames=3)
    for wrong in ({"start": -1}, {"frames": 0}):
        with pytest.raises(InputError, match="at least 1"):
            read_clip(path, **wrong)


def test_a_video_cut_before_its_index_is_refused(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered(30))
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(InputError, match="damaged, truncated, or not a video"):
        read_clip(path, frames=1)


def cut_in_the_middle(tmp_path: Path) -> Path:
    noise = np.random.default_rng(3).integers(-20, 20, (48, 64, 3), np.int16)
    frames = [(frame + noise).astype(np.uint8) for frame in numbered(30)]
    path = encode(tmp_path / "a.mp4", frames, gop=6, movflags="+faststart")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def test_a_video_cut_in_the_middle_gives_what_is_there_when_all_is_asked_for(tmp_path):
    clip = read_clip(cut_in_the_middle(tmp_path), frames=None)
    assert 8 <= len(clip.frames) <= 14, "not quite half, since the end of a cut file has gaps"
    assert any("truncated" in note and f"{len(clip.frames)} of 30" in note for note in clip.notes)


def test_a_video_cut_in_the_middle_is_refused_when_more_is_asked_for_than_is_there(tmp_path):
    path = cut_in_the_middle(tmp_path)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    assert any(a.pts > b.pts for a, b in pairwise(packets)), "pictures out of order"
    there = len(read_clip(path, frames=None).frames)
    with pytest.raises(InputError, match=f"{there}.*ask for at most"):
        read_clip(path, frames=30)
    assert len(read_clip(path, frames=5).frames) == 5


def test_damage_inside_a_video_repeats_the_frame_before_and_says_so(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered(30), gop=1)
    with av.open(str(path)) as container:
        where = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for pos, size in where[10:12]:
        data[pos : pos + size] = bytes(size)
    path.write_bytes(data)
    clip = read_clip(path, frames=30)
    assert numbers(clip.frames) == [*range(10), 9, 9, *range(12, 30)]
    assert "2 damaged frames" in clip.notes[0]


@pytest.mark.parametrize("content", [b"", b"not a video at all\n" * 50, b"#EXTM3U\n#EXTINF:1,\na.ts\n", b"\x00" * 5000])
@pytest.mark.parametrize("ending", [".mp4", ".txt", ".m3u8", ".png"])
def test_what_is_not_a_video_is_refused(tmp_path, content, ending):
    path = tmp_path / f"a{ending}"
    path.write_bytes(content)
    refused = "cannot be read as PNG" if ending == ".png" else "not a video"
    with pytest.raises(InputError, match=refused):
        read_clip(path)


def test_a_playlist_does_not_open_other_files(tmp_path):
    encode(tmp_path / "b.ts", numbered(5))
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nb.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "a.ffconcat").write_text("ffconcat version 1.0\nfile b.ts\n")
    for name in ("a.m3u8", "a.ffconcat"):
        with pytest.raises(InputError, match="not a video"):
            read_clip(tmp_path / name)


def test_sound_alone_and_missing_files_are_named(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w") as container:
        tone = container.add_stream("aac", rate=48000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 48000), np.float32), format="fltp", layout="mono")
        samples.rate = 48000
        container.mux(tone.encode(samples))
        container.mux(tone.encode())
    with pytest.raises(InputError, match="no video stream"):
        read_clip(tmp_path / "a.m4a")
    with pytest.raises(InputError, match=r"There is no .*none\.mp4"):
        read_clip(tmp_path / "none.mp4")


def test_a_range_too_large_for_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", numbered(20))
    monkeypatch.setattr(clip_module, "LIMIT_BYTES", 19 * 64 * 48 * 3)
    with pytest.raises(InputError, match="fewer frames or a smaller longest side"):
        read_clip(path, frames=20)
    assert len(read_clip(path, frames=19).frames) == 19


def test_progress_is_told_after_each_frame_and_can_stop_the_work(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered(6))
    seen = []
    read_clip(path, frames=6, progress=lambda stage, step, steps, picture=None: seen.append((step, steps)))
    assert seen == [(n, 6) for n in range(1, 7)]

    def stop(stage: str, step: int, steps: int) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        read_clip(path, frames=6, progress=stop)


def test_an_image_folder_is_read_in_natural_order_without_transparency(tmp_path):
    folder = tmp_path / "frames 100%d"
    folder.mkdir()
    for n, frame in enumerate(numbered(12)):
        rgba = np.dstack([frame, np.full(frame.shape[:2], 100, np.uint8)])
        cv2.imwrite(str(folder / f"f{n}.png"), rgba)
    (folder / "readme.txt").write_text("not a picture")
    (folder / "._f0.png").write_bytes(b"left by macOS")
    clip = read_clip(folder, frames=None)
    assert numbers(clip.frames) == list(range(12))
    assert (clip.fps, clip.source) == (24, "frames 100%d")
    assert read_clip(folder, start=2, frames=3, fps=Fraction(24000, 1001)).fps == Fraction(24000, 1001)
    assert numbers(read_clip(folder, start=2, frames=3).frames) == [2, 3, 4]


@pytest.mark.parametrize(("depth", "ending"), [(np.uint16, ".png"), (np.uint8, ".jpg")])
def test_colours_of_pictures_are_kept(tmp_path, depth, ending):
    frame = np.repeat(COLOURS, 32, axis=0)[None].repeat(64, axis=0)
    stored = frame[..., ::-1].astype(depth) * (257 if depth is np.uint16 else 1)
    cv2.imwrite(str(tmp_path / f"a{ending}"), stored)
    got = read_clip(tmp_path, frames=None).frames[0, 32, 16::32].astype(int)
    assert np.abs(got - COLOURS).max() <= (1 if ending == ".png" else 3)


def test_a_photograph_taken_upright_is_turned_as_its_exif_says(tmp_path):
    stored = np.zeros((48, 80, 3), np.uint8)
    stored[:, :40] = (30, 30, 200)  # left half red (OpenCV's order); turned clockwise, it is on top
    jpeg = cv2.imencode(".jpg", stored)[1].tobytes()
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    marker = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    (tmp_path / "1.jpg").write_bytes(jpeg[:2] + marker + jpeg[2:])
    frame = read_clip(tmp_path, frames=None).frames[0]
    assert frame.shape == (80, 48, 3)
    assert frame[10, 24, 0] > 150
    assert frame[70, 24, 0] < 50


def test_folders_that_cannot_be_a_clip_are_named(tmp_path):
    with pytest.raises(InputError, match="holds no PNG, JPEG"):
        read_clip(tmp_path)
    cv2.imwrite(str(tmp_path / "a1.png"), np.zeros((32, 32, 3), np.uint8))
    cv2.imwrite(str(tmp_path / "a2.png"), np.zeros((32, 48, 3), np.uint8))
    with pytest.raises(InputError, match=r"a2\.png is 48x32 while a1\.png is 32x32"):
        read_clip(tmp_path, frames=None)
    (tmp_path / "a2.png").write_bytes((tmp_path / "a1.png").read_bytes()[:40])
    with pytest.raises(InputError, match=r"a2\.png cannot be read"):
        read_clip(tmp_path, frames=None)
    with pytest.raises(InputError, match="has 2 frames"):
        read_clip(tmp_path)


def test_a_video_is_read_at_another_rate_by_what_is_on_screen_in_the_middle_of_each_frame(tmp_path):
    path = encode(tmp_path / "a.mp4", numbered(30), fps=Fraction(30))
    slower = read_clip(path, frames=None, fps=Fraction(24))
    assert (slower.fps, slower.source_frames, slower.stored_pictures) == (24, 24, 30)
    expected = [int((n + 0.5) * 30 / 24) for n in range(24)]
    assert numbers(slower.frames) == slower.stored.tolist() == expected
    assert slower.notes == ("a.mp4 was read at 24 frames per second instead of its own 30.",)
    assert numbers(read_clip(path, start=6, frames=6, fps=Fraction(60)).frames) == [3, 3, 4, 4, 5, 5]
    assert read_clip(path, fps=Fraction(30), frames=None).notes == ()
    with pytest.raises(InputError, match="24 frames, which is fewer than the 30 asked for"):
        read_clip(path, frames=30, fps=Fraction(24))


def test_real_ntsc_clips_with_sound(shared):
    for name in ("02_cups.mp4", "04_coffee.mp4"):
        info = clip_info(shared / name)
        assert (info.fps, info.width, info.height, info.variable) == (Fraction(30000, 1001), 1280, 720, False)
        clip = read_clip(shared / name, start=info.frames - 3, frames=3)
        assert clip.frames.shape == (3, 576, 1024, 3)
        assert clip.frames.std() > 10


def test_a_real_clip_in_its_own_size_equals_its_decoded_pictures(shared):
    clip = read_movie(shared / "flower.mp4")
    assert clip.frames.shape == (49, 512, 512, 3)
    assert clip.fps == 30
    with av.open(str(shared / "flower.mp4")) as container:
        for got, picture in zip(clip.frames, container.decode(video=0), strict=True):
            assert np.abs(got.astype(int) - picture.to_ndarray(format="rgb24")).mean() < 1.5


def test_a_real_image_folder(shared):
    clip = read_clip(shared / "rgbd" / "color", frames=5)
    assert clip.frames.shape == (5, 480, 640, 3)
    read = cv2.imread(str(shared / "rgbd" / "color" / "00003.jpg"))[..., ::-1]
    assert np.abs(clip.frames[3].astype(int) - read).mean() < 1.5
