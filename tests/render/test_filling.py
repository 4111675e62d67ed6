"""Which pixels other frames may fill."""

import numpy as np

from ex4d.render import filling, looked_through


def test_a_place_that_is_rounded_to_the_edge_of_the_frames_picture_is_inside_of_it():
    side, lens = 144, np.array([[100.0, 0, 72], [0, 100, 72], [0, 0, 1]])
    far = np.full((side, side), 10, np.float32)
    frame = filling.Frame(far, looked_through.reach(far, lens), None, None)
    inverse = np.random.default_rng(0).uniform(0.05, 1, (1, 20_000)).astype(np.float32)
    edge = np.full(inverse.shape[1], side - 0.5 - 2.0**-17)  # one float32 step short of the edge
    empty = frame.has_looked_through(filling.Camera(np.eye(4), lens), (edge, edge), inverse)
    near = inverse[0] > 0.11
    assert empty[0][near].any()  # some are rounded to the other side
    assert not empty[0][inverse[0] < 0.1].any()
