"""Every engine that can run here sees the same faces; GPU engines run if there is a GPU (`pytest -m gpu`)."""

import re
from pathlib import Path

import numpy as np
import pytest
from test_render import K_SOURCE, K_TARGET, VIEWS, grid

from ex4d.depth.files import read_depth
from ex4d.errors import InputError
from ex4d.geometry import occlusion, presets
from ex4d.geometry.camera_path import CameraPath
from ex4d.geometry.depth_video import DepthVideo
from ex4d.geometry.mesh import DWMesh
from ex4d.media.clip import read_clip
from ex4d.render import engines
from ex4d.render.engines import cuda
from ex4d.render.scene import Scene

SAMPLE = Path(__file__).parents[2] / "sample"
CUDA, NVDIFFRAST = (pytest.param(name, marks=pytest.mark.gpu) for name in ("cuda", "nvdiffrast"))
EXACT = ["numpy", CUDA]
OTHERS = [*EXACT, NVDIFFRAST]


def engine(name):
    if reason := engines.missing(name):
        pytest.skip(reason)
    return engines.engine(name)


def hostile_scene(kind, release_compat, occlusion_name="default", cols=24, rows=16):
    """A difficult grid seen from everywhere, even from inside and behind; sides are multiples of 8 for all engines."""
    depth = np.broadcast_to(grid(kind, rows, cols), (len(VIEWS), rows, cols)).copy()
    k = np.broadcast_to(K_SOURCE, (len(VIEWS), 3, 3))
    mesh = DWMesh.from_depth(
        DepthVideo(depth, k, kind), release_compat=release_compat, occlusion=occlusion.FILTERS[occlusion_name]
    )
    pictures = np.random.default_rng(2).integers(0, 256, (*depth.shape, 3), dtype=np.uint8)
    path = CameraPath(np.stack(list(VIEWS.values())), np.broadcast_to(K_TARGET, k.shape), 32, 24)
    return Scene(mesh, pictures, path, release_compat)


def compare(name, scene, pairs):
    """Number of pixels, and of pixels whose face, mask and colour are the same as numba's."""
    ours = engines.engine("numba").views(scene, pairs, surfaces=True)
    theirs = engine(name).views(scene, pairs, surfaces=True)
    total = same_ids = same_mask = same_colour = 0
    for a, b in zip(ours, theirs, strict=True):
        total += a.mask.size
        same_ids += np.count_nonzero(a.surface.ids == b.surface.ids)
        same_mask += np.count_nonzero(a.mask == b.mask)
        same_colour += np.count_nonzero((a.colour == b.colour).all(axis=-1))
    return total, same_ids, same_mask, same_colour


@pytest.mark.parametrize("release_compat", [False, True])
@pytest.mark.parametrize("kind", ["flat", "slanted", "noisy", "spikes", "checkerboard", "huge", "tiny"])
@pytest.mark.parametrize("name", EXACT)
def test_engines_see_the_same_faces_on_hostile_depth(name, kind, release_compat):
    scene = hostile_scene(kind, release_compat)
    total, *same = compare(name, scene, [(t, t) for t in range(len(VIEWS))])
    assert same == [total] * 3


@pytest.mark.parametrize("filter_name", occlusion.FILTERS)
@pytest.mark.parametrize("name", EXACT)
def test_engines_apply_every_occlusion_filter_alike(name, filter_name):
    scene = hostile_scene("noisy", False, filter_name)
    total, *same = compare(name, scene, [(t, t) for t in range(len(VIEWS))])
    assert same == [total] * 3


@pytest.mark.parametrize("name", OTHERS)
def test_engines_see_the_same_faces_on_the_sample(name):
    clip = read_clip(SAMPLE / "clip.mp4", frames=9)
    depth = read_depth(SAMPLE / "clip.depth.npz", clip)
    mesh = DWMesh.from_depth(depth)
    path = presets.preset("90", 9.0, depth.intrinsics, mesh.width, mesh.height, len(mesh))
    total, ids, mask, _ = compare(name, Scene(mesh, clip.frames, path), [(t, t) for t in (2, 5, 8)])
    print(f"{name}: same face at {ids / total:.4%} of the pixels, same mask at {mask / total:.4%}")
    # nvdiffrast rounds vertices to a sixteenth of a pixel; all others round identically.
    assert ids >= (0.95 if name == "nvdiffrast" else 0.99999) * total
    assert mask >= 0.999 * total


@pytest.mark.parametrize("name", [NVDIFFRAST])
def test_the_releases_own_antialiasing_changes_hardly_a_pixel_of_the_mask(name):
    clip = read_clip(SAMPLE / "clip.mp4", frames=9)
    depth = read_depth(SAMPLE / "clip.depth.npz", clip)
    mesh = DWMesh.from_depth(depth, release_compat=True)
    path = presets.preset("90", 9.0, depth.intrinsics, mesh.width, mesh.height, len(mesh))
    scene = Scene(mesh, clip.frames, path, release_compat=True)
    total, _, mask, _ = compare(name, scene, [(t, t) for t in (2, 5, 8)])
    print(f"{name}, as released: same mask at {mask / total:.4%}")
    assert mask >= 0.998 * total


@pytest.mark.parametrize("name", OTHERS)
def test_frames_and_views_may_be_combined_freely_and_come_in_order(name):
    scene = hostile_scene("noisy", False)
    pairs = [(0, 1), (3, 2), (0, 1), (4, 0)]
    views = list(engine(name).views(scene, pairs))
    one_by_one = [next(iter(engine(name).views(scene, [pair]))) for pair in pairs]
    for together, alone in zip(views, one_by_one, strict=True):
        assert (together.colour == alone.colour).all()
    assert (views[0].colour == views[2].colour).all()


@pytest.mark.parametrize("value", [1e-38, 1e38, 3.4e38, np.nan, np.inf, -np.inf, 0.0, -5.0])
@pytest.mark.parametrize("name", ["numba", *OTHERS])
def test_no_engine_crashes_or_hangs_on_values_that_are_no_depth(name, value):
    scene = hostile_scene("noisy", False)
    scene.mesh.depth[:, 5:9, 6:12] = value
    for view in engine(name).views(scene, [(t, t) for t in range(len(VIEWS))], surfaces=True):
        assert view.surface.ids.max() <= 2 * scene.mesh.height * scene.mesh.width + 1


def test_auto_takes_an_engine_that_can_run_and_never_a_non_commercial_one():
    chosen = engines.engine("auto").name
    assert not engines.missing(chosen)
    assert chosen != "nvdiffrast"


def test_an_engine_that_cannot_run_says_what_to_do():
    lacking = [name for name in engines.ENGINES if engines.missing(name)]
    for name in lacking:
        with pytest.raises(InputError, match=rf"engine {name} cannot run here: .+"):
            engines.engine(name)
    with pytest.raises(InputError, match="choose one of auto, numba"):
        engines.engine("vulkan")


@pytest.mark.gpu
def test_a_gpu_short_of_memory_draws_fewer_pictures_at_once_and_then_says_so():
    cuda = engine("cuda")
    import cupy

    scene = hostile_scene("noisy", False, cols=400, rows=304)
    pairs = [(t, t) for t in range(len(VIEWS))]
    expected = [view.colour for view in cuda.views(scene, pairs)]
    pool = cupy.get_default_memory_pool()
    try:
        for limit in (8 << 20, 5 << 20):  # memory for two pictures, and for one
            pool.free_all_blocks()
            pool.set_limit(size=limit)
            assert all((v.colour == e).all() for v, e in zip(cuda.views(scene, pairs), expected, strict=True))
        pool.free_all_blocks()
        pool.set_limit(size=1 << 20)
        with pytest.raises(InputError, match="no memory"):
            list(cuda.views(scene, pairs))
    finally:
        pool.set_limit(size=0)
    assert all((v.colour == e).all() for v, e in zip(cuda.views(scene, pairs), expected, strict=True))


def test_the_cuda_kernels_come_with_the_package():
    for name in cuda.KERNELS:
        assert re.search(rf'extern "C" __global__ void (__launch_bounds__\(\w+\) )?{name}\(', cuda.source())
