"""How far a set of results is from a set of real pictures: FID, KID and FVD, computed by torch-fidelity.

None of the arithmetic is ours. Features come from a network, or from any other source; torch-fidelity computes the
figures: FID (Heusel et al. 2017), KID (Bińkowski et al. 2018: cubic kernel, 100 subsets), and FVD (Unterthiner et al.
2018), which is the Fréchet distance of FID on features of I3D.
"""

import numpy as np
from numpy.typing import NDArray

from ex4d.errors import InputError
from ex4d.torchvision_for_cpu import import_torchvision

Features = NDArray[np.float64]
"""(n, d), one row for each picture or video."""

KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
"""Torch-fidelity's own; smaller sets of pictures are used whole."""

FEWEST = 2
"""A covariance needs two rows."""


def frechet(made: Features, real: Features) -> float:
    """The Fréchet distance of two sets of features, as Gaussians: FID or FVD, depending on the features.

    Raises:
        InputError: a set has fewer than two rows.
    """
    import_torchvision()
    from torch_fidelity import metric_fid

    _check(made, real)
    one, other = (metric_fid.fid_features_to_statistics(_tensor(features)) for features in (made, real))
    return float(metric_fid.fid_statistics_to_metric(one, other, verbose=False)[metric_fid.KEY_METRIC_FID])


def kernel(made: Features, real: Features, seed: int = 2020) -> tuple[float, float]:
    """The kernel distance of two sets of features, KID: mean over subsets, and their standard deviation.

    Raises:
        InputError: a set has fewer than two rows.
    """
    import_torchvision()
    from torch_fidelity import metric_kid

    _check(made, real)
    found = metric_kid.kid_features_to_metric(
        _tensor(made),
        _tensor(real),
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, len(made), len(real)),
        rng_seed=seed,
        verbose=False,
    )
    return float(found[metric_kid.KEY_METRIC_KID_MEAN]), float(found[metric_kid.KEY_METRIC_KID_STD])


def _check(made: Features, real: Features) -> None:
    if min(len(made), len(real)) < FEWEST:
        raise InputError(
            f"FID, KID and FVD compare sets: {len(made)} and {len(real)} are too few; each needs {FEWEST} at least, and"
            " thousands to be worth comparing."
        )


def _tensor(features: Features) -> "object":
    import torch

    return torch.from_numpy(np.ascontiguousarray(features, np.float64))
