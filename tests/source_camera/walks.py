"""Cameras with static points in front of them, their sightings, and their distances."""

import numpy as np

from ex4d.source_camera.candidate import Candidate
from ex4d.source_camera.structure import triangulated
from ex4d.source_camera.tracks import Tracks

COUNT, SIZE = 49, (480, 270)
LENS = np.array([[400.0, 0, 240], [0, 400, 135], [0, 0, 1]])


def walked(nearest=3.0, points=400, part=1.0):
    """A camera that moves to the right past points, the sightings in this part of the frames, and their distances."""
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, 0, 3] = np.linspace(0, 2, COUNT)
    return sighted(poses, nearest, points, part, moves=True)


def turned():
    """The same with a camera that only turns, by 30 degrees."""
    angle = np.radians(np.linspace(-15, 15, COUNT))
    poses = np.tile(np.eye(4), (COUNT, 1, 1))
    poses[:, 0, 0], poses[:, 0, 2] = np.cos(angle), np.sin(angle)
    poses[:, 2, 0], poses[:, 2, 2] = -np.sin(angle), np.cos(angle)
    return sighted(poses, 3.0, 400, 1.0, moves=False)


def sighted(poses, nearest, points, part, moves):
    random = np.random.default_rng(0)
    world = random.uniform((-8, -4, nearest), (8, 4, 14), (points, 3))
    track, frame, xy, z = [], [], [], []
    for t in range(int(part * COUNT)):
        local = (world - poses[t, :3, 3]) @ poses[t, :3, :3]
        at = 400 * local[:, :2] / local[:, 2:] + LENS[:2, 2]
        seen = np.flatnonzero(((at > 0) & (at < SIZE)).all(axis=1))
        track.append(seen)
        frame.append(np.full(len(seen), t))
        xy.append(at[seen] + 0.1 * random.standard_normal((len(seen), 2)))
        z.append(local[seen, 2])
    tracks = Tracks(*(np.concatenate(a) for a in (track, frame, xy)), np.ones(COUNT))
    k = np.tile(LENS, (COUNT, 1, 1))
    return Candidate("depth", poses, k, moves, triangulated(tracks, poses, k)), tracks, np.concatenate(z)
