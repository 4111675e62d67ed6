"""Sizes, cameras and masks of the small shots used by the tests of measuring."""

from fractions import Fraction

import cv2
import numpy as np

from ex4d.geometry import intrinsics
from ex4d.geometry.camera_path import CameraPath

WIDTH, HEIGHT, FRAMES = 64, 48, 5
FPS = Fraction(24)


def turning(degrees) -> CameraPath:
    """Cameras that turn in place to these degrees, one per frame."""
    poses = np.tile(np.eye(4), (len(degrees), 1, 1))
    for pose, angle in zip(poses, degrees, strict=True):
        pose[:3, :3] = cv2.Rodrigues(np.array([0, np.radians(angle), 0]))[0]
    return CameraPath(poses, intrinsics.from_focal(60, WIDTH, HEIGHT), WIDTH, HEIGHT)


def left_half():
    """(5,48,64) a mask of the left half."""
    mask = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    mask[:, :, : WIDTH // 2] = 255
    return mask
