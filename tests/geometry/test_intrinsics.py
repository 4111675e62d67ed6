import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ex4d.errors import InputError
from ex4d.geometry import intrinsics

sides = st.integers(16, 5000)


@given(sides, sides, st.one_of(st.none(), st.integers(64, 2048)))
@example(129, 768, 128)  # 21.5 pixels wide
def test_working_size_is_a_multiple_of_16_and_crops_less_than_one_multiple(width, height, longest):
    try:
        fit = intrinsics.fit_frame(width, height, longest)
    except InputError:
        scale = min(1.0, longest / max(width, height)) if longest else 1.0
        assert min(width, height) * scale < 16
        return
    assert fit.width % 16 == 0
    assert fit.height % 16 == 0
    assert longest is None or max(fit.width, fit.height) <= longest
    assert fit.width <= fit.scaled_width
    assert fit.height <= fit.scaled_height
    assert fit.scaled_width == fit.width or fit.scaled_height == fit.height
    assert fit.scaled_width <= max(width, fit.width)
    squeeze = (fit.scaled_width / width) / (fit.scaled_height / height)
    # One side is rounded by at most half a pixel of its exact length, which may be up to half a pixel shorter.
    assert abs(squeeze - 1) <= 0.5 / (min(fit.scaled_width, fit.scaled_height) - 0.5) + 1e-9


def test_a_ray_keeps_its_direction_through_scale_and_crop():
    fit = intrinsics.fit_frame(1280, 720, 500)
    k = intrinsics.from_focal(900, 1280, 720)
    fitted = fit.apply_to_intrinsics(k)
    point = np.array([0.3, -0.2, 2.0])
    before, after = k @ point / point[2], fitted @ point / point[2]
    assert after[0] == pytest.approx(before[0] * fit.scaled_width / 1280 - fit.left)
    assert after[1] == pytest.approx(before[1] * fit.scaled_height / 720 - fit.top)


def test_one_lens_serves_all_frames():
    k = intrinsics.per_frame(intrinsics.from_focal(500, 64, 48), 5)
    assert k.shape == (5, 3, 3)
    assert (k[4] == [[500, 0, 32], [0, 500, 24], [0, 0, 1]]).all()


@pytest.mark.parametrize(
    ("k", "word"),
    [
        (np.eye(4), "shape"),
        (np.broadcast_to(np.eye(3), (2, 3, 3)), "shape"),
        (np.full((3, 3), np.nan), "finite"),
        (np.diag([-500.0, 500, 1]), "positive"),
        (np.array([[500, 3, 32], [0, 500, 24], [0, 0, 1.0]]), "skew"),
        (np.array([["a"] * 3] * 3), "shape"),
    ],
)
def test_an_impossible_lens_is_refused_with_the_reason(k, word):
    with pytest.raises(InputError, match=word):
        intrinsics.per_frame(k, 5)


@pytest.mark.parametrize("focal", [0, -3, float("nan"), float("inf")])
def test_a_focal_length_is_a_positive_number(focal):
    with pytest.raises(InputError, match="focal length"):
        intrinsics.from_focal(focal, 64, 48)
