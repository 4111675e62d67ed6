from dataclasses import replace

import numpy as np

from ex4d.generate.base import Generated
from ex4d.geometry.mesh import DWMesh
from ex4d.pipeline.generate import plan, put_back
from ex4d.pipeline.settings import GenerateSettings
from ex4d.render.conditioning import render, without_rim
from ex4d.render.scene import Scene
from ex4d.synthetic import scenes


def test_where_the_mask_of_a_take_says_real_the_result_shows_it_and_only_the_rim_of_the_frames_own_is_blended():
    example = scenes.make("drone", 7, 256, 144)
    source, second = example.source, example.second
    mesh = DWMesh.from_depth(example.depth, source.cameras.camera_to_world)
    seen = render(Scene(mesh, source.frames, second.cameras, persistence="fill", moving=source.moving))
    green = np.zeros_like(seen.colour)
    green[..., 1] = 255
    wanted = replace(plan(GenerateSettings(generator="preview")), keep_source=True)
    made, other = put_back(seen, Generated(green), wanted)
    assert other is green
    sure = without_rim(seen, wanted.seed).mask > 0
    assert np.array_equal(made.frames[sure], seen.colour[sure])
    assert np.array_equal(made.frames[seen.mask == 0], green[seen.mask == 0])
    rim = (seen.mask > 0) & ~sure
    assert np.count_nonzero(rim) > 500
    assert not (seen.borrowed[rim] > 0).any()
    assert (made.frames[rim] != seen.colour[rim]).any(axis=-1).mean() > 0.95
