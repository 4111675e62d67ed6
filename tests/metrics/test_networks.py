"""FID, KID, FVD and LPIPS through their packages, on features with known results and on small or made-up networks."""

from dataclasses import replace

import numpy as np
import pytest

from ex4d.errors import InputError

torch = pytest.importorskip("torch", reason="needs the extra evaluate-models")

from ex4d.torchvision_for_cpu import import_torchvision

import_torchvision()
pytest.importorskip("torch_fidelity", reason="needs the extra evaluate-models")
pytest.importorskip("lpips", reason="needs the extra evaluate-models")

from ex4d.metrics import distributions, features, model_files, perceptual
from ex4d.metrics.running import Plan, run
from ex4d.weights import store

pytestmark = pytest.mark.wan


def gaussian(rows, mean, sizes, seed):
    """Features with exactly this mean and covariance: whitened, then scaled along each axis."""
    sample = np.random.default_rng(seed).standard_normal((rows, len(sizes)))
    sample -= sample.mean(axis=0)
    sample = sample @ np.linalg.inv(np.linalg.cholesky(np.cov(sample, rowvar=False))).T
    return sample * sizes + mean


def test_the_frechet_distance_of_two_gaussians_is_that_of_the_closed_form():
    one = gaussian(500, np.zeros(4), np.array([1.0, 2.0, 3.0, 0.5]), 1)
    other = gaussian(700, np.array([1.0, 0, -2, 0]), np.array([2.0, 2.0, 1.0, 1.5]), 2)
    # |difference of means|^2 + sum (s1 - s2)^2, because the covariances commute
    assert distributions.frechet(one, other) == pytest.approx(5 + (1 + 0 + 4 + 1), rel=1e-6)


def test_a_set_has_no_distance_from_itself_in_any_order():
    rows = np.random.default_rng(0).standard_normal((60, 8))
    shuffled = np.random.default_rng(1).permutation(rows)
    assert distributions.frechet(rows, rows) == pytest.approx(0, abs=1e-6)
    assert distributions.frechet(rows, shuffled) == pytest.approx(0, abs=1e-6)
    assert distributions.frechet(rows, rows + 1) == pytest.approx(8, rel=1e-6)


def kid_by_hand(made, real):
    """Unbiased MMD^2 with the cubic kernel, term by term."""

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    m = len(made)
    same = sum(k(x[i], x[j]) for x in (made, real) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return same - 2 * sum(k(a, b) for a in made for b in real) / m**2


def test_kid_is_the_unbiased_mean_of_the_cubic_kernel():
    random = np.random.default_rng(3)
    made, real = random.standard_normal((9, 5)), random.standard_normal((9, 5)) + 0.5
    mean, spread = distributions.kernel(made, real)
    assert mean == pytest.approx(kid_by_hand(made, real), rel=1e-9)
    assert spread == pytest.approx(0, abs=1e-12)  # sets this small are used whole each time
    assert distributions.kernel(random.permutation(made), real)[0] == pytest.approx(mean, rel=1e-9)
    assert distributions.kernel(made, made + 5)[0] > 10 * abs(mean)


def test_one_row_is_no_set():
    with pytest.raises(InputError, match="FID, KID and FVD compare sets: 1 and 1 are too few"):
        distributions.frechet(np.zeros((1, 4)), np.zeros((1, 4)))


class MeanColour(torch.nn.Module):
    """Stands in for I3D with the same protocol: 400 features that are the mean of each channel, repeated."""

    def forward(self, video, rescale: bool, resize: bool, return_features: bool):
        assert rescale
        assert resize
        assert return_features
        # Long enough for torch to compress its text, which it does from 200 bytes on, as in the real one.
        means = video.mean(dim=(2, 3, 4))
        repeated = torch.cat([means, means], dim=1).repeat(1, 67)
        return repeated[:, :400]


@pytest.fixture
def i3d(tmp_path):
    file = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(MeanColour()).save(str(file))
    return features.I3D(file=file)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_video_goes_to_i3d_whole_in_parts_of_49_frames(i3d):
    frames = [np.full((16, 24, 3), (t, 2 * t % 256, 7), np.uint8) for t in range(70)]
    rows = i3d(iter(frames))
    assert rows.shape == (2, 400)
    assert rows[0, :3] == pytest.approx([np.arange(49).mean(), 2 * np.arange(49).mean(), 7])
    assert rows[1, 0] == pytest.approx(np.arange(49, 70).mean())
    assert len(i3d(iter(frames[:55]))) == 1  # six more frames are too few for a part
    with pytest.raises(InputError, match="videos of 10 frames at least, not of 9"):
        i3d(iter(frames[:9]))


@pytest.mark.parametrize("content", [b"no program", b""])
def test_a_damaged_program_of_i3d_is_named(tmp_path, content):
    (tmp_path / "i3d.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"The I3D of StyleGAN-V, for FVD .*i3d\.pt cannot be read"):
        features.I3D(file=tmp_path / "i3d.pt")


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder of models with random weights under the names and shapes of Inception's and AlexNet's."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torchvision.models import alexnet

    monkeypatch.setenv(store.VARIABLE, str(tmp_path / "models"))
    monkeypatch.setattr(
        "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: pytest.fail("network")
    )
    torch.manual_seed(0)
    for part in (model_files.ALEXNET, model_files.INCEPTION):
        store.places(part, store.folder())[0].parent.mkdir(parents=True, exist_ok=True)
    alexnet_file = store.places(model_files.ALEXNET, store.folder())[0]
    torch.save(alexnet().state_dict(), alexnet_file, _use_new_zipfile_serialization=False)  # as before torch 1.6
    weights = store.places(model_files.INCEPTION, store.folder())[0]
    net = FeatureExtractorInceptionV3.__new__(FeatureExtractorInceptionV3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        patch.setattr("torch.load", lambda *_, **__: {})
        net.__init__("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights))
    torch.save(net.state_dict(), weights)
    return store.folder()


class MeanColours:
    """Stands in for Inception: three features per picture, with known distances."""

    def __init__(self, _device):
        pass

    def __call__(self, pictures):
        return np.array([picture.mean(axis=(0, 1)) for picture in pictures])


@pytest.mark.filterwarnings("ignore:The parameter:UserWarning", "ignore:Arguments other than:UserWarning")
def test_with_their_files_in_place_sets_and_lpips_are_measured(models, shot, tmp_path, truth, monkeypatch):
    from ex4d.media.movie import write_png_frames
    from ex4d.metrics.datasets import pairs

    monkeypatch.setattr(features, "Inception", MeanColours)
    random = np.random.default_rng(0)
    large = np.repeat(np.repeat(truth, 2, axis=1), 2, axis=2)  # AlexNet needs at least 64 pixels per side
    large = (large - random.integers(0, 30, (5, 1, 1, 3))).astype(np.uint8)  # pictures of different colours
    for name, frames in (("truth", large), ("equal", large[::-1]), ("brighter", large + 10)):
        write_png_frames(tmp_path / name, frames)
    (case,) = pairs.cases(shot.parent)
    wanted, found = frozenset({"lpips", "fid", "kid", "fvd"}), {}
    for name in ("truth", "equal", "brighter"):
        one = replace(case, result=tmp_path / name, truth=tmp_path / "truth")
        found[name] = run([one], Plan(name, "pairs", wanted))
    assert found["truth"].results[0].means["lpips"] == pytest.approx(0, abs=1e-6)
    assert found["equal"].results[0].means["lpips"] > 1e-4
    assert {"lpips_visible", "lpips_invented"} <= set(found["truth"].results[0].means)
    sets = {name: report.sets["all"] for name, report in found.items()}
    assert sets["truth"]["fid"] == pytest.approx(0, abs=1e-3)
    assert sets["equal"]["fid"] == pytest.approx(0, abs=1e-3)  # a set has no order
    assert sets["brighter"]["fid"] == pytest.approx(3 * 10**2, rel=1e-3)  # only the shift of the mean
    assert sets["brighter"]["kid"] > sets["truth"]["kid"] == pytest.approx(sets["equal"]["kid"], rel=1e-6)
    assert found["truth"].sets["small"] == sets["truth"]
    assert found["truth"].missing.keys() == {"fvd"}
    assert "I3D of StyleGAN-V, for FVD: missing" in found["truth"].missing["fvd"]


def test_inception_gives_2048_features_a_picture(models, truth):
    rows = features.Inception()(iter(truth[:2]))
    assert rows.shape == (2, 2048)
    assert np.isfinite(rows).all()


@pytest.mark.filterwarnings("ignore:The parameter:UserWarning", "ignore:Arguments other than:UserWarning")
def test_lpips_is_the_packages_own_with_the_same_weights(models):
    import lpips

    net = perceptual.Lpips()
    random = np.random.default_rng(0)
    a, b = (random.integers(0, 256, (64, 80, 3), dtype=np.uint8) for _ in "ab")
    whole = lpips.LPIPS(net="alex", spatial=True, pnet_rand=True, verbose=False)
    features_of = torch.load(store.places(model_files.ALEXNET, store.folder())[0], weights_only=True)
    at = {name: int(name.split(".")[1]) for name in dict(whole.net.named_parameters())}
    for name, parameter in whole.net.named_parameters():
        parameter.data = features_of[f"features.{at[name]}.{name.rsplit('.', 1)[1]}"]
    pair = [lpips.im2tensor(picture) for picture in (a, b)]  # the package's own conversion from bytes
    with torch.inference_mode():
        expected = whole(*pair)[0, 0].numpy()
    assert net(a, b).shape == (64, 80)
    assert np.abs(net(a, b) - expected).max() < 1e-5
    assert net(a, a).max() < 1e-7


def test_what_is_missing_says_which_file_and_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv(store.VARIABLE, str(tmp_path))
    told = perceptual.missing()
    assert told.startswith(f"LPIPS lacks model files in {tmp_path} (AlexNet of torchvision, for LPIPS: missing): ")
    with pytest.raises(InputError, match=r"is not on the hub .*: place https://github.com/toshas/.*6726825d.pth as /"):
        store.fetch(model_files.INCEPTION, tmp_path)
