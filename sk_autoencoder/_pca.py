"""PCA by scikit-learn, or where the training has a GPU by torch on it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from ._random import START, Draws, make_generator

# of rows that are given to torch, for PCA to be exact
LARGEST_EXACT_SIDE = 2_000


class Components(NamedTuple):
    """Mean (n_features,), components (K, n_features) and their variances (K,)."""

    mean: np.ndarray
    components: np.ndarray
    variances: np.ndarray


def pca_of(
    rows: np.ndarray, n_components: int, seed: int, device: torch.device
) -> Components:
    """PCA of rows (n, n_features), on a GPU if that is the device."""
    if device.type == "cuda":
        return _pca_of_torch(torch.from_numpy(rows).to(device), n_components, seed)
    with np.errstate(invalid="ignore"):  # of constant images, no variance is explained
        pca = PCA(n_components, random_state=seed).fit(rows)
    return Components(pca.mean_, pca.components_, pca.explained_variance_)


def _pca_of_torch(rows: Tensor, n_components: int, seed: int) -> Components:
    """The same for a GPU, exact where the smaller side of the rows is small."""
    mean = rows.mean(0)
    rows = rows - mean
    n, n_features = rows.shape
    if min(n, n_features) <= LARGEST_EXACT_SIDE:
        of_rows = n < n_features
        gram = rows @ rows.T if of_rows else rows.T @ rows
        squares, vectors = (
            x.flip(-1)[..., :n_components] for x in torch.linalg.eigh(gram)
        )
        # of directions without variance any will do
        directions = torch.linalg.qr(rows.T @ vectors).Q if of_rows else vectors
    else:
        with Draws(make_generator(seed, START, device=rows.device)):
            _, values, directions = torch.pca_lowrank(
                rows, q=min(n_components + 10, n, n_features), center=False, niter=7
            )
        squares, directions = (x[..., :n_components] for x in (values**2, directions))
    found = mean, directions.T, squares.clamp(min=0) / max(1, n - 1)
    return Components(*(x.cpu().numpy() for x in found))
