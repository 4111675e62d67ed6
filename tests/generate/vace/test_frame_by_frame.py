"""The VAE one frame at a time against diffsynth's own method, with few channels in float32."""

import weakref
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch", reason="needs the extra wan: make test-wan")
if find_spec("diffsynth") is None:
    pytest.skip("needs the extra wan: make test-wan", allow_module_level=True)

import tiny_vace as tiny
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ex4d.errors import Cancelled
from ex4d.generate.diffsynth import frame_by_frame
from ex4d.generate.diffsynth import video_model as whole
from ex4d.generate.diffsynth.library import library
from ex4d.generate.vace import spec

pytestmark = pytest.mark.wan


class Held(TorchDispatchMode):
    """Peak number of bytes in live tensors."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.known = set()

    def __torch_dispatch__(self, function, types, args=(), named=None):
        result = function(*args, **(named or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor.untyped_storage())
        return result

    def add(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.drop, key, size)

    def drop(self, key, size):
        self.known.discard(key)
        self.now -= size


@pytest.fixture(scope="module")
def pipe():
    made = tiny.pipeline()
    for weight in made.vae.parameters():  # diffsynth leaves the attention at 0; trained weights are not
        if weight.dim() > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    return made


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("frames", [1, 5, 13])
def test_latents_are_those_of_diffsynth(pipe, frames):
    video = noise(frames, 3, 32, 48).clamp(-1, 1)
    with torch.no_grad():
        ours, theirs = frame_by_frame.encode(pipe, video), whole.encode(pipe, video)
    assert ours.shape == theirs.shape == (1, 16, (frames + 3) // 4, 4, 6)
    assert (ours - theirs).norm() / theirs.norm() < 1e-5


@pytest.mark.parametrize("latents", [1, 2, 4])
def test_pictures_are_those_of_diffsynth(pipe, latents):
    given = noise(1, 16, latents, 4, 6)
    with torch.no_grad():
        ours, theirs = frame_by_frame.decode(pipe, given), whole.decode(pipe, given)
    assert ours.shape == theirs.shape == (4 * latents - 3, 32, 48, 3)
    assert theirs.std() > 1
    assert abs(ours.astype(int) - theirs).max() <= 1  # a sum in another order may round to the next level
    assert (ours == theirs).mean() > 0.999


def test_it_holds_less_at_once_and_no_more_for_more_frames(pipe):
    def most(work, *given):
        with torch.no_grad(), Held() as held:
            work(pipe, *given)
        pipe.vae.model.clear_cache()
        return held.most

    latents, video = noise(1, 16, 4, 6, 8), noise(13, 3, 48, 64)
    assert most(frame_by_frame.decode, latents) < 0.8 * most(whole.decode, latents)
    assert most(frame_by_frame.encode, video) < 0.9 * most(whole.encode, video)
    more = most(frame_by_frame.decode, noise(1, 16, 7, 6, 8))
    assert more < 1.02 * most(frame_by_frame.decode, latents)


def test_the_real_vae_holds_as_much_as_is_set_aside_for_it():
    """Bytes per pixel in bfloat16 with the published number of channels: counted, not computed."""
    with torch.device("meta"):
        vae = library().wan_video.WanVideoVAE().to(torch.bfloat16)
        latents = torch.empty(1, 16, 3, 32, 32, dtype=torch.bfloat16)
        video = torch.empty(9, 3, 256, 256)
    real = SimpleNamespace(vae=vae, device="meta")
    with torch.no_grad(), Held() as decoding:
        for _ in frame_by_frame.decoded(real, latents):
            pass
    with torch.no_grad(), Held() as encoding:
        frame_by_frame.encode(real, video)
    print(f"{decoding.most / 256**2:.0f} and {encoding.most / 256**2:.0f} bytes a pixel")
    assert 6_500 < decoding.most / 256**2 < 7_200
    assert encoding.most < decoding.most
    assert 1.3 * (decoding.most / 256**2 + 700) < spec.DECODING


def test_it_tells_of_every_frame_and_can_be_stopped(pipe):
    told = []

    def stop(stage, step, steps, picture=None):
        told.append((stage, step, steps))
        if step == 2:
            raise Cancelled("stop")

    with pytest.raises(Cancelled), torch.no_grad():
        frame_by_frame.decode(pipe, noise(1, 16, 3, 4, 6), stop)
    assert told == [("Decoding", 1, 9), ("Decoding", 2, 9)]
