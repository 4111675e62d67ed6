import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")

import plain

from ex4d.generate.wan.camera_encoder import CameraEncoder

pytestmark = pytest.mark.wan


def test_names_and_sizes_are_those_of_the_release():
    with torch.device("meta"):
        encoder = CameraEncoder()
    state = encoder.state_dict()
    parts = [f"latent_encoder.{n}" for n in (0, 2, 4)] + ["latent_patch_embedding"]
    assert list(state) == [f"{part}.{kind}" for part in parts for kind in ("weight", "bias")]
    assert state["latent_encoder.0.weight"].shape == (1024, 32, 1, 1, 1)
    assert state["latent_patch_embedding.weight"].shape == (5120, 1024, 1, 2, 2)
    assert round(sum(t.numel() for t in state.values()) / 1e6, 2) == 23.11
    latents = torch.empty(1, 16, 13, 64, 64, device="meta")
    assert encoder(latents, latents).shape == (1, 5120, 13, 32, 32)


def test_an_untrained_encoder_changes_nothing():
    latents = torch.randn(1, 16, 2, 4, 6)
    assert not CameraEncoder(dim=24, hidden=8)(latents, latents).any()


def test_it_equals_the_formulas_written_out():
    torch.manual_seed(0)
    encoder = CameraEncoder(dim=24, hidden=8)
    torch.nn.init.normal_(encoder.latent_patch_embedding.weight)
    torch.nn.init.normal_(encoder.latent_patch_embedding.bias)
    colour, mask = torch.randn(2, 1, 16, 3, 4, 6)
    with torch.no_grad():
        ours, theirs = encoder(colour, mask), plain.camera(encoder.state_dict(), colour, mask)
        swapped = encoder(mask, colour)
    assert ours.shape == (1, 24, 3, 2, 3)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, swapped, atol=1e-2)
