"""Takes at the clip's own size: a wall with fine texture, with every pixel known wherever the camera is."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry import camera_path
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.full_size import FullSize
from ex4d.geometry.intrinsics import fit_frame
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import clip_info, open_source, read_clip
from ex4d.media.mastering import write_ffv1
from ex4d.media.movie import read_movie, write_movie, write_png_frames
from ex4d.pipeline import finishing, take, take_videos
from ex4d.pipeline import generate as generation
from ex4d.pipeline import run as pipeline_run
from ex4d.pipeline.finishing import Finishing, note_on_size
from ex4d.pipeline.hashing import blob_of
from ex4d.pipeline.open import gather
from ex4d.pipeline.requests import Generate, Source
from ex4d.pipeline.run import run
from ex4d.pipeline.runtime import Runtime
from ex4d.pipeline.settings import GenerateSettings, RenderSettings, SourceSettings
from ex4d.plain import from_plain, to_plain
from ex4d.progress import silent
from ex4d.render.engines import engine as engine_of
from ex4d.render.scene import Scene

WIDTH, HEIGHT, FRAMES = 256, 160, 5
"""Size of the clip; the working picture is half as large."""

FOCAL, DISTANCE = 200.0, 4.0
"""Focal length in pixels of the clip, and distance of the wall."""

PIXEL = DISTANCE / FOCAL
"""Distance that the camera moves for one pixel of the clip."""


def wall(levels=256, kind=np.uint8):
    """A picture (HEIGHT, 2 * WIDTH, 3) of fine texture that is lost at half size."""
    random = np.random.default_rng(3)
    rough = random.integers(0, levels, (HEIGHT, 2 * WIDTH, 3)).astype(np.float32)
    return np.clip(cv2.GaussianBlur(rough, (0, 0), 0.7), 0, levels - 1).astype(kind)


class Collected:
    """Keeps the frames that it is given."""

    wants_mask = True

    names = frozenset({take.RESULT, take.GENERATED})

    def __init__(self, bits=8):
        self.bits, self.frames, self.masks = bits, {}, {}

    def __call__(self, name, frames, mask, fps, metadata, *, progress):
        both = [(frame.copy(), None if mask is None else m.copy()) for frame, m in zip(frames, mask, strict=False)]
        self.frames[name] = np.stack([frame for frame, _ in both])
        self.masks[name] = np.stack([m for _, m in both])


class Studio:
    """A clip of the wall, from a camera that is still or moves to the right, and jobs on it."""

    def __init__(self, folder, pixels_a_frame=0, picture=None, moving=None, crop=None):
        self.folder, self.runtime, self.count = folder, Runtime(), 0
        self.wall = wall() if picture is None else picture
        self.steps = pixels_a_frame * np.arange(FRAMES)
        self.clip = np.stack([self.wall[:, s : s + WIDTH] for s in self.steps])
        if crop is not None:
            self.clip = self.clip[:, : crop[1], : crop[0]]
        height, width = self.clip.shape[1:3]
        if self.clip.dtype == np.uint16:
            place = folder / "clip.mkv"
            write_ffv1(place, self.clip, Fraction(24))
            self.files = [place]
        else:
            write_png_frames(folder / "clip", self.clip)
            self.files = sorted((folder / "clip").iterdir())
        depth = np.full((FRAMES, height, width), DISTANCE, np.float32)
        k = np.array([[FOCAL, 0, width / 2], [0, FOCAL, height / 2], [0, 0, 1]])
        np.savez(folder / "clip.depth.npz", depth=depth, intrinsics=k)
        np.savez(folder / "source.npz", camera_to_world=self.poses(self.steps))
        self.k = k
        moving = np.zeros((FRAMES, 80, 128), np.uint8) if moving is None else moving
        write_movie(folder / "moving.mp4", moving, Fraction(24), lossless=True)

    def poses(self, pixels):
        """Poses (T,4,4), moved to the right by this many pixels of the clip."""
        poses = np.tile(np.eye(4), (len(pixels), 1, 1))
        poses[:, 0, 3] = np.asarray(pixels) * PIXEL
        return poses

    def __call__(self, shifts, leave=None, generation=None, longest_side=128, path_size=None, **render):
        """A take from cameras this many pixels to the right of the clip's first one."""
        self.count += 1
        blobs = [blob_of(file) for file in self.files]
        places = {blob.sha256: file for blob, file in zip(blobs, self.files, strict=True)}

        def add(name):
            blob = blob_of(self.folder / name)
            places[blob.sha256] = self.folder / name
            return blob

        depth, source, moving = add("clip.depth.npz"), add("source.npz"), add("moving.mp4")
        settings = SourceSettings(longest_side=longest_side)
        folder = None if len(self.files) == 1 else "clip"
        opened = Source(tuple(blobs), (depth,), source, settings, folder, moving=(moving,))
        fit = fit_frame(self.clip.shape[2], self.clip.shape[1], longest_side)
        lens = np.repeat(fit.apply_to_intrinsics(self.k)[None], FRAMES, 0)
        path = CameraPath(self.poses(shifts), lens, fit.width, fit.height)
        if path_size is not None:
            across, down = path_size[0] / fit.width, path_size[1] / fit.height
            path = CameraPath(path.camera_to_world, np.diag([across, down, 1]) @ lens, *path_size)
        camera_path.save(self.folder / f"path{self.count}.npz", path)
        out, links = self.folder / f"out{self.count}", self.folder / f"in{self.count}"
        out.mkdir()
        links.mkdir()
        wanted = generation or GenerateSettings(generator="preview")
        job = Generate(opened, add(f"path{self.count}.npz"), render=RenderSettings(**render), generation=wanted)
        self.facts = run(job, gather(job, lambda b: places[b.sha256], links), out, self.runtime, silent, leave)
        return out


@pytest.fixture
def studio(tmp_path):
    return Studio(tmp_path)


def test_all_videos_of_a_take_have_the_clips_own_size_and_its_record_says_so(studio):
    out = studio(4 * np.arange(FRAMES))
    for name in (take.RESULT, take.GENERATED, take.COLOUR, take.MASK):
        info = clip_info(out / name)
        assert (info.width, info.height, info.frames, info.fps) == (WIDTH, HEIGHT, FRAMES, 24)
    record = take.read_record(out / take.SIDECAR)
    assert (record.width, record.height, record.frames) == (WIDTH, HEIGHT, FRAMES)
    assert record.settings["eroded_by"] == [5, 5]  # one pixel of the working size is two of these
    assert not [note for note in studio.facts["notes"] if "The result is" in note]
    thumbnail = cv2.imread(str(out / take.THUMBNAIL))
    assert thumbnail.shape == (HEIGHT, WIDTH, 3)


def test_where_the_camera_is_the_clips_own_the_result_is_the_clip_to_the_bit(studio):
    left = Collected()
    out = studio(4 * np.arange(FRAMES), left)
    assert np.array_equal(left.frames[take.RESULT][0], studio.clip[0])
    assert (left.masks[take.RESULT][0] == 255).all()
    light = np.array([0.2126, 0.7152, 0.0722])  # luma of BT.709, because fine colour is halved by 4:2:0
    error = (read_movie(out / take.RESULT).frames[0] @ light - studio.clip[0] @ light) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 45


def test_what_is_real_comes_from_the_clips_own_pixels(studio):
    """A camera that moves sideways by whole pixels sees the same pixels elsewhere, so nothing is resampled."""
    left = Collected()
    shifts = np.array([0, 4, 8, 12, 16])
    studio(shifts, left)
    for t in range(1, FRAMES):
        real = left.masks[take.RESULT][t] > 0
        assert real[20:-20, 20 : -20 - shifts[t]].all()
        assert not real[:, -shifts[t] :].any()  # beyond what the clip saw
        seen = studio.wall[:, shifts[t] : shifts[t] + WIDTH]
        found = left.frames[take.RESULT][t]
        error = np.abs(found[real].astype(int) - seen[real])
        assert error.max() <= 2, t  # positions are rounded to a thirty-second of a pixel
        # The best that the working size could give: a picture scaled down, then up.
        small = cv2.resize(cv2.resize(studio.clip[t], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), (256, 160))
        assert np.abs(small.astype(int) - studio.clip[t]).mean() > 8


def test_what_was_invented_is_the_generators_scaled_up_and_the_edge_between_is_soft(studio):
    left = Collected()
    studio(16 * np.arange(FRAMES), left)
    result, generated = left.frames[take.RESULT][4], left.frames[take.GENERATED][4]
    mask = left.masks[take.RESULT][4]
    edge = np.flatnonzero(mask[HEIGHT // 2])[-1] + 1
    assert WIDTH - 64 - 12 < edge < WIDTH - 64
    assert np.array_equal(result[:, WIDTH - 60 :], generated[:, WIDTH - 60 :])
    assert not np.array_equal(result[20:-20, edge + 1], generated[20:-20, edge + 1])  # the rim is blended


def test_what_other_frames_saw_comes_from_their_own_pixels(tmp_path):
    """The camera stays ten pixels ahead, so what it sees beyond the frame's edge, later frames saw."""
    studio = Studio(tmp_path, pixels_a_frame=10)
    left = Collected()
    shifts = studio.steps + np.array([10, 10, 10, 10, 0])
    studio(shifts, left, persistence="fill")
    assert max(studio.facts["borrowed"]) > 0.03
    for t in range(3):
        real = left.masks[take.RESULT][t] > 0
        assert real[20:-20, WIDTH - 14 : WIDTH - 1].all(), t  # the frame itself saw nothing there
        seen = studio.wall[:, shifts[t] : shifts[t] + WIDTH]
        error = np.abs(left.frames[take.RESULT][t].astype(int) - seen)[real]
        assert np.percentile(error, 99) <= 3, t
        assert error.max() < 24, t  # nothing that is called real is mixed with what was invented


@pytest.mark.parametrize("size", [(250, 141), (256, 150), (201, 160)])
def test_a_clip_that_does_not_fit_is_cut_in_whole_pixels_and_the_take_says_so(size, tmp_path):
    studio = Studio(tmp_path, crop=size)
    left = Collected()
    studio(np.zeros(FRAMES), left, longest_side=112)
    found = left.frames[take.RESULT][0]
    height, width = found.shape[:2]
    assert width % 2 == height % 2 == 0
    assert width > size[0] * 0.7
    assert height > size[1] * 0.7
    places = [
        (top, side)
        for top in range(size[1] - height + 1)
        for side in range(size[0] - width + 1)
        if np.array_equal(studio.clip[0][top : top + height, side : side + width], found)
    ]
    assert len(places) == 1  # the clip's pixels, not resampled
    (note,) = (note for note in studio.facts["notes"] if "The result is" in note)
    assert note.startswith(f"The result is {width}x{height} pixels and the clip {size[0]}x{size[1]}: ")


@pytest.mark.parametrize(
    ("clip", "said"),
    [
        ((1920, 1080), None),
        ((1921, 1081), "1920x1080 pixels and the clip 1921x1081: the sides of a video have to be even."),
        ((5000, 5000), "4096x4096 pixels and the clip 5000x5000: no side is made longer than 4096 pixels."),
        (
            (8192, 4320),
            "4096x2112 pixels and the clip 8192x4320: no side is made longer than 4096 pixels, and 48 rows are"
            " outside the working picture.",
        ),
        (
            (1281, 720),
            "1280x700 pixels and the clip 1281x720: 20 rows are outside the working picture, and the sides of a"
            " video have to be even.",
        ),
    ],
)
def test_each_reason_for_another_size_is_said_where_it_holds(clip, said):
    assert note_on_size(fit_frame(*clip, 1024, 16)) == (() if said is None else (f"The result is {said}",))


def test_cut_pictures_lie_where_they_belong(tmp_path):
    studio = Studio(tmp_path, crop=(250, 141))
    still, moved = Collected(), Collected()
    studio(np.zeros(FRAMES), still, longest_side=112)
    studio(np.full(FRAMES, 8), moved, longest_side=112)
    one, other = still.frames[take.RESULT][1], moved.frames[take.RESULT][1]
    assert np.abs(other[20:-20, 20:-28].astype(int) - one[20:-20, 28:-20]).max() <= 2


def test_a_path_file_of_another_size_gives_the_same_picture_in_the_clips_size(studio):
    usual, small = Collected(), Collected()
    studio(4 * np.arange(FRAMES), usual)
    studio(4 * np.arange(FRAMES), small, path_size=(WIDTH // 4, HEIGHT // 4))
    one, other = usual.frames[take.RESULT], small.frames[take.RESULT]
    assert one.shape == other.shape == (FRAMES, HEIGHT, WIDTH, 3)
    there = np.s_[:, 8:-8, 8 : WIDTH - 32]
    assert np.abs(one[there].astype(int) - other[there]).max() <= 2


def test_a_path_file_of_another_shape_keeps_its_size_and_the_take_says_so(studio):
    out = studio(4 * np.arange(FRAMES), path_size=(96, 96))
    assert (clip_info(out / take.RESULT).width, clip_info(out / take.RESULT).height) == (96, 96)
    said = "The result is 96x96 pixels, as the camera path's file says, and not as large as the clip"
    assert any(note.startswith(said) for note in take.read_record(out / take.SIDECAR).notes)


def test_a_take_may_have_the_working_size_and_one_of_an_older_record_has_it(studio):
    wanted = GenerateSettings(generator="preview", result_size="model")
    out = studio(4 * np.arange(FRAMES), generation=wanted)
    assert {clip_info(out / name).width for name in (take.RESULT, take.MASK)} == {WIDTH // 2}
    old = to_plain(wanted)
    del old["result_size"]
    assert from_plain(GenerateSettings, old, "generation").result_size == "model"
    explicit = replace(wanted, result_size="clip", width=96, height=64)
    assert clip_info(studio(4 * np.arange(FRAMES), generation=explicit) / take.RESULT).width == 96


def test_a_clip_no_larger_than_the_working_picture_is_taken_as_ever(studio):
    as_clip = studio(4 * np.arange(FRAMES), longest_side=256)
    as_model = studio(
        4 * np.arange(FRAMES),
        longest_side=256,
        generation=GenerateSettings(generator="preview", result_size="model"),
    )
    assert (as_clip / take.RESULT).read_bytes() == (as_model / take.RESULT).read_bytes()


def test_the_same_take_has_the_same_bytes_twice(studio):
    shifts = 4 * np.arange(FRAMES)
    one, two = studio(shifts), studio(shifts)
    for name in (take.RESULT, take.GENERATED, take.COLOUR, take.MASK):
        assert (one / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.parametrize("longest_side", [128, 256])
def test_more_than_8_bits_of_the_clip_stay_in_the_pictures_that_are_left(longest_side, tmp_path):
    ramp = np.repeat(np.linspace(0, 65535, 2 * WIDTH)[None, :, None], HEIGHT, 0).repeat(3, 2).astype(np.uint16)
    studio = Studio(tmp_path, picture=ramp)
    left = Collected(bits=16)
    shifts = 4 * np.arange(FRAMES)
    studio(shifts, left, longest_side=longest_side)
    found = left.frames[take.RESULT]
    assert found.dtype == np.uint16
    assert np.array_equal(found[0], studio.clip[0])
    real = left.masks[take.RESULT][3][HEIGHT // 2] > 0
    assert np.abs(found[3, HEIGHT // 2, real].astype(int) - ramp[0, 12 : 12 + WIDTH][real]).max() < 32


def test_a_gpu_without_memory_beside_the_generators_model_loses_no_take(studio):
    left = Collected()
    shifts = 4 * np.arange(FRAMES)
    out = studio(shifts, left)
    clip = read_clip(studio.folder / "clip", frames=None, longest_side=128)
    depth = DepthVideo(np.full((FRAMES, 80, 128), DISTANCE, np.float32), clip.fit.apply_to_intrinsics(studio.k), "wall")
    path = camera_path.load(out / take.CAMERA, FRAMES, 128, 80)

    class Full:
        name, note = "cuda", ""

        def views(self, scene, pairs, surfaces=False):
            raise InputError("The GPU has no memory for a picture of this size.")

    mesh, source = DWMesh.from_depth(depth), open_source(studio.folder / "clip")
    at_work = Finishing(source, clip, Scene(mesh, clip.frames, path), FullSize.of(clip.fit), Full())
    found = [frame.mask for frame in at_work.frames((), clip.frames)]
    assert np.array_equal(found, left.masks[take.RESULT])
    other = Full()
    other.name = "numba"
    with pytest.raises(InputError, match="no memory"):
        list(replace(at_work, engine=other).frames((), clip.frames))


def test_a_take_that_the_gpu_had_no_memory_for_says_that_the_cpu_drew_it(studio, monkeypatch):
    class Small:
        """Draws like a GPU with memory for the working size, and for `most` pictures of the clip's size."""

        name, note = "cuda", ""

        def __init__(self, most):
            self.left, self.cpu = most, engine_of("numpy")

        def views(self, scene, pairs, surfaces=False):
            if scene.path.width == WIDTH:
                self.left -= len(pairs)
                if self.left < 0:
                    raise InputError("The GPU has no memory for a picture of this size.")
            return self.cpu.views(scene, pairs, surfaces)

    shifts = 4 * np.arange(FRAMES)  # in the first frame the camera is the clip's own, so nothing is drawn
    monkeypatch.setattr(finishing.Finishing, "_at_once", lambda self: 2)
    as_ever = studio(shifts)
    assert not [note for note in studio.facts["notes"] if "GPU" in note]
    for most, which in ((99, None), (1, "3 of the 5 frames"), (0, "4 of the 5 frames")):
        monkeypatch.setattr(pipeline_run, "engine", lambda *name, most=most: Small(most))
        out = studio(shifts)
        said = [note for note in take.read_record(out / take.SIDECAR).notes if "GPU" in note]
        expected = (
            f"The GPU had too little memory left to draw {which} at 256x160 pixels, so the CPU did: the result is"
            " the same, but it took longer."
        )
        assert said == ([expected] if which else [])
        assert [note for note in studio.facts["notes"] if "GPU" in note] == said
        assert (out / take.RESULT).read_bytes() == (as_ever / take.RESULT).read_bytes()


def test_a_clip_that_is_gone_meanwhile_is_told_of(studio, monkeypatch):
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: b"" if path.name == "frame_00003.png" else real(path))
    with pytest.raises(InputError, match=r"frame_00003\.png"):
        studio(4 * np.arange(FRAMES))


@pytest.mark.parametrize(("master", "name"), [("prores", "result.mov"), ("ffv1", "result.mkv")])
@pytest.mark.parametrize("longest_side", [128, 256])
def test_a_master_lies_beside_the_result_with_more_than_8_bits_where_the_clip_has_them(
    master, name, longest_side, tmp_path
):
    ramp = np.repeat(np.linspace(0, 65535, 2 * WIDTH)[None, :, None], HEIGHT, 0).repeat(3, 2).astype(np.uint16)
    studio = Studio(tmp_path, picture=ramp)
    wanted = GenerateSettings(generator="preview", master=master)
    out = studio(4 * np.arange(FRAMES), generation=wanted, longest_side=longest_side)
    assert name in take.FILES
    found = next(open_source(out / name).frames(longest_side=None, multiple=1, bits=16))
    assert found.shape == (HEIGHT, WIDTH, 3)
    assert len(np.unique(found[HEIGHT // 2, :, 1])) > 230  # of 256 columns of half the ramp
    assert np.abs(found.astype(int) - studio.clip[0]).max() < 300
    assert clip_info(out / take.RESULT).bits == 8


def test_the_master_of_a_deep_clip_has_its_bits_also_in_the_working_size_and_the_take_says_that_its_pixels_do_not(
    tmp_path,
):
    ramp = np.repeat(np.linspace(0, 65535, 2 * WIDTH)[None, :, None], HEIGHT, 0).repeat(3, 2).astype(np.uint16)
    studio, left = Studio(tmp_path, picture=ramp), Collected(bits=16)
    wanted = GenerateSettings(generator="preview", master="ffv1", result_size="model")
    out = studio(4 * np.arange(FRAMES), left, generation=wanted)
    assert clip_info(out / "result.mkv").bits == 16
    found = np.stack(list(open_source(out / "result.mkv").frames(longest_side=None, multiple=1, bits=16)))
    assert found.shape[1:3] == (80, 128)
    assert left.frames[take.RESULT].dtype == np.uint16
    assert np.array_equal(found, left.frames[take.RESULT])
    assert (found % 257 == 0).all()
    assert studio.facts["notes"].count(take_videos.ONLY_8_BITS) == 1


def test_a_master_without_its_mask_says_so(studio, monkeypatch):
    """For instance from a model that runs with `release_compat` and makes fewer frames than the clip has."""
    whole = generation.put_back

    def fewer(*given):
        made, _other = whole(*given)
        made = replace(made, frames=made.frames[:3])
        return made, made.frames

    wanted = GenerateSettings(generator="preview", master="prores")
    studio(4 * np.arange(FRAMES), generation=wanted, release_compat=True)
    assert take_videos.WITHOUT_MASK not in studio.facts["notes"]
    monkeypatch.setattr(generation, "put_back", fewer)
    out = studio(4 * np.arange(FRAMES), generation=wanted, release_compat=True)
    assert clip_info(out / "result.mov").frames == 3
    assert clip_info(out / take.MASK).frames == FRAMES
    assert take_videos.WITHOUT_MASK in studio.facts["notes"]


def test_the_master_of_a_clip_of_8_bits_has_8_bits_and_holds_the_result_as_it_was(studio):
    left = Collected()
    wanted = GenerateSettings(generator="preview", master="ffv1")
    out = studio(4 * np.arange(FRAMES), left, generation=wanted)
    assert clip_info(out / "result.mkv").bits == 8
    assert np.array_equal(read_movie(out / "result.mkv").frames, left.frames[take.RESULT])
