import copy
import struct
from unittest.mock import patch

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra depth: make test-wan")
pytest.importorskip("safetensors", reason="needs the extra depth: make test-wan")

from ex4d.depth.estimators import moge_network as moge
from ex4d.depth.estimators.moge import PARTS
from ex4d.errors import InputError
from ex4d.networks import dinov2
from ex4d.weights.store import key_hash

pytestmark = pytest.mark.depth


def config(backbone, dim, widths, taps, neck_blocks, normals):
    """`model_config` as in the published files."""
    common = {"res_block_in_norm": "none", "res_block_hidden_norm": "none"}
    common["resamplers"] = ["conv_transpose", "conv_transpose", "conv_transpose", "bilinear"]

    def head(channels):
        blocks = {"dim_in": widths, "dim_res_blocks": widths, "num_res_blocks": [0, 1, 1, 1, 0]}
        return blocks | {"dim_out": [None, None, None, None, channels]} | common

    neck = {"dim_in": [dim + 2, 2, 2, 2, 2], "dim_res_blocks": widths, "dim_out": None}
    neck["num_res_blocks"] = [0, neck_blocks, neck_blocks, neck_blocks, 0]
    return {
        "encoder": {"backbone": backbone, "intermediate_layers": taps, "dim_out": dim},
        "neck": neck | common,
        "points_head": head(3),
        "mask_head": head(1),
        **({"normal_head": head(3)} if normals else {}),
        "scale_head": {"dims": [dim, dim, dim, 1]},
        "remap_output": "exp",
        "num_tokens_range": [1200, 3600],
    }


TINY = config("tiny", 32, [32, 16, 16, 8, 8], [1, 3], 2, True) | {"num_tokens_range": [20, 40]}


@pytest.fixture(autouse=True)
def tiny_backbone():
    with patch.dict(dinov2.SHAPES, tiny=dinov2.BackboneShape(32, 4, 2, side=5)):
        yield


@pytest.fixture
def published(tmp_path):
    """A file like the published ones, with few channels and random weights."""
    torch.manual_seed(0)
    state = moge.MoGe(moge.Shape.from_config(TINY)).state_dict()
    state["encoder.image_mean"] = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
    state["encoder.image_std"] = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    torch.save({"model_config": TINY, "model": state}, tmp_path / "model.pt")
    return tmp_path / "model.pt"


def scene(height=90, width=160, focal=1.3, shift=0.4):
    """Points of a bumpy surface (H,W,3) as predicted by the network, without their shift along z, and the true z."""
    rays = moge.view_plane(width, height, width / height).numpy()
    rows, columns = np.mgrid[:height, :width] / np.array([height, width])[:, None, None]
    z = 2 + 0.8 * np.sin(3 * columns) + 0.5 * np.cos(5 * rows) + 1.5 * (columns > 0.5)
    return np.concatenate([rays * z[..., None] / focal, z[..., None] - shift], -1).astype(np.float32), z


def test_the_published_models_are_those_that_are_listed():
    # The hashes of the parts were computed from the publisher's own classes.
    shapes = (
        config("dinov2_vitl14", 1024, [1024, 256, 128, 64, 32], [5, 11, 17, 23], 2, False),
        config("dinov2_vitb14", 768, [768, 256, 128, 64, 32], [5, 11], 1, True),
        config("dinov2_vits14", 384, [384, 256, 128, 64, 32], [5, 11], 1, True),
    )
    for values, part in zip(shapes, PARTS, strict=True):
        with torch.device("meta"):
            model = moge.MoGe(moge.Shape.from_config(values))
        assert key_hash({name: tuple(t.shape) for name, t in model.state_dict().items()}) == part.keys


def test_a_published_file_gives_points_mask_and_scale_at_the_size_of_the_picture(published):
    model = moge.load(published)
    with torch.inference_mode():
        points, mask, scale = model(torch.rand(2, 3, 37, 61))
    assert points.shape == (2, 37, 61, 3)
    assert mask.shape == (2, 37, 61)
    assert scale.shape == (2,)
    assert points[..., 2].min() > 0
    assert 0 <= mask.min() <= mask.max() <= 1
    assert scale.min() > 0
    assert not hasattr(model, "normal_head")


def test_converted_it_gives_the_same_and_holds_no_pickle(published):
    converted = moge.as_safetensors(published)
    assert converted.suffix == ".safetensors"
    picture = torch.rand(1, 3, 40, 40)
    with torch.inference_mode():
        for one, other in zip(moge.load(published)(picture), moge.load(converted)(picture), strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize(("focal", "shift"), [(0.7, 0.0), (1.3, 0.4), (3.5, -0.6)])
def test_lens_and_shift_follow_from_the_points(focal, shift):
    points, _ = scene(focal=focal, shift=shift)
    found = moge.focal_and_shift(points, np.ones(points.shape[:2], bool))
    assert found == pytest.approx((focal, shift), rel=1e-5, abs=1e-5)


def test_only_what_the_mask_shows_counts():
    points, z = scene()
    mask = z < 3
    points[~mask] = (9, 9, 1)
    assert moge.focal_and_shift(points, mask) == pytest.approx((1.3, 0.4), rel=1e-5)


def test_points_that_tell_nothing_give_no_lens():
    points, _ = scene()
    everywhere = np.ones(points.shape[:2], bool)
    assert moge.focal_and_shift(points, ~everywhere) is None
    assert moge.focal_and_shift(np.full_like(points, np.nan), everywhere) is None
    assert moge.focal_and_shift(points * [0, 0, 1], everywhere) is None
    assert moge.focal_and_shift(points * [-1, -1, 1], everywhere) is None
    assert moge.focal_and_shift(points * [1, 1, -1], everywhere) is None


class Seen(torch.nn.Module):
    """Stands in for a trained network that sees `scene()`; in every second picture it sees nothing."""

    def __init__(self):
        super().__init__()
        self.kind = torch.nn.Parameter(torch.zeros(()))
        self.pictures = 0

    def forward(self, picture):
        points, z = scene(*picture.shape[-2:])
        mask = np.where(z < 3, 0.9, 0.1) * (self.pictures % 2 == 0)
        self.pictures += 1
        return torch.from_numpy(points)[None], torch.from_numpy(mask)[None], torch.tensor([2.5])


def test_key_frames_give_metres_and_the_focal_length_in_pixels(tmp_path):
    frames = np.zeros((3, 90, 160, 3), np.uint8)
    with patch.object(moge, "load", lambda *_: Seen()):
        found = moge.field_of_view_and_scale(frames, tmp_path)
    _, z = scene()
    focal_px = 1.3 * np.hypot(160, 90) / 2
    assert found.shot_focal_px == pytest.approx(focal_px, rel=1e-5)
    assert np.isnan(found.focal_px).tolist() == [False, True, False]
    expected = np.where(z < 3, 2.5 * z, np.nan)
    np.testing.assert_allclose(found.depth[[0, 2]], np.stack([expected] * 2), rtol=1e-4)
    assert np.isnan(found.depth[1]).all()
    degrees = np.degrees(2 * np.arctan(80 / focal_px))
    assert f"{degrees:.1f} degrees" in found.note


def test_key_frames_without_any_distance_say_so(tmp_path):
    blind = Seen()
    blind.pictures = 1
    with (
        patch.object(moge, "load", lambda *_: blind),
        pytest.raises(InputError, match="no lens in the key frames"),
    ):
        moge.field_of_view_and_scale(np.zeros((1, 30, 40, 3), np.uint8), tmp_path)


def test_a_lens_that_cannot_be_is_not_taken(tmp_path):
    far = Seen()
    far.forward = lambda picture: [x * y for x, y in zip(Seen.forward(far, picture), FLAT, strict=True)]
    with (
        patch.object(moge, "load", lambda *_: far),
        pytest.raises(InputError, match="no lens in the key frames"),
    ):
        moge.field_of_view_and_scale(np.zeros((1, 90, 160, 3), np.uint8), tmp_path)


FLAT = torch.tensor([1e-4, 1e-4, 1]), 1, 1
"""Factors that turn points into what a lens of a fiftieth of a degree would see."""


def changed(published, values=None, state=None):
    """The same file with another config or other tensors."""
    checkpoint = torch.load(published, weights_only=True)
    values(checkpoint["model_config"]) if values else None
    state(checkpoint["model"]) if state else None
    torch.save(checkpoint, published)
    return published


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("scale_head"), "MoGe-1"),
        (lambda c: c.pop("neck"), "is not MoGe-2's"),
        (lambda c: c.update(remap_output="sinh"), "remaps"),
        (lambda c: c["encoder"].update(backbone="resnet"), "image encoder"),
        (lambda c: c["encoder"].update(intermediate_layers=[99]), "not a valid size"),
        (lambda c: c["neck"].update(dim_res_blocks=[10**12] * 5), "not a valid size"),
        (lambda c: c["neck"].update(num_res_blocks=[0, 10**9, 0, 0, 0]), "not a valid size"),
        (lambda c: c["neck"].update(resamplers="magic"), "resamples"),
        (lambda c: c["mask_head"].update(res_block_in_norm="layer_norm"), "res_block_in_norm"),
        (lambda c: c["mask_head"].update(dim_res_blocks=[4096] * 5, dim_in=[4096] * 5), "another model"),
    ],
)
def test_another_models_config_is_refused_in_a_sentence(published, change, said):
    with pytest.raises(InputError, match=said) as raised:
        moge.load(changed(published, values=change))
    assert str(published) in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("encoder.backbone.cls_token"), "lacks encoder.backbone.cls_token"),
        (lambda s: s.update(more=torch.zeros(1)), "too much: more"),
        (lambda s: s.update({"scale_head.0.bias": torch.zeros(7)}), r"scale_head.0.bias has the shape \(7,\)"),
        (lambda s: s.update({"scale_head.0.bias": torch.zeros(32, dtype=torch.int32)}), "scale_head.0.bias"),
        (lambda s: s.update({"scale_head.0.bias": torch.zeros(1).expand(10**9)}), "announces more than it holds"),
        (lambda s: s.clear(), "something else than tensors"),
    ],
)
def test_wrong_tensors_are_refused_in_a_sentence(published, change, said):
    with pytest.raises(InputError, match=said):
        moge.load(changed(published, state=change))


def test_damaged_files_are_refused_in_a_sentence(published, tmp_path):
    converted = moge.as_safetensors(published)
    with pytest.raises(InputError, match="no MoGe-2 weights"):
        moge.load(tmp_path / "nothing.pt")
    with pytest.raises(InputError, match="folder"):
        moge.load(tmp_path)
    for file in (published, converted):
        whole = file.read_bytes()
        for damaged in (whole[: len(whole) // 2], b"", b"MZ" + whole, struct.pack("<Q", 1 << 60) + whole[8:]):
            file.write_bytes(damaged)
            with pytest.raises(InputError, match="cannot be read"):
                moge.load(file)
        file.write_bytes(whole)


def test_weights_of_another_model_are_refused(published, tmp_path):
    from safetensors.torch import save_file

    torch.save({"pretrained.cls_token": torch.zeros(1)}, tmp_path / "other.pth")
    save_file({"pretrained.cls_token": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("other.pth", "other.safetensors"):
        with pytest.raises(InputError, match="not MoGe-2"):
            moge.load(tmp_path / name)


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    mark = tmp_path / "ran"
    evil = type("Evil", (), {"__reduce__": lambda self: (mark.touch, ())})()
    torch.save({"model_config": copy.deepcopy(TINY), "model": {"a": evil}}, tmp_path / "model.pt")
    with pytest.raises(InputError, match="cannot be read"):
        moge.load(tmp_path / "model.pt")
    assert not mark.exists()
