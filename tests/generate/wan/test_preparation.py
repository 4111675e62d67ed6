from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")

from ex4d.errors import InputError
from ex4d.generate.diffsynth.generator import window_part
from ex4d.generate.wan import preparation
from ex4d.render import mask_edges
from ex4d.render.conditioning import Conditioning
from ex4d.render.coverage import Coverage

pytestmark = pytest.mark.wan


def conditioning(frames=5, height=32, width=48, hole=True):
    """Colour 200, 100, 0 and, in all but frame 0, a one-pixel hole at row 10, column 20."""
    colour = np.empty((frames, height, width, 3), np.uint8)
    colour[:] = (200, 100, 0)
    mask = np.full((frames, height, width), 255, np.uint8)
    if hole:
        mask[1:, 10, 20] = 0
    colour *= mask[..., None] > 0
    none = np.zeros(frames)
    return Conditioning(colour, mask, Coverage(none, none, none.astype(int)))


def test_values_are_those_computed_by_hand():
    shot = preparation.own_aspect(conditioning(), seed=0, area=32 * 48)
    assert shot.colour.shape == (5, 3, 32, 48)
    assert shot.mask.shape == (5, 32, 48)
    assert torch.allclose(shot.colour[0, :, 0, 0], torch.tensor([145 / 255, -55 / 255, -1.0]))
    assert torch.equal(shot.first, shot.colour[0])
    assert (shot.mask[0] == 1).all()
    # With a 3-pixel kernel, the hole grows by one on each side, is black, and the mask there is 2 * (2 * 0 - 1) - 1.
    hole = torch.zeros(32, 48, dtype=torch.bool)
    hole[9:12, 19:22] = True
    assert torch.equal(shot.mask[1], torch.where(hole, -3.0, 1.0))
    assert (shot.colour[1][:, hole] == -1).all()
    assert torch.equal(shot.colour[1][:, ~hole], shot.colour[0][:, ~hole])
    assert np.array_equal(shot.sure[1] == 0, hole.numpy())


def test_the_model_knows_the_edges_of_what_other_frames_lend():
    source = conditioning()
    borrowed = np.zeros_like(source.mask)
    borrowed[1:, 10, 14:20] = 255  # up to the hole
    shot = preparation.own_aspect(replace(source, borrowed=borrowed), seed=0, area=32 * 48)
    hole = np.zeros((32, 48), bool)
    hole[9:12, 19:22] = True
    hole[10, 19] = False
    assert np.array_equal(shot.sure[1] == 0, hole)


@pytest.mark.parametrize("size", [(96, 64), (160, 96), (40, 30)])
def test_of_what_other_frames_lend_the_model_gets_no_pixel_that_scaling_has_mixed_with_a_black_hole(size):
    source = conditioning(width=size[0], height=size[1], hole=False)
    source.mask[1:, 10:17, 11:24] = 0
    source.colour[source.mask == 0] = 0
    borrowed = np.zeros_like(source.mask)
    borrowed[1:, 5:24, 5:31] = source.mask[1:, 5:24, 5:31]
    shot = preparation.own_aspect(replace(source, borrowed=borrowed), seed=0, area=64 * 48)
    alone = preparation.own_aspect(source, seed=0, area=64 * 48)
    known = shot.colour.permute(0, 2, 3, 1)[torch.from_numpy(shot.sure > 0)]
    assert (known[:, 0] > 198 / 127.5 - 1).all()
    gained = np.count_nonzero(shot.sure) - np.count_nonzero(alone.sure)
    assert gained > 0 if size[0] > 64 else gained == 0


def test_what_other_frames_lend_is_that_of_each_windows_own_frames():
    source = conditioning(frames=9)
    borrowed = np.zeros_like(source.mask)
    borrowed[[4, 7], 10, 19] = 255
    part = window_part(replace(source, borrowed=borrowed), range(4, 9), source.colour)
    assert np.array_equal(part.borrowed, borrowed[4:])
    shot = preparation.own_aspect(part, seed=0, area=32 * 48)
    assert (shot.sure[:, 10, 19] == [255, 0, 0, 255, 0]).all()  # the first comes from what is finished


def test_the_release_erodes_by_seeded_sizes_of_2_to_8_pixels():
    source = conditioning(frames=49)
    shot = preparation.as_released(source, seed=3, frames=49, size=(48, 32))
    assert np.array_equal(shot.sure, mask_edges.erode(source.mask, (2, 8), 3))
    sides = {int((mask == -3).sum()) ** 0.5 for mask in shot.mask[1:]}
    assert sides == {2, 3, 4, 5, 6, 7, 8}
    again = preparation.as_released(source, seed=3, frames=49, size=(48, 32))
    assert torch.equal(again.mask, shot.mask)
    assert not torch.equal(preparation.as_released(source, seed=4, frames=49, size=(48, 32)).mask, shot.mask)


def test_the_release_squeezes_and_takes_49_frames_spread_evenly():
    source = conditioning(frames=60)
    source.colour[...] = np.arange(60)[:, None, None, None]
    shot = preparation.as_released(source, seed=0)
    numbers = ((shot.colour[:, 0, 0, 0] + 1) * 127.5).round().int().tolist()
    assert numbers == [int(n * 59 / 48) for n in range(49)]
    assert shot.colour.shape == (49, 3, 512, 512)
    assert shot.frames == 49
    assert "Only 49 of 60" in shot.notes[0]
    assert set(shot.mask.unique().tolist()) == {-3, 1}
    assert set(np.unique(shot.sure)) == {0, 255}


@pytest.mark.parametrize(("frames", "length"), [(1, 1), (2, 5), (5, 5), (6, 9), (49, 49), (50, 53)])
def test_frames_are_padded_to_4k_plus_1_with_the_last(frames, length):
    assert preparation.padded_length(frames) == length
    source = conditioning(frames=frames)
    source.colour[-1] //= 2
    as_released = preparation.as_released(source, 0, 81, (48, 32))
    for shot, count in ((preparation.own_aspect(source, 0, 32 * 48), length), (as_released, 81)):
        assert len(shot.colour) == len(shot.mask) == len(shot.sure) == count
        assert shot.frames == frames
        for t in range(frames, count):
            assert torch.equal(shot.colour[t], shot.colour[frames - 1])
            assert torch.equal(shot.mask[t], shot.mask[frames - 1])


@pytest.mark.parametrize(
    ("source", "area", "size"),
    [
        ((512, 512), "512x512", (512, 512)),
        ((1024, 1024), "512x512", (512, 512)),
        ((832, 480), "832x480", (832, 480)),
        ((480, 832), "832x480", (480, 832)),
        ((1920, 1080), "832x480", (848, 480)),
        ((64, 48), "512x512", (576, 432)),
    ],
)
def test_the_aspect_is_kept_near_the_area(source, area, size):
    assert preparation.fitting_size(*source, preparation.AREAS[area]) == size


@pytest.mark.parametrize("width", range(200, 4000, 171))
def test_every_aspect_is_kept_to_three_percent(width):
    w, h = preparation.fitting_size(width, 1000, preparation.AREAS["832x480"])
    assert w % 16 == h % 16 == 0
    assert abs(w / h / (width / 1000) - 1) < 0.03
    assert abs(w * h / preparation.AREAS["832x480"] - 1) < 0.15


def test_the_release_enlarges_between_pixels_and_cuts_the_mask_at_a_half():
    source = conditioning(frames=2, height=16, width=16, hole=False)
    source.mask[1, :, 8:] = 0
    source.colour[:, :, 8:] //= 2
    shot = preparation.as_released(source, seed=1, frames=5, size=(32, 32))
    # At twice the size, 3/4 * 255 + 1/4 * 0 = 191 and 64 lie between columns 7 and 8; the threshold of a half is
    # between.
    assert set(shot.mask[1, 0].tolist()) == {-3, 1}
    side = 16 - int((shot.mask[1, 0] == 1).sum())
    assert 1 <= side <= 4  # the kernel of 2 to 8 pixels reaches this far left of column 16
    red = (shot.colour[0, 0, 0, 14:18] + 1) * 127.5
    assert red.tolist() == pytest.approx([200, 175, 125, 100], abs=0.5)


def test_what_the_model_cannot_make_is_refused():
    with pytest.raises(InputError, match="ask for 53"):
        preparation.as_released(conditioning(), 0, frames=50)
    with pytest.raises(InputError, match="multiples of 16, not 500x512"):
        preparation.as_released(conditioning(), 0, size=(500, 512))


def test_the_source_is_left_as_it_was():
    source = conditioning()
    colour, mask = source.colour.copy(), source.mask.copy()
    preparation.own_aspect(source, 0, 32 * 48)
    assert np.array_equal(source.colour, colour)
    assert np.array_equal(source.mask, mask)


def test_the_release_rounds_colours_and_takes_its_first_picture_through_8_bits():
    shot = conditioning(5, 16, 16, hole=False)
    prepared = preparation.as_released(shot, 0, frames=5, size=(16, 16))
    known = torch.from_numpy(shot.colour[0]).permute(2, 0, 1).float() / 255
    rounded = (known.to(torch.bfloat16) * 2 - 1).float()
    assert torch.equal(prepared.colour[0], rounded)
    levels = (prepared.first + 1) * 127.5
    assert torch.allclose(levels, ((rounded / 2 + 0.5) * 255).floor(), atol=1e-3)
    assert (prepared.first <= prepared.colour[0] + 1e-6).all()
    assert not torch.equal(prepared.first, prepared.colour[0])
    own = preparation.own_aspect(shot, 0)
    assert own.first_seen is None
    assert torch.equal(own.first, own.colour[0])
