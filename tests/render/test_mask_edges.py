import numpy as np
import pytest

from ex4d.render import mask_edges


@pytest.fixture
def mask():
    mask = np.full((6, 40, 50), 255, np.uint8)
    mask[:, 12:25, 20:33] = 0
    return mask


def test_the_same_seed_gives_the_same_rim_and_another_seed_another(mask):
    first = mask_edges.erode(mask, mask_edges.RELEASE_KERNELS, 5)
    assert (first == mask_edges.erode(mask, mask_edges.RELEASE_KERNELS, 5)).all()
    assert (first != mask_edges.erode(mask, mask_edges.RELEASE_KERNELS, 6)).any()


def test_the_release_draws_a_kernel_of_2_to_8_pixels_for_each_frame():
    mask = np.full((400, 30, 30), 255, np.uint8)
    mask[:, 15, 15] = 0
    holes = (mask_edges.erode(mask, mask_edges.RELEASE_KERNELS, 0) == 0).sum(axis=(1, 2))
    assert set(np.sqrt(holes)) == {2, 3, 4, 5, 6, 7, 8}


def test_by_default_one_pixel_around_holes_is_given_up_and_the_pictures_border_is_kept(mask):
    sure = mask_edges.erode(mask, mask_edges.DEFAULT_KERNELS, 0)
    assert (sure[:, 11:26, 19:34] == 0).all()
    assert (sure == 0).sum() == 6 * 15 * 15
    assert (sure[:, 0] == 255).all()


def test_only_what_other_frames_lend_keeps_its_edges(mask):
    borrowed = np.zeros_like(mask)
    borrowed[:, 12:25, 14:20] = 255  # left of the hole
    sure = mask_edges.certain(mask, borrowed, mask_edges.DEFAULT_KERNELS, 0)
    eroded, own = mask_edges.erode(mask, mask_edges.DEFAULT_KERNELS, 0), borrowed == 0
    assert (sure[~own] == 255).all()
    assert not eroded[~own].all()
    assert np.array_equal(sure[own], eroded[own])
    assert np.array_equal(mask_edges.certain(mask, None, mask_edges.DEFAULT_KERNELS, 0), eroded)


def test_a_full_mask_stays_full(mask):
    assert (mask_edges.erode(np.full_like(mask, 255), mask_edges.RELEASE_KERNELS, 1) == 255).all()


@pytest.mark.parametrize("kernels", [mask_edges.DEFAULT_KERNELS, mask_edges.RELEASE_KERNELS, (8, 8)])
def test_the_soft_edge_rises_from_hole_to_certainty(mask, kernels):
    sure = mask_edges.erode(mask, kernels, 3)
    weight = mask_edges.soft_edge(mask, sure)
    assert (weight[mask == 0] == 0).all()
    assert (weight[sure == 255] == 1).all()
    rim = (mask == 255) & (sure == 0)
    assert ((weight[rim] > 0) & (weight[rim] < 1)).all()
    line = weight[0, 18, :21][::-1]  # from inside the hole to the left
    assert (np.diff(line[: np.argmax(line == 1) + 1]) > 0).all()


def test_a_mask_without_holes_or_without_anything_real_has_no_edge(mask):
    full, empty = np.full_like(mask, 255), np.zeros_like(mask)
    assert (mask_edges.soft_edge(full, full) == 1).all()
    assert (mask_edges.soft_edge(empty, empty) == 0).all()


def test_compositing_keeps_the_source_where_it_is_sure_and_the_generated_where_nothing_is_real(mask):
    rng = np.random.default_rng(0)
    source, generated = rng.integers(0, 256, (2, *mask.shape, 3), dtype=np.uint8)
    sure = mask_edges.erode(mask, (4, 4), 0)
    result = mask_edges.composite(source, generated, mask_edges.soft_edge(mask, sure))
    assert (result[sure == 255] == source[sure == 255]).all()
    assert (result[mask == 0] == generated[mask == 0]).all()
    assert (result.astype(int) <= np.maximum(source, generated)).all()
    assert (result >= np.minimum(source, generated)).all()
