import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")

from ex4d.generate.runtime import latent_pictures
from ex4d.generate.runtime.latent_pictures import SIDE, picture

pytestmark = pytest.mark.wan


def fit(latents, video):
    return latent_pictures.fit(latents, video, stride=4)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def shot(count=3, height=6, width=9):
    """Colours (T',3,h,w), and a video with them, 8 times as large, in every fourth frame, and others in between."""
    colours = random(count, 3, height, width)
    video = random(4 * (count - 1) + 1, 3, 8 * height, 8 * width, seed=1)
    video[::4] = colours.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return colours, video


def encoded(colours, scale=1.0):
    """Latents (1,16,T',h,w) that depend linearly on colours, and are not 0 where those are."""
    mixing, start = random(16, 3, seed=2), random(16, seed=3)
    latents = torch.einsum("cr,trhw->cthw", mixing, colours) + start.view(16, 1, 1, 1)
    return scale * latents[None]


def seen(colours):
    """Colours (3,h,w) as a small float picture."""
    height, width = colours.shape[1:]
    size = (round(height * SIDE / max(height, width)), round(width * SIDE / max(height, width)))
    large = torch.nn.functional.interpolate(colours[None], size=size, mode="bilinear")[0].permute(1, 2, 0)
    return ((large + 1) * 127.5).numpy()


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(64, 64, (160, 160)), (60, 104, (92, 160)), (104, 60, (160, 92)), (4, 6, (107, 160)), (1, 1, (160, 160))],
)
def test_a_picture_has_its_longest_side_as_promised(height, width, size):
    made = picture(random(1, 16, 2, height, width), random(17, 3))
    assert max(made.shape[:2]) == SIDE
    assert made.shape == (*size, 3)
    assert made.dtype == np.uint8


def test_the_narrowest_picture_has_a_pixel_left():
    assert picture(random(1, 16, 1, 1, 700), random(17, 3)).shape == (1, 160, 3)


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("count", [1, 3, 13])
def test_colours_on_which_latents_depend_linearly_are_found_again(count, scale):
    colours, video = shot(count)
    latents = encoded(colours, scale)
    made = picture(latents, fit(latents, video))
    assert np.abs(made - seen(colours[-1])).max() < 3


def test_the_map_suits_colours_that_it_was_not_fitted_to():
    colours, video = shot()
    other = random(1, 3, 6, 9, seed=7)
    made = picture(encoded(other), fit(encoded(colours), video))
    assert np.abs(made - seen(other[0])).max() < 3


def test_the_map_is_the_inverse_of_what_made_the_latents():
    colours, video = shot(13)
    solved = fit(encoded(colours), video)
    assert solved.shape == (17, 3)
    assert solved.dtype == torch.float32
    flat = torch.cat([encoded(colours)[0].flatten(1).T, torch.ones(13 * 54, 1)], 1)
    again = (flat @ solved).T.view(3, 13, 6, 9).transpose(0, 1)
    assert (again - colours).abs().max() < 0.01


def test_only_the_frames_that_a_latent_frame_ends_with_count():
    colours, video = shot()
    others = video.clone()
    others[[1, 2, 3, 5, 6, 7]] = -1
    assert torch.equal(fit(encoded(colours), video), fit(encoded(colours), others))
    others[4] = -1
    assert not torch.equal(fit(encoded(colours), video), fit(encoded(colours), others))


def test_a_latent_pixel_has_the_mean_of_its_pixels_colours():
    colours, video = shot()
    rough = video + 0.2 * torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(24, 36)
    assert torch.allclose(fit(encoded(colours), rough), fit(encoded(colours), video), atol=1e-4)


def test_the_last_frame_is_shown():
    colours, video = shot()
    latents = encoded(colours)
    solved = fit(latents, video)
    assert np.array_equal(picture(latents, solved), picture(latents[:, :, -1:], solved))
    assert not np.array_equal(picture(latents, solved), picture(latents[:, :, :1], solved))


@pytest.mark.parametrize("level", [0.0, 1.0, -2.5])
def test_a_shot_of_one_colour_is_shown_in_that_colour(level):
    video = torch.tensor([0.5, -0.25, -1.0]).view(1, 3, 1, 1).expand(9, 3, 32, 48)
    latents = torch.full((1, 16, 3, 4, 6), level)
    solved = fit(latents, video)
    assert solved.isfinite().all()
    assert np.abs(picture(latents, solved) - np.array([191.25, 95.625, 0])).max() < 2


def test_noise_is_shown_calmly_where_the_shot_said_nothing():
    colours = random(1, 3, 1, 1).expand(3, 3, 6, 9)
    flat = encoded(colours)
    direction = torch.cat([flat[0, :, 0, 0, 0], torch.ones(1)])
    solved = fit(flat, torch.zeros(9, 3, 48, 72) + colours[0, :, :1, :1])
    assert solved.norm() <= 1.01 * colours[0, :, 0, 0].norm() / direction.norm()
    across = random(17, seed=5)
    across -= direction * (across @ direction) / (direction @ direction)
    assert (across @ solved).abs().max() < 0.01


def test_latents_far_from_the_shot_are_cut_off_at_black_and_white():
    colours, video = shot()
    solved = fit(encoded(colours), video)
    assert set(np.unique(picture(encoded(torch.full((1, 3, 6, 9), 5.0)), solved))) == {255}
    assert set(np.unique(picture(encoded(torch.full((1, 3, 6, 9), -5.0)), solved))) == {0}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_latents_of_every_type_are_taken(dtype):
    colours, video = shot()
    latents = encoded(colours)
    made = picture(latents.to(dtype), fit(latents.to(dtype), video))
    assert np.abs(made - seen(colours[-1])).mean() < 3


def test_nothing_that_is_given_is_changed():
    colours, video = shot()
    latents, before = encoded(colours), video.clone()
    solved = fit(latents, video)
    map_before = solved.clone()
    picture(latents, solved)
    assert torch.equal(latents, encoded(colours))
    assert torch.equal(video, before)
    assert torch.equal(solved, map_before)


@pytest.mark.parametrize(("channels", "stride"), [(48, 4), (12, 1), (128, 8)])
def test_models_of_other_channels_and_strides_are_shown_too(channels, stride):
    colours = random(3, 3, 6, 9)
    video = random(2 * stride + 1, 3, 6, 9, seed=1)
    video[::stride] = colours
    latents = torch.einsum("cr,trhw->cthw", random(channels, 3, seed=2), colours)[None]
    solved = latent_pictures.fit(latents, video, stride)
    assert solved.shape == (channels + 1, 3)
    assert np.abs(picture(latents, solved) - seen(colours[-1])).max() < 3
