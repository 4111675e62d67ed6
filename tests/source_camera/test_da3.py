"""The network of Depth Anything 3 with made-up weights: names, shapes, conventions, and the publisher's own figures."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra depth: make test-wan")
pytest.importorskip("safetensors", reason="needs the extra depth: make test-wan")

from tiny_da3 import NOT_NEEDED, SHAPE, pictures, published

from ex4d.errors import Cancelled, InputError
from ex4d.geometry import intrinsics
from ex4d.source_camera import da3, kept
from ex4d.source_camera import da3_network as network
from ex4d.source_camera import pictures as small
from ex4d.source_camera.find import find
from ex4d.source_camera.found import AUTO, DA3, ROTATION, Wish
from ex4d.synthetic import scenes
from ex4d.weights import store

pytestmark = pytest.mark.depth

REFERENCE = json.loads(Path(__file__).with_name("da3_reference.json").read_text())
"""Output of the publisher's own code, see da3_reference.py."""


def moving_pictures(count=7, height=54, width=96):
    random = np.random.default_rng(0).integers(0, 255, (height, width + 4 * count, 3), np.uint8)
    return np.stack([random[:, 4 * t : 4 * t + width] for t in range(count)])


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The tiny model is in the store in place of the published one."""
    monkeypatch.setenv("EX4D_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(network, "BASE", SHAPE)
    monkeypatch.setattr(network, "LONG_SIDE", 84)
    file = published(tmp_path / "models" / da3.PART.files[0])
    shapes = {name: tuple(t.shape) for name, t in network.load(file).state_dict().items()} | NOT_NEEDED
    monkeypatch.setattr(da3, "PART", replace(da3.PART, keys=store.key_hash(shapes)))
    return file


def test_the_network_gives_what_the_publishers_own_code_gives(tmp_path):
    model = network.load(published(tmp_path / "model.safetensors"), shape=SHAPE)
    with torch.inference_mode():
        encoded = model(pictures()).numpy()
    expected = np.array(REFERENCE["encoded"])
    assert expected.std(axis=0)[:7].min() > 1e-3  # pictures differ
    np.testing.assert_allclose(encoded, expected, rtol=1e-4, atol=1e-5)


def test_cameras_are_read_as_the_publishers_own_code_reads_them():
    seen = network.decoded(np.array(REFERENCE["encoded"]), 56, 42)
    np.testing.assert_allclose(seen.camera_to_world[:, :3], REFERENCE["camera_to_world"], atol=1e-5)
    np.testing.assert_allclose(seen.focal_px, np.sqrt(np.prod(REFERENCE["focal"], axis=0)), rtol=1e-5)


def test_a_known_place_rotation_and_field_of_view_become_a_camera_and_its_lens():
    half = np.radians(30) / 2  # 30 degrees to the right, about y, which points down in OpenCV's axes
    fov = 2 * np.arctan([45 / 120, 80 / 120])  # of a picture of 160x90 with a focal length of 120
    encoded = np.array([[1.0, 2.0, 3.0, 0.0, 5 * np.sin(half), 0.0, 5 * np.cos(half), *fov]])
    seen = network.decoded(encoded, 160, 90)
    forward = seen.camera_to_world[0, :3, :3] @ (0, 0, 1)
    np.testing.assert_allclose(forward, (0.5, 0, np.sqrt(3) / 2), atol=1e-12)
    np.testing.assert_allclose(seen.camera_to_world[0, :3, 3], (1, 2, 3))
    assert seen.focal_px[0] == pytest.approx(120)


def test_a_field_of_view_that_no_lens_has_tells_no_focal_length():
    encoded = np.array([[0, 0, 0, 0, 0, 0, 1, 0.0, 0.0], [0, 0, 0, 0, 0, 0, 1, 0.8, 3.3]], float)
    assert np.isnan(network.decoded(encoded, 160, 90).focal_px).all()
    assert not np.isfinite(network.decoded(np.zeros((1, 9)), 160, 90).camera_to_world).all()


def test_features_of_tokens_turn_by_their_distance_and_not_by_their_place():
    places = torch.tensor([[1.0, 1.0], [4.0, 3.0], [6.0, 2.0], [9.0, 4.0]])  # the last two lie like the first two
    q, k = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(0)).expand(2, 4, 16)
    table = network.turns(places, 16)
    like = network.turned(q, table) @ network.turned(k, table).T
    assert like[0, 1] == pytest.approx(float(like[2, 3]), rel=1e-5)
    assert like[0, 1] != pytest.approx(float(like[0, 2]), rel=1e-2)
    np.testing.assert_allclose(network.turned(q, table).norm(dim=-1), q.norm(dim=-1), rtol=1e-5)


def test_the_order_of_pictures_does_not_matter(tmp_path):
    model, order = network.load(published(tmp_path / "m.safetensors"), shape=SHAPE), [3, 0, 4, 2, 1]
    with torch.inference_mode():
        straight, mixed = model(pictures()), model(pictures()[order])
    np.testing.assert_allclose(mixed, straight[order], rtol=1e-4, atol=1e-5)


def test_pictures_of_any_shape_are_shown_in_multiples_of_14_with_504_px_along_the_longer_side():
    # From the publisher's own code.
    sizes = {(576, 1024): (280, 504), (1024, 576): (504, 280), (800, 1920): (210, 504), (517, 333): (504, 322)}
    assert {size: network.working_size(*size) for size in sizes} == sizes
    shown = network.shown(np.full((2, 60, 90, 3), (255, 0, 128), np.uint8), 84)
    assert (tuple(shown.shape), shown.dtype) == ((2, 3, 56, 84), torch.float32)
    normalised = [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(shown[0, :, 0, 0], normalised, rtol=1e-5)


def test_every_picture_gets_a_camera_and_progress_is_told_by_blocks(tiny):
    told = []
    seen = network.cameras(moving_pictures(), tiny, progress=lambda *step: told.append(step[:3]), long_side=84)
    assert seen.camera_to_world.shape == (7, 4, 4)
    assert told == [("Depth Anything 3", block, 6) for block in range(1, 7)]
    np.testing.assert_allclose(np.linalg.det(seen.camera_to_world), 1, rtol=1e-9)
    alone = network.cameras(moving_pictures(1), tiny, long_side=84)
    assert alone.camera_to_world.shape == (1, 4, 4)


def test_it_can_be_stopped_between_blocks(tiny):
    def stop(stage, step, steps, picture=None):
        if step == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        network.cameras(moving_pictures(), tiny, progress=stop, long_side=84)


def without(name):
    return lambda tensors: {n: t for n, t in tensors.items() if n != name}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("model.cam_dec.fc_t.bias"), "lacks model.cam_dec.fc_t.bias"),
        (lambda t: {**t, "model.gs_head.bias": torch.zeros(1)}, "has too much: model.gs_head.bias"),
        (lambda t: {**t, "model.cam_dec.fc_t.bias": torch.zeros(4)}, r"the shape \(4,\) instead of \(3,\)"),
    ],
)
def test_a_file_of_another_model_is_refused_by_name_and_shape(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        network.load(published(tmp_path / "model.safetensors", change), shape=SHAPE)


def test_the_published_model_is_the_one_that_is_listed():
    # The file also has the heads for depth and rays, with shapes from the publisher's own classes. With these 437
    # tensors, the publisher's way of saving gives a file of 541,518,028 bytes, the size of the published one.
    with torch.device("meta"):
        needed = {name: tuple(t.shape) for name, t in network.DepthAnything3(network.BASE).state_dict().items()}
    heads = json.loads(Path(__file__).with_name("da3_heads.json").read_text())
    shapes = needed | {name: tuple(shape) for name, shape in heads.items()}
    assert all(name.startswith(network.UNUSED) for name in heads)
    assert len(shapes) == 437
    assert 4 * sum(int(np.prod(shape)) for shape in shapes.values()) == 541_466_396
    assert store.key_hash(shapes) == da3.PART.keys


def test_what_is_missing_is_said_with_its_name(tiny):
    assert da3.missing() == ""
    tiny.unlink()
    assert "Depth Anything 3 lacks model files" in da3.missing()


SCENE = scenes.make("drone", 13, 256, 144).source


def test_with_made_up_weights_it_is_asked_and_never_believed(tiny, monkeypatch):
    monkeypatch.setattr(small, "SIDE", 448)  # so that it takes seconds instead of minutes
    depth = np.full(SCENE.depth.shape, 3.0, np.float32)
    k = intrinsics.per_frame(intrinsics.from_focal(250.0, 256, 144), 13)
    stages = []
    made = find(SCENE.frames, depth, Wish(DA3, k, False), lambda stage, *_: stages.append(stage))
    assert "Depth Anything 3" in stages, made.choice_notes
    assert made.camera_to_world is None
    assert "by a model: " in made.choice_notes[0]


def test_found_cameras_are_kept_apart_where_its_file_came_or_changed(tiny):
    def key(method):
        return kept.key(SCENE.frames, SCENE.depth, Wish(method, SCENE.cameras.intrinsics, True))

    before, turning = key(AUTO), key(ROTATION)
    tiny.unlink()
    assert key(AUTO) != before
    assert key(ROTATION) == turning
