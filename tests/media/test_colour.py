"""Colours beyond BT.709: clips made here with the standards' formulas come back as the graded original."""

import zlib
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from ex4d.media import colour
from ex4d.media.clip import open_source, read_clip

HEIGHT, WIDTH = 96, 160
PRIMARIES = {"bt709": 1, "bt2020": 9, "p3": 12}

# Matrices from BT.709 light to other primaries, as published: BT.2087-0, and Display P3 in SMPTE EG 432-1.
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
TO_P3 = np.array([[0.82246, 0.17754, 0], [0.03319, 0.96681, 0], [0.01708, 0.07240, 0.91052]])


def graded() -> np.ndarray:
    """An original in BT.709 (H,W,3), 0 to 1: soft shapes in all colours, a grey ramp, and the corners of the cube."""
    rng = np.random.default_rng(11)
    picture = cv2.resize(rng.uniform(0.02, 0.95, (6, 10, 3)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture[:16] = np.linspace(0, 1, WIDTH)[:, None]
    corners = np.array([[r, g, b] for r in (0.05, 1) for g in (0.05, 1) for b in (0.05, 1)])
    picture[-16:] = np.repeat(corners, WIDTH // 8, axis=0)
    return np.clip(picture, 0, 1)


def pq_code(nits: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, equations 5.1 and 5.2."""
    y = np.maximum(nits, 0) / 10000
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    return ((c1 + c2 * y**m1) / (1 + c3 * y**m1)) ** m2


def hlg_code(nits: np.ndarray) -> np.ndarray:
    """BT.2100, table 5: from a display of 1000 nits back to the scene (system gamma 1.2), and the OETF."""
    luminance = np.maximum(nits @ (0.2627, 0.6780, 0.0593), 1e-9) / 1000
    scene = np.maximum(nits, 0) / 1000 * (luminance ** (1 / 1.2 - 1))[..., None]
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def srgb_light(code: np.ndarray) -> np.ndarray:
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def srgb_code(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0) ** (1 / 2.4) - 0.055)


def wide(kind: str, picture: np.ndarray) -> tuple[np.ndarray, tuple[int, int, int]]:
    """R'G'B' (H,W,3) that shows the same light, and its primaries, transfer and matrix in H.273."""
    light = picture**2.4  # BT.1886
    if kind == "pq":
        return pq_code(203 * light @ TO_BT2020.T), (9, 16, 9)
    if kind == "hlg":
        return hlg_code(203 * light @ TO_BT2020.T), (9, 18, 9)
    if kind == "bt2020":
        return (light @ TO_BT2020.T) ** (1 / 2.4), (9, 14, 9)
    if kind == "p3":
        return (light @ TO_P3.T) ** (1 / 2.4), (12, 1, 1)
    assert kind == "p3 with srgb's curve"
    return srgb_code(srgb_light(picture) @ TO_P3.T), (12, 13, 1)


def planes(rgb: np.ndarray, matrix: int, pixel_format: str) -> av.VideoFrame:
    """Convert R'G'B' to limited-range YCbCr 4:4:4 with 8 or 10 bits."""
    kr, kb = {1: (0.2126, 0.0722), 9: (0.2627, 0.0593)}[matrix]
    luma = rgb @ (kr, 1 - kr - kb, kb)
    cb, cr = (rgb[..., 2] - luma) / (2 - 2 * kb), (rgb[..., 0] - luma) / (2 - 2 * kr)
    bits = 10 if "10" in pixel_format else 8
    unit, kind = 1 << (bits - 8), np.uint16 if bits == 10 else np.uint8
    picture = av.VideoFrame(rgb.shape[1], rgb.shape[0], pixel_format)
    for plane, values in zip(picture.planes, (16 + 219 * luma, 128 + 224 * cb, 128 + 224 * cr), strict=True):
        row = np.zeros((plane.height, plane.line_size // np.dtype(kind).itemsize), kind)
        row[:, : rgb.shape[1]] = np.rint(np.clip(values * unit, 0, (1 << bits) - 1))
        plane.update(row.tobytes())
    return picture


def write(
    path: Path,
    rgb: np.ndarray,
    tags: tuple[int, int, int],
    *,
    codec: str = "ffv1",
    pixel_format: str = "yuv444p10le",
    stored_format: str | None = None,
    in_stream: tuple[int, int, int] | None = None,
) -> Path:
    """Write a clip of three frames; `tags` are the container's, and also the stream's unless others are given."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(24))
        stream.height, stream.width = rgb.shape[:2]
        stream.pix_fmt = stored_format or pixel_format
        stream.options = {"libx264": {"crf": "8"}, "libx265": {"crf": "8", "x265-params": "log-level=none"}}.get(
            codec, {}
        )
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace = tags
        context.color_range = 1
        for number in range(3):
            picture = planes(rgb, tags[2], pixel_format)
            if stored_format:
                picture = picture.reformat(format=stored_format)
            picture.color_primaries, picture.color_trc, picture.colorspace = in_stream or tags
            picture.color_range = 1
            picture.pts, picture.time_base = number, Fraction(1, 24)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def error(frames: np.ndarray, original: np.ndarray) -> float:
    """Mean of absolute differences in 8-bit levels."""
    return float(np.abs(frames.astype(float) - np.rint(original * 255)).mean())


KINDS = {"pq": "HDR (PQ, BT.2020)", "hlg": "HDR (HLG, BT.2020)", "bt2020": "BT.2020", "p3": "Display P3"}


@pytest.mark.parametrize("kind", [*KINDS, "p3 with srgb's curve"])
def test_the_graded_original_comes_back_and_a_note_says_what_was_done(tmp_path, kind):
    original = graded()
    clip = read_clip(write(tmp_path / "a.mkv", *wide(kind, original)), frames=None)
    assert error(clip.frames, original) < 1
    away = np.abs(clip.frames[0] - np.rint(original * 255))
    assert np.percentile(away, 90) <= 1, "ten bits are coarse only for the dark channels of pure colours"
    (note,) = clip.notes
    assert KINDS[kind.split(" with")[0]] in note
    assert "converted to BT.709" in note
    assert ("203 nits" in note) == (kind in ("pq", "hlg"))


@pytest.mark.parametrize(
    ("kind", "codec", "stored", "ending", "within"),
    [
        ("hlg", "libx265", "yuv420p10le", "mov", 5),
        ("pq", "libx265", "yuv420p10le", "mp4", 5),
        ("pq", "prores_ks", "yuv422p10le", "mov", 5),
        ("bt2020", "libx265", "yuv420p10le", "mp4", 3),
        ("p3", "libx265", "yuv420p10le", "mov", 3),
        ("p3", "libx264", "yuv420p", "mp4", 3),
    ],
)
def test_what_telephones_and_cameras_write_comes_back_within_a_few_levels(
    tmp_path, kind, codec, stored, ending, within
):
    original = cv2.GaussianBlur(graded(), (0, 0), 1.5)  # no edges that subsampled chroma cannot hold
    rgb, tags = wide(kind, original)
    plain = write(
        tmp_path / f"plain.{ending}", original, (1, 1, 1), codec=codec, pixel_format="yuv444p10le", stored_format=stored
    )
    clip = read_clip(write(tmp_path / f"a.{ending}", rgb, tags, codec=codec, stored_format=stored), frames=None)
    assert error(clip.frames, original) < min(within, 1.5 + error(read_clip(plain, frames=None).frames, original))


@pytest.mark.parametrize("kind", ["pq", "hlg"])
def test_prores_that_names_its_colours_in_the_container_only_is_converted(tmp_path, kind):
    original = cv2.GaussianBlur(graded(), (0, 0), 1.5)
    rgb, tags = wide(kind, original)
    path = write(tmp_path / "a.mov", rgb, tags, codec="prores_ks", stored_format="yuv422p10le", in_stream=(2, 2, 2))
    with av.open(str(path)) as container:
        picture = next(container.decode(video=0))
    assert (picture.color_primaries, picture.color_trc, picture.colorspace) == (2, 2, 2), "the stream says nothing"
    clip = read_clip(path, frames=None)
    assert error(clip.frames, original) < 2
    assert KINDS[kind] in clip.notes[0]


@pytest.mark.parametrize("kind", KINDS)
def test_sixteen_bits_are_converted_as_eight_are_and_finer(tmp_path, kind):
    original = np.repeat(np.linspace(0.1, 1, WIDTH)[None, :, None], HEIGHT, 0).repeat(3, 2)
    path = write(tmp_path / "a.mkv", *wide(kind, original))
    deep = next(open_source(path).frames(bits=16))
    assert deep.dtype == np.uint16
    assert np.abs(deep / 65535 - original).max() < 0.004
    assert len(np.unique(deep[0, :, 1])) > WIDTH * 0.95, "no steps of eight bits"
    assert np.abs(next(open_source(path).frames()) - deep / 257).max() <= 0.51


def test_greys_of_a_wide_gamut_stay_as_they_are(tmp_path):
    grey = np.repeat(np.linspace(0, 1, WIDTH)[None, :, None], HEIGHT, 0).repeat(3, 2)
    for tags in ((12, 1, 1), (12, 13, 1), (9, 14, 9), (9, 1, 9)):
        clip = read_clip(write(tmp_path / "a.mkv", grey, tags), frames=1)
        assert np.abs(clip.frames[0] - np.rint(grey * 255)).max() <= 1


@pytest.mark.parametrize("kind", ["pq", "hlg"])
def test_highlights_brighter_than_white_are_white(tmp_path, kind):
    nits = np.full((HEIGHT, WIDTH, 3), 203.0)
    nits[:, WIDTH // 2 :] = 900
    rgb = pq_code(nits) if kind == "pq" else hlg_code(nits)
    clip = read_clip(write(tmp_path / "a.mkv", rgb, (9, {"pq": 16, "hlg": 18}[kind], 9)), frames=1)
    assert clip.frames[0, :, : WIDTH // 2 - 4].min() >= 253
    assert clip.frames[0, :, WIDTH // 2 + 4 :].min() == 255
    assert "brighter" in clip.notes[0]


def test_more_saturated_colours_than_bt709_are_clipped_and_nothing_wraps(tmp_path):
    corners = np.array([[r, g, b] for r in (0, 1) for g in (0, 1) for b in (0, 1)], float)
    rgb = np.repeat(corners, WIDTH // 8, axis=0)[None].repeat(HEIGHT, 0)
    for tags in ((12, 1, 1), (9, 14, 9)):
        frame = read_clip(write(tmp_path / "a.mkv", rgb, tags), frames=1).frames[0]
        assert np.abs(frame[HEIGHT // 2, WIDTH // 16 :: WIDTH // 8].astype(int) - corners * 255).max() <= 3


def test_a_matrix_that_nobody_names_is_that_of_the_primaries(tmp_path):
    original = graded()
    rgb, _ = wide("pq", original)
    path = write(tmp_path / "a.mkv", rgb, (9, 16, 9))
    data = path.read_bytes()
    matrix = bytes([0x55, 0xB1, 0x81, 9])  # Matroska's MatrixCoefficients
    assert data.count(matrix) == 1
    path.write_bytes(data.replace(matrix, bytes([0x55, 0xB1, 0x81, 2])))
    assert error(read_clip(path, frames=None).frames, original) < 1


@pytest.mark.parametrize("tags", [(1, 1), (2, 2), (0, 0), (1, 13), (5, 6), (6, 6), (1, 2), (2, 1), (2, 14), (1, 8)])
def test_clips_that_name_nothing_wider_stay_as_they_are(tags):
    assert colour.conversion(*tags) is None


def test_what_is_named_and_cannot_be_converted_is_told(tmp_path):
    rgb, _ = wide("pq", graded())
    path = write(tmp_path / "a.mkv", rgb, (9, 16, 9))
    data = path.read_bytes()
    path.write_bytes(data.replace(bytes([0x55, 0xB1, 0x81, 9]), bytes([0x55, 0xB1, 0x81, 14])))
    assert any("ICtCp" in note and "colours are wrong" in note for note in read_clip(path, frames=1).notes)
    path = write(tmp_path / "b.mkv", graded(), (11, 1, 1))
    (note,) = read_clip(path, frames=1).notes
    assert "DCI-P3" in note


def test_curves_have_the_values_of_the_standards():
    nits = colour.pq_nits(np.array([0, 0.5, 0.58068888, 0.75, 1]))
    assert np.allclose(nits, [0, 92.2457, 203, 983.38, 10000], rtol=1e-3)
    scene = colour.hlg_scene(np.array([0, 0.5, 0.75, 1]))
    assert np.allclose(scene, [0, 1 / 12, 0.264963, 1], atol=1e-5)
    assert np.allclose(1000 * scene[2] ** 1.2, 203, atol=0.3), "75 percent of HLG is nominal white"


def test_a_picture_that_names_pq_is_converted_too(tmp_path):
    """Uses the chunk cICP of PNG's third edition."""
    original = graded()
    rgb, _ = wide("pq", original)
    png = cv2.imencode(".png", np.rint(rgb[..., ::-1] * 65535).astype(np.uint16))[1].tobytes()
    chunk = b"cICP" + bytes([9, 16, 0, 1])
    header = png[:33] + (4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    (tmp_path / "1.png").write_bytes(header + png[33:])
    clip = read_clip(tmp_path, frames=None)
    assert error(clip.frames, original) < 0.1
    assert KINDS["pq"] in clip.notes[0]
