"""Which flips leave images looking like the others."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from sklearn.svm import SVC
from torch import Tensor

from ._augment import FLIPS
from ._samples import VALUES_AT_A_TIME, Images, Samples

FEWEST, MOST = 100, 500  # images that are looked at
SIDE, COMPONENTS = 16, 32
MOST_RECOGNISED = 0.6
MOST_ITERATIONS = 100_000  # some hundred do; by default there is no end


def find_flips(images: Samples, seed: int) -> tuple[str, ...]:
    """Return the flips, of `FLIPS`, that a classifier hardly tells from the images.

    A support vector classifier learns from one half of the images, as thumbnails, which
    is an image and which a flipped one; of each image of the other half and its flipped
    self it is then to find the image, in 60 % of the pairs at most. Of pieces of larger
    pictures it finds around 53 %, of faces, for the light comes from somewhere, 78 %, and
    of digits 95 %. Flips of digits that lie anywhere escape it, and do no harm. This is
    the two-sample test of Lopez-Paz and Oquab, "Revisiting classifier two-sample tests"
    (ICLR 2017).
    """
    some = images.some(MOST, seed).clean
    if len(some) < FEWEST or min(some[:1].shape[2:]) == 1:
        return ()
    small = _thumbnails(some)
    return tuple(
        name
        for name, axis in FLIPS.items()
        if _recognised(small, small.flip(axis), seed) <= MOST_RECOGNISED
    )


def _thumbnails(images: Images) -> Tensor:
    """Images (n, C, h, w) of at most 16 x 16, made in parts: others may not fit."""
    height, width = images[:1].shape[2:]
    size = min(SIDE, height), min(SIDE, width)
    at_a_time = max(1, VALUES_AT_A_TIME // images[:1].numel())
    parts = [
        F.adaptive_avg_pool2d(images[start : start + at_a_time].cpu(), size)
        for start in range(0, len(images), at_a_time)
    ]
    return torch.cat(parts)


def _recognised(images: Tensor, others: Tensor, seed: int) -> float:
    """Share of the pairs of images of which a classifier prefers the first."""
    a, b = (x.flatten(1).numpy().astype(np.float64) for x in (images, others))
    right = 0
    for fit, check in KFold(2, shuffle=True, random_state=seed).split(a):
        rows = np.concatenate([a[fit], b[fit]])
        pca = PCA(min(COMPONENTS, *rows.shape), random_state=seed)
        with np.errstate(invalid="ignore"):  # constant images have no variance
            codes = pca.fit_transform(rows)
        classifier = SVC(max_iter=MOST_ITERATIONS).fit(
            codes, np.repeat([1, 0], len(fit))
        )
        first, second = (
            classifier.decision_function(pca.transform(x[check])) for x in (a, b)
        )
        right += (first > second).sum() + (first == second).sum() / 2
    return float(right / len(a))
