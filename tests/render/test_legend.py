"""Invented parts can be told from real ones with and without colour vision."""

import numpy as np

from ex4d.render import legend

LUMA = np.array([0.2126, 0.7152, 0.0722])


def test_what_is_invented_is_striped_so_that_it_shows_without_colours_on_any_grey():
    for grey in (0, 60, 128, 255):
        picture = np.full((2, 40, 40, 3), grey, np.uint8)
        real = np.ones((2, 40, 40), bool)
        real[1, 8:32, 8:32] = False
        tinted = legend.tint(picture, real)
        assert (tinted[real] == grey).all()
        assert (tinted[1, 8:32, 8:32] != grey).any(axis=-1).all()
        assert np.ptp(tinted[1, 8:32, 8:32] @ LUMA) > 40
        magenta = (tinted[1, 8:32, 8:32] == legend.INVENTED).all(axis=-1)
        assert magenta.mean() == 1 - legend.STRIPE_PART


def test_the_levels_of_a_path_get_darker_so_that_they_keep_their_order_in_grey():
    luma = [float(np.array(colour) @ LUMA) for colour in legend.LEVELS]
    assert luma == sorted(luma, reverse=True)
