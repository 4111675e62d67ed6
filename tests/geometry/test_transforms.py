import numpy as np
import pytest

from ex4d.errors import InputError
from ex4d.geometry import transforms


def random_poses(count: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    poses = np.broadcast_to(np.eye(4), (count, 4, 4)).copy()
    for pose in poses:
        rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        pose[:3, :3] = rotation * np.sign(np.linalg.det(rotation))
        pose[:3, 3] = rng.normal(size=3)
    return poses


def test_inverse_undoes_a_pose():
    poses = random_poses(20)
    assert np.allclose(transforms.inverse(poses) @ poses, np.eye(4), atol=1e-12)


def test_look_at_puts_the_target_on_the_optical_axis_and_keeps_the_horizon_level():
    eye, target = np.array([1.0, -2.0, 0.5]), np.array([0.0, 0.3, 5.0])
    pose = transforms.look_at(eye, target)
    seen = transforms.inverse(pose) @ (*target, 1)
    assert np.allclose(seen[:2], 0)
    assert seen[2] == pytest.approx(np.linalg.norm(target - eye))
    assert pose[1, 0] == 0, "the camera's x axis is level"
    assert pose[1, 1] > 0, "the camera's y axis points down"
    transforms.check(pose[None])


def test_look_at_from_the_origin_along_z_is_the_identity():
    assert np.allclose(transforms.look_at(np.zeros(3), np.array([0, 0, 2.0])), np.eye(4))


@pytest.mark.parametrize("target", [(0, 0, 0), (0, 3, 0)])
def test_look_at_refuses_what_has_no_upright(target):
    with pytest.raises(InputError, match="move"):
        transforms.look_at(np.zeros(3), np.array(target, float))


def test_check_accepts_rigid_poses_in_single_precision():
    assert transforms.check(random_poses(7).astype(np.float32), 7).dtype == np.float64


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda p: p[:, :3], "shape"),
        (lambda p: p[:4], "4 poses but the clip has 7 frames"),
        (lambda p: p * np.nan, "frame 0 .* finite"),
        (lambda p: p @ np.diag([2, 2, 2, 1]), "rotation"),
        (lambda p: p @ np.diag([-1, 1, 1, 1]), "mirror"),
        (lambda p: np.swapaxes(p + np.eye(4)[3], 1, 2), "last row"),
    ],
)
def test_check_names_what_is_wrong_with_a_pose(change, word):
    with pytest.raises(InputError, match=word):
        transforms.check(change(random_poses(7)), 7)
